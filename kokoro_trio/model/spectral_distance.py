"""The log-spectral distance (LSD) of two sounds over mel bands, in dB. Pure."""

import numpy as np
from numpy.typing import NDArray

from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples

N_FFT, HOP = 1024, 256
N_MELS = 80
POWER_FLOOR = 1e-8
"""−80 dB of a full-scale bin: differences below it are inaudible."""


def log_spectral_distance_db(one: Samples, other: Samples) -> float:
    """The root mean square over bands of the difference in dB, averaged over time.

    Both have the same length. Another seed of the excitation's noise changes about 0.5 dB.
    """
    difference = log_mel_db(one) - log_mel_db(other)
    return float(np.sqrt(np.square(difference).mean(axis=1)).mean())


def log_mel_db(samples: Samples) -> NDArray[np.float64]:
    """Shape (frames, 80)."""
    padded = np.pad(samples.astype(np.float64), N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP] * np.hanning(N_FFT)
    power = np.abs(np.fft.rfft(frames) / N_FFT) ** 2
    decibels: NDArray[np.float64] = 10 * np.log10(power @ mel_filters().T + POWER_FLOOR)
    return decibels


def mel_filters() -> NDArray[np.float64]:
    """Triangles on the mel scale 2595·log10(1 + f/700), shape (80, 513)."""
    top_mel = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, N_MELS + 2) / 2595) - 1)
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)
    rising = (bins_hz - edges_hz[:-2, None]) / (edges_hz[1:-1] - edges_hz[:-2])[:, None]
    falling = (edges_hz[2:, None] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])[:, None]
    filters: NDArray[np.float64] = np.clip(np.minimum(rising, falling), 0, None)
    return filters
