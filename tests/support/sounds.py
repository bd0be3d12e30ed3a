"""Test signals, encoders and decoders, and the similarity of sounds."""

import io
import os
import threading
from collections.abc import Callable, Sequence

import av
import numpy as np
from numpy.typing import NDArray

from kokoro_trio.audio.frames import AudioFrame, Encoder
from kokoro_trio.config import Config
from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples

STREAM = Config.of({"API_KEY": "k"}).stream


def chirp(seconds: float, rate_hz: int = SAMPLE_RATE_HZ) -> Samples:
    """Rises from 200 Hz to 1.7 kHz and more, within the band of every rate. No two parts are alike."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.4 * np.sin(2 * np.pi * (200 + 500 * t) * t)).astype(np.float32)


def encoded(encoder: Encoder, pieces: Sequence[Samples]) -> list[AudioFrame]:
    return [frame for piece in pieces for frame in encoder.push(piece)] + encoder.flush()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def assert_closing_leaves_nothing_open(make: Callable[[], Encoder], n_pieces: int) -> None:
    """Closes encoders twice, after `n_pieces` pieces."""
    n_files, n_threads = descriptors(), threading.active_count()
    for _ in range(20):
        encoder = make()
        for _ in range(n_pieces):
            encoder.push(chirp(0.1))
        encoder.close()
        encoder.close()
    assert descriptors() <= n_files
    # Idle threads of other tests may have ended.
    assert threading.active_count() <= n_threads


def likeness(one: NDArray[np.int16] | Samples, other: Samples) -> float:
    return float(np.corrcoef(one.astype(float), other)[0, 1])


MOST_ADDED_S = 0.1
"""The most silence that MP3 and AAC add at both ends. The other formats add none."""


def samples_in(file: bytes, audio_format: str) -> NDArray[np.float32]:
    """The decoded samples at 24 kHz, including added silence."""
    if audio_format == "pcm":
        return np.frombuffer(file, "<i2").astype(np.float32)
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ)
    with av.open(io.BytesIO(file), "r") as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def best_likeness(heard: Samples, said: Samples) -> float:
    """The likeness at the best alignment."""
    return max(
        likeness(heard[delay : delay + len(said)], said[: len(heard) - delay])
        for delay in range(max(1, len(heard) - len(said) + 1))
    )
