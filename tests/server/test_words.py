"""With the real model: the times of words match the audio."""

from itertools import pairwise

import numpy as np
import pytest

from kokoro_trio.engine.timing import word_times
from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.speech import SAMPLE_RATE_HZ, Line, Samples, WordTime
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.reading import Sentence

VOICE = "af_aoede"
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Please call me back tomorrow morning, if you can.",
    "She sells sea shells by the sea shore.",
    "We will meet at the station, then walk home together.",
    "It was a bright cold day in April, and the clocks were striking.",
    "Could you tell me where the nearest hotel is?",
    "Good morning, this is your doctor speaking.",
    "I have never seen such a beautiful garden before.",
    "Open the window and let some fresh air in.",
    "Thank you for waiting, your order is ready now.",
]
AUDIBLE = 1 / 60
"""Relative to the loudest part of a sentence, −35 dB. A quieter voice counts as silent."""
HEARD_WITHIN_S = 0.05
AT_MOST_S = 0.1


def spoken(
    exact_kokoro: KokoroSynthesizer, g2p: GraphemeToPhoneme, text: str, voice: str
) -> tuple[Samples, list[WordTime]]:
    (segment,) = g2p.segments(Sentence.at(text), voice[0], 0)
    (prosody,) = exact_kokoro.prosody([Line(0, segment.phonemes, voice, 1.0)])
    (window,) = list(exact_kokoro.windows(prosody))
    (samples,) = exact_kokoro.vocode([window])
    return samples, word_times(segment, prosody.durations_frames.tolist(), window.start_frame, 0.0)


def loudness(samples: Samples) -> Samples:
    """Root mean square of every 10 ms around a sample."""
    n = SAMPLE_RATE_HZ // 100
    return np.sqrt(np.convolve(samples.astype(np.float64) ** 2, np.ones(n) / n, "same")).astype(np.float32)


@pytest.mark.model
def test_word_times_match_the_audio(exact_kokoro: KokoroSynthesizer, g2p: GraphemeToPhoneme) -> None:
    starts_off_s, ends_off_s, n_pauses = [], [], 0
    for text in SENTENCES:
        samples, times = spoken(exact_kokoro, g2p, text, VOICE)
        assert len(times) == len(text.split())
        loud = loudness(samples)
        heard_s = np.flatnonzero(loud > AUDIBLE * loud.max()) / SAMPLE_RATE_HZ
        starts_off_s.append(times[0].start_s - heard_s[0])
        ends_off_s.append(times[-1].end_s - heard_s[-1])
        for before, after in pairwise(times):
            if text[before.end_char - 1] == ",":
                # Even a short pause contains silence.
                start, end = before.end_s - HEARD_WITHIN_S, after.start_s + HEARD_WITHIN_S
                pause = loud[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)]
                assert pause.min() < loud.max() / 5
                n_pauses += 1
    assert n_pauses == 5
    for off_s in (starts_off_s, ends_off_s):
        assert np.median(np.abs(off_s)) <= HEARD_WITHIN_S
        assert np.abs(off_s).max() <= AT_MOST_S
