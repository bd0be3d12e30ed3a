"""Text that a client appends piece by piece: finds complete sentences, cuts it into requests."""

import re
from collections.abc import Iterator

from kokoro_trio.config import RequestLimits
from kokoro_trio.text.segmentation import sentence_spans
from kokoro_trio.wire.words import word_count

_STOPS, _CLOSERS = ".!?…。！？", ")]\"'”’»"
_ANOTHER_SENTENCE = " Then"
_WORD_GAP = re.compile(r"\s+")
_CLAUSE_GAP = re.compile(r"(?<=[,;:.!?—…])\s+")


def append_text(buffer: str, appended: str) -> str:
    """Adds the space that clients leave out between sentences that they append one by one.

    Text that is appended word by word or token by token contains its spaces.
    """
    is_next = ends_sentence(buffer) and word_count(appended) > 1 and appended[:1].isupper()
    return f"{buffer} {appended}" if is_next and not buffer[-1:].isspace() else buffer + appended


def ends_sentence(text: str) -> bool:
    """Whether the last marks of `text` end a sentence.

    A single stop after a digit does not count, because the number may go on.
    """
    stopped = text.rstrip().rstrip(_CLOSERS)
    before = stopped.rstrip(_STOPS)
    n_stops = len(stopped) - len(before)
    return n_stops > 1 or (n_stops == 1 and not before[-1:].isdecimal())


def complete_chars(buffer: str, appended: str, language: str, max_partial_chars: int) -> int:
    """The length of the buffer's complete sentences, and of text that exceeds `max_partial_chars`.

    The last sentence is complete if the appended text ends with it and has several words: a single word may
    be an abbreviation or a number that goes on ("Dr.", "e.g.", "3.").
    """
    may_end = word_count(appended) > 1 and ends_sentence(buffer)
    spans = sentence_spans(buffer + (_ANOTHER_SENTENCE if may_end else ""), language)
    whole = spans[-2][1] if len(spans) > 1 else 0
    # The rest of the buffer must stay short, because each append scans it again.
    while len(buffer) - whole > max_partial_chars:
        partial = buffer[whole : whole + max_partial_chars]
        whole += _last_gap(_CLAUSE_GAP, partial) or _last_gap(_WORD_GAP, partial) or max_partial_chars
    return whole


def _last_gap(gap: re.Pattern[str], text: str) -> int:
    return max((found.end() for found in gap.finditer(text, 1)), default=0)


def pieces_of(text: str, language: str, limits: RequestLimits) -> Iterator[str]:
    """Cuts a text into as few requests as the limits allow, inside a sentence only if it is too long."""
    if _fits(text, limits):
        yield text.strip()
        return
    start, end, n_words = 0, 0, 0
    for first, last in sentence_spans(text, language):
        more = word_count(text[first:last])
        if n_words + more > limits.max_words or last - start > limits.max_utterance_characters:
            yield from _halves(text[start:end], limits)
            start, n_words = first, 0
        end, n_words = last, n_words + more
    yield from _halves(text[start:end], limits)


def _fits(text: str, limits: RequestLimits) -> bool:
    return len(text) <= limits.max_utterance_characters and word_count(text) <= limits.max_words


def _halves(text: str, limits: RequestLimits) -> Iterator[str]:
    """Halves a text between words until each part fits; a text without spaces is cut at any character."""
    text = text.strip()
    if not text:
        return
    if _fits(text, limits):
        yield text
        return
    middle = len(text) // 2
    gaps = [found.end() for found in _WORD_GAP.finditer(text)]
    cut = min(gaps, key=lambda place: abs(place - middle), default=middle)
    yield from _halves(text[:cut], limits)
    yield from _halves(text[cut:], limits)
