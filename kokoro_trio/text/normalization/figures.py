"""Numbers as words. num2words knows the languages; how figures are grouped and pointed is known here."""

import re
from functools import lru_cache
from typing import Any

from attrs import frozen
from num2words import num2words  # type: ignore[import-untyped]

MAX_CARDINAL_DIGITS = 15
"""Longer numbers are told digit by digit: nobody follows quadrillions, and num2words ends somewhere."""


LAKH_GROUPS = "2,3"
"""1,00,000 is what is 100,000 elsewhere; in English both are met."""


@frozen
class Figures:
    """How a language writes and says numbers. `written` is a regular expression without groups."""

    num2words_language: str | None  # None: integers stay figures, for espeak to read
    decimal_marks: str
    group_marks: str
    written: str
    point: str
    minus: str
    group_sizes: str = "3"
    dropped: str = ","  # a regular expression: what the library says and speakers do not

    def number(self, written: str) -> str:
        """Of what `written` matches, with a sign or without."""
        sign = self.minus + " " if written[0] in "-−" else ""
        whole, fraction = self._parts(written.lstrip("-−+"))
        spoken_whole = self.cardinal(whole) if whole else ""
        if not fraction:
            return sign + spoken_whole
        return " ".join(filter(None, [sign.strip(), spoken_whole, self.point, self.digits(fraction)]))

    def value(self, written: str) -> float:
        whole, fraction = self._parts(written.lstrip("-−+"))
        return float(f"{whole[:20] or 0}.{fraction[:20] or 0}")

    def cents(self, written: str) -> tuple[str, str] | None:
        """The figures before and after the point, where those after it are two."""
        whole, fraction = self._parts(written)
        return (whole or "0", fraction) if len(fraction) == 2 else None

    def cardinal(self, digits: str) -> str:
        if len(digits) > MAX_CARDINAL_DIGITS or (len(digits) > 1 and int(digits[0]) == 0):
            return self.digits(digits)
        return self._said(int(digits), "cardinal")

    def ordinal(self, number: int) -> str:
        return self._said(number, "ordinal")

    def digits(self, digits: str) -> str:
        return " ".join(self._said(int(digit), "cardinal") for digit in digits)

    def year(self, number: int) -> str:
        # num2words says "nineteen oh-five", and misaki would hear one word in the end of it.
        return self._said(number, "year").replace(" oh-", " oh ")

    def _parts(self, written: str) -> tuple[str, str]:
        ungrouped = re.sub(rf"[{self.group_marks}](?=\d{{{self.group_sizes}}}(?!\d))", "", written)
        whole, _, fraction = re.sub(rf"[{self.decimal_marks}]", "!", ungrouped).partition("!")
        return whole, fraction

    def _said(self, number: int, form: str) -> str:
        if self.num2words_language is None:
            return str(number)
        return re.sub(self.dropped, "", _worded(self.num2words_language, number, form))


@lru_cache(maxsize=4_096)
def _worded(language: str, number: int, form: str) -> str:
    words: Any = num2words(number, lang=language, to=form)
    return str(words)
