"""Chooses the shapes of batches. Pure: computes shapes and positions from lengths.

A GPU is fastest with few, repeated shapes: it chooses kernels by shape, and a captured graph has one shape.
So a batch has one of the numbers of rows in `ROWS` and windows of one length. Where a segment is shorter than
the stretch around its window, the rest of the row is masked.
"""

from collections.abc import Sequence

from attrs import Factory, define, field, frozen
from attrs.validators import ge

from kokoro_trio.model.windowing import CONTEXT_COST_FRAMES, CONTEXT_FRAMES

ROWS = (1, 2, 4, 8, 16, 32)
TOKEN_BUCKETS = (64, 128, 256, 512)
"""The prosody half batches lines of the same bucket. A much shorter line would be mostly padding, and would
wait for the longest one."""


def token_bucket(n_tokens: int) -> int:
    """The bucket of a line with this number of tokens, including padding tokens."""
    return next((bucket for bucket in TOKEN_BUCKETS if bucket >= n_tokens), n_tokens)


GROW_AFTER = 10_000
"""In steps: minutes on a busy GPU, after which another process may have freed memory."""


@define
class BatchLimit:
    """The largest batch: halved when memory runs out, doubled again after `GROW_AFTER` successes."""

    most: int
    now: int = field(init=False, default=Factory(lambda limit: limit.most, takes_self=True))
    _n_went_well: int = field(init=False, default=0)
    """Since `now` changed."""

    def too_many(self, n_rows: int) -> None:
        self.now = max(1, min(n_rows, self.now) // 2)
        self._n_went_well = 0

    def went_well(self) -> None:
        self._n_went_well += 1
        if self._n_went_well >= GROW_AFTER:
            self.now = min(2 * self.now, self.most)
            self._n_went_well = 0


@frozen
class BatchShape:
    """`rows` windows of `frames` each. If `is_masked`, a segment may be shorter than its stretch."""

    rows: int = field(validator=ge(1))
    frames: int = field(validator=ge(1))
    is_masked: bool

    @classmethod
    def of(cls, lengths: Sequence[int], frames: int) -> "BatchShape":
        """The shape for one window of `frames` from each segment. `lengths` are those of the segments.

        Raises ValueError for more windows than the most rows.
        """
        rows = min((rows for rows in ROWS if rows >= len(lengths)), default=None)
        if rows is None:
            raise ValueError(f"{len(lengths)} windows are more than {ROWS[-1]} rows")
        return cls(rows, frames, min(lengths) < frames + 2 * CONTEXT_FRAMES)

    def waste(self, useful_frames: Sequence[int]) -> float:
        """The wasted part of the work: padding rows, and frames beyond the ends of windows."""
        made = self.rows * (self.frames + 2 * CONTEXT_COST_FRAMES)
        useful = sum(frames + 2 * CONTEXT_COST_FRAMES for frames in useful_frames)
        return 1 - useful / made


@frozen
class Stretch:
    """The frames `start` to `end` (exclusive) of a segment. `end` may exceed the segment's length."""

    start: int
    end: int

    @classmethod
    def around(cls, start: int, n_frames: int, context: int, n_total: int, is_static: bool) -> "Stretch":
        """A window with context on both sides. At an end of the segment, the other side gets more of it.

        The length is fixed, unless the segment is shorter and not `is_static`. Where the stretch ends inside
        the segment, its last `context` frames are computed wrongly.
        """
        wanted = n_frames + 2 * context
        length = wanted if is_static else min(wanted, n_total)
        first = max(0, min(start - context, n_total - length))
        return cls(first, first + length)

    def within(self, outer: "Stretch") -> "Stretch":
        """The same frames, relative to the start of `outer`."""
        return Stretch(self.start - outer.start, self.end - outer.start)

    def real(self, n_total: int) -> int:
        """The number of its frames that lie in a segment of `n_total`."""
        return min(self.end, n_total) - self.start
