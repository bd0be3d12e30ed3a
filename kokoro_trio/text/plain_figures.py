"""What Japanese and Mandarin texts have in common: rewriting step by step, and figures in plain ASCII."""

import re
import unicodedata
from collections.abc import Callable, Iterable

from kokoro_trio.text.traced import Traced

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
"""What is looked for, and what it is read as."""

_COMMAS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_UNREADABLE_CATEGORIES = ("Cc", "Cs")
_HAN_ZERO = "〇"
_VARIANTS = dict(zip("𠮷髙﨑", "吉高崎", strict=True))
"""Of names, and in none of the dictionaries."""


def plain(text: Traced) -> Traced:
    """Figures and Latin letters of every width and shape as ASCII, without what no dictionary can take."""
    changed = [
        (position, position + 1, new)
        for position, char in enumerate(text.text)
        if not ("\x20" <= char <= "\x7e") and (new := _plain(char)) != char
    ]
    return reworded(text.replaced(changed), [(_COMMAS, lambda number: number[0].replace(",", ""))])


def reworded(text: Traced, rules: Iterable[Rule]) -> Traced:
    """By each rule in turn."""
    for pattern, reading in rules:
        found = pattern.finditer(text.text)
        text = text.replaced([(*match.span(), reading(match)) for match in found])
    return text


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category in _UNREADABLE_CATEGORIES:
        # MeCab ends at NUL, and surrogates have no UTF-8 form.
        return " "
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category in ("No", "Nl") and char != _HAN_ZERO:
        # Not grown together with the figures beside them: ①②, 1½.
        value = unicodedata.numeric(char)
        folded = unicodedata.normalize("NFKC", char).replace("\u2044", "/")
        return f" {int(value)} " if value.is_integer() else f" {folded} "
    if "\uff01" <= char <= "\uff5e" or "\u3300" <= char <= "\u33ff" or char in "℃℉￥￡":
        return unicodedata.normalize("NFKC", char)
    return _VARIANTS.get(char, char)
