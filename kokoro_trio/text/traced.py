"""A text that is rewritten step by step, and still knows what of the client's text each character is."""

from collections.abc import Iterable

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

Span = tuple[int, int]
Change = tuple[int, int, str]
"""`text[start:end]` becomes this."""


@frozen(eq=False)
class Traced:
    """Character n of `text` stands for the characters `starts[n]` to `ends[n]` (exclusive) of the original.

    Both ascend: rewriting may drop, add and replace, but keeps the order.
    """

    text: str
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, text: str, start_char: int = 0) -> "Traced":
        """`text` as it stands in the original, from `start_char` on."""
        starts = np.arange(start_char, start_char + len(text))
        return cls(text, starts, starts + 1)

    @classmethod
    def joined(cls, parts: Iterable["Traced"]) -> "Traced":
        """Of parts in the order of the original."""
        parts = [cls.of(""), *parts]
        return cls(
            "".join(part.text for part in parts),
            np.concatenate([part.starts for part in parts]),
            np.concatenate([part.ends for part in parts]),
        )

    def part(self, start: int, end: int) -> "Traced":
        return Traced(self.text[start:end], self.starts[start:end], self.ends[start:end])

    def replaced(self, changes: Iterable[Change]) -> "Traced":
        """Each character of what is put in stands for all that it replaces.

        `changes` ascend and do not overlap. One that replaces nothing stands for what it is put before.
        """
        parts: list[Traced] = []
        done = 0
        for start, end, text in changes:
            parts.append(self.part(done, start))
            if text:
                first, last = self.origin(start, max(end, start + 1))
                ones = np.ones(len(text), np.int64)
                parts.append(Traced(text, first * ones, last * ones))
            done = end
        return Traced.joined([*parts, self.part(done, len(self.text))])

    def rewritten(self, text: str) -> "Traced":
        """As `text`, whose characters are found again by likeness: for rewriting that others do."""
        changes = Levenshtein.opcodes(self.text, text)
        return self.replaced(
            (change.src_start, change.src_end, text[change.dest_start : change.dest_end])
            for change in changes
            if change.tag != "equal"
        )

    def origin(self, start: int, end: int) -> Span:
        """What of the original `text[start:end]` stands for; it must not be empty."""
        return int(self.starts[start]), int(self.ends[min(end, len(self.text)) - 1])
