"""Pure: the shapes of batches, and the positions of windows in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.model.batching import (
    GROW_AFTER,
    ROWS,
    TOKEN_BUCKETS,
    BatchLimit,
    BatchShape,
    Stretch,
    token_bucket,
)
from kokoro_trio.model.windowing import CONTEXT_FRAMES, SHAPES
from kokoro_trio.speech import MAX_SEGMENT_PHONEMES


def test_every_line_length_has_a_bucket() -> None:
    assert {token_bucket(n) for n in range(1, MAX_SEGMENT_PHONEMES + 3)} == set(TOKEN_BUCKETS)
    assert (token_bucket(64), token_bucket(65)) == (64, 128)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=ROWS[-1]), st.sampled_from(SHAPES))
def test_every_batch_has_a_shape(lengths: list[int], frames: int) -> None:
    shape = BatchShape.of(lengths, frames)
    assert shape.rows in ROWS
    assert len(lengths) <= shape.rows < 2 * len(lengths)
    assert shape.frames == frames
    assert shape.is_masked == any(n < frames + 2 * CONTEXT_FRAMES for n in lengths)


def test_more_windows_than_rows_raise() -> None:
    with pytest.raises(ValueError, match="33 windows"):
        BatchShape.of([100] * 33, 24)


def test_waste_counts_padding_rows_and_frames() -> None:
    shape = BatchShape.of([100, 100, 100], 24)
    assert shape.waste([24] * 4) == 0
    assert shape.waste([24, 24, 24]) == pytest.approx(1 / 4)
    assert shape.waste([24, 24, 9]) == pytest.approx(1 - (24 + 24 + 9 + 3 * 6) / (4 * 30))


@given(st.data(), st.integers(1, 400), st.sampled_from(SHAPES), st.integers(0, 5), st.booleans())
def test_stretch_surrounds_its_window(
    data: st.DataObject, n_total: int, n_frames: int, context: int, is_static: bool
) -> None:
    start = data.draw(st.integers(0, max(0, n_total - n_frames)))
    stretch = Stretch.around(start, n_frames, context, n_total, is_static)
    assert 0 <= stretch.start <= start
    assert stretch.end >= min(start + n_frames, n_total)
    length = stretch.end - stretch.start
    wanted = n_frames + 2 * context
    assert length == (wanted if is_static else min(wanted, n_total))
    assert stretch.real(n_total) == min(length, n_total)
    # Each side has its context, or is an end of the segment.
    assert start - stretch.start >= context or stretch.start == 0
    assert stretch.end - (start + n_frames) >= context or stretch.end >= n_total


def test_batch_limit_halves_and_recovers_after_many_steps() -> None:
    limit = BatchLimit(12)
    for n_rows, now in ((10, 5), (5, 2), (1, 1), (1, 1)):
        limit.too_many(n_rows)
        assert limit.now == now
    grown = []
    for _ in range(5):
        for _ in range(GROW_AFTER - 1):
            limit.went_well()
        before = limit.now
        limit.went_well()
        grown.append((before, limit.now))
    assert grown == [(1, 2), (2, 4), (4, 8), (8, 12), (12, 12)]


def test_batch_limit_that_fails_again_waits_as_long_again() -> None:
    limit = BatchLimit(8)
    limit.too_many(8)
    for _ in range(GROW_AFTER - 1):
        limit.went_well()
    limit.too_many(4)
    limit.went_well()
    assert limit.now == 2
