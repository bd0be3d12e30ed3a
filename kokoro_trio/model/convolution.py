"""Convolutions over time, channels last: (batch, time, channels) in and out.

Matrix products need channels last, and most of the vocoder's convolutions are fastest in it: on two cores
with AVX2, 13 of 16 shapes were 1.1 to 2.2 times as fast as in the plain layout, and the others about equal.
`SpectralConvolution` needs fewer multiplications: on the same cores kernels of 7 and 11 took mostly a third
to nine tenths of the time, and the error is no larger.
"""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

TILE_COLUMNS = 14
"""The columns that `SpectralConvolution` computes from one transform. Longer tiles save multiplications, but
cost more to transform and waste more in the last tile. From 16 to 48 columns per tile the times differed less
than between runs."""
MAX_VALUES = 2**19
"""The input values that `SpectralConvolution` processes at once, so that its products stay in the cache. This
saves a quarter to a third of the time at 128 channels and 160 frames (two cores with AVX-512)."""
MIN_SPECTRAL_KERNEL = 7
"""The smallest kernel that is spectral without being timed. A kernel of 3 is rarely faster."""

TorchConvolution = nn.Conv1d | nn.ConvTranspose1d


class Method(StrEnum):
    """How a convolution is computed. Input and output are float32 in each case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    SPECTRAL = "spectral"


@frozen
class Workload:
    """A convolution, and the number of its input columns per frame of speech."""

    conv: TorchConvolution
    columns_per_frame: int


ChooseMethods = Callable[[Sequence[Workload]], Sequence[Method]]
"""Returns one method per workload."""


class Convolution(Protocol):
    """Takes and returns (batch, time, channels) in float32. Columns before and after are zero."""

    def __call__(self, x: Tensor) -> Tensor: ...


def convolution_of(conv: TorchConvolution, method: Method) -> Convolution:
    if method is Method.SPECTRAL:
        return SpectralConvolution(conv)
    return DirectConvolution(conv, torch.bfloat16 if method is Method.BFLOAT16 else torch.float32)


def methods_in(dtype: torch.dtype) -> ChooseMethods:
    """Chooses `dtype` for all, and in float32 on the CPU the spectral method for large kernels."""

    def method_of(conv: TorchConvolution) -> Method:
        if dtype == torch.bfloat16:
            return Method.BFLOAT16
        is_large = has_spectral(conv) and conv.kernel_size[0] >= MIN_SPECTRAL_KERNEL
        return Method.SPECTRAL if is_large and conv.weight.device.type == "cpu" else Method.FLOAT32

    return lambda workloads: [method_of(workload.conv) for workload in workloads]


def has_spectral(conv: TorchConvolution) -> bool:
    """Whether `SpectralConvolution` supports this convolution."""
    kernel, dilation = conv.kernel_size[0], conv.dilation[0]
    keeps_length = conv.stride[0] == 1 and conv.padding[0] == (kernel - 1) * dilation // 2
    return isinstance(conv, nn.Conv1d) and keeps_length and kernel % 2 == 1


class DirectConvolution:
    """Any convolution with one group. Multiplies in `dtype`, by default that of its weights."""

    def __init__(self, conv: TorchConvolution, dtype: torch.dtype | None = None) -> None:
        # An image of one row, because torch has no channels-last format for sequences.
        weight = conv.weight.detach()[:, :, None].to(dtype)
        self._dtype = weight.dtype
        self._convolve = partial(
            F.conv_transpose2d if isinstance(conv, nn.ConvTranspose1d) else F.conv2d,
            weight=weight.contiguous(memory_format=torch.channels_last),
            bias=None if conv.bias is None else conv.bias.detach().to(weight.dtype),
            stride=(1, conv.stride[0]),
            padding=(0, int(conv.padding[0])),
            dilation=(1, conv.dilation[0]),
        )

    def __call__(self, x: Tensor) -> Tensor:
        out = self._convolve(x.to(self._dtype).transpose(1, 2)[:, :, None])
        return out[:, :, 0].transpose(1, 2).to(x.dtype).contiguous()


class SpectralConvolution:
    """Computes an `nn.Conv1d` of stride 1 that keeps the length, by the convolution theorem, in float32.

    Overlap-save: the columns are cut into overlapping tiles of N = kernel − 1 + `TILE_COLUMNS`. A matrix
    product computes the real discrete Fourier transform of each tile, which is multiplied by the transformed
    kernel and transformed back; the columns that wrapped around are dropped. A convolution of dilation d is
    computed as d interleaved ones.

    A complex product (a + ib)(x + iy) needs three real products (Gauss): k1 = a(x + y), k2 = x(b − a),
    k3 = y(a + b); its parts are k1 − k3 and k1 + k2. The transforms include the sums, so each of 3N/2 − 1
    planes needs one real matrix product over the channels.
    """

    def __init__(self, conv: TorchConvolution) -> None:
        if not has_spectral(conv):
            raise ValueError(f"{conv} has an even kernel, or does not keep the length")
        weight = conv.weight.detach()
        self._kernel, self._dilation = conv.kernel_size[0], conv.dilation[0]
        self._n_tile = self._kernel - 1 + TILE_COLUMNS
        device = weight.device
        self._planes = _kernel_planes(weight, self._n_tile).to(device, torch.float32)
        self._forth = _forth(self._n_tile).to(device, torch.float32)
        self._back = _back(self._n_tile)[:TILE_COLUMNS].to(device, torch.float32).contiguous()
        self._bias = None if conv.bias is None else conv.bias.detach().float()

    def __call__(self, x: Tensor) -> Tensor:
        batch, n_columns, channels = x.shape
        stride = TILE_COLUMNS * self._dilation
        n_tiles = math.ceil(n_columns / stride)
        reach = (self._kernel - 1) * self._dilation
        padded = F.pad(x, (0, 0, reach // 2, n_tiles * stride + reach - reach // 2 - n_columns))
        out = x.new_empty(batch, n_tiles, TILE_COLUMNS, self._dilation, self._planes.shape[2])
        n_block = max(1, MAX_VALUES // (batch * stride * channels))
        for first in range(0, n_tiles, n_block):
            block = out[:, first : first + n_block]
            block.permute(2, 0, 1, 3, 4).copy_(self._convolved(padded[:, first * stride :], block.shape[1]))
        out = out.view(batch, n_tiles * stride, -1)[:, :n_columns]
        return out if self._bias is None else out + self._bias

    def _convolved(self, padded: Tensor, n_tiles: int) -> Tensor:
        """The convolution of the first tiles: (tile columns, batch, tiles, dilation, channels)."""
        batch, _, channels = padded.shape
        row = self._dilation * channels
        tiles = padded.as_strided(
            (self._n_tile, batch, n_tiles, row),
            (row, padded.stride(0), TILE_COLUMNS * row, 1),
            padded.storage_offset(),
        )
        spectra = self._forth @ tiles.reshape(self._n_tile, -1)
        n_planes, _, n_out = self._planes.shape
        products = torch.bmm(spectra.view(n_planes, -1, channels), self._planes)
        return (self._back @ products.view(n_planes, -1)).view(
            TILE_COLUMNS, batch, n_tiles, self._dilation, n_out
        )


# The real discrete Fourier transform of N columns, as planes: bins 0 and N/2 (both real), then x + y of the
# bins between, their x, and their y. These matrices are computed once, in float64.


def _angles(n_tile: int) -> Tensor:
    """2πhn/N: shape (N/2 + 1, N)."""
    bins = torch.arange(n_tile // 2 + 1, dtype=torch.float64)
    return 2 * math.pi / n_tile * bins[:, None] * torch.arange(n_tile, dtype=torch.float64)


def _forth(n_tile: int) -> Tensor:
    """Transforms columns to the planes of their spectrum: shape (planes, N)."""
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
    """The factor of each plane: shape (planes, channels in, channels out).

    `nn.Conv1d` correlates, so a + ib is the conjugate of the kernel's spectrum.
    """
    n_out, n_in, kernel = weight.shape
    a, b = torch.cos(_angles(n_tile))[:, :kernel], torch.sin(_angles(n_tile))[:, :kernel]
    inner = slice(1, n_tile // 2)
    transform = torch.cat([a[[0, -1]], a[inner], (b - a)[inner], (a + b)[inner]]).to(weight.device)
    columns = weight.permute(2, 1, 0).double().reshape(kernel, -1)
    return (transform @ columns).view(-1, n_in, n_out)


def _back(n_tile: int) -> Tensor:
    """Transforms the products k1, k2, k3 of the planes to columns: shape (N, planes)."""
    cos, sin = torch.cos(_angles(n_tile)).T, torch.sin(_angles(n_tile)).T
    inner = slice(1, n_tile // 2)
    of_k1 = 2 * (cos - sin)[:, inner]
    of_k2 = -2 * sin[:, inner]
    of_k3 = -2 * cos[:, inner]
    return torch.cat([cos[:, [0, -1]], of_k1, of_k2, of_k3], dim=1) / n_tile
