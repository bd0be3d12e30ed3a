"""Amounts of money."""

import re
from functools import partial

from kokoro_trio.text.normalization.names import CURRENCY_CODES, CURRENCY_SIGNS, currency_name, currency_noun
from kokoro_trio.text.normalization.scan import Kind, WordByWord, along
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_DOLLARS_ABROAD = {
    "US": "USD",
    "CA": "CAD",
    "C": "CAD",
    "A": "AUD",
    "AU": "AUD",
    "NZ": "NZD",
    "HK": "HKD",
    "S": "SGD",
}
_SCALE_LETTERS = {
    "k": "thousand",
    "m": "million",
    "mm": "million",
    "b": "billion",
    "bn": "billion",
    "t": "trillion",
}
_CODES = "|".join(CURRENCY_CODES)
_SIGNS = "[" + "".join(sign for sign in CURRENCY_SIGNS if len(sign) == 1) + "]"
_AS_ADJECTIVE = re.compile(
    r"-[a-z]|\s(?:bill|note|coin|fee|fine|bet|tip|gift|coupon|discount|deposit|budget)s?\b"
)
_PERIODS = {"mo": "month", "yr": "year", "hr": "hour", "h": "hour", "wk": "week"}


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    money = _Money(vocabulary)
    number = vocabulary.figures.written
    sign = rf"(?<!\w)([-−+]?)((?:R|{'|'.join(_DOLLARS_ABROAD)})?\$|Rs\.?|{_SIGNS})\s?"
    letters = r"|(?:[kmbtKMBT]|bn|mm)(?![^\W_])" if vocabulary.is_english else ""
    scale = rf"(?:\s?({vocabulary.scales}{letters})\b)?"
    return [
        Kind(re.compile(rf"{sign}({number}){scale}\s?[-–—]\s?\2?({number}){scale}(?![^\W_])"), money.range),
        Kind(
            re.compile(
                rf"{sign}({number}){scale}(?![^\W_])(?:(/)([a-z]+)(?:\.(?=,|\s[a-z]))?)?(?:\s(?:dollars|euros|pounds)\b)?"
            ),
            money.before,
        ),
        Kind(re.compile(rf"(?<![\w.,])([-−]?)({number})\s?({_SIGNS})(?!\w)"), money.after),
        Kind(re.compile(rf"\b({_CODES})\s?([-−]?)({number})(?![^\W_]|[.,]\d)"), money.code_before),
        Kind(re.compile(rf"(?<![\w.,])([-−]?)({number}){scale}\s?({_CODES})\b"), money.code_after),
    ]


class _Money:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._figures = vocabulary.figures
        self._noun = partial(currency_noun, locale=vocabulary.locale)
        self._name = partial(currency_name, locale=vocabulary.locale)

    def before(self, match: re.Match[str]) -> str:
        minus, sign, number, scale, per, period = match.groups()
        spoken = self._amount(minus, number, scale, _code(sign), sign)
        if self._vocabulary.is_english and _AS_ADJECTIVE.match(match.string, match.end()):
            spoken = re.sub(r"s\Z", "", spoken)
        return spoken + (f" {self._vocabulary.per} {_PERIODS.get(period, period)}" if per else "")

    def range(self, match: re.Match[str]) -> str:
        minus, sign, first, first_scale, last, scale = match.groups()
        start = self._figures.number(("-" if minus else "") + first)
        start += f" {_SCALE_LETTERS.get(first_scale.lower(), first_scale)}" if first_scale else ""
        most = self._amount("", last, scale, _code(sign), sign)
        return f"{start} {self._vocabulary.to} {most}"

    def after(self, match: re.Match[str]) -> str | WordByWord:
        minus, number, sign = match.groups()
        code = _code(sign)
        if sign == "¢" or self._hundredths(number, code):
            return self._amount(minus, number, None, code, sign)
        noun = self._noun(code, self._figures.value(number))
        return along(match, (2, self._agreed(minus, number, noun)), (3, noun))

    def code_before(self, match: re.Match[str]) -> str:
        return self._amount(match[2], match[3], None, match[1], "")

    def code_after(self, match: re.Match[str]) -> str:
        minus, number, scale, code = match.groups()
        return self._amount(minus, number, scale, code, "")

    def _amount(self, minus: str, number: str, scale: str | None, code: str, sign: str) -> str:
        value = self._figures.value(number)
        name = self._noun if sign and sign[:2] not in _DOLLARS_ABROAD else self._name
        if sign == "¢":
            noun = self._vocabulary.cents[code][value != 1]
            return f"{self._agreed(minus, number, noun)} {noun}"
        if scale:
            scale = _SCALE_LETTERS.get(scale.lower(), scale)
            counted = self._vocabulary.of_amount(name(code, 1_000_000))
            return f"{self._figures.number(('-' if minus == '-' else '') + number)} {scale} {counted}"
        hundredths = self._hundredths(number, code)
        if not hundredths:
            noun = name(code, value)
            return f"{self._agreed(minus, number, noun)} {noun}"
        return self._with_hundredths(minus, *hundredths, name(code, int(value)), code)

    def _with_hundredths(self, minus: str, whole: str, hundredths: str, noun: str, code: str) -> str:
        cents = self._vocabulary.cents[code][int(hundredths) != 1]
        spoken_cents = self._vocabulary.agree(self._figures.cardinal(str(int(hundredths))), cents)
        small = f"{spoken_cents} {cents}"
        if int(hundredths) == 0:
            return f"{self._agreed(minus, whole, noun)} {noun}"
        if int(whole) == 0:
            return f"{self._figures.minus} {small}" if minus in ("-", "−") else small
        joint = f" {self._vocabulary.money_joint} " if self._vocabulary.money_joint else " "
        rest = small if self._vocabulary.names_cents else spoken_cents
        return f"{self._agreed(minus, whole, noun)} {noun}{joint}{rest}"

    def _hundredths(self, number: str, code: str) -> tuple[str, str] | None:
        return self._figures.cents(number) if code in self._vocabulary.cents else None

    def _agreed(self, minus: str, number: str, noun: str) -> str:
        sign = "-" if minus in ("-", "−") and minus else ""
        return self._vocabulary.agree(self._figures.number(sign + number), noun)


def _code(sign: str) -> str:
    return CURRENCY_SIGNS.get(sign) or _DOLLARS_ABROAD.get(sign.rstrip("$"), "USD")
