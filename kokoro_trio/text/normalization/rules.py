"""Normalisation rules: each finds one kind of written form by a pattern and verbalizes it.

Rules are applied in order. A stretch that one rule has verbalized is closed to the rules after it.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

WordByWord = Sequence[str | None]
Verbalize = Callable[[re.Match[str]], str | WordByWord | None]
"""Returns the spoken form of a match.

A string replaces the whole match. A sequence has one entry for each space-separated word of the match; None
keeps that word as it is written, and an empty sequence keeps the whole match and closes it to later rules.
None means that the rule does not apply after all."""
Normalize = Callable[[str], str]
"""Normalizes a part of a match with all rules of the language."""

WORD = re.compile(r"\S+")


@frozen
class Verbalization:
    """`text[start_char:end_char]` is spoken as `spoken`."""

    start_char: int
    end_char: int
    spoken: str


@frozen
class Rule:
    pattern: re.Pattern[str]
    verbalize: Verbalize


def apply(rules: Sequence[Rule], text: str) -> list[Verbalization]:
    """The verbalizations in the order of the text. They do not overlap."""
    found: list[Verbalization] = []
    closed = bytearray(len(text))
    for rule in rules:
        for match in _open_matches(rule.pattern, text, closed):
            spoken = rule.verbalize(match)
            if spoken is not None:
                found += _verbalizations(match, spoken)
                closed[match.start() : match.end()] = b"\1" * len(match[0])
    return sorted(found, key=lambda verbalization: verbalization.start_char)


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


def _verbalizations(match: re.Match[str], spoken: str | WordByWord) -> Iterator[Verbalization]:
    if isinstance(spoken, str):
        yield Verbalization(*match.span(), spoken)
    elif spoken:
        for word, spoken_word in zip(WORD.finditer(match.string, *match.span()), spoken, strict=True):
            if spoken_word is not None:
                yield Verbalization(*word.span(), spoken_word)


def by_group(match: re.Match[str], **spoken: str) -> WordByWord:
    """The spoken form word by word, from the spoken form of each named group.

    Groups in the same written word share one entry. Groups that did not match are skipped.
    """
    words: list[list[str]] = [[] for _ in WORD.findall(match[0])]
    for group, spoken_group in spoken.items():
        if match[group]:
            before = match.string[match.start() : match.start(group) + 1]
            words[len(WORD.findall(before)) - 1].append(spoken_group)
    return [" ".join(filter(None, pieces)) or None for pieces in words]


def ends_sentence(match: re.Match[str]) -> bool:
    """Whether no letter or digit follows the match."""
    return not any(map(str.isalnum, match.string[match.end() :]))


def any_of(written: Sequence[str]) -> str:
    """A pattern that matches any of these strings, the longest first."""
    return "|".join(map(re.escape, sorted(written, key=len, reverse=True)))
