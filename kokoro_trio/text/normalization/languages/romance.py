"""What Spanish, French, Italian and Portuguese have in common.

espeak reads them. Numbers are worded here all the same, because it says neither the decimal point nor the
separators.
"""

from kokoro_trio.text.normalization.figures import Figures

_POINTED = r"\d{1,3}(?:\.\d{3}){1,5}(?![.\d])"
_GAPPED = r"\d{1,3}(?:[\u00a0\u202f]\d{3}){1,5}(?!\d)"
_SPACED = r"\d{1,3}(?:[ \u00a0\u202f]\d{3}){1,5}(?!\d)"
WITH_POINTS = rf"(?:(?:{_POINTED}|{_GAPPED}|\d+)(?:,\d+)?|\d+\.\d+)"
WITH_SPACES = rf"(?:(?:{_SPACED}|{_POINTED}|\d+)(?:,\d+)?|\d+\.\d+)"


def is_feminine(noun: str) -> bool:
    return noun.partition(" ")[0].endswith(("a", "as"))


def say_date(figures: Figures, day: int, month: str, year: int, joint: str, first: str) -> str:
    spoken_day = first if day == 1 else figures.cardinal(str(day))
    return f"{spoken_day}{joint}{month}{joint}{figures.cardinal(str(year))}"
