"""Computes the vocoder's excitation: harmonics of F0 in voiced frames, and noise.

This is the harmonic-plus-noise source of Wang et al. (2019), equal to that of `kokoro.istftnet` with two
savings. There each of nine sines gets Gaussian noise; the weighted sum is Gaussian too, so one draw per
sample suffices. And phases are summed at F0's rate of 80 Hz instead of 24 kHz.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from kokoro.istftnet import Generator  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kokoro_trio.speech import SAMPLE_RATE_HZ

SAMPLES_PER_COLUMN = 300
"""F0 has two columns a frame."""


class HarmonicSource:
    """Always float32 and for whole segments, because the phase is continuous through a segment."""

    def __init__(self, generator: Generator) -> None:
        merge, sines = generator.m_source.l_linear, generator.m_source.l_sin_gen
        self._weight, self._bias = merge.weight.detach()[0], merge.bias.detach()
        self._sine_level, self._voiced_noise = sines.sine_amp, sines.noise_std
        self._voiced_above_hz = sines.voiced_threshold
        self._stft = generator.stft

    def spectra(self, f0_hz: Sequence[Tensor]) -> list[Tensor]:
        """Magnitudes and phases of 11 bins. Converts (1, 2T) of each segment to (1, 120T + 1, 22)."""
        # Zeros keep the phase constant, so the padding does not change a row.
        excitation = self.excitation(pad_sequence([each[0] for each in f0_hz], batch_first=True))
        lengths = [SAMPLES_PER_COLUMN * each.shape[1] for each in f0_hz]
        magnitude, phase = self._stft.transform(
            _reflected(excitation, lengths, self._stft.filter_length // 2)
        )
        spectra = torch.cat([magnitude, phase], dim=1).transpose(1, 2).contiguous()
        return [spectra[row : row + 1, : n // self._stft.hop_length + 1] for row, n in enumerate(lengths)]

    def excitation(self, f0_hz: Tensor) -> Tensor:
        """Converts (batch, 2T) to samples (batch, 600T). Draws from torch's global generator."""
        f0_per_sample = f0_hz.repeat_interleave(SAMPLES_PER_COLUMN, dim=1)
        is_voiced = (f0_per_sample > self._voiced_above_hz).float()
        noise_level = is_voiced * self._voiced_noise + (1 - is_voiced) * self._sine_level / 3
        noise = torch.randn_like(noise_level) * noise_level * self._weight.norm()
        return torch.tanh(self._harmonics(f0_hz) * is_voiced + noise + self._bias)

    def _harmonics(self, f0_hz: Tensor) -> Tensor:
        """The weighted sum of the fundamental and its overtones: (batch, 600T)."""
        orders = torch.arange(1, len(self._weight) + 1, device=f0_hz.device)[:, None]
        turns_per_sample = (f0_hz[:, None] * orders / SAMPLE_RATE_HZ) % 1
        phases = torch.cumsum(turns_per_sample, dim=2) * 2 * torch.pi
        spread = F.interpolate(phases * SAMPLES_PER_COLUMN, scale_factor=SAMPLES_PER_COLUMN, mode="linear")
        merged: Tensor = (self._weight * self._sine_level) @ spread.sin_()
        return merged


def _reflected(x: Tensor, lengths: Sequence[int], n_reflected: int) -> Tensor:
    """Pads each row by reflection, in place, like the centred transform pads the longest one."""
    for row, n in enumerate(lengths):
        if n < x.shape[1]:
            x[row, n : n + n_reflected] = x[row, n - 1 - n_reflected : n - 1].flip(0)
    return x
