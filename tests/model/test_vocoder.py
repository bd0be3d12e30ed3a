"""Unit: windows of a small vocoder equal the whole segment, in any batch and shape."""

import pytest
import torch

from kokoro_trio.model.vocoder import Affine, Material, VocoderHalf
from kokoro_trio.speech import FRAME_SAMPLES
from tests.support.vocoders import affine, material, small_vocoder

LENGTHS = (8, 20, 27, 33, 34, 35, 60)
"""Lengths of segments: below a window, below one with its context, equal to it, and above."""
N_FRAMES = 24


@pytest.fixture(scope="module")
def half() -> VocoderHalf:
    return small_vocoder()


@pytest.fixture(scope="module")
@torch.inference_mode()
def wholes(half: VocoderHalf) -> list[torch.Tensor]:
    """Each segment alone, in one window."""
    return [half.windows([material(n, n)], [affine(n)], [0], n)[0] for n in LENGTHS]


@pytest.mark.parametrize("wanted", [0, 1, 5, 11, 30, 60])
@torch.inference_mode()
def test_windows_of_any_length_equal_single_ones(
    half: VocoderHalf, wholes: list[torch.Tensor], wanted: int
) -> None:
    starts = [max(0, min(wanted, n - N_FRAMES)) for n in LENGTHS]
    materials, affines = [material(n, n) for n in LENGTHS], [affine(n) for n in LENGTHS]
    batch = half.batch(materials, affines, starts, N_FRAMES, is_static=True)
    assert batch.is_masked
    samples = half.vocode(batch)
    assert samples.shape == (len(LENGTHS), N_FRAMES * FRAME_SAMPLES)
    for row, start, whole in zip(samples, starts, wholes, strict=True):
        expected = whole[start * FRAME_SAMPLES :][: N_FRAMES * FRAME_SAMPLES]
        assert expected.std() > 1e-3
        torch.testing.assert_close(row[: len(expected)], expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_mask_only_for_short_segments(half: VocoderHalf) -> None:
    for n_segment, is_masked in ((33, True), (34, False)):
        batch = half.batch([material(n_segment)], [affine()], [5], N_FRAMES, is_static=True)
        assert batch.is_masked is is_masked
        assert batch.decoded.shape[1] == 2 * 34


@pytest.mark.parametrize("n_segment", [60, 10])
@torch.inference_mode()
def test_vocoder_reads_no_values_from_the_device(n_segment: int) -> None:
    """Required for CUDA graphs. Tensors on the device "meta" have only shapes."""
    half = small_vocoder("meta")
    known, smoothed = material(n_segment), affine()
    there = Material(known.decoded.to("meta"), known.source.to("meta"), known.style.to("meta"))
    batch = half.batch(
        [there], [Affine(smoothed.scale.to("meta"), smoothed.shift.to("meta"))], [0], N_FRAMES, is_static=True
    )
    samples = half.vocode(batch)
    assert samples.device.type == "meta"
    assert samples.shape == (1, N_FRAMES * FRAME_SAMPLES)
