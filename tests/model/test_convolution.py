"""Pure: compares channels-last convolutions with torch's in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kokoro_trio.model import convolution
from kokoro_trio.model.convolution import (
    TILE_COLUMNS,
    Convolution,
    DirectConvolution,
    Method,
    SpectralConvolution,
    TorchConvolution,
    Workload,
    convolution_of,
    methods_in,
)


def conv1d(
    kernel: int, dilation: int = 1, *, channels: tuple[int, int] = (6, 4), bias: bool = True, stride: int = 1
) -> nn.Conv1d:
    torch.manual_seed(kernel + dilation)
    padding = (kernel - 1) * dilation // 2
    return nn.Conv1d(*channels, kernel, stride, padding=padding, dilation=dilation, bias=bias)


def assert_is(computed: Convolution, conv: TorchConvolution, x: Tensor) -> None:
    with torch.inference_mode():
        got = computed(x)
        expected = conv.double()(x.double().transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)


@given(
    st.sampled_from([1, 3, 7, 11]),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 3),
    st.integers(1, 10 * TILE_COLUMNS),
    st.booleans(),
)
def test_spectral_convolution_equals_torch(
    kernel: int, dilation: int, batch: int, n_columns: int, bias: bool
) -> None:
    conv = conv1d(kernel, dilation, bias=bias)
    assert_is(SpectralConvolution(conv), conv, torch.randn(batch, n_columns, 6))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [(6, 4), (1, 4), (6, 1)])
@pytest.mark.parametrize("n_columns", [1, 50])
def test_direct_convolution_equals_torch(stride: int, channels: tuple[int, int], n_columns: int) -> None:
    conv = conv1d(5, channels=channels, stride=stride)
    assert_is(DirectConvolution(conv), conv, torch.randn(2, n_columns, channels[0]))


@pytest.mark.parametrize("channels", [(6, 4), (1, 4), (6, 1)])
@pytest.mark.parametrize("n_columns", [1, 50])
def test_upsampling_equals_torch(channels: tuple[int, int], n_columns: int) -> None:
    torch.manual_seed(7)
    conv = nn.ConvTranspose1d(*channels, 6, 2, padding=2)
    assert_is(DirectConvolution(conv), conv, torch.randn(2, n_columns, channels[0]))


@pytest.mark.parametrize("conv", [conv1d(11, 3), nn.ConvTranspose1d(6, 4, 6, 2, padding=2)])
def test_bfloat16_rounds_factors_and_results_only(conv: TorchConvolution) -> None:
    """Sums, input and output are float32, so the error does not grow with the number of terms."""
    x = torch.randn(2, 100, 6)
    with torch.inference_mode():
        expected = convolution_of(conv, Method.FLOAT32)(x)
        got = convolution_of(conv, Method.BFLOAT16)(x)
    assert got.dtype == torch.float32
    assert 0 < (got - expected).square().mean().sqrt() / expected.square().mean().sqrt() < 2**-7


@pytest.mark.parametrize("max_values", [1, 6 * 3 * TILE_COLUMNS * 7])
def test_long_input_is_convolved_in_blocks(monkeypatch: pytest.MonkeyPatch, max_values: int) -> None:
    monkeypatch.setattr(convolution, "MAX_VALUES", max_values)
    conv = conv1d(7, 3)
    assert_is(SpectralConvolution(conv), conv, torch.randn(2, 1000, 6))


def test_rows_of_a_batch_are_independent() -> None:
    spectral = SpectralConvolution(conv1d(11, 3))
    x = torch.randn(2, 100, 6)
    loud = torch.stack([x[0], 1e6 * x[1]])
    with torch.inference_mode():
        torch.testing.assert_close(spectral(loud)[0], spectral(x)[0])


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv1d(2, 2, 4, padding=2),
        nn.Conv1d(2, 2, 3),
        nn.Conv1d(2, 2, 3, 2, padding=1),
        nn.ConvTranspose1d(2, 2, 3, padding=1),
    ],
)
def test_convolution_that_changes_the_length_is_never_spectral(conv: TorchConvolution) -> None:
    with pytest.raises(ValueError, match="keep the length"):
        SpectralConvolution(conv)


@pytest.mark.parametrize(
    ("kernel", "dtype", "method"),
    [
        (11, torch.float32, Method.SPECTRAL),
        (3, torch.float32, Method.FLOAT32),
        (11, torch.bfloat16, Method.BFLOAT16),
    ],
)
def test_default_methods_without_timing(kernel: int, dtype: torch.dtype, method: Method) -> None:
    assert list(methods_in(dtype)([Workload(conv1d(kernel), 20)])) == [method]
