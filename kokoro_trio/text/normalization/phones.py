"""Telephone numbers."""

import re
from functools import lru_cache

from phonenumbers import Leniency, PhoneNumberMatcher

from kokoro_trio.text.normalization.scan import WORD, Kind, WordByWord
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_GROUPED = r"(?:\+?\d{1,3}[ .\-])?(?:\(\d{2,5}\)[ .\-]?)?\d{2,5}(?:[ .\-]\d{2,5}){1,5}"
_WRITTEN = re.compile(rf"(?<![\w.,/:+\-$€£])(?:\+\d[\d ()./\-]{{5,20}}\d|{_GROUPED})(?![\w/:%°]|[.,\-]\d)")
_CERTAIN = re.compile(
    r"\+\d[\d ()./\-]+|(?:\+?1[ .\-])?(?:\(\d{3}\) ?|\d{3}[.\-])\d{3}[ .\-]\d{4}|\d{3}-\d{4}"
    r"|0\d{1,4}(?:[ \-]\d{2,4}){2,5}"
)
"""What nothing else is written like, whether the number is in use or not: 555 never is."""
_CODE = re.compile(
    r"(?<![\w.,/+\-])(?:\d{1,9}(?:-\d{1,9}){2,9}|\d{5}-\d{4}|0\d{4}-\d{3}|\d{3}\.\d{3}\.\d{3}-\d\d)(?![\w\-])"
)
"""Such as the number of a book."""
_SERVICE = re.compile(
    r"(?<=\b(?:call|dial|ring|text) )(?:112|311|411|911|988|999)(?![\w%]|[.,]\d)", re.IGNORECASE
)
"""Three figures that are called and not counted."""
_DIGITS = re.compile(r"\d+")


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    figures = vocabulary.figures

    def read(match: re.Match[str]) -> WordByWord | None:
        written = match[0]
        if not _CERTAIN.fullmatch(written) and not _is_in_use(written, vocabulary.region):
            return None
        words = WORD.findall(written)
        spoken = [", ".join(map(figures.digits, _DIGITS.findall(word))) for word in words]
        if written.startswith("+"):
            spoken[0] = f"{vocabulary.symbols['+']} {spoken[0]}"
        return [word + "," * (index < len(words)) for index, word in enumerate(spoken, 1)]

    def read_code(match: re.Match[str]) -> str:
        return ", ".join(map(figures.digits, _DIGITS.findall(match[0])))

    return [Kind(_WRITTEN, read), Kind(_CODE, read_code), Kind(_SERVICE, read_code)]


@lru_cache(maxsize=256)
def _is_in_use(written: str, region: str) -> bool:
    matcher = PhoneNumberMatcher(written, region, leniency=Leniency.VALID)
    return any(found.raw_string == written for found in matcher)
