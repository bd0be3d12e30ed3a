"""What is made side by side, and in which few shapes. Pure: lengths in, shapes and places out.

A graphics processor is fastest where the same few shapes come over and over: its kernels are chosen by
shape, and a captured graph is of one shape. So a batch of windows is made in a number of rows of `ROWS`
and a length that the windows have in common. A segment may be shorter than such a stretch; what is not
of it is masked then.
"""

from collections.abc import Sequence

from attrs import Factory, define, field, frozen
from attrs.validators import ge

from kokoro_trio.model.windowing import CONTEXT_COST_FRAMES, CONTEXT_FRAMES

ROWS = (1, 2, 4, 8, 16, 32)
TOKEN_BUCKETS = (64, 128, 256, 512)
"""Lines within one of these lengths go through the prosody half together. Those that are much shorter
than the longest would be mostly padding, and wait for its sake."""


def token_bucket(n_tokens: int) -> int:
    """The length that a line counts as, padding tokens included."""
    return next((bucket for bucket in TOKEN_BUCKETS if bucket >= n_tokens), n_tokens)


GROW_AFTER = 10_000
"""In steps. A busy GPU takes minutes for so many: another process may have given its memory back by then."""


@define
class BatchLimit:
    """The largest batch: halved when memory runs out, doubled again after `GROW_AFTER` successes."""

    most: int
    now: int = field(init=False, default=Factory(lambda limit: limit.most, takes_self=True))
    _n_went_well: int = field(init=False, default=0)
    """Since `now` was changed."""

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
    """`rows` windows of `frames` each; `is_masked` where a segment may be shorter than its stretch."""

    rows: int = field(validator=ge(1))
    frames: int = field(validator=ge(1))
    is_masked: bool

    @classmethod
    def of(cls, lengths: Sequence[int], frames: int) -> "BatchShape":
        """For a window of so many frames of each of these segments; `lengths` are the segments'.

        Raises ValueError for more windows than there are rows.
        """
        rows = min((rows for rows in ROWS if rows >= len(lengths)), default=None)
        if rows is None:
            raise ValueError(f"{len(lengths)} windows are more than {ROWS[-1]} rows")
        return cls(rows, frames, min(lengths) < frames + 2 * CONTEXT_FRAMES)

    def waste(self, useful_frames: Sequence[int]) -> float:
        """The part of the work that is for nothing: in padding rows, and in frames beyond the windows'."""
        made = self.rows * (self.frames + 2 * CONTEXT_COST_FRAMES)
        useful = sum(frames + 2 * CONTEXT_COST_FRAMES for frames in useful_frames)
        return 1 - useful / made


@frozen
class Stretch:
    """The frames `start` to `end` (exclusive) of a segment; `end` may lie beyond the segment's own."""

    start: int
    end: int

    @classmethod
    def around(cls, start: int, n_frames: int, context: int, n_total: int, is_static: bool) -> "Stretch":
        """With context on both sides; at an end of the segment there is more of it on the other side.

        So its length depends on the segment only where that is shorter, and not even there if
        `is_static`. What lies at an end of the stretch and not of the segment, and only that, is wrong to
        the depth of the context.
        """
        wanted = n_frames + 2 * context
        length = wanted if is_static else min(wanted, n_total)
        first = max(0, min(start - context, n_total - length))
        return cls(first, first + length)

    def within(self, outer: "Stretch") -> "Stretch":
        """The same, counted from the start of the one around it."""
        return Stretch(self.start - outer.start, self.end - outer.start)

    def real(self, n_total: int) -> int:
        """How many of its frames are of a segment of `n_total`."""
        return min(self.end, n_total) - self.start
