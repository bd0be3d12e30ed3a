"""What a listener heard of a text, from the times of its words."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

TIME_TOLERANCE_S = 1e-3
"""Clients get the times of words rounded to milliseconds."""

_NOT_SPACE = re.compile(r"\S*")


class TimedWord(Protocol):
    """A word at `start_char` to `end_char` (exclusive) of a text, with the second at which it ends."""

    @property
    def start_char(self) -> int: ...
    @property
    def end_char(self) -> int: ...
    @property
    def end_s(self) -> float: ...


def n_words_heard(words: Sequence[TimedWord], audio_s: float) -> int:
    """The number of `words`, sorted by time, that end within `audio_s` of audio."""
    return bisect_right(words, audio_s + TIME_TOLERANCE_S, key=lambda word: word.end_s)


def split_at_heard(text: str, words: Sequence[TimedWord], audio_s: float) -> tuple[str, str]:
    """The part of `text` that was heard after `audio_s` of its audio, and the part that remains.

    Marks that follow a word without a space count as heard with it.
    """
    n_heard = n_words_heard(words, audio_s)
    if not n_heard:
        return "", text
    marks = _NOT_SPACE.match(text, words[n_heard - 1].end_char)
    next_word_at = words[n_heard].start_char if n_heard < len(words) else len(text)
    end = min(marks.end() if marks else len(text), next_word_at)
    return text[:end], text[end:]
