"""Numbers as words: num2words knows the languages' words, this module how each groups and points digits."""

import re
from functools import lru_cache
from typing import Any

from attrs import frozen
from num2words import num2words  # type: ignore[import-untyped]

MAX_CARDINAL_DIGITS = 15
"""Longer numbers are spoken digit by digit: no listener follows quadrillions."""
LAKH_GROUPS = "2,3"
"""Digits in a group of 1,00,000, which is 100,000 elsewhere; English texts have both."""
WITH_COMMAS = r"(?:(?:\d{1,3}(?:,\d{2,3}){0,4},\d{3}(?!\d)|\d+)(?:\.\d+)?|\.\d+)"


@frozen
class NumberWords:
    """How a language writes and says numbers."""

    num2words_language: str | None
    """None: integers stay digits, for espeak to read."""
    decimal_marks: str
    group_marks: str
    written: str
    """A regular expression without groups."""
    point: str
    minus: str
    group_sizes: str = "3"
    dropped: str = ","
    """A regular expression for what num2words says and speakers do not."""

    def number(self, written: str) -> str:
        """Of a number that `written` matches, with or without a sign."""
        sign = self.minus + " " if written[0] in "-−" else ""
        whole, fraction = self._parts(written.lstrip("-−+"))
        spoken_whole = self.cardinal(whole) if whole else ""
        if not fraction:
            return sign + spoken_whole
        return " ".join(filter(None, [sign.strip(), spoken_whole, self.point, self.digits(fraction)]))

    def value(self, written: str) -> float:
        whole, fraction = self._parts(written.lstrip("-−+"))
        return float(f"{whole[:20] or 0}.{fraction[:20] or 0}")

    def hundredths(self, written: str) -> tuple[str, str] | None:
        """The digits before and after the decimal point, if exactly two stand after it."""
        whole, fraction = self._parts(written)
        return (whole or "0", fraction) if len(fraction) == 2 else None

    def cardinal(self, digits: str | int) -> str:
        digits = str(digits)
        if len(digits) > MAX_CARDINAL_DIGITS or (len(digits) > 1 and int(digits[0]) == 0):
            return self.digits(digits)
        return self._words(int(digits), "cardinal")

    def ordinal(self, number: int) -> str:
        return self._words(number, "ordinal")

    def digits(self, digits: str) -> str:
        return " ".join(self._words(int(digit), "cardinal") for digit in digits)

    def year(self, number: int) -> str:
        # misaki would pronounce the "oh-five" of num2words's "nineteen oh-five" as one word.
        return self._words(number, "year").replace(" oh-", " oh ")

    def _parts(self, written: str) -> tuple[str, str]:
        ungrouped = re.sub(rf"[{self.group_marks}](?=\d{{{self.group_sizes}}}(?!\d))", "", written)
        whole, _, fraction = re.sub(rf"[{self.decimal_marks}]", "!", ungrouped).partition("!")
        return whole, fraction

    def _words(self, number: int, form: str) -> str:
        if self.num2words_language is None:
            return str(number)
        return re.sub(self.dropped, "", _num2words(self.num2words_language, number, form))


@lru_cache(maxsize=4_096)
def _num2words(language: str, number: int, form: str) -> str:
    words: Any = num2words(number, lang=language, to=form)
    return str(words)
