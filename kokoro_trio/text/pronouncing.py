"""What the pronouncers of all languages share."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kokoro_trio.text.markup import PRONUNCIATION

Spoken = tuple[int, str]
"""Where a word starts in the normalized text, and its phonemes, with a space if one follows."""
Pronounce = Callable[[str], list[Spoken]]
"""Pronounces a sentence word by word. The phonemes, joined, are those of the whole sentence."""

_LATIN = "A-Za-zÀ-ÖØ-öø-ɏ"
_LATIN_OR_MARKUP = re.compile(rf"{PRONUNCIATION.pattern}|[{_LATIN}](?:[{_LATIN}'’-]*[{_LATIN}])?")


@contextmanager
def without_known_warning() -> Iterator[None]:
    """misaki makes a deprecated call, which cannot be fixed here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "open_text is deprecated", DeprecationWarning)
        yield


def split_by_script(text: str, english: Callable[[str], str]) -> Iterator[tuple[int, str, str | None]]:
    """Splits Japanese or Chinese at its Latin words and pronunciations: start, stretch and phonemes.

    `english` pronounces Latin words. The phonemes of a Japanese or Chinese stretch are None.
    """
    done = 0
    for found in _LATIN_OR_MARKUP.finditer(text):
        yield done, text[done : found.start()], None
        phonemes = found["phonemes"] or english(found.group())
        yield found.start(), found.group(), phonemes.strip() + space_after(text, found.end())
        done = found.end()
    yield done, text[done:], None


def space_after(text: str, end: int) -> str:
    """A space, unless the text ends there or a punctuation mark follows."""
    return " " if text[end : end + 1].isspace() or text[end : end + 1].isalnum() else ""
