"""The inverse of a short-time Fourier transform, row by row as long as each is.

As `torch.istft` with centred windows, and equal to it to the last places, but for two things: spectra lie
beside each other in memory as the vocoder's last convolution leaves them, and it never asks the device
for a value, which a CUDA graph could not be captured with.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ENVELOPE = 1e-11


class InverseTransform:
    def __init__(self, window: Tensor, hop: int) -> None:
        """A hop must divide the half of the window."""
        if len(window) % (2 * hop):
            raise ValueError(f"a hop of {hop} does not divide half a window of {len(window)}")
        self._window = window
        self._hop = hop

    def __call__(self, magnitude: Tensor, phase: Tensor, mask: Tensor | None = None) -> Tensor:
        """Two tensors (batch, columns, bins) in, samples (batch, hop · (columns − 1)) out.

        `mask`: (batch, columns, 1), False from where on a row is over. Its samples up to there are those of
        the row alone.
        """
        frames = torch.fft.irfft(torch.polar(magnitude, phase), n=len(self._window)) * self._window
        weights = self._window.square().expand(1, frames.shape[1], -1)
        if mask is not None:
            frames, weights = frames * mask, weights * mask
        return self._overlapped(frames) / self._overlapped(weights).clamp(min=MIN_ENVELOPE)

    def _overlapped(self, frames: Tensor) -> Tensor:
        """The sum of frames each a hop after the other, without the half window at both ends."""
        batch, n_columns, n_window = frames.shape
        n_hops = n_window // self._hop
        hops = frames.view(batch, n_columns, n_hops, self._hop)
        shifted = (F.pad(hops[:, :, n], (0, 0, n, n_hops - 1 - n)) for n in range(n_hops))
        total = sum(shifted, start=frames.new_zeros(1))
        return total[:, n_hops // 2 : n_hops // 2 + n_columns - 1].reshape(batch, -1)
