"""The excitation that the vocoder shapes: harmonics of F0 where there is a voice, noise everywhere.

The harmonic-plus-noise source of Wang et al. (2019) as `kokoro.istftnet` has it, with two savings. Each
of the nine sines gets its own Gaussian noise there and their weighted sum goes on, which is Gaussian too:
one draw a sample does, of a ninth of the numbers. And the sums of phases are made at the 80 Hz that F0
comes in, instead of thinning out what was spread over 24,000 samples a second before.
"""

import torch
import torch.nn.functional as F
from kokoro.istftnet import Generator  # type: ignore[import-untyped]
from torch import Tensor

from kokoro_trio.speech import SAMPLE_RATE_HZ

SAMPLES_PER_COLUMN = 300
"""F0 has two columns a frame."""


class HarmonicSource:
    """Always float32, and for a whole segment at once: phase runs on through all of it."""

    def __init__(self, generator: Generator) -> None:
        merge, sines = generator.m_source.l_linear, generator.m_source.l_sin_gen
        self._weight, self._bias = merge.weight.detach()[0], merge.bias.detach()
        self._sine_level, self._voiced_noise = sines.sine_amp, sines.noise_std
        self._voiced_above_hz = sines.voiced_threshold
        self._stft = generator.stft

    def spectrum(self, f0_hz: Tensor) -> Tensor:
        """Magnitudes and phases of 11 bins: (1, 2T) → (1, 120T + 1, 22)."""
        magnitude, phase = self._stft.transform(self.excitation(f0_hz))
        return torch.cat([magnitude, phase], dim=1).transpose(1, 2).contiguous()

    def excitation(self, f0_hz: Tensor) -> Tensor:
        """Samples: (1, 2T) → (1, 600T). Draws from torch's global generator."""
        f0_per_sample = f0_hz.repeat_interleave(SAMPLES_PER_COLUMN, dim=1)
        is_voiced = (f0_per_sample > self._voiced_above_hz).float()
        noise_level = is_voiced * self._voiced_noise + (1 - is_voiced) * self._sine_level / 3
        noise = torch.randn_like(noise_level) * noise_level * self._weight.norm()
        return torch.tanh(self._harmonics(f0_hz) * is_voiced + noise + self._bias)

    def _harmonics(self, f0_hz: Tensor) -> Tensor:
        """The weighted sum of the fundamental and its overtones: (1, 600T)."""
        orders = torch.arange(1, len(self._weight) + 1, device=f0_hz.device)[:, None]
        turns_per_sample = (f0_hz[:, None] * orders / SAMPLE_RATE_HZ) % 1
        phases = torch.cumsum(turns_per_sample, dim=2) * 2 * torch.pi
        spread = F.interpolate(phases * SAMPLES_PER_COLUMN, scale_factor=SAMPLES_PER_COLUMN, mode="linear")
        merged: Tensor = (self._weight * self._sine_level) @ spread.sin_()
        return merged
