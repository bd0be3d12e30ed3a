"""Pure: the times of a request, and WAV files."""

import wave
from pathlib import Path

import numpy as np

from kokoro_trio.client import Arrival, Timing, save_wav


def test_timing_of_a_request() -> None:
    arrivals = [Arrival(10.25, 480), Arrival(10.26, 24_000 - 480)]
    timing = Timing.of(10.0, arrivals, 0.3, 10.5)
    assert timing == Timing(ttfb_s=0.25, ttfa_s=0.55, wall_s=0.5, audio_s=1.0)
    assert (timing.rtf, timing.xrt) == (0.5, 2.0)
    assert str(timing) == ("TTFB 250 ms, TTFA 550 ms, time 0.50 s, audio 1.00 s, RTF 0.500, xRT 2.00")


def test_timing_without_audio() -> None:
    timing = Timing.of(10.0, [], None, 10.5)
    assert str(timing) == "TTFB - ms, TTFA - ms, time 0.50 s, audio 0.00 s, RTF -, xRT -"


def test_wav_file_holds_the_samples(tmp_path: Path) -> None:
    samples = np.array([0, 1, -32768, 32767], np.int16)
    save_wav(tmp_path / "x.wav", samples)
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert np.frombuffer(file.readframes(10), "<i2").tolist() == samples.tolist()
