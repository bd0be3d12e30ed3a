"""Roman numerals behind names and centuries, in the languages besides English."""

import re

from kokoro_trio.text.normalization.rules import Rule, WordByWord, by_group
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_WELL_FORMED = re.compile(r"C{0,3}(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_CENTURIES = ("siglo", "siècle", "secolo", "século")
_CHAPTERS = ("cap.", "chap.", "capítulo", "chapitre", "capitolo", "tomo", "tome", "vol.")
# Only behind a name or a century, because XL is also a size and CD a disc. A single letter may be an initial.
_NUMBERED = re.compile(
    r"""(?<!\w) (?P<name>[^\W\d_][\w.]{0,60}) \s+
    (?P<numeral> [IVX]{2,6}
    | (?:(?<=siglo\ )|(?<=século\ )|(?<=secolo\ )|(?<=cap\.\ )|(?<=chap\.\ ))[IVX])
    (?!\w)""",
    re.VERBOSE,
)
_ORDINALS = {
    "fr": re.compile(r"(?<!\w)([IVX]{1,6})(?:e|ème|er|ᵉ)(?!\w)"),
    "it": re.compile(r"(?<!\w)([IVX]{1,6})(?=\ssecolo)"),
}


def rules(vocabulary: Vocabulary) -> list[Rule]:
    numbers = vocabulary.numbers

    def numbered(match: re.Match[str]) -> WordByWord | None:
        number = roman_value(match["numeral"])
        name = match["name"].lower()
        is_king = name not in _CENTURIES + _CHAPTERS
        if number is None or (is_king and not match["name"][0].isupper()):
            return None
        last_ordinal = vocabulary.royal_ordinals if is_king else vocabulary.century_ordinals
        is_ordinal = number <= last_ordinal and name not in _CHAPTERS
        return by_group(match, numeral=numbers.ordinal(number) if is_ordinal else numbers.cardinal(number))

    def ordinal(match: re.Match[str]) -> str | None:
        number = roman_value(match[1])
        return numbers.ordinal(number) if number else None

    if not vocabulary.royal_ordinals:
        return []
    ordinals = [Rule(_ORDINALS[vocabulary.locale], ordinal)] if vocabulary.locale in _ORDINALS else []
    return [*ordinals, Rule(_NUMBERED, numbered)]


def roman_value(numeral: str) -> int | None:
    """None if the letters are not a well-formed numeral."""
    if not _WELL_FORMED.fullmatch(numeral):
        return None
    values = [_VALUES[letter] for letter in numeral]
    return sum(-value if value < max(values[index:]) else value for index, value in enumerate(values))
