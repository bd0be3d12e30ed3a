"""What CLDR, the Unicode Consortium's locale data, calls units, currencies and months."""

import re
from decimal import Decimal
from functools import lru_cache

from babel.dates import get_month_names
from babel.numbers import get_currency_name
from babel.units import format_unit

UNITS = {
    "km": "length-kilometer",
    "m": "length-meter",
    "cm": "length-centimeter",
    "mm": "length-millimeter",
    "µm": "length-micrometer",
    "nm": "length-nanometer",
    "mi": "length-mile",
    "yd": "length-yard",
    "ft": "length-foot",
    "in": "length-inch",
    "m²": "area-square-meter",
    "km²": "area-square-kilometer",
    "cm²": "area-square-centimeter",
    "ha": "area-hectare",
    "m³": "volume-cubic-meter",
    "cm³": "volume-cubic-centimeter",
    "kg": "mass-kilogram",
    "g": "mass-gram",
    "mg": "mass-milligram",
    "µg": "mass-microgram",
    "t": "mass-tonne",
    "lb": "mass-pound",
    "oz": "mass-ounce",
    "l": "volume-liter",
    "L": "volume-liter",
    "ml": "volume-milliliter",
    "cl": "volume-centiliter",
    "dl": "volume-deciliter",
    "gal": "volume-gallon",
    "km/h": "speed-kilometer-per-hour",
    "m/s": "speed-meter-per-second",
    "m/s²": "acceleration-meter-per-square-second",
    "h": "duration-hour",
    "min": "duration-minute",
    "s": "duration-second",
    "ms": "duration-millisecond",
    "µs": "duration-microsecond",
    "ns": "duration-nanosecond",
    "B": "digital-byte",
    "kB": "digital-kilobyte",
    "MB": "digital-megabyte",
    "GB": "digital-gigabyte",
    "TB": "digital-terabyte",
    "PB": "digital-petabyte",
    "Mb": "digital-megabit",
    "Gb": "digital-gigabit",
    "Hz": "frequency-hertz",
    "kHz": "frequency-kilohertz",
    "MHz": "frequency-megahertz",
    "GHz": "frequency-gigahertz",
    "W": "power-watt",
    "mW": "power-milliwatt",
    "kW": "power-kilowatt",
    "MW": "power-megawatt",
    "GW": "power-gigawatt",
    "hp": "power-horsepower",
    "kWh": "energy-kilowatt-hour",
    "kcal": "energy-kilocalorie",
    "cal": "energy-calorie",
    "J": "energy-joule",
    "kJ": "energy-kilojoule",
    "V": "electric-volt",
    "A": "electric-ampere",
    "mA": "electric-milliampere",
    "Ω": "electric-ohm",
    "N": "force-newton",
    "Pa": "pressure-pascal",
    "hPa": "pressure-hectopascal",
    "kPa": "pressure-kilopascal",
    "bar": "pressure-bar",
    "px": "graphics-pixel",
    "dpi": "graphics-dot-per-inch",
    "°C": "temperature-celsius",
    "°F": "temperature-fahrenheit",
    "°": "angle-degree",
}
"""The sign of a unit → its name in CLDR."""

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
"""The most traded; without those that are words as well, such as TRY and ALL."""


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
    """The name without the number: "kilometers" for ("km", 5, "en")."""
    name = _NUMBER.sub("", format_unit(_decimal(value), UNITS[unit], "long", locale=locale)).strip()
    return name if UNITS[unit] not in name else _UNNAMED_IN_CLDR[locale][unit]


@lru_cache(maxsize=1_024)
def currency_name(code: str, value: float, locale: str) -> str:
    name = str(get_currency_name(code, _decimal(value), locale))
    if locale == "en":
        return re.sub("^[A-Z]{2,}(?= )", lambda country: ".".join(country[0]), name)
    return name[0].lower() + name[1:]


def currency_noun(code: str, value: float, locale: str) -> str:
    """The name without the country: "dollars" for ("USD", 5, "en")."""
    words = currency_name(code, value, locale).split()
    return words[-1] if locale in ("en", "hi") else words[0]


@lru_cache(maxsize=256)
def month_names(locale: str) -> tuple[str, ...]:
    return tuple(get_month_names("wide", locale=locale).values())


@lru_cache(maxsize=256)
def short_month_names(locale: str) -> tuple[str, ...]:
    return tuple(name.rstrip(".") for name in get_month_names("abbreviated", locale=locale).values())


def _decimal(value: float) -> Decimal:
    """Without ".0": CLDR says "1.0 meters", but it is "1 meter"."""
    return Decimal(str(value)) if value % 1 else Decimal(int(value))
