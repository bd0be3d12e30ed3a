"""A text that is rewritten step by step and keeps the original span of each of its characters."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

Span = tuple[int, int]
Change = tuple[int, int, str]
"""`text[start:end]` is replaced with the string."""

_RUN_OR_GAP = re.compile(r"\S+|\s+")


@frozen(eq=False)
class Traced:
    """Character n of `text` stands for `original[starts[n]:ends[n]]`.

    Both ascend: rewriting may drop, add and replace characters, but keeps their order.
    """

    text: str
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, text: str, start_char: int = 0) -> "Traced":
        """`text` is in the original as it is here, from `start_char` on."""
        starts = np.arange(start_char, start_char + len(text))
        return cls(text, starts, starts + 1)

    @classmethod
    def joined(cls, parts: Iterable["Traced"]) -> "Traced":
        """The parts must be in the order of the original."""
        parts = [cls.of(""), *parts]
        return cls(
            "".join(part.text for part in parts),
            np.concatenate([part.starts for part in parts]),
            np.concatenate([part.ends for part in parts]),
        )

    def part(self, start: int, end: int) -> "Traced":
        return Traced(self.text[start:end], self.starts[start:end], self.ends[start:end])

    def replaced(self, changes: Iterable[Change]) -> "Traced":
        """Each inserted character stands for the whole stretch that its change replaces.

        `changes` ascend and do not overlap. A change that replaces nothing stands for the next character.
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
        """For a rewrite by a library: aligns `text` with the old text by edit distance.

        Word by word if both have the same spaces, because "100 50%" and its words share no characters by
        which they could be aligned. Raises `IndexError` for a rewrite of the empty text.
        """
        return self.replaced(_changes(self.text, text))

    def origin(self, start: int, end: int) -> Span:
        """The original span of `text[start:end]`, which must not be empty."""
        return int(self.starts[start]), int(self.ends[min(end, len(self.text)) - 1])


def _changes(old: str, new: str) -> Iterator[Change]:
    olds, news = _RUN_OR_GAP.findall(old), _RUN_OR_GAP.findall(new)
    if list(map(str.isspace, olds)) != list(map(str.isspace, news)):
        olds, news = [old], [new]
    start = 0
    for one, other in zip(olds, news, strict=True):
        for first, last, inserted in _differences(one, other):
            yield start + first, start + last, inserted
        start += len(one)


def _differences(old: str, new: str) -> Iterator[Change]:
    """One change for each stretch between two equal ones. `old` must not be empty."""
    for is_equal, codes in groupby(Levenshtein.opcodes(old, new), lambda code: code.tag == "equal"):
        if not is_equal:
            block = list(codes)
            start, inserted = block[0].src_start, new[block[0].dest_start : block[-1].dest_end]
            if start == len(old):
                # An insertion at the end stands for the last character: no other follows.
                start, inserted = start - 1, old[-1] + inserted
            yield start, block[-1].src_end, inserted
