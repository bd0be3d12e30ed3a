"""Convolutions over time, channels last: (batch, time, channels) in and out.

Channels last is what most of the vocoder's convolutions are fastest in (for 13 of 16 shapes 1.1 to 2.2
times the plain layout, on two noisy cores with AVX2; the rest about equal or a little slower), and what
matrix products want. `SpectralConvolution` needs fewer multiplications: on the same cores it mostly took
a third to nine tenths of the time for kernels of 7 and 11, and its error is no larger.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE_COLUMNS = 14
"""What `SpectralConvolution` makes from one transform. Longer ones save multiplications, but cost more to
transform, and waste more where the columns do not fill them. Between tiles of 16 and 48 columns the times
differed less than from run to run."""
MIN_SPECTRAL_KERNEL = 7
"""A kernel of 3 is not faster that way."""


class Convolution(Protocol):
    """Keeps the length: zeros are taken to be around (batch, time, channels)."""

    def __call__(self, x: Tensor) -> Tensor: ...


def convolution_of(conv: nn.Conv1d, dtype: torch.dtype) -> Convolution:
    """The fastest way to do what `conv` does, on the device where its weights are."""
    is_on_cpu = conv.weight.device.type == "cpu"
    if is_on_cpu and dtype == torch.float32 and conv.kernel_size[0] >= MIN_SPECTRAL_KERNEL:
        return SpectralConvolution(conv)
    return DirectConvolution(conv, dtype)


class DirectConvolution:
    """Any `nn.Conv1d` of one group, in `dtype` or in that of its weights."""

    def __init__(self, conv: nn.Conv1d, dtype: torch.dtype | None = None) -> None:
        # As an image of one row, because there is no channels-last format for sequences.
        weight = conv.weight.detach()[:, :, None].to(dtype)
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = None if conv.bias is None else conv.bias.detach().to(dtype)
        self._stride, self._padding, self._dilation = (
            (1, conv.stride[0]),
            (0, int(conv.padding[0])),
            (1, conv.dilation[0]),
        )

    def __call__(self, x: Tensor) -> Tensor:
        image = x.transpose(1, 2)[:, :, None]
        out = F.conv2d(image, self._weight, self._bias, self._stride, self._padding, self._dilation)
        return out[:, :, 0].transpose(1, 2).contiguous()


class SpectralConvolution:
    """An `nn.Conv1d` of stride 1 that keeps the length, by the convolution theorem, in float32.

    The columns are cut into overlapping tiles of N = kernel − 1 + `TILE_COLUMNS`, each is transformed
    (a real discrete Fourier transform, as a matrix product), multiplied with the transformed kernel,
    and transformed back; the columns that did not wrap around are kept (overlap-save). A dilation of d
    is d interleaved convolutions without one.

    A complex product (a + ib)(x + iy) takes three real ones, as Gauss found:
    k1 = a(x + y), k2 = x(b − a), k3 = y(a + b); its parts are k1 − k3 and k1 + k2. The sums are part of the
    transforms, so for each of 3N/2 − 1 planes there is one real matrix product over the channels.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        weight = conv.weight.detach()
        self._kernel, self._dilation = conv.kernel_size[0], conv.dilation[0]
        self._n_tile = self._kernel - 1 + TILE_COLUMNS
        if self._n_tile % 2:
            raise ValueError(f"the kernel must be of an odd size, not {self._kernel}")
        device = weight.device
        self._planes = _kernel_planes(weight, self._n_tile).to(device, torch.float32)
        self._forth = _forth(self._n_tile).to(device, torch.float32)
        self._back = _back(self._n_tile)[:TILE_COLUMNS].to(device, torch.float32).contiguous()
        self._bias = None if conv.bias is None else conv.bias.detach().float()

    def __call__(self, x: Tensor) -> Tensor:
        batch, n_columns, _ = x.shape
        n_tiles = math.ceil(n_columns / (TILE_COLUMNS * self._dilation))
        spectra = self._forth @ self._tiles(x, n_tiles)
        n_planes, _, n_out = self._planes.shape
        products = torch.bmm(spectra.view(n_planes, -1, x.shape[2]), self._planes)
        tiles = self._back @ products.view(n_planes, -1)
        out = tiles.view(TILE_COLUMNS, batch, n_tiles, self._dilation, n_out).permute(1, 2, 0, 3, 4)
        out = out.reshape(batch, -1, n_out)[:, :n_columns]
        return out if self._bias is None else out + self._bias

    def _tiles(self, x: Tensor, n_tiles: int) -> Tensor:
        """Shape (N, batch · tiles · dilation · channels): column n of each tile."""
        batch, n_columns, channels = x.shape
        reach = (self._kernel - 1) * self._dilation
        n_padded = n_tiles * TILE_COLUMNS * self._dilation + reach
        before = reach // 2
        padded = F.pad(x, (0, 0, before, n_padded - before - n_columns))
        row = self._dilation * channels
        tiles = padded.as_strided(
            (self._n_tile, batch, n_tiles, row), (row, n_padded * channels, TILE_COLUMNS * row, 1)
        )
        return tiles.reshape(self._n_tile, -1)


# The real discrete Fourier transform of N columns, as planes: bin 0, bin N/2 (both real), then for the
# bins between x + y, x and y of all. In float64, because they are made once.


def _angles(n_tile: int) -> Tensor:
    """2πhn/N: shape (N/2 + 1, N)."""
    bins = torch.arange(n_tile // 2 + 1, dtype=torch.float64)
    return 2 * math.pi / n_tile * bins[:, None] * torch.arange(n_tile, dtype=torch.float64)


def _forth(n_tile: int) -> Tensor:
    """From columns to the planes of their spectrum: shape (planes, N)."""
    real, imaginary = torch.cos(_angles(n_tile)), -torch.sin(_angles(n_tile))
    inner = slice(1, n_tile // 2)
    return torch.cat(
        [
            real[[0, -1]],
            real[inner] + imaginary[inner],
            real[inner],
            imaginary[inner],
        ]
    )


def _kernel_planes(weight: Tensor, n_tile: int) -> Tensor:
    """What each plane is multiplied with: shape (planes, channels in, channels out).

    `nn.Conv1d` correlates, so it is the conjugate of the kernel's spectrum.
    """
    spectrum = torch.fft.rfft(weight.double(), n=n_tile, dim=2).conj().permute(2, 1, 0)
    a, b = spectrum.real, spectrum.imag
    inner = slice(1, n_tile // 2)
    return torch.cat([a[[0, -1]], a[inner], (b - a)[inner], (a + b)[inner]])


def _back(n_tile: int) -> Tensor:
    """From the products k1, k2, k3 of the planes to columns: shape (N, planes)."""
    cos, sin = torch.cos(_angles(n_tile)).T, torch.sin(_angles(n_tile)).T
    inner = slice(1, n_tile // 2)
    of_k1 = 2 * (cos - sin)[:, inner]
    of_k2 = -2 * sin[:, inner]
    of_k3 = -2 * cos[:, inner]
    return torch.cat([cos[:, [0, -1]], of_k1, of_k2, of_k3], dim=1) / n_tile
