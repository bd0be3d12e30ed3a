"""A text that is rewritten step by step, and still knows what of the client's text each character is."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

Span = tuple[int, int]
Change = tuple[int, int, str]
"""`text[start:end]` becomes this."""

_RUN_OR_GAP = re.compile(r"\S+|\s+")


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
        """As `text`, whose characters are found again by likeness: for rewriting that others do.

        Between the same two spaces, where `text` has as many: figures and what they are read as have
        nothing in common by which "100 50%" could be told apart. What is added to no text at all stands
        for nothing: `IndexError`.
        """
        return self.replaced(_changes(self.text, text))

    def origin(self, start: int, end: int) -> Span:
        """What of the original `text[start:end]` stands for; it must not be empty."""
        return int(self.starts[start]), int(self.ends[min(end, len(self.text)) - 1])


def _changes(old: str, new: str) -> Iterator[Change]:
    olds, news = _RUN_OR_GAP.findall(old), _RUN_OR_GAP.findall(new)
    if list(map(str.isspace, olds)) != list(map(str.isspace, news)):
        olds, news = [old], [new]
    start = 0
    for one, other in zip(olds, news, strict=True):
        for first, last, put_in in _unlike(one, other):
            yield start + first, start + last, put_in
        start += len(one)


def _unlike(old: str, new: str) -> Iterator[Change]:
    """What is between two stretches that are alike is one change. `old` is not empty."""
    for is_alike, codes in groupby(Levenshtein.opcodes(old, new), lambda code: code.tag == "equal"):
        if not is_alike:
            block = list(codes)
            start, put_in = block[0].src_start, new[block[0].dest_start : block[-1].dest_end]
            if start == len(old):
                # Nothing follows that it could stand for.
                start, put_in = start - 1, old[-1] + put_in
            yield start, block[-1].src_end, put_in
