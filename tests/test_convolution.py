"""Pure: convolutions channels last, held against torch's own in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kokoro_trio.model.convolution import (
    TILE_COLUMNS,
    Convolution,
    DirectConvolution,
    SpectralConvolution,
    convolution_of,
)


def conv1d(
    kernel: int, dilation: int = 1, *, channels: tuple[int, int] = (6, 4), bias: bool = True, stride: int = 1
) -> nn.Conv1d:
    torch.manual_seed(kernel + dilation)
    padding = (kernel - 1) * dilation // 2
    return nn.Conv1d(*channels, kernel, stride, padding=padding, dilation=dilation, bias=bias)


def assert_is(convolution: Convolution, conv: nn.Conv1d, x: Tensor) -> None:
    with torch.inference_mode():
        got = convolution(x)
        expected = conv.double()(x.double().transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)


@given(
    st.sampled_from([1, 3, 7, 11]),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 3),
    st.integers(1, 10 * TILE_COLUMNS),
    st.booleans(),
)
def test_by_their_spectra(kernel: int, dilation: int, batch: int, n_columns: int, bias: bool) -> None:
    conv = conv1d(kernel, dilation, bias=bias)
    assert_is(SpectralConvolution(conv), conv, torch.randn(batch, n_columns, 6))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [(6, 4), (1, 4), (6, 1)])
@pytest.mark.parametrize("n_columns", [1, 50])
def test_directly(stride: int, channels: tuple[int, int], n_columns: int) -> None:
    conv = conv1d(5, channels=channels, stride=stride)
    assert_is(DirectConvolution(conv), conv, torch.randn(2, n_columns, channels[0]))


def test_a_row_does_not_hear_the_other() -> None:
    convolution = SpectralConvolution(conv1d(11, 3))
    x = torch.randn(2, 100, 6)
    loud = torch.stack([x[0], 1e6 * x[1]])
    with torch.inference_mode():
        torch.testing.assert_close(convolution(loud)[0], convolution(x)[0])


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        SpectralConvolution(nn.Conv1d(2, 2, 4))


@pytest.mark.parametrize(
    ("kernel", "dtype", "kind"),
    [
        (11, torch.float32, SpectralConvolution),
        (3, torch.float32, DirectConvolution),
        (11, torch.bfloat16, DirectConvolution),
    ],
)
def test_which_it_is(kernel: int, dtype: torch.dtype, kind: type) -> None:
    assert isinstance(convolution_of(conv1d(kernel), dtype), kind)
