"""Roman numerals."""

import re
from collections.abc import Iterator

from kokoro_trio.text.normalization.scan import Kind, WordByWord, along
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
# Behind a name or a century only: XL is a size, and CD a disc. A single letter may be an initial.
_NUMBERED = re.compile(
    r"(?<!\w)([^\W\d_][\w.]{0,60})\s+"
    r"([IVX]{2,6}|(?:(?<=siglo )|(?<=século )|(?<=secolo )|(?<=cap\. )|(?<=chap\. ))[IVX])(?!\w)"
)
_CENTURIES = ("siglo", "siècle", "secolo", "século")
_CHAPTERS = ("cap.", "chap.", "capítulo", "chapitre", "capitolo", "tomo", "tome", "vol.")
_ORDINAL = {
    "fr": re.compile(r"(?<!\w)([IVX]{1,6})(?:e|ème|er|ᵉ)(?!\w)"),
    "it": re.compile(r"(?<!\w)([IVX]{1,6})(?=\ssecolo)"),
}


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    """Of the languages in which numbers follow names. English ones have an article: `english_words`."""

    def numbered(match: re.Match[str]) -> WordByWord | None:
        number = roman(match[2])
        name = match[1].lower()
        is_numbered = match[1][0].isupper() or name in _CENTURIES + _CHAPTERS
        if number is None or not is_numbered:
            return None
        is_king = name not in _CENTURIES + _CHAPTERS
        ordinals = vocabulary.royal_ordinals if is_king else vocabulary.century_ordinals
        figures = vocabulary.figures
        is_ordinal = number <= ordinals and name not in _CHAPTERS
        return along(match, (2, figures.ordinal(number) if is_ordinal else figures.cardinal(str(number))))

    def ordinal(match: re.Match[str]) -> str | None:
        number = roman(match[1])
        return vocabulary.figures.ordinal(number) if number else None

    if not vocabulary.royal_ordinals:
        return []
    ordinals = [Kind(_ORDINAL[vocabulary.locale], ordinal)] if vocabulary.locale in _ORDINAL else []
    return [*ordinals, Kind(_NUMBERED, numbered)]


def roman(letters: str) -> int | None:
    """None where this is not how the number is written."""
    values = [_ROMAN[letter] for letter in letters]
    total = sum(-value if value < max(values[index:]) else value for index, value in enumerate(values))
    return total if letters == "".join(_written_roman(total)) else None


def _written_roman(number: int) -> Iterator[str]:
    steps = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL"} | {
        10: "X",
        9: "IX",
        5: "V",
        4: "IV",
        1: "I",
    }
    for value, letters in steps.items():
        yield letters * (number // value)
        number %= value
