"""How a sentence is read: kinds of things that are written otherwise than spoken, tried in order.

A kind is a pattern and a reader. What an earlier kind has read is closed to the later ones.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

WordByWord = Sequence[str | None]
Read = Callable[[re.Match[str]], str | WordByWord | None]
"""What a match is read as. A string stands for all of it; a sequence has an entry for each of its words
(what stands between spaces), None for one that is read as it is written. No words at all: the match is
left alone, by the later kinds too. None instead of an answer: not of this kind after all."""
Speak = Callable[[str], str]
"""Reads a part of a match, by all the kinds of its language."""

WORD = re.compile(r"\S+")


@frozen
class Reading:
    """`text[start_char:end_char]` is read as `spoken`."""

    start_char: int
    end_char: int
    spoken: str


@frozen
class Kind:
    pattern: re.Pattern[str]
    read: Read


def scan(text: str, kinds: Sequence[Kind]) -> list[Reading]:
    found: list[Reading] = []
    closed = bytearray(len(text))
    for kind in kinds:
        for match in _open_matches(kind.pattern, text, closed):
            answer = kind.read(match)
            if answer is not None:
                found += _readings(match, answer)
                closed[match.start() : match.end()] = b"\1" * len(match[0])
    return sorted(found, key=lambda reading: reading.start_char)


def _open_matches(pattern: re.Pattern[str], text: str, closed: bytearray) -> Iterator[re.Match[str]]:
    position = 0
    while match := pattern.search(text, position):
        collision = closed.find(1, *match.span())
        if collision < 0:
            yield match
            position = match.end()
        else:
            reopened = closed.find(0, collision)
            position = reopened if reopened >= 0 else len(text)


def _readings(match: re.Match[str], answer: str | WordByWord) -> Iterator[Reading]:
    if isinstance(answer, str):
        yield Reading(*match.span(), answer)
    elif answer:
        for word, spoken in zip(WORD.finditer(match.string, *match.span()), answer, strict=True):
            if spoken is not None:
                yield Reading(*word.span(), spoken)


def along(match: re.Match[str], *pieces: tuple[int, str]) -> WordByWord:
    """The groups of the match that are spoken, with what they are read as, word by word.

    Groups that are written in one word are one reading; groups that did not match are passed over.
    """
    words: list[list[str]] = [[] for _ in WORD.findall(match[0])]
    for group, spoken in pieces:
        if match[group]:
            before = match.string[match.start() : match.start(group) + 1]
            words[len(WORD.findall(before)) - 1].append(spoken)
    return [" ".join(filter(None, spoken)) or None for spoken in words]
