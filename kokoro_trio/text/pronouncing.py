"""What the pronouncers of all languages have in common."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

Spoken = tuple[int, str]
"""Where a word starts in a readable text, and its phonemes, with a space if one follows."""
Pronounce = Callable[[str], list[Spoken]]
"""Of a sentence; what it returns is in order, and joined it is how the sentence sounds."""


@contextmanager
def without_known_warnings() -> Iterator[None]:
    """Two deprecated calls, in misaki and in what spaCy's entry points import: nothing we can mend."""
    with warnings.catch_warnings():
        for message in ("open_text is deprecated", "`torch.jit.script"):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        yield


def with_spaces(text: str, gaps: list[int]) -> tuple[str, list[int]]:
    """`text` with a space before the character at each gap, and the position in `text` of each character."""
    pieces = list(pairwise([0, *gaps, len(text)]))
    positions = [position for start, end in pieces for position in (*range(start, end), end)]
    return " ".join(text[start:end] for start, end in pieces), positions[:-1]
