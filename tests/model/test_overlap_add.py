"""Unit: compares the inverse transform with torch's."""

import pytest
import torch

from kokoro_trio.model.overlap_add import InverseTransform

WINDOW = torch.hann_window(20)
HOP = 5


def spectra(n_columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(7)
    return torch.rand(3, n_columns, 11), torch.randn(3, n_columns, 11)


@pytest.mark.parametrize("n_columns", [2, 3, 5, 200])
def test_equals_torch_istft(n_columns: int) -> None:
    magnitude, phase = spectra(n_columns)
    expected = torch.istft(torch.polar(magnitude, phase).transpose(1, 2), 20, HOP, window=WINDOW)
    samples = InverseTransform(WINDOW, HOP)(magnitude, phase)
    torch.testing.assert_close(samples, expected, atol=1e-6, rtol=0)


def test_masked_row_equals_the_row_alone() -> None:
    magnitude, phase = spectra(40)
    inverse = InverseTransform(WINDOW, HOP)
    lengths = [40, 17, 2]
    mask = (torch.arange(40) < torch.tensor(lengths)[:, None])[..., None]
    samples = inverse(magnitude, phase, mask)
    assert samples.isfinite().all()
    for row, n in enumerate(lengths):
        alone = inverse(magnitude[row : row + 1, :n], phase[row : row + 1, :n])[0]
        torch.testing.assert_close(samples[row, : len(alone)], alone)


def test_hop_that_does_not_divide_the_window_raises() -> None:
    with pytest.raises(ValueError, match="hop of 4"):
        InverseTransform(WINDOW, 4)
