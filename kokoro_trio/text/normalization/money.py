"""Amounts of money."""

import re
from functools import partial

from kokoro_trio.text.normalization.cldr import CURRENCY_CODES, CURRENCY_SIGNS, currency_name, currency_noun
from kokoro_trio.text.normalization.rules import Rule, WordByWord, by_group
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_DOLLARS = {
    "A": "AUD",
    "AU": "AUD",
    "C": "CAD",
    "CA": "CAD",
    "HK": "HKD",
    "NZ": "NZD",
    "S": "SGD",
    "US": "USD",
}
_SCALES = {"k": "thousand", "m": "million", "mm": "million", "b": "billion", "bn": "billion", "t": "trillion"}
_SIGNS = "[" + "".join(sign for sign in CURRENCY_SIGNS if len(sign) == 1) + "]"
_AS_ADJECTIVE = re.compile(
    r"-[a-z]|\s(?:bill|note|coin|fee|fine|bet|tip|gift|coupon|discount|deposit|budget)s?\b"
)
_PERIODS = {"mo": "month", "yr": "year", "hr": "hour", "h": "hour", "wk": "week"}


def rules(vocabulary: Vocabulary) -> list[Rule]:
    money = _Money(vocabulary)
    number = rf"(?P<number>{vocabulary.numbers.written})"
    minus = "(?P<minus>[-−]?)"
    sign = rf"(?<!\w)(?P<minus>[-−+]?)(?P<sign>(?:R|{'|'.join(_DOLLARS)})?\$|Rs\.?|{_SIGNS})\s?"
    code = f"(?P<code>{'|'.join(CURRENCY_CODES)})"
    letters = r"|(?:[kmbtKMBT]|bn|mm)(?![^\W_])" if vocabulary.is_english else ""
    scale = rf"(?:\s?(?P<scale>{vocabulary.scales}{letters})\b)?"
    first = (number + scale).replace("?P<", "?P<first_")
    in_range = rf"{sign}{first} \s?[-–—]\s? (?P=sign)?{number}{scale} (?![^\W_])"
    behind_sign = rf"""{sign}{number}{scale}(?![^\W_])
        (?:/(?P<period>[a-z]+)(?:\.(?=,|\s[a-z]))?)? (?:\s(?:dollars|euros|pounds)\b)?"""
    before_sign = rf"(?<![\w.,]){minus}{number}\s?(?P<sign>{_SIGNS})(?!\w)"
    behind_code = rf"\b{code}\s?{minus}{number}(?P<scale>)(?![^\W_]|[.,]\d)"
    before_code = rf"(?<![\w.,]){minus}{number}{scale}\s?{code}\b"
    return [
        Rule(re.compile(in_range, re.VERBOSE), money.range),
        Rule(re.compile(behind_sign, re.VERBOSE), money.behind_sign),
        Rule(re.compile(before_sign), money.before_sign),
        Rule(re.compile(behind_code), money.with_code),
        Rule(re.compile(before_code), money.with_code),
    ]


class _Money:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._numbers = vocabulary.numbers
        self._noun = partial(currency_noun, locale=vocabulary.locale)
        self._name = partial(currency_name, locale=vocabulary.locale)

    def behind_sign(self, match: re.Match[str]) -> str:
        spoken = self._amount(
            match["minus"], match["number"], match["scale"], _code(match["sign"]), match["sign"]
        )
        if self._vocabulary.is_english and _AS_ADJECTIVE.match(match.string, match.end()):
            spoken = spoken.removesuffix("s")
        period = match["period"]
        return f"{spoken} {self._vocabulary.per} {_PERIODS.get(period, period)}" if period else spoken

    def range(self, match: re.Match[str]) -> str:
        start = self._numbers.number(match["minus"] + match["first_number"])
        if scale := match["first_scale"]:
            start += f" {_SCALES.get(scale.lower(), scale)}"
        end = self._amount("", match["number"], match["scale"], _code(match["sign"]), match["sign"])
        return f"{start} {self._vocabulary.to} {end}"

    def before_sign(self, match: re.Match[str]) -> str | WordByWord:
        minus, number, sign = match["minus"], match["number"], match["sign"]
        code = _code(sign)
        if sign == "¢" or self._hundredths(number, code):
            return self._amount(minus, number, None, code, sign)
        noun = self._noun(code, self._numbers.value(number))
        return by_group(match, number=self._agreed(minus, number, noun), sign=noun)

    def with_code(self, match: re.Match[str]) -> str:
        return self._amount(match["minus"], match["number"], match["scale"], match["code"], "")

    def _amount(self, minus: str, number: str, scale: str | None, code: str, sign: str) -> str:
        value = self._numbers.value(number)
        name = self._noun if sign and sign[:2] not in _DOLLARS else self._name
        if sign == "¢":
            noun = self._vocabulary.cents[code][value != 1]
            return f"{self._agreed(minus, number, noun)} {noun}"
        if scale:
            counted = self._vocabulary.of_amount(name(code, 1_000_000))
            return f"{self._numbers.number(minus + number)} {_SCALES.get(scale.lower(), scale)} {counted}"
        if hundredths := self._hundredths(number, code):
            return self._with_hundredths(minus, *hundredths, name(code, int(value)), code)
        noun = name(code, value)
        return f"{self._agreed(minus, number, noun)} {noun}"

    def _with_hundredths(self, minus: str, whole: str, hundredths: str, noun: str, code: str) -> str:
        if int(hundredths) == 0:
            return f"{self._agreed(minus, whole, noun)} {noun}"
        cents = self._vocabulary.cents[code][int(hundredths) != 1]
        spoken_cents = self._vocabulary.agree(self._numbers.cardinal(int(hundredths)), cents)
        named_cents = f"{spoken_cents} {cents}"
        if int(whole) == 0:
            return f"{self._numbers.minus} {named_cents}" if minus in ("-", "−") else named_cents
        joint = f" {self._vocabulary.money_joint} " if self._vocabulary.money_joint else " "
        rest = named_cents if self._vocabulary.names_cents else spoken_cents
        return f"{self._agreed(minus, whole, noun)} {noun}{joint}{rest}"

    def _hundredths(self, number: str, code: str) -> tuple[str, str] | None:
        return self._numbers.hundredths(number) if code in self._vocabulary.cents else None

    def _agreed(self, minus: str, number: str, noun: str) -> str:
        return self._vocabulary.agree(self._numbers.number(minus + number), noun)


def _code(sign: str) -> str:
    return CURRENCY_SIGNS.get(sign) or _DOLLARS.get(sign.rstrip("$"), "USD")
