"""What Spanish, French, Italian and Portuguese share.

espeak could read their integers, but it speaks neither the decimal point nor the group separators, so their
numbers become words as well.
"""

from kokoro_trio.text.normalization.number_words import NumberWords

_POINTED = r"\d{1,3}(?:\.\d{3}){1,5}(?![.\d])"
_GAPPED = r"\d{1,3}(?:[\u00a0\u202f]\d{3}){1,5}(?!\d)"
_SPACED = r"\d{1,3}(?:[ \u00a0\u202f]\d{3}){1,5}(?!\d)"
WITH_POINTS = rf"(?:(?:{_POINTED}|{_GAPPED}|\d+)(?:,\d+)?|\d+\.\d+)"
WITH_SPACES = rf"(?:(?:{_SPACED}|{_POINTED}|\d+)(?:,\d+)?|\d+\.\d+)"


def is_feminine(noun: str) -> bool:
    return noun.partition(" ")[0].endswith(("a", "as"))


def say_date(numbers: NumberWords, day: int, month: str, year: int, *, joint: str, first: str) -> str:
    """`first` is the word for the first of a month."""
    spoken_day = first if day == 1 else numbers.cardinal(day)
    return f"{spoken_day}{joint}{month}{joint}{numbers.cardinal(year)}"
