"""Cuts a text into sentences, and the phonemes of a sentence into pieces that the model can take.

Pure functions. All positions count characters (code points); ends are exclusive.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence
from itertools import accumulate

import sentencex  # type: ignore[import-untyped]
from attrs import Factory, evolve, field, frozen

from kokoro_trio.speech import MAX_SEGMENT_PHONEMES, Segment, Word
from kokoro_trio.text.languages import LANGUAGES
from kokoro_trio.text.traced import Span
from kokoro_trio.wire.limits import MAX_SENTENCE_CHARS

LIBRARY_CHARS = 2 * MAX_SENTENCE_CHARS
"""What sentencex gets at a time. Its time grows with the square of a run of "!", "`" or "'"."""

PART_ROOM = 1.25
"""How much longer than the mean a part of a segment may be in order to end with a clause."""

_ABBREVIATIONS_OF = {code: tag[:2] for code, tag in LANGUAGES.items()} | {"f": "en"}
"""The first letter of a voice's name → the language whose abbreviations sentencex uses. Its French ones lack
"M.", "Dr." and "J. Dupont", which the English ones have."""

_BLANK_LINE = re.compile(r"\n\s*\n")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CLOSERS = ")]}\"'”’»"
_BRACKETED_SENTENCE = re.compile(r"""\([A-Z][^()]{1,500}[.!?…]["'”’]?\)\s+(?=["'“‘(]?[A-Z])""")
_NO_ENDS = [
    (
        re.compile(r"\b(?:approx|apt|bldg|ca|est|excl|ext|incl|rm|ste|tel)\.\s*\Z", re.IGNORECASE),
        re.compile(r"[$€£¥₹]?\d"),
    ),
    (re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof)\.\s*\Z"), re.compile(r"[A-Z]")),
    (re.compile(r"(?<!\w)(?:डॉ|प्रो|श्री)\.\s*\Z"), re.compile(r"\w")),
]
"""What is before and behind a full stop that sentencex wrongly takes for the end of a sentence."""
MAX_ABBREVIATION_CHARS = 40
"""Length of an abbreviation in `_NO_ENDS`, with the spaces behind it."""
_CLAUSE_END = re.compile(r"""[;:,.!?—…][)\]"'”’]*\s+""")
_WHITESPACE = re.compile(r"\s+")

PAUSES = frozenset(' ;:,.!?—…"()“”')
"""The characters of Kokoro's alphabet that are silent."""


def sentence_spans(text: str, language: str = "a") -> list[Span]:
    """The sentences of `text` in order, without the whitespace around them.

    `language` is the first letter of a voice's name. It decides which abbreviations are known.
    """
    return [
        span
        for paragraph in _paragraphs(text)
        for sentence in _with_loose_ends(text, _library_spans(text, paragraph, language))
        for part in _behind_brackets(text, sentence)
        for span in _short_enough(text, part)
    ]


@frozen
class Pronunciation:
    """The phonemes of a stretch of a sentence. They may end in a space, the gap to the next word.

    Characters count from the start of the sentence. `shown` is the span that the client sees as the word, if
    that is not the whole stretch.
    """

    phonemes: str
    start_char: int
    end_char: int
    shown: Span = field(default=Factory(lambda word: (word.start_char, word.end_char), takes_self=True))


@frozen
class Piece:
    """A part of a sentence that the model takes at once. Characters count from the sentence's start."""

    phonemes: str
    start_char: int
    end_char: int
    words: tuple[Word, ...]


def split_phonemes(words: Sequence[Pronunciation], max_phonemes: int = MAX_SEGMENT_PHONEMES) -> list[Piece]:
    """Joins `words` into as few pieces of at most `max_phonemes` as their clauses allow.

    A piece ends with a clause if possible, else with a word. A longer word is cut inside, and its characters
    are shared in proportion. Only the space at a cut is dropped.
    """
    timeline = _Timeline(words)
    return [
        timeline.piece(start, end)
        for start, end in _cuts(timeline.phonemes, 0, len(timeline.phonemes), max_phonemes)
        if not timeline.phonemes[start:end].isspace()
    ]


def cut_segments(segments: Sequence[Segment], max_phonemes: int) -> list[Segment]:
    """Cuts segments into parts of at most `max_phonemes`, as `split_phonemes` does, and renumbers them."""
    cut = [part for segment in segments for part in _cut_segment(segment, max_phonemes)]
    return [evolve(part, index=index) for index, part in enumerate(cut, segments[0].index)]


def _cut_segment(segment: Segment, max_phonemes: int) -> Iterator[Segment]:
    n_phonemes = len(segment.phonemes)
    n_parts = math.ceil(n_phonemes / max_phonemes)
    # Parts of about equal length, so that none is a fragment of a word or two.
    limit = min(max_phonemes, math.ceil(PART_ROOM * n_phonemes / n_parts))
    start_char = segment.start_char
    for start, end in _cuts(segment.phonemes, 0, n_phonemes, limit):
        if segment.phonemes[start:end].isspace():
            continue
        words = [word for word in segment.words if start <= word.start_phoneme < end]
        later = [word.start_char for word in segment.words if word.start_phoneme >= end]
        first, last = _stripped(segment.phonemes, start, end, " ")
        end_char = words[-1].end_char if words and later else (later or [segment.end_char])[0]
        yield Segment(
            segment.index,
            segment.phonemes[first:last],
            start_char,
            end_char,
            tuple(
                evolve(
                    word,
                    start_phoneme=word.start_phoneme - first,
                    end_phoneme=min(word.end_phoneme, last) - first,
                )
                for word in words
            ),
            is_continued=segment.is_continued or start > 0,
        )
        start_char = later[0] if later else segment.end_char


def _paragraphs(text: str) -> Iterator[Span]:
    start = 0
    for blank in _BLANK_LINE.finditer(text):
        yield start, blank.start()
        start = blank.end()
    yield start, len(text)


def _library_spans(text: str, paragraph: Span, language: str) -> Iterator[Span]:
    start, end = paragraph
    code = _ABBREVIATIONS_OF.get(language, "en")
    while start < end:
        # sentencex needs UTF-8, in which a lone surrogate cannot be encoded.
        window = _LONE_SURROGATE.sub("\ufffd", text[start : min(end, start + LIBRARY_CHARS)])
        found = sentencex.get_sentence_boundaries(code, window)
        spans = [(start + each["start_index"], start + each["end_index"]) for each in found]
        if start + len(window) == end:
            yield from spans
            return
        # The last sentence may continue behind the window, so the next window begins with it.
        *whole, (last, _) = spans
        if not whole:
            last = start + _best_cut(window, LIBRARY_CHARS)
            whole = [(start, last)]
        yield from whole
        start = last


def _with_loose_ends(text: str, spans: Iterator[Span]) -> list[Span]:
    """Joins closing quotes and brackets, and pieces without a letter or digit, to the sentence before them.

    Also joins the sentences around an abbreviation that sentencex does not know ("Apt. 4").
    """
    joined: list[Span] = []
    for start, end in spans:
        if joined:
            owned = _loose_end(text, start, end)
            first, last = joined[-1]
            tail = max(first, last - MAX_ABBREVIATION_CHARS), last
            if any(before.search(text, *tail) and behind.match(text, start) for before, behind in _NO_ENDS):
                owned = end
            joined[-1] = (joined[-1][0], owned)
            start = owned
        if start < end:
            joined.append((start, end))
    return joined


def _loose_end(text: str, start: int, end: int) -> int:
    """The end of the characters behind `start` that belong to the sentence before."""
    if not any(map(str.isalnum, text[start:end])):
        return end
    behind = text[start:end].lstrip(_CLOSERS)
    return end - len(behind) if behind[:1].isspace() else start


def _behind_brackets(text: str, sentence: Span) -> Iterator[Span]:
    """sentencex joins a sentence in brackets with the next one."""
    start, end = sentence
    for bracketed in _BRACKETED_SENTENCE.finditer(text, start, end):
        yield start, bracketed.end()
        start = bracketed.end()
    yield start, end


def _short_enough(text: str, sentence: Span) -> Iterator[Span]:
    for start, end in _cuts(text, *sentence, MAX_SENTENCE_CHARS):
        piece = text[start:end]
        stripped = piece.strip()
        if stripped:
            start += len(piece) - len(piece.lstrip())
            yield start, start + len(stripped)


def _cuts(text: str, start: int, end: int, limit: int) -> Iterator[Span]:
    """Spans that tile `text[start:end]`, each at most `limit` long but for whitespace at its end."""
    stripped_end = start + len(text[start:end].rstrip())
    while stripped_end - start > limit:
        cut = start + _best_cut(text[start : start + limit + 1], limit)
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _best_cut(window: str, limit: int) -> int:
    # A clause that fills less than half of the limit would be a fragment: cut behind a later word instead.
    clause_ends = [found.end() for found in _CLAUSE_END.finditer(window, limit // 2)]
    word_ends = [found.end() for found in _WHITESPACE.finditer(window)]
    return (clause_ends or word_ends or [limit])[-1]


class _Timeline:
    """Maps positions in the phonemes of a sentence to its characters."""

    def __init__(self, words: Sequence[Pronunciation]) -> None:
        self._words = [word for word in words if word.phonemes]
        self._ends = list(accumulate(len(word.phonemes) for word in self._words))
        self.phonemes = "".join(word.phonemes for word in self._words)

    def piece(self, start: int, end: int) -> Piece:
        first, last = _stripped(self.phonemes, start, end, " ")
        words = tuple(
            evolve(word, start_phoneme=word.start_phoneme - first, end_phoneme=word.end_phoneme - first)
            for word in self._words_between(start, end)
        )
        return Piece(self.phonemes[first:last], self._char_at(start), self._char_at(end), words)

    def _words_between(self, start: int, end: int) -> Iterator[Word]:
        """Without the pauses between the words."""
        for word, word_end in zip(self._words, self._ends, strict=True):
            word_start = word_end - len(word.phonemes)
            first, last = _stripped(self.phonemes, max(start, word_start), min(end, word_end), PAUSES)
            if first < last:
                start_char = word.shown[0] if word_start >= start else self._char_at(start)
                end_char = word.shown[1] if word_end <= end else self._char_at(end)
                yield Word(start_char, end_char, first, last)

    def _char_at(self, position: int) -> int:
        """Exact at the start and end of a word, in proportion inside it."""
        index = bisect_right(self._ends, position)
        if index == len(self._words):
            return self._words[-1].end_char
        word = self._words[index]
        into_word = position - (self._ends[index] - len(word.phonemes))
        return word.start_char + (word.end_char - word.start_char) * into_word // len(word.phonemes)


def _stripped(text: str, start: int, end: int, chars: Container[str]) -> Span:
    while start < end and text[start] in chars:
        start += 1
    while start < end and text[end - 1] in chars:
        end -= 1
    return start, end
