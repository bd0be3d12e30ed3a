"""Contract: a single word sounds like one in a sentence, with or without a final mark."""

import pytest
import torch

from bench.research.short import spoken
from kokoro_trio.config import WindowConfig
from kokoro_trio.model.calibration import load_predictor
from kokoro_trio.model.closing import MAX_BARE_PHONEMES, closed
from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.speech import FRAME_SAMPLES, Line, Prosody
from kokoro_trio.weights.prepared import open_weights
from tests.support.environment import TEST_WEIGHTS

WINDOWED = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)
VOICES = ["af_heart", "am_michael", "bf_emma", "ef_dora", "jf_alpha"]
SENTENCE = "ðə kwˈɪk bɹˈWn fˈɑks."


@pytest.fixture(scope="module")
def kokoro() -> KokoroSynthesizer:
    """The synthesizer of a server."""
    weights, cpu = open_weights(TEST_WEIGHTS), torch.device("cpu")
    return KokoroSynthesizer(weights, cpu, WINDOWED, load_predictor(weights, cpu))


def prosody_of(kokoro: KokoroSynthesizer, phonemes: str, voice: str = "af_heart") -> Prosody:
    (prosody,) = kokoro.prosody([Line(0, phonemes, voice, 1.0)])
    return prosody


@pytest.mark.model
class TestLengths:
    @pytest.mark.parametrize("phonemes", ["ɐ", "jˈɛs", "jˈɛs.", "nˈO?", "“jˈɛs”", "“jˈɛs.”"])
    def test_durations_match_phonemes_and_audio(self, kokoro: KokoroSynthesizer, phonemes: str) -> None:
        prosody = prosody_of(kokoro, phonemes)
        assert prosody.durations_frames.shape == (len(phonemes) + 2,)
        assert (prosody.durations_frames >= 1).all()
        assert len(kokoro.vocode_exactly(prosody)) == prosody.n_frames * FRAME_SAMPLES
        windows = list(kokoro.windows(prosody))
        assert windows[-1].end_frame == prosody.n_frames
        for window, samples in zip(windows, kokoro.vocode(windows), strict=True):
            assert samples.shape == (window.n_samples,)

    def test_bare_and_closed_lines_in_one_batch(self, kokoro: KokoroSynthesizer) -> None:
        texts = ["jˈɛs", "jˈɛs.", SENTENCE, "ɐ"]
        together = kokoro.prosody([Line(n, text, "af_heart", 1.0) for n, text in enumerate(texts)])
        for prosody, text in zip(together, texts, strict=True):
            assert prosody.line.phonemes == text
            assert (prosody.durations_frames == prosody_of(kokoro, text).durations_frames).all()


@pytest.mark.parametrize(("phonemes", "spoken_as"), [("jˈɛs", "jˈɛs."), ("“jˈɛs”", "“jˈɛs”."), ("ɐ", "ɐ.")])
def test_short_line_without_a_mark_gets_a_full_stop(phonemes: str, spoken_as: str) -> None:
    assert closed(phonemes) == spoken_as


@pytest.mark.parametrize("phonemes", ["jˈɛs.", "nˈO?", "wˈɛl,", "ˈʌm—", "jˈɛs…", "“jˈɛs.”", "", "”"])
def test_line_with_a_mark_or_without_phonemes_is_unchanged(phonemes: str) -> None:
    assert closed(phonemes) == phonemes


def test_only_short_lines_are_closed() -> None:
    assert closed("a" * MAX_BARE_PHONEMES).endswith(".")
    assert closed("a" * (MAX_BARE_PHONEMES + 1)).endswith("a")


@pytest.mark.model
class TestClosing:
    @pytest.mark.parametrize("bare", ["jˈɛs", "“jˈɛs”"])
    def test_short_line_lasts_as_long_as_with_a_full_stop(self, kokoro: KokoroSynthesizer, bare: str) -> None:
        one, other = (prosody_of(kokoro, text).durations_frames.tolist() for text in (bare, bare + "."))
        assert one[:-1] == other[:-2]
        assert one[-1] == sum(other[-2:])


@pytest.mark.model
class TestSound:
    @pytest.mark.parametrize("voice", VOICES)
    @pytest.mark.parametrize("bare", ["jˈɛs", "tˈu", "ˈO"])
    def test_bare_word_is_as_loud_and_long_as_with_its_mark(
        self, kokoro: KokoroSynthesizer, voice: str, bare: str
    ) -> None:
        one, other = (spoken(kokoro, voice, text, bare) for text in (bare, bare + "."))
        assert one.level == pytest.approx(other.level, abs=0.5)
        assert one.seconds == pytest.approx(other.seconds, abs=0.05)

    @pytest.mark.parametrize("voice", VOICES)
    def test_single_word_is_not_fainter_or_shorter_than_the_last_of_a_sentence(
        self, kokoro: KokoroSynthesizer, voice: str
    ) -> None:
        alone = spoken(kokoro, voice, "jˈɛs", "jˈɛs")
        last = spoken(kokoro, voice, "ænd ðˈɛn ʃi tˈOld mi jˈɛs.", "jˈɛs")
        assert alone.level > last.level - 2
        assert 0.8 < alone.seconds / last.seconds < 1.5

    @pytest.mark.parametrize("voice", VOICES)
    @pytest.mark.parametrize("bare", ["jˈɛs", "tˈu", "ˈO", "ɐ"])
    def test_it_begins_and_ends_in_silence(self, kokoro: KokoroSynthesizer, voice: str, bare: str) -> None:
        measured = spoken(kokoro, voice, bare, bare)
        assert measured.first < -50
        assert measured.last < -50
