"""Pure: how the silence at the head of a request's audio is measured."""

import numpy as np
import pytest

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.speech import SAMPLE_RATE_HZ


def test_pause_without_samples_counts_as_head_silence() -> None:
    silence = HeadSilence()
    silence.feed_silence(20.0)
    assert silence.seconds is None
    silence.feed(np.array([0.0, 0.5], np.float32))
    silence.feed_silence(1.0)
    assert silence.seconds == 20.0 + 1 / 24_000


def test_head_silence_is_counted_over_pieces_up_to_the_first_audible_sample() -> None:
    silence = HeadSilence()
    silence.feed(np.zeros(SAMPLE_RATE_HZ, np.float32))
    assert silence.seconds is None
    silence.feed(np.array([0.0, 0.0101, 1.0], np.float32))
    silence.feed(np.zeros(100, np.float32))
    assert silence.seconds == 1 + 1 / SAMPLE_RATE_HZ


@pytest.mark.parametrize("audible", [328, -328, 32767, -32768])
def test_int16_has_the_same_threshold(audible: int) -> None:
    silence = HeadSilence()
    silence.feed(np.array([327, -327], np.int16))
    assert silence.seconds is None
    silence.feed(np.array([audible], np.int16))
    assert silence.seconds == 2 / SAMPLE_RATE_HZ


def test_audio_below_the_threshold_has_no_head_silence() -> None:
    silence = HeadSilence()
    silence.feed(np.full(100, 0.0099, np.float32))
    assert silence.seconds is None
