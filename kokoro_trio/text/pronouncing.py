"""What the pronouncers of all languages have in common."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kokoro_trio.text.markup import PRONUNCIATION

Spoken = tuple[int, str]
"""Where a word starts in a readable text, and its phonemes, with a space if one follows."""
Pronounce = Callable[[str], list[Spoken]]
"""Of a sentence; what it returns is in order, and joined it is how the sentence sounds."""

_LATIN = "A-Za-zÀ-ÖØ-öø-ɏ"
_LATIN_OR_MARKUP = re.compile(rf"{PRONUNCIATION.pattern}|[{_LATIN}](?:[{_LATIN}'’-]*[{_LATIN}])?")


@contextmanager
def without_known_warning() -> Iterator[None]:
    """A deprecated call in misaki: nothing we can mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "open_text is deprecated", DeprecationWarning)
        yield


def stretches(text: str, english: Callable[[str], str]) -> Iterator[tuple[int, str, str | None]]:
    """Where each stretch of `text` starts, the stretch, and its phonemes where it is no Japanese or Chinese:
    Latin letters, which `english` reads, or a pronunciation that the text brings along.
    """
    done = 0
    for found in _LATIN_OR_MARKUP.finditer(text):
        yield done, text[done : found.start()], None
        phonemes = found[2] or english(found.group())
        yield found.start(), found.group(), phonemes.strip() + followed(text, found.end())
        done = found.end()
    yield done, text[done:], None


def followed(text: str, end: int) -> str:
    """A space where more is to come, but a mark that closes."""
    return " " if text[end : end + 1].isspace() or text[end : end + 1].isalnum() else ""
