"""Percentages, temperatures and quantities with a unit."""

import re

from kokoro_trio.text.normalization.names import UNITS, unit_name
from kokoro_trio.text.normalization.numerals import NOT_IN_WORD
from kokoro_trio.text.normalization.scan import Kind, WordByWord, along
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_OTHER_SPELLINGS = {
    "lbs": "lb",
    "in.": "in",
    "hr": "h",
    "hrs": "h",
    "mins": "min",
    "sec": "s",
    "secs": "s",
    "KB": "kB",
    "kph": "km/h",
    "kmh": "km/h",
    "m/s^2": "m/s²",
    "m^2": "m²",
    "m2": "m²",
    "km2": "km²",
    "cm2": "cm²",
    "m^3": "m³",
    "m3": "m³",
    "cm3": "cm³",
    "μm": "µm",
    "um": "µm",
    "μg": "µg",
    "μs": "µs",
    "us": "µs",
    "mL": "ml",
    "ºC": "°C",
    "ºF": "°F",
    "℃": "°C",
    "℉": "°F",
    "Mbit": "Mb",
    "Gbit": "Gb",
    "kwh": "kWh",
    "hz": "Hz",
    "ghz": "GHz",
    "mhz": "MHz",
    "gb": "GB",
    "mb": "MB",
    "tb": "TB",
}

_NOT_IN_CLDR = {
    "mph": ("mile per hour", "miles per hour"),
    "fps": ("frame per second", "frames per second"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "mpg": ("mile per gallon", "miles per gallon"),
    "psi": ("pound per square inch", "pounds per square inch"),
    "dB": ("decibel", "decibels"),
    "mAh": ("milliampere hour", "milliampere hours"),
    "Wh": ("watt hour", "watt hours"),
    "Kbps": ("kilobit per second", "kilobits per second"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "kb": ("kilobit", "kilobits"),
    "sqft": ("square foot", "square feet"),
    "ft²": ("square foot", "square feet"),
    "mol": ("mole", "moles"),
    "bps": ("basis point", "basis points"),
    "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"),
    "yr": ("year", "years"),
    "yrs": ("year", "years"),
    "wks": ("week", "weeks"),
    "pt": ("point", "points"),
    "pts": ("point", "points"),
}
"""In English only."""
_ONLY_ATTACHED = frozenset(("in", "A", "N", "B", "t", "us", "pt", "J", "um", "bar"))
"""What would be a word of its own behind a number and a space."""


_SCALES = {"k": "K", "K": "K", "M": "million", "B": "billion", "T": "trillion", "bn": "billion"}


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    measures = _Measures(vocabulary)
    number = vocabulary.figures.written
    one = rf"(?<![\w)%°])(?<!\w[.,\-])([-−+±]?)(?:({number})%?\s?([-–x×])\s?)?({number})"
    units = [
        *UNITS,
        *_OTHER_SPELLINGS,
        *vocabulary.unit_spellings,
        *(_NOT_IN_CLDR if vocabulary.is_english else ()),
    ]
    unit = "|".join(map(re.escape, sorted(units, key=len, reverse=True)))
    unit_end = r"(?:(?<=[a-z])\.(?=\s+[a-z\d]|[,;:)]))?(?![^\W_]|['’][^\W_s]|[.\-]\d)"
    quote_ends = r"(?=\s|[.,;!?)]|$)"
    whole = rf"{NOT_IN_WORD}(\d+(?:\.\d+)?)"
    english = [
        Kind(
            re.compile(rf"{NOT_IN_WORD}(\d+)\s?['′’]\s?(\d+(?:\.\d+)?)\s?(?:[\"″”]|'')"),
            measures.feet_and_inches,
        ),
        Kind(re.compile(rf"{NOT_IN_WORD}([4-7])['’](1[01]|\d)(?![\w'’])"), measures.feet_and_inches),
        Kind(re.compile(rf"{whole}[\"″]{quote_ends}(?<!\"\d\")(?<!\"\d\d\")"), measures.inches),
        Kind(re.compile(rf"{whole}['′]{quote_ends}(?<!'\d')(?<!'\d\d')"), measures.feet),
        Kind(re.compile(rf"{NOT_IN_WORD}({number})\s?(sq)\.?\s?(ft|in|mi|m|km)\b\.?"), measures.square),
        Kind(re.compile(rf"(?<![\w.,])(?<!\w-)({number})([kKMBT]|bn)(\+)?(?![^\W_])"), measures.scaled),
    ]
    return [
        Kind(re.compile(rf"{one}\s?([%‰])"), measures.percent),
        Kind(
            re.compile(rf"(?:(?<=[½¼¾⅓⅔⅛])|(?<=\d/\d)|(?<=[½¼¾⅓⅔⅛] )|(?<=\d/\d ))({unit}){unit_end}"),
            measures.part,
        ),
        *(english if vocabulary.is_english else []),
        Kind(
            re.compile(rf"{one}(?:\s?|(-))({unit})(?:/({unit}(?![^\W_])|[^\W\d_]{{3,12}}))?{unit_end}"),
            measures.quantity,
        ),
    ]


class _Measures:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._figures = vocabulary.figures

    def percent(self, match: re.Match[str]) -> WordByWord:
        name = self._vocabulary.percent if match[5] == "%" else self._vocabulary.permille
        return along(match, *self._numbers(match, name), (5, name))

    def quantity(self, match: re.Match[str]) -> WordByWord | None:
        hyphen, unit, per = match[5], match[6], match[7]
        if unit in "AB" and self._vocabulary.is_english:
            return None
        if unit in _ONLY_ATTACHED and match.string[match.start(6) - 1].isspace():
            return None
        name = self._name(unit, 1 if hyphen else self._figures.value(match[4]))
        spoken_per = f"{self._vocabulary.per} {self._name(per, 1)}" if per else ""
        return along(match, *self._numbers(match, name), (6, name), (7, spoken_per))

    def part(self, match: re.Match[str]) -> str:
        """Behind a fraction, which other kinds read."""
        return " " * (not match.string[match.start() - 1].isspace()) + self._name(match[1], 1)

    def _numbers(self, match: re.Match[str], name: str) -> list[tuple[int, str]]:
        sign, first, joint, last = match.groups()[:4]
        spoken_sign = self._figures.minus if sign in ("-", "−") else self._vocabulary.symbols.get(sign, "")
        between = self._vocabulary.by if joint in ("x", "×") else self._vocabulary.to
        return [
            (1, spoken_sign),
            (2, self._figures.number(first) if first else ""),
            (3, between),
            (4, self._vocabulary.agree(self._figures.number(last), name)),
        ]

    def _name(self, unit: str, value: float) -> str:
        if unit in _NOT_IN_CLDR:
            return _NOT_IN_CLDR[unit][value != 1]
        if unit not in UNITS and unit not in _OTHER_SPELLINGS and unit not in self._vocabulary.unit_spellings:
            return unit
        sign = self._vocabulary.unit_spellings.get(unit) or _OTHER_SPELLINGS.get(unit, unit)
        return unit_name(sign, value, self._vocabulary.locale).replace("byte", self._vocabulary.byte)

    def feet_and_inches(self, match: re.Match[str]) -> WordByWord:
        feet, inches = self._name("ft", int(match[1])), self._name("in", float(match[2]))
        return along(
            match,
            (1, f"{self._figures.number(match[1])} {feet}"),
            (2, f"{self._figures.number(match[2])} {inches}"),
        )

    def inches(self, match: re.Match[str]) -> str:
        return f"{self._figures.number(match[1])} {self._name('in', float(match[1]))}"

    def feet(self, match: re.Match[str]) -> str:
        return f"{self._figures.number(match[1])} {self._name('ft', float(match[1]))}"

    def square(self, match: re.Match[str]) -> WordByWord:
        name = self._name(match[3], self._figures.value(match[1]))
        return along(match, (1, self._figures.number(match[1])), (2, "square"), (3, name))

    def scaled(self, match: re.Match[str]) -> str | None:
        """ "8B" may be a size as well as a flat; "1.2B" is not."""
        if match[2] in "BT" and "." not in match[1]:
            return None
        spoken = f"{self._figures.number(match[1])} {_SCALES[match[2]]}"
        return f"{spoken} plus" if match[3] else spoken
