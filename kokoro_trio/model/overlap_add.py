"""The inverse short-time Fourier transform of rows of different lengths.

Its results equal those of `torch.istft` with centred windows, up to rounding. It takes spectra in the layout
of the vocoder's last convolution, and never reads a value from the device, so a CUDA graph can capture it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ENVELOPE = 1e-11


class InverseTransform:
    def __init__(self, window: Tensor, hop: int) -> None:
        """The hop must divide half the window."""
        if len(window) % (2 * hop):
            raise ValueError(f"a hop of {hop} does not divide half a window of {len(window)}")
        self._window = window
        self._hop = hop

    def __call__(self, magnitude: Tensor, phase: Tensor, mask: Tensor | None = None) -> Tensor:
        """Converts two tensors (batch, columns, bins) to samples (batch, hop · (columns − 1)).

        `mask`: (batch, columns, 1), False past the end of a row. The samples before it equal those of the
        row alone.
        """
        frames = torch.fft.irfft(torch.polar(magnitude, phase), n=len(self._window)) * self._window
        weights = self._window.square().expand(1, frames.shape[1], -1)
        if mask is not None:
            frames, weights = frames * mask, weights * mask
        return self._overlapped(frames) / self._overlapped(weights).clamp(min=MIN_ENVELOPE)

    def _overlapped(self, frames: Tensor) -> Tensor:
        """The overlap-add of frames, without half a window at both ends."""
        batch, n_columns, n_window = frames.shape
        n_hops = n_window // self._hop
        hops = frames.view(batch, n_columns, n_hops, self._hop)
        shifted = (F.pad(hops[:, :, n], (0, 0, n, n_hops - 1 - n)) for n in range(n_hops))
        total = sum(shifted, start=frames.new_zeros(1))
        return total[:, n_hops // 2 : n_hops // 2 + n_columns - 1].reshape(batch, -1)
