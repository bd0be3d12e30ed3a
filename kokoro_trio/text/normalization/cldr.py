"""Names of units, currencies and months from CLDR, the locale data of the Unicode Consortium."""

import re
from decimal import Decimal
from functools import cache, lru_cache

from babel.dates import get_month_names
from babel.numbers import get_currency_name
from babel.units import format_unit

from kokoro_trio.text.normalization import tables

_UNIT_ROWS = [row for row in tables.rows("units") if row["CLDR"]]
UNITS = {row["unit"]: row["CLDR"] for row in _UNIT_ROWS}
"""The sign of a unit → its name in CLDR."""
OTHER_SPELLINGS = {other: row["unit"] for row in _UNIT_ROWS for other in row["also written"].split()}
"""Other spellings of a unit → its sign in `UNITS`."""
ENGLISH_UNITS = {
    sign: (row["singular"], row["plural"])
    for row in tables.rows("units")
    if not row["CLDR"]
    for sign in (row["unit"], *row["also written"].split())
}
"""Units that CLDR does not have → singular and plural."""

CURRENCY_SIGNS = {
    "$": "USD",
    "£": "GBP",
    "€": "EUR",
    "¥": "JPY",
    "₹": "INR",
    "₩": "KRW",
    "₽": "RUB",
    "₺": "TRY",
    "₪": "ILS",
    "₫": "VND",
    "₱": "PHP",
    "₦": "NGN",
    "฿": "THB",
    "₴": "UAH",
    "R$": "BRL",
    "¢": "USD",
    "Rs": "INR",
    "Rs.": "INR",
}
CURRENCY_CODES = (
    *("USD", "EUR", "GBP", "JPY", "CNY", "INR", "CAD", "AUD", "CHF", "NZD", "MXN", "BRL", "KRW", "SEK"),
    *("NOK", "DKK", "PLN", "CZK", "HUF", "HKD", "SGD", "TWD", "ZAR", "AED", "SAR", "ILS", "THB", "RUB"),
    *("ARS", "COP", "PEN", "PHP", "IDR", "MYR", "VND", "NGN", "EGP", "UAH"),
)
"""The most traded currencies, without codes that are also words, such as TRY and ALL."""

_UNNAMED_IN_CLDR = {
    "it": {"B": "byte", "bar": "bar"},
    "hi": {
        "mi": "मील",
        "in": "इंच",
        "lb": "पाउंड",
        "oz": "औंस",
        "gal": "गैलन",
        "B": "बाइट",
        "bar": "बार",
    },
}
_NUMBER = re.compile(r"\d[\d.,\u00a0\u202f]*")


@lru_cache(maxsize=1_024)
def unit_name(unit: str, value: float, locale: str) -> str:
    """Without the number: "kilometers" for ("km", 5, "en")."""
    name = _NUMBER.sub("", format_unit(_decimal(value), UNITS[unit], "long", locale=locale)).strip()
    return name if UNITS[unit] not in name else _UNNAMED_IN_CLDR[locale][unit]


@lru_cache(maxsize=1_024)
def currency_name(code: str, value: float, locale: str) -> str:
    name = str(get_currency_name(code, _decimal(value), locale))
    if locale == "en":
        return re.sub("^[A-Z]{2,}(?= )", lambda country: ".".join(country[0]), name)
    return name[0].lower() + name[1:]


def currency_noun(code: str, value: float, locale: str) -> str:
    """Without the country: "dollars" for ("USD", 5, "en")."""
    words = currency_name(code, value, locale).split()
    return words[-1] if locale in ("en", "hi") else words[0]


@cache
def month_names(locale: str) -> tuple[str, ...]:
    return tuple(get_month_names("wide", locale=locale).values())


@cache
def short_month_names(locale: str) -> tuple[str, ...]:
    return tuple(name.rstrip(".") for name in get_month_names("abbreviated", locale=locale).values())


def _decimal(value: float) -> Decimal:
    """Whole values as integers: CLDR says "1.0 meters", but "1 meter"."""
    return Decimal(str(value)) if value % 1 else Decimal(int(value))
