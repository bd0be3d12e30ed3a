"""What Japanese and Mandarin normalisation share: ASCII digits and letters, and rules applied in turn."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from kokoro_trio.text.normalization.rules import any_of
from kokoro_trio.text.traced import Traced

Rewrite = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
"""Replaces each match of the pattern with what the function returns."""

MAX_DIGITS = 16
"""Longer numbers are spoken digit by digit, as are those with a leading zero."""

_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_UNREADABLE_CATEGORIES = ("Cc", "Cs")
_HAN_ZERO = "〇"
_NAME_VARIANTS = dict(zip("𠮷髙﨑", "吉高崎", strict=True))
"""Variants of characters in names, which no dictionary has."""

DATE: Rewrite = (
    re.compile(
        r"(?<![\d/-])(?P<year>\d{4})(?P<mark>[/-])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?![\d/-])"
    ),
    lambda date: f"{date['year']}年{int(date['month'])}月{int(date['day'])}日",
)


def pairs(written: str) -> dict[str, str]:
    """A table that is written as "key:value key:value"."""
    return dict(pair.split(":") for pair in written.split())


def money(currencies: Mapping[str, str], amount: str) -> Rewrite:
    """`amount` is a regular expression."""
    pattern = rf"(?P<sign>[{''.join(currencies)}])\s*(?P<amount>{amount})"
    return re.compile(pattern), lambda match: match["amount"] + currencies[match["sign"]]


def units(words: Mapping[str, str], space: str = "") -> Rewrite:
    """Units behind a digit, as words with `space` on both sides."""
    pattern = rf"(?<=\d)\s?(?P<unit>{any_of([*words])})(?![A-Za-z])"
    return re.compile(pattern), lambda match: space + words[match["unit"]] + space


def signs(words: Mapping[str, str], space: str = "") -> Rewrite:
    return re.compile(any_of([*words])), lambda match: space + words[match[0]] + space


def normalized(text: str, rules: Iterable[Rewrite]) -> Traced:
    """Applies the rules in turn to `text` with ASCII digits, without group separators."""
    rewritten = Traced.of(text)
    rewritten = rewritten.replaced(
        (position, position + 1, new)
        for position, char in enumerate(text)
        if not ("\x20" <= char <= "\x7e") and (new := _in_ascii(char)) != char
    )
    for pattern, rewrite in [(_GROUPED, _without_commas), *rules]:
        matches = pattern.finditer(rewritten.text)
        rewritten = rewritten.replaced([(*match.span(), rewrite(match)) for match in matches])
    return rewritten


def _without_commas(number: re.Match[str]) -> str:
    return number[0].replace(",", "")


def _in_ascii(char: str) -> str:
    """Digits and Latin letters of any width and shape in ASCII; other characters as they are."""
    category = unicodedata.category(char)
    if category in _UNREADABLE_CATEGORIES:
        # MeCab stops at NUL, and lone surrogates cannot be encoded in UTF-8.
        return " "
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category in ("No", "Nl") and char != _HAN_ZERO:
        # With spaces, so that ①② and 1½ do not become one number.
        value = unicodedata.numeric(char)
        folded = unicodedata.normalize("NFKC", char).replace("\u2044", "/")
        return f" {int(value)} " if value.is_integer() else f" {folded} "
    if "\uff01" <= char <= "\uff5e" or "\u3300" <= char <= "\u33ff" or char in "℃℉￥￡":
        return unicodedata.normalize("NFKC", char)
    return _NAME_VARIANTS.get(char, char)
