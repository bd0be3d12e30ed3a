"""With the real model: the phonemes and the speaking rate of a sentence of each language."""

import numpy as np
import pytest

from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.speech import SAMPLE_RATE_HZ, Line
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.languages import LANGUAGES
from kokoro_trio.text.reading import read

SENTENCES = {
    "a": (
        "af_heart",
        "The schedule says we leave at 7:30.",
        "ðə skˈɛʤˌul sˈɛz wi lˈiv æt sˈɛvən θˈɜɹTi.",
    ),
    "b": (
        "bf_emma",
        "The schedule says we leave at 7:30.",
        "ðə ʃˈɛdjuːl sˈɛz wiː lˈiːv at sˈɛvᵊn θˈɜːti.",
    ),
    "e": (
        "ef_dora",
        "La reunión empieza a las 7:30 de la mañana.",
        "la reʊnjˈon empjˈeθa a las sjˈete tɾˈAnta ðe la maɲˈana.",
    ),
    "f": (
        "ff_siwis",
        "La réunion commence à 7 h 30, n'est-ce pas ?",
        "la ʁeynjˈɔ̃ kɔmˈɑ̃s a sˈɛt ˈœʁ tʁˈɑ̃t, nˈɛs pˈa ?",
    ),
    "h": (
        "hf_alpha",
        "बैठक सुबह साढ़े सात बजे शुरू होगी।",
        "bˈɛːʈʰək sˈʊbəh sˈaːɽheː sˈaːt bˈʌɟeː ʃˈʊɾuː hˈoːɡi.",
    ),
    "i": (
        "if_sara",
        "La riunione comincia alle 7:30 di mattina.",
        "la riʊnjˈone komˈinʧa ˌalle sˈɛtːe e trˈenta dɪ matːˈina.",
    ),
    "j": (
        "jf_alpha",
        "会議は午前7時30分に始まります。",
        "kaiɡʲi βa ɡoʣeɴ ɕiʨiʥi saɲʥɨʔpɯɴ ɲi haʥimaɾʲimasɨ.",
    ),
    "p": (
        "pf_dora",
        "A reunião começa às 7:30 da manhã.",
        "a xˌeuniˈɐ̃ʊ̃ kˌomˈɛs aːs sˈɛʧj i trˈiŋtæ da mɐ̃ɲˈɐ̃.",
    ),
    "z": (
        "zf_xiaobei",
        "会议早上七点半开始。",
        "xwei↘i↘ ʦau↓ʂa↘ŋ ʨʰi→tjɛ↓n pa↘n kʰai→ʂɨ↓.",
    ),
}
MIN_S, MAX_S = 0.05, 0.085
"""Seconds of speech for each sound, length marks included; measured: 0.056 to 0.075 s."""


@pytest.mark.model
@pytest.mark.parametrize("language", list(LANGUAGES))
def test_each_language_has_its_phonemes_and_a_normal_speaking_rate(
    exact_kokoro: KokoroSynthesizer, g2p: GraphemeToPhoneme, language: str
) -> None:
    voice, text, phonemes = SENTENCES[language]
    (sentence,) = read(text, language)
    (segment,) = g2p.segments(sentence, language, 0)
    assert segment.phonemes == phonemes
    (prosody,) = exact_kokoro.prosody([Line(0, phonemes, voice, 1.0)])
    (window,) = list(exact_kokoro.windows(prosody))
    (samples,) = exact_kokoro.vocode([window])
    level = np.abs(samples)
    assert 0.1 < level.max() < 1.0
    heard_s = np.flatnonzero(level > level.max() / 30) / SAMPLE_RATE_HZ
    seconds_per_sound = (heard_s[-1] - heard_s[0]) / sum(map(str.isalpha, phonemes))
    assert MIN_S < seconds_per_sound < MAX_S
