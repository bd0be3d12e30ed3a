"""Which phonemes belong to which of the words that the client wrote."""

import re
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import pairwise

from attrs import define, frozen

from kokoro_trio.text.markup import PRONUNCIATION
from kokoro_trio.text.pronouncing import Spoken
from kokoro_trio.text.segmentation import Pronunciation
from kokoro_trio.text.traced import Span, Traced
from kokoro_trio.wire.words import UNSPACED_LETTER

_WORD = re.compile(rf"(?:{PRONUNCIATION.pattern}|[^\s—…])+[—…]*|[—…]+")
"""Words are separated by spaces; a dash or an ellipsis between two words belongs to the first."""


@frozen
class _Word:
    whole: Span
    """With the punctuation around it."""
    shown: Span
    """The span that the client sees as the word: that of `word` in `[word](/phonemes/)`."""


@define
class _Run:
    """The words `first` to `last`, which have their phonemes in common: mostly a single word."""

    first: int
    last: int
    phonemes: str


def by_client_word(
    text: str, written: Traced, spoken: Sequence[Spoken], is_audible: Callable[[str], bool]
) -> list[Pronunciation]:
    """The phonemes of each word of the sentence `text`, of which `written` is the normalized form."""
    audible_at = {written.origin(at, at + 1)[0] for at, phonemes in spoken if is_audible(phonemes)}
    words = list(_words(text, audible_at))
    return [
        pronunciation
        for run in _runs(words, written, spoken, is_audible)
        for pronunciation in _shared(run.phonemes, words[run.first : run.last + 1])
    ]


def _runs(
    words: Sequence[_Word], written: Traced, spoken: Sequence[Spoken], is_audible: Callable[[str], bool]
) -> list[_Run]:
    """Silent phonemes belong to the run before them, or to the first."""
    starts = [word.whole[0] for word in words]
    runs: list[_Run] = []
    silent = ""
    for at, phonemes in spoken:
        start, end = written.origin(at, at + 1)
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1
        if not is_audible(phonemes):
            if runs:
                runs[-1].phonemes += phonemes
            else:
                silent += phonemes
        elif runs and first <= runs[-1].last:
            runs[-1].phonemes += phonemes
            runs[-1].last = last
        else:
            runs.append(_Run(first, last, silent + phonemes))
            silent = ""
    return runs


def _words(text: str, audible_at: Container[int]) -> Iterator[_Word]:
    """Words between spaces; in scripts without spaces, the words of the pronouncer."""
    for run in _WORD.finditer(text):
        start, end = run.span()
        parted = [at for at in _starts_in_run(text, start, end) if at in audible_at]
        for first, last in pairwise([start, *parted, end]):
            markup = PRONUNCIATION.search(text, first, last)
            yield _Word((first, last), markup.span("word") if markup else (first, last))


def _starts_in_run(text: str, start: int, end: int) -> Iterator[int]:
    """Where a word may start without a space before it: at a letter of a script without spaces, or behind
    such a letter and its marks. A pronunciation counts as one letter of its word.
    """
    markups = {found.start(): found.end() for found in PRONUNCIATION.finditer(text, start, end)}
    at = start
    is_behind_unspaced = False
    while at < end:
        next_at = markups.get(at, at + 1)
        is_unspaced = UNSPACED_LETTER.search(text, at, next_at) is not None
        if at > start and (is_unspaced or is_behind_unspaced):
            yield at
        if is_unspaced or at in markups or text[at].isalnum():
            is_behind_unspaced = is_unspaced
        at = next_at


def _shared(phonemes: str, words: Sequence[_Word]) -> Iterator[Pronunciation]:
    """Shares phonemes among the words of one run ("$2 million"), in proportion to the words' length."""
    lengths = [word.whole[1] - word.whole[0] for word in words]
    cuts = [len(phonemes) * sum(lengths[:n]) // sum(lengths) for n in range(len(lengths) + 1)]
    for word, (first, last) in zip(words, pairwise(cuts), strict=True):
        yield Pronunciation(phonemes[first:last], *word.whole, word.shown)
