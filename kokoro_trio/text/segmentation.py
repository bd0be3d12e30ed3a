"""Where a text may be cut: into sentences, and a sentence's phonemes into what the model takes at once.

Pure functions; all positions count characters (code points), ends are exclusive.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence
from itertools import accumulate

import sentencex  # type: ignore[import-untyped]
from attrs import Factory, evolve, field, frozen

from kokoro_trio.speech import MAX_SEGMENT_PHONEMES, Segment, Word
from kokoro_trio.text.traced import Span
from kokoro_trio.wire.limits import MAX_SENTENCE_CHARS

LIBRARY_CHARS = 2 * MAX_SENTENCE_CHARS
"""What sentencex is given at a time: its work grows with the square of a run of "!", "`" or "'"."""

PART_ROOM = 1.25
"""How much longer than the mean a part of a segment may be, so that it can end with a clause."""

_LIBRARY_LANGUAGES = {"a": "en", "b": "en", "e": "es", "f": "en", "h": "hi", "i": "it", "p": "pt"} | {
    "j": "ja",
    "z": "zh",
}
"""Whose abbreviations sentencex is to know, by the first letter of a voice's name. Its French ones lack
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
"""What stands before and behind a full stop that the library takes for the end of a sentence."""
MAX_ABBREVIATION_CHARS = 40
"""Of one in `_NO_ENDS`, with the spaces behind it."""
_CLAUSE_END = re.compile(r"""[;:,.!?—…][)\]"'”’]*\s+""")
_WHITESPACE = re.compile(r"\s+")

PAUSES = frozenset(' ;:,.!?—…"()“”')
"""What of Kokoro's alphabet is no sound: how long it lasts is silence."""


def sentence_spans(text: str, language: str = "a") -> list[Span]:
    """The sentences of `text` in order; between them, and around them, is only whitespace.

    `language` is the first letter of a voice's name and only decides which abbreviations are known.
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
    """What a stretch of a sentence sounds like. `phonemes` may end in a space: the gap to the next word.

    `start_char` and `end_char` count from the start of the sentence. `shown` is what of that is the word
    to a client, where that is not all of it.
    """

    phonemes: str
    start_char: int
    end_char: int
    shown: Span = field(default=Factory(lambda word: (word.start_char, word.end_char), takes_self=True))


@frozen
class Piece:
    """What of a sentence goes through the model in one go. Characters count from the sentence's start."""

    phonemes: str
    start_char: int
    end_char: int
    words: tuple[Word, ...]


def split_phonemes(words: Sequence[Pronunciation], max_phonemes: int = MAX_SEGMENT_PHONEMES) -> list[Piece]:
    """Joins `words` into as few pieces of at most `max_phonemes` as their clauses allow.

    The pieces end with a clause, failing that with a word, and where a single word is longer, inside it
    (its characters are then shared out in proportion). Nothing is dropped but the space at a cut.
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
    # Parts of about one length: none is a fragment of a word or two.
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
    code = _LIBRARY_LANGUAGES.get(language, "en")
    while start < end:
        # A lone surrogate has no UTF-8 form, which is what the library reads.
        window = _LONE_SURROGATE.sub("\ufffd", text[start : min(end, start + LIBRARY_CHARS)])
        found = sentencex.get_sentence_boundaries(code, window)
        spans = [(start + each["start_index"], start + each["end_index"]) for each in found]
        if start + len(window) == end:
            yield from spans
            return
        # The last one may go on behind the window, where it begins the next.
        *whole, (last, _) = spans
        if not whole:
            last = start + _best_cut(window, LIBRARY_CHARS)
            whole = [(start, last)]
        yield from whole
        start = last


def _with_loose_ends(text: str, spans: Iterator[Span]) -> list[Span]:
    """Gives closing quotes and brackets, and pieces without a letter or digit, to what comes before them.

    And what belongs to an abbreviation that the library does not know to go on ("Apt. 4").
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
    """Where that ends which belongs to the sentence before `start`; `start` if nothing does."""
    if not any(map(str.isalnum, text[start:end])):
        return end
    behind = text[start:end].lstrip(_CLOSERS)
    return end - len(behind) if behind[:1].isspace() else start


def _behind_brackets(text: str, sentence: Span) -> Iterator[Span]:
    """The library takes what follows a sentence in brackets for more of it."""
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
    # A clause that fills less than half would leave a fragment: better to go on to a later word.
    clause_ends = [found.end() for found in _CLAUSE_END.finditer(window, limit // 2)]
    word_ends = [found.end() for found in _WHITESPACE.finditer(window)]
    return (clause_ends or word_ends or [limit])[-1]


class _Timeline:
    """Which character of the sentence a position in its phonemes stands for."""

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
        """As far as they are sounds: the pauses between them are no word's."""
        for word, word_end in zip(self._words, self._ends, strict=True):
            word_start = word_end - len(word.phonemes)
            first, last = _stripped(self.phonemes, max(start, word_start), min(end, word_end), PAUSES)
            if first < last:
                start_char = word.shown[0] if word_start >= start else self._char_at(start)
                end_char = word.shown[1] if word_end <= end else self._char_at(end)
                yield Word(start_char, end_char, first, last)

    def _char_at(self, position: int) -> int:
        """Exact where a word starts or ends, in proportion inside it."""
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
