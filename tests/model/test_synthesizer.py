"""Contract: the promises of every synthesizer, checked with tones and, with weights, with Kokoro."""

from collections import abc
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import count, cycle, pairwise
from pathlib import Path

import numpy as np
import pytest
import structlog.testing
import torch
from attrs import define, evolve, field
from kokoro.istftnet import Generator  # type: ignore[import-untyped]

from bench.peers.whole_sentences import kmodel_of
from kokoro_trio.config import ModelConfig, WindowConfig
from kokoro_trio.model.batching import BatchShape
from kokoro_trio.model.calibration import Calibration, load_predictor
from kokoro_trio.model.convolution import Method, Workload, has_spectral
from kokoro_trio.model.early_audio import CalibrationRecord, known_early_audio
from kokoro_trio.model.graphs import Function, GraphRunner
from kokoro_trio.model.kokoro import KokoroSynthesizer, batch_of
from kokoro_trio.model.network import KokoroNetwork
from kokoro_trio.model.prosody import PADDING_TOKEN, ProsodyHalf
from kokoro_trio.model.source import HarmonicSource
from kokoro_trio.model.spectral_distance import log_spectral_distance_db
from kokoro_trio.model.statistics import Fit, Means
from kokoro_trio.model.synthesizer import EarlyAudio, Synthesizer, ToneSynthesizer
from kokoro_trio.model.vocoder import Material, VocoderHalf
from kokoro_trio.model.windowing import SHAPES
from kokoro_trio.speech import FRAME_SAMPLES, FRAME_SECONDS, MAX_SEGMENT_PHONEMES, Line, Samples, Window
from kokoro_trio.weights.prepared import Weights, open_weights
from tests.support.environment import TEST_WEIGHTS
from tests.support.vocoders import CpuCapture

TEXT = "həlˈO ðˈɛɹ, hˌW ɑɹ ju?"
LONGER = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ."


@pytest.fixture(scope="module")
def weights() -> Weights:
    return open_weights(TEST_WEIGHTS)


CPU = torch.device("cpu")
WHOLE = WindowConfig(first_max_words=0, first_boundaries="", trims_leading_silence=False)
WINDOWED = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)


@pytest.fixture(scope="module")
def network(weights: Weights) -> KokoroNetwork:
    return KokoroNetwork(weights.config, weights.model)


@pytest.fixture(scope="module")
def kmodel(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    reference: torch.nn.Module = kmodel_of(weights, tmp_path_factory.mktemp("kmodel"))
    return reference


@pytest.fixture(scope="module")
def kokoro(weights: Weights) -> KokoroSynthesizer:
    """Whole segments with their silence, as in training."""
    return KokoroSynthesizer(weights, CPU, WHOLE, predictor=None)


@pytest.fixture(scope="module")
def windowed(weights: Weights) -> KokoroSynthesizer:
    """The synthesizer of a server."""
    predictor = load_predictor(weights, CPU)
    assert predictor is not None, "the statistics were fitted on other weights than those prepared here"
    return KokoroSynthesizer(weights, CPU, WINDOWED, predictor)


@pytest.fixture(scope="module")
def stacking(weights: Weights) -> KokoroSynthesizer:
    """The synthesizer of a server that batches windows."""
    return KokoroSynthesizer(weights, CPU, WINDOWED, load_predictor(weights, CPU), max_batch=4)


@pytest.fixture(scope="module")
def replaying(weights: Weights) -> KokoroSynthesizer:
    """The synthesizer of a server with a GPU, with a fake capture."""
    predictor, runner = load_predictor(weights, CPU), GraphRunner(CpuCapture())
    return KokoroSynthesizer(weights, CPU, WINDOWED, predictor, max_batch=4, runner=runner)


@pytest.fixture(
    params=[
        "tones",
        pytest.param("kokoro", marks=pytest.mark.model),
        pytest.param("windowed", marks=pytest.mark.model),
        pytest.param("stacking", marks=pytest.mark.model),
        pytest.param("replaying", marks=pytest.mark.model),
    ]
)
def synthesizer(request: pytest.FixtureRequest) -> Synthesizer:
    if request.param == "tones":
        return ToneSynthesizer()
    kokoro: KokoroSynthesizer = request.getfixturevalue(request.param)
    return kokoro


def lines(synthesizer: Synthesizer, *texts: str, speed: float = 1.0) -> list[Line]:
    voice = synthesizer.voice_names[0]
    return [Line(number, text, voice, speed) for number, text in enumerate(texts)]


class TestContract:
    def test_durations_have_one_entry_per_phoneme_and_end(self, synthesizer: Synthesizer) -> None:
        (prosody,) = synthesizer.prosody(lines(synthesizer, TEXT))
        assert prosody.durations_frames.shape == (len(TEXT) + 2,)
        assert (prosody.durations_frames >= 1).all()

    def test_windows_tile_the_segment(self, synthesizer: Synthesizer) -> None:
        (prosody,) = synthesizer.prosody(lines(synthesizer, TEXT))
        windows = list(synthesizer.windows(prosody))
        edges = [(window.start_frame, window.end_frame) for window in windows]
        assert edges[0][0] < prosody.durations_frames[0]
        assert edges[-1][1] == prosody.n_frames
        assert all(end == start for (_, end), (start, _) in pairwise(edges))

    def test_each_window_has_its_samples(self, synthesizer: Synthesizer) -> None:
        (prosody,) = synthesizer.prosody(lines(synthesizer, TEXT))
        windows = list(synthesizer.windows(prosody))
        for window, samples in zip(windows, synthesizer.vocode(windows), strict=True):
            assert samples.shape == (window.n_samples,)
            assert samples.dtype == np.float32
            assert np.isfinite(samples).all()

    def test_audio_has_a_level_and_no_click_at_its_ends(self, synthesizer: Synthesizer) -> None:
        (prosody,) = synthesizer.prosody(lines(synthesizer, TEXT))
        audio = np.concatenate(synthesizer.vocode(list(synthesizer.windows(prosody))))
        level = float(np.sqrt(np.mean(audio**2)))
        assert 0.01 < level < 0.5
        assert np.abs(audio[:48]).max() < level / 5
        assert np.abs(audio[-1200:]).max() < level / 5

    def test_durations_do_not_depend_on_the_batch(self, synthesizer: Synthesizer) -> None:
        both = synthesizer.prosody(lines(synthesizer, TEXT, LONGER))
        alone = [synthesizer.prosody([line])[0] for line in lines(synthesizer, TEXT, LONGER)]
        for one, other in zip(both, alone, strict=True):
            assert (one.durations_frames == other.durations_frames).all()

    def test_speed_divides_the_duration(self, synthesizer: Synthesizer) -> None:
        (normal,) = synthesizer.prosody(lines(synthesizer, LONGER))
        (fast,) = synthesizer.prosody(lines(synthesizer, LONGER, speed=2.0))
        assert 0.4 < fast.n_frames / normal.n_frames < 0.75

    def test_line_without_phonemes_raises(self, synthesizer: Synthesizer) -> None:
        with pytest.raises(ValueError, match="phonemes"):
            synthesizer.prosody(lines(synthesizer, ""))

    def test_alphabet_has_vowels_and_marks(self, synthesizer: Synthesizer) -> None:
        assert set("aeiou .,?") <= synthesizer.alphabet


@pytest.mark.model
class TestKokoro:
    @pytest.mark.parametrize("text", [TEXT, LONGER])
    def test_each_half_equals_that_of_kmodel(
        self, weights: Weights, network: KokoroNetwork, kmodel: torch.nn.Module, text: str
    ) -> None:
        """Each half alone, because rounding errors of F0 accumulate in the phase of the source."""
        style = weights.voices["bm_george"][len(text) - 1][None]
        given: list[torch.Tensor] = []
        generator: torch.nn.Module = kmodel.get_submodule("decoder.generator")
        generator.register_forward_pre_hook(lambda _, inputs: given.extend(inputs))
        expected = kmodel(text, style, 1.0, return_output=True)
        decoded, decoder_style, f0_hz = given

        with torch.inference_mode():
            (features,) = ProsodyHalf(network)([_token_ids(weights, text)], style, [1.0])
        assert (features.durations_frames == expected.pred_dur).all()
        torch.testing.assert_close(features.f0_hz, f0_hz, atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(features.decoded, decoded.transpose(1, 2), atol=1e-4, rtol=1e-4)

        with torch.inference_mode():
            torch.manual_seed(7)
            audio = generator(decoded, decoder_style, f0_hz)[0]
            torch.manual_seed(7)
            source = _source_of_kmodel(generator, f0_hz)
            material = Material(decoded.transpose(1, 2), source, decoder_style)
            samples, _ = VocoderHalf(network).whole(material)
        torch.testing.assert_close(samples, audio, atol=1e-5, rtol=0)

    def test_both_halves_sound_like_kmodel(
        self, weights: Weights, kokoro: KokoroSynthesizer, kmodel: torch.nn.Module
    ) -> None:
        style = weights.voices["bm_george"][len(LONGER) - 1][None]
        torch.manual_seed(7)
        expected = kmodel(LONGER, style, 1.0)
        torch.manual_seed(7)
        (prosody,) = kokoro.prosody([Line(0, LONGER, "bm_george", 1.0)])
        (samples,) = kokoro.vocode(list(kokoro.windows(prosody)))
        # Another seed of the noise alone makes 0.5 dB.
        assert log_spectral_distance_db(samples, expected.numpy()) < 0.5

    def test_rows_of_a_batch_equal_single_rows(self, weights: Weights) -> None:
        """In float64, because the network magnifies rounding errors of float32."""
        half = ProsodyHalf(KokoroNetwork(weights.config, weights.model).double())
        texts, speeds = [TEXT, LONGER, "ə"], [1.0, 0.8, 1.5]
        ids = [_token_ids(weights, text) for text in texts]
        styles = torch.stack([weights.voices["af_heart"][len(text) - 1] for text in texts]).double()
        with torch.inference_mode():
            together = half(ids, styles, speeds)
            for row, features in enumerate(together):
                (alone,) = half([ids[row]], styles[[row]], [speeds[row]])
                assert (features.durations_frames == alone.durations_frames).all()
                torch.testing.assert_close(features.f0_hz, alone.f0_hz, atol=1e-8, rtol=0)
                torch.testing.assert_close(features.decoded, alone.decoded, atol=1e-8, rtol=0)

    def test_number_of_voices(self, kokoro: KokoroSynthesizer) -> None:
        assert len(kokoro.voice_names) == 54

    def test_languages_of_the_voices(self, kokoro: KokoroSynthesizer) -> None:
        assert {name[0] for name in kokoro.voice_names} == set("abefhijpz")

    def test_a_segment_of_510_phonemes(self, kokoro: KokoroSynthesizer) -> None:
        (prosody,) = kokoro.prosody([long_line()])
        assert prosody.n_frames > 510

    def test_more_than_510_phonemes_raise(self, kokoro: KokoroSynthesizer) -> None:
        with pytest.raises(ValueError, match="510"):
            kokoro.prosody([Line(0, "a" * 511, "af_heart", 1.0)])

    def test_warm_up(self, kokoro: KokoroSynthesizer) -> None:
        kokoro.warm_up()


def long_line() -> Line:
    return Line(0, ((LONGER + " ") * 12)[:510], "af_heart", 1.0)


@pytest.mark.model
class TestSource:
    F0_HZ = torch.tensor([[0.0] * 40 + [110.0 + n for n in range(80)] + [0.0] * 40])

    def test_harmonics_equal_those_of_kmodel(
        self, network: KokoroNetwork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generator = network.decoder.generator
        monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
        f0_per_sample = generator.f0_upsamp(self.F0_HZ[:, None]).transpose(1, 2)
        with torch.inference_mode():
            expected, _, _ = generator.m_source(f0_per_sample)
            excitation = HarmonicSource(generator).excitation(self.F0_HZ)
        torch.testing.assert_close(excitation, expected[..., 0], atol=1e-5, rtol=0)
        assert expected.abs().max() > 0.05

    def test_rows_of_different_lengths_equal_single_rows(
        self, network: KokoroNetwork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Up to its end, past which the transform reads. Without noise, which is drawn for whole batches."""
        monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
        source = HarmonicSource(network.decoder.generator)
        curves = [self.F0_HZ, self.F0_HZ[:, :100], 2 * self.F0_HZ[:, 50:110]]
        with torch.inference_mode():
            for curve, spectrum in zip(curves, source.spectra(curves), strict=True):
                (alone,) = source.spectra([curve])
                assert spectrum.shape == (1, 60 * curve.shape[1] + 1, 22)
                magnitude, phase = spectrum.chunk(2, dim=2)
                expected_magnitude, expected_phase = alone.chunk(2, dim=2)
                torch.testing.assert_close(magnitude, expected_magnitude, atol=1e-5, rtol=0)
                turned = torch.polar(magnitude, phase) - torch.polar(expected_magnitude, expected_phase)
                assert turned.abs().max() < 1e-5

    def test_noise_is_as_loud_as_that_of_kmodel(self, network: KokoroNetwork) -> None:
        generator = network.decoder.generator
        unvoiced = torch.zeros(1, 400)
        torch.manual_seed(7)
        with torch.inference_mode():
            expected, _, _ = generator.m_source(generator.f0_upsamp(unvoiced[:, None]).transpose(1, 2))
            excitation = HarmonicSource(generator).excitation(unvoiced)
        assert excitation.std().item() == pytest.approx(expected.std().item(), rel=0.02)
        assert excitation.mean().item() == pytest.approx(expected.mean().item(), abs=1e-3)


@pytest.mark.model
class TestWindows:
    def test_windows_equal_one_window_over_the_segment(self, windowed: KokoroSynthesizer) -> None:
        (prosody,) = windowed.prosody([Line(0, LONGER + " " + LONGER, "af_heart", 1.0)])
        windows = list(windowed.windows(prosody))
        assert len(windows) >= 3
        whole = Window(prosody, windows[0].start_frame, windows[-1].end_frame)
        (at_once,) = windowed.vocode([whole])
        in_pieces = np.concatenate(windowed.vocode(windows))
        np.testing.assert_allclose(in_pieces, at_once, atol=1e-5)

    @pytest.mark.parametrize("name", ["windowed", "kokoro"])
    def test_interrupting_step_does_not_change_the_result(
        self, request: pytest.FixtureRequest, name: str
    ) -> None:
        """A new listener's prosody and first window are computed between two layers of another window."""
        synthesizer: KokoroSynthesizer = request.getfixturevalue(name)
        (prosody,) = synthesizer.prosody([Line(0, LONGER, "af_heart", 1.0)])
        (alone,) = synthesizer.vocode([synthesizer.windows(prosody).next(1.0)])
        newcomer: list[Samples] = []
        n_layers = count()

        def interrupt() -> None:
            if next(n_layers) == 20:
                (other,) = synthesizer.prosody([Line(0, TEXT, "bm_george", 1.0)])
                newcomer.extend(synthesizer.vocode([synthesizer.windows(other).next(0.0)]))

        synthesizer.interrupt_with(interrupt)
        try:
            (interrupted,) = synthesizer.vocode([synthesizer.windows(prosody).next(1.0)])
        finally:
            synthesizer.interrupt_with(lambda: None)
        assert len(newcomer) == 1
        np.testing.assert_array_equal(interrupted, alone)

    def test_batched_windows_equal_single_ones(
        self, windowed: KokoroSynthesizer, stacking: KokoroSynthesizer
    ) -> None:
        """Windows of segments of different lengths: in the middle, at the ends, and a whole segment."""
        prosodies = stacking.prosody(
            [Line(0, text, "af_heart", 1.0) for text in (LONGER + " " + LONGER, LONGER, TEXT, "ə")]
        )
        windows = [window for prosody in prosodies for window in list(stacking.windows(prosody))]
        assert {window.shape_frames for window in windows} <= {*SHAPES, None}
        assert len(windows) > len({window.shape_frames for window in windows})
        for window, samples in zip(windows, stacking.vocode(windows), strict=True):
            (alone,) = windowed.vocode([Window(window.prosody, window.start_frame, window.end_frame)])
            np.testing.assert_allclose(samples, alone, atol=1e-5)

    def test_prosody_does_not_keep_the_batch_in_memory(self, stacking: KokoroSynthesizer) -> None:
        long, short = stacking.prosody([Line(0, text, "af_heart", 1.0) for text in (LONGER, TEXT)])
        for tensor in (short.features.material.decoded, short.features.material.source):
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        made = stacking.vocode([stacking.windows(prosody).next(0.0) for prosody in (long, short)])
        assert [samples.base for samples in made] == [None, None]

    def test_windows_from_graphs_equal_single_ones(
        self, windowed: KokoroSynthesizer, replaying: KokoroSynthesizer
    ) -> None:
        """Also for short segments, although graphs have few shapes."""
        prosodies = replaying.prosody([Line(0, text, "af_heart", 1.0) for text in (LONGER, TEXT, "hˈI.")])
        windows = [
            window for prosody in prosodies for window in list(replaying.windows(prosody))[:: len(prosodies)]
        ]
        assert {window.shape_frames for window in windows} <= {*SHAPES, None}
        for window, samples in zip(windows, replaying.vocode(windows), strict=True):
            (alone,) = windowed.vocode([Window(window.prosody, window.start_frame, window.end_frame)])
            np.testing.assert_allclose(samples, alone, atol=1e-5)

    @pytest.mark.parametrize("methods", [[Method.BFLOAT16], list(Method)])
    def test_bfloat16_sounds_like_float32(
        self, weights: Weights, windowed: KokoroSynthesizer, methods: list[Method]
    ) -> None:
        """With bfloat16 alone, and with methods that alternate from layer to layer."""

        def choose(workloads: Sequence[Workload]) -> list[Method]:
            chosen = [method for method, _ in zip(cycle(methods), workloads, strict=False)]
            return [
                method if method is not Method.SPECTRAL or has_spectral(each.conv) else Method.BFLOAT16
                for method, each in zip(chosen, workloads, strict=True)
            ]

        predictor = load_predictor(weights, CPU)
        halved = KokoroSynthesizer(weights, CPU, WINDOWED, predictor, choose_methods=choose)
        spoken = []
        for synthesizer in (windowed, halved):
            torch.manual_seed(7)
            (prosody,) = synthesizer.prosody([Line(0, LONGER, "af_heart", 1.0)])
            spoken.append(np.concatenate(synthesizer.vocode(list(synthesizer.windows(prosody)))))
        # Measured: 0.07 dB. With the last convolution in bfloat16 too: 0.66.
        assert 0.001 < log_spectral_distance_db(spoken[0], spoken[1]) < 0.15

    def test_leading_silence_is_dropped_from_the_first_segment_only(
        self, windowed: KokoroSynthesizer
    ) -> None:
        first, second = windowed.prosody([Line(n, TEXT, "af_heart", 1.0) for n in (0, 1)])
        assert windowed.windows(first).start_frame == first.durations_frames[0] - 3
        assert windowed.windows(second).start_frame == 0

    def test_the_first_window_is_short(self, windowed: KokoroSynthesizer) -> None:
        (prosody,) = windowed.prosody([Line(0, LONGER, "af_heart", 1.0)])
        first = windowed.windows(prosody).next(0.0)
        assert 24 <= first.end_frame - first.start_frame <= 40

    def test_voice_unknown_to_the_fit_is_one_window(self, weights: Weights) -> None:
        predictor = load_predictor(weights, CPU)
        assert predictor is not None
        stranger = evolve(weights, voices={"xx_new": weights.voices["af_heart"]})
        synthesizer = KokoroSynthesizer(stranger, CPU, WINDOWED, predictor)
        (prosody,) = synthesizer.prosody([Line(0, LONGER, "xx_new", 1.0)])
        assert len(list(synthesizer.windows(prosody))) == 1


MODEL_CONFIG = ModelConfig("auto", "cpu", "float32", gpu_memory_fraction=0.95)


def accepting(vocoder: object, fit: Fit, model_checksum: str) -> abc.Generator[None, None, Calibration]:
    """A calibration in two steps with a shift of zero."""
    yield
    yield
    record = CalibrationRecord(model_checksum, fit.record.checksum, (0.5,) * 10, "today")
    return Calibration(record, Means(torch.zeros(1024), torch.zeros(18_432)))


def failing(vocoder: object, fit: Fit, model_checksum: str) -> Iterator[None]:
    yield
    raise torch.OutOfMemoryError("no memory")


@pytest.mark.model
class TestUnknownWeights:
    """Weights without a fit or a calibration."""

    @pytest.fixture
    def unknown(self, weights: Weights, tmp_path: Path) -> KokoroSynthesizer:
        other = evolve(weights, checksum="0" * 64, folder=tmp_path)
        return KokoroSynthesizer.of(other, CPU, MODEL_CONFIG, WINDOWED)

    def test_segments_are_short_whole_and_unbatched(
        self, unknown: KokoroSynthesizer, windowed: KokoroSynthesizer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timed: list[int | None] = []
        vocode = unknown.vocode

        def noted(windows: Sequence[Window]) -> list[Samples]:
            timed.extend(window.shape_frames for window in windows)
            return vocode(windows)

        monkeypatch.setattr(unknown, "vocode", noted)
        # Half a second per second of audio.
        monkeypatch.setattr(unknown, "_whole_s", lambda prosody: 0.5 * prosody.n_frames * FRAME_SECONDS)
        unknown.warm_up()
        # Two seconds of audio. A phoneme lasts about 80 ms, including its share of the silence.
        assert 20 < unknown.max_line_phonemes < 30
        assert windowed.max_line_phonemes == MAX_SEGMENT_PHONEMES
        assert timed, "the speed of windows is measured beforehand"
        assert None not in timed, "with statistics of their own, as none are predicted"
        assert not unknown.early_audio.is_on
        assert unknown.max_batch == 1
        (prosody,) = unknown.prosody([Line(0, LONGER, "af_heart", 1.0)])
        (window,) = list(unknown.windows(prosody))
        assert window.shape_frames is None

    def test_check_line_does_not_change_limits_that_the_event_loop_reads(
        self, unknown: KokoroSynthesizer, weights: Weights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unknown._max_whole_phonemes = 30
        seen: list[tuple[int, int]] = []
        prosody_half: Callable[..., object] = unknown._prosody_half

        def read(*arguments: object) -> object:
            seen.append((unknown.max_batch, unknown.max_line_phonemes))
            return prosody_half(*arguments)

        monkeypatch.setattr(unknown, "_prosody_half", read)
        predictor = load_predictor(weights, CPU)
        assert predictor is not None
        assert unknown.deviation_db(Line(0, TEXT, "af_heart", 1.0), predictor) is not None
        assert seen == [(1, 30)]

    def test_calibration_is_spare_work(
        self, unknown: KokoroSynthesizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("kokoro_trio.model.kokoro.calibrate", accepting)
        for _ in range(3):
            assert unknown.has_spare_work
            assert not unknown.early_audio.is_on
            unknown.do_spare_work()
        assert not unknown.has_spare_work
        assert unknown.early_audio == EarlyAudio(True, "calibrated for these weights, 0.5 dB")
        (prosody,) = unknown.prosody([Line(0, LONGER, "af_heart", 1.0)])
        assert len(list(unknown.windows(prosody))) > 1
        assert unknown.max_line_phonemes == MAX_SEGMENT_PHONEMES
        assert known_early_audio(tmp_path, "0" * 64) == unknown.early_audio

    def test_calibration_without_write_permission_holds_for_this_process(
        self, weights: Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("kokoro_trio.model.kokoro.calibrate", accepting)
        other = evolve(weights, checksum="0" * 64, folder=tmp_path / "not there")
        synthesizer = KokoroSynthesizer.of(other, CPU, MODEL_CONFIG, WINDOWED)
        with structlog.testing.capture_logs() as logs:
            while synthesizer.has_spare_work:
                synthesizer.do_spare_work()
        assert synthesizer.early_audio.is_on
        assert [each["event"] for each in logs] == ["calibration_not_kept", "early_audio"]

    def test_failed_calibration_leaves_early_audio_off(
        self, unknown: KokoroSynthesizer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kokoro_trio.model.kokoro.calibrate", failing)
        with structlog.testing.capture_logs() as logs:
            while unknown.has_spare_work:
                unknown.do_spare_work()
        assert unknown.early_audio == EarlyAudio(False, "the calibration failed, see the log")
        assert [each["event"] for each in logs] == ["calibration_failed", "early_audio"]

    def test_whole_sentences_need_no_calibration(self, weights: Weights, tmp_path: Path) -> None:
        other = evolve(weights, checksum="0" * 64, folder=tmp_path)
        synthesizer = KokoroSynthesizer.of(other, CPU, MODEL_CONFIG, WHOLE)
        assert not synthesizer.has_spare_work
        assert synthesizer.early_audio == EarlyAudio(False, "FIRST_SEGMENT_MAX_WORDS is 0")


@pytest.mark.model
class TestBlends:
    RECIPE = "af_aoede(3)+af_nicole(2)"

    def test_blend_equals_the_mean_of_the_packs(self, kokoro: KokoroSynthesizer, weights: Weights) -> None:
        mean = 0.6 * weights.voices["af_aoede"] + 0.4 * weights.voices["af_nicole"]
        reference = KokoroSynthesizer(evolve(weights, voices={"mean": mean}), CPU, WHOLE, predictor=None)
        (prosody,) = kokoro.prosody([Line(0, TEXT, self.RECIPE, 1.0)])
        (expected,) = reference.prosody([Line(0, TEXT, "mean", 1.0)])
        assert prosody.durations_frames.tolist() == expected.durations_frames.tolist()
        made, wanted = kokoro.vocode_exactly(prosody), reference.vocode_exactly(expected)
        assert log_spectral_distance_db(made, wanted) < 0.7  # Another noise alone makes 0.5.

    def test_blend_in_windows_is_near_the_whole(self, windowed: KokoroSynthesizer) -> None:
        (prosody,) = windowed.prosody([Line(0, LONGER, self.RECIPE, 1.0)])
        windows = list(windowed.windows(prosody))
        assert len(windows) > 1
        made = np.concatenate([windowed.vocode([window])[0] for window in windows])
        exact = windowed.vocode_exactly(prosody)[windows[0].start_frame * FRAME_SAMPLES :][: len(made)]
        assert log_spectral_distance_db(made, exact) < 1.15  # Measured: 0.95.

    def test_blend_differs_from_its_voices(self, kokoro: KokoroSynthesizer) -> None:
        voices = (self.RECIPE, "af_aoede", "af_nicole")
        melodies = [kokoro.prosody([Line(0, LONGER, voice, 1.0)])[0].durations_frames for voice in voices]
        assert melodies[0].tolist() not in [melodies[1].tolist(), melodies[2].tolist()]


@define
class SilentRunner:
    """Returns zeros, and has memory for `most_rows` rows."""

    most_rows: int
    shapes: list[Hashable] = field(factory=list)

    def run(
        self, key: Hashable, n_rows: int, inputs: Sequence[torch.Tensor], function: Function
    ) -> torch.Tensor:
        if n_rows > self.most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.shapes.append(key)
        n_frames = inputs[0].shape[1] // 2
        return torch.zeros(len(inputs[0]), n_frames * FRAME_SAMPLES)


@pytest.mark.model
class TestMemory:
    def test_out_of_memory_halves_the_batch(self, weights: Weights) -> None:
        predictor, runner = load_predictor(weights, CPU), SilentRunner(most_rows=1)
        synthesizer = KokoroSynthesizer(weights, CPU, WINDOWED, predictor, max_batch=8, runner=runner)
        (prosody,) = synthesizer.prosody([Line(0, LONGER, "af_heart", 1.0)])
        first = synthesizer.windows(prosody).next(0.0)
        for n_windows, max_batch in ((6, 3), (2, 1)):
            with pytest.raises(torch.OutOfMemoryError):
                synthesizer.vocode([first] * n_windows)
            assert synthesizer.max_batch == max_batch
        assert synthesizer.vocode([first])[0].shape == (first.n_samples,)
        assert synthesizer.max_batch == 1

    def test_warm_up_runs_all_shapes_that_fit(self, weights: Weights) -> None:
        predictor, runner = load_predictor(weights, CPU), SilentRunner(most_rows=4)
        synthesizer = KokoroSynthesizer(weights, CPU, WINDOWED, predictor, max_batch=32, runner=runner)
        synthesizer.warm_up()
        assert synthesizer.max_batch <= 4
        expected = {BatchShape(n, frames, m) for n in (1, 2, 4) for frames in SHAPES for m in (True, False)}
        assert set(runner.shapes) == expected


def _source_of_kmodel(generator: Generator, f0_hz: torch.Tensor) -> torch.Tensor:
    excitation, _, _ = generator.m_source(generator.f0_upsamp(f0_hz[:, None]).transpose(1, 2))
    spectrum = torch.cat(generator.stft.transform(excitation[..., 0]), dim=1)
    return spectrum.transpose(1, 2)


def _token_ids(weights: Weights, phonemes: str) -> list[int]:
    return [PADDING_TOKEN, *(weights.config["vocab"][phoneme] for phoneme in phonemes), PADDING_TOKEN]


@pytest.mark.parametrize(
    ("gain", "window_s", "rows"),
    [
        (1.0, 0.001, 1),  # Nothing is gained.
        (1.5, 0.45, 1),  # A processor: one window takes all the time that a step may.
        (1.5, 0.2, 3),
        (6.0, 0.004, 32),  # A GPU.
    ],
)
def test_batch_size_by_gain_and_step_time(gain: float, window_s: float, rows: int) -> None:
    assert batch_of(32, gain, window_s) == rows
