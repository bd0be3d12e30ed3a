"""Telephone numbers, and codes that are grouped like them, digit by digit."""

import re
from functools import lru_cache

from phonenumbers import Leniency, PhoneNumberMatcher

from kokoro_trio.text.normalization.rules import WORD, Rule, WordByWord
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_CANDIDATE = re.compile(
    r"""(?<![\w.,/:+\-$€£])
    (?: \+\d[\d ()./\-]{5,20}\d
    | (?:\+?\d{1,3}[ .\-])? (?:\(\d{2,5}\)[ .\-]?)? \d{2,5}(?:[ .\-]\d{2,5}){1,5} )
    (?![\w/:%°]|[.,\-]\d)""",
    re.VERBOSE,
)
_UNMISTAKABLE = re.compile(
    r"""\+\d[\d ()./\-]+
    | (?:\+?1[ .\-])?(?:\(\d{3}\)\ ?|\d{3}[.\-])\d{3}[ .\-]\d{4}
    | \d{3}-\d{4}
    | 0\d{1,4}(?:[ \-]\d{2,4}){2,5}""",
    re.VERBOSE,
)
"""Written like nothing but a telephone number, even if the number is not in use, as 555 never is."""
_CODE = re.compile(
    r"""(?<![\w.,/+\-])
    (?:\d{1,9}(?:-\d{1,9}){2,9} | \d{5}-\d{4} | 0\d{4}-\d{3} | \d{3}\.\d{3}\.\d{3}-\d\d)
    (?![\w\-])""",
    re.VERBOSE,
)
"""An ISBN, a postal code or a taxpayer's number, for example."""
_SERVICE = re.compile(
    r"(?<=\b(?:call|dial|ring|text) )(?:112|311|411|911|988|999)(?![\w%]|[.,]\d)", re.IGNORECASE
)
_DIGITS = re.compile(r"\d+")


def rules(vocabulary: Vocabulary) -> list[Rule]:
    def by_digits(written: str) -> str:
        return ", ".join(map(vocabulary.numbers.digits, _DIGITS.findall(written)))

    def phone(match: re.Match[str]) -> WordByWord | None:
        written = match[0]
        if not _UNMISTAKABLE.fullmatch(written) and not _is_in_use(written, vocabulary.region):
            return None
        words = WORD.findall(written)
        spoken = list(map(by_digits, words))
        if written.startswith("+"):
            spoken[0] = f"{vocabulary.symbols['+']} {spoken[0]}"
        return [word + "," * (index < len(words)) for index, word in enumerate(spoken, 1)]

    def code(match: re.Match[str]) -> str:
        return by_digits(match[0])

    return [Rule(_CANDIDATE, phone), Rule(_CODE, code), Rule(_SERVICE, code)]


@lru_cache(maxsize=256)
def _is_in_use(written: str, region: str) -> bool:
    matcher = PhoneNumberMatcher(written, region, leniency=Leniency.VALID)
    return any(found.raw_string == written for found in matcher)
