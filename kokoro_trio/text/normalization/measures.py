"""Percentages, temperatures and quantities with a unit."""

import re

from kokoro_trio.text.normalization.cldr import ENGLISH_UNITS, OTHER_SPELLINGS, UNITS, unit_name
from kokoro_trio.text.normalization.numerals import NOT_IN_WORD
from kokoro_trio.text.normalization.rules import Rule, WordByWord, any_of, by_group
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_ONLY_ATTACHED = frozenset(("in", "A", "N", "B", "t", "us", "pt", "J", "um", "bar"))
"""Units that are words of their own behind a number and a space."""
_SCALES = {"k": "K", "K": "K", "M": "million", "B": "billion", "T": "trillion", "bn": "billion"}
_WHOLE_FEET_AND_INCHES = re.compile(rf"{NOT_IN_WORD}(?P<feet>[4-7])['’](?P<inches>1[01]|\d)(?![\w'’])")
_FEET_AND_INCHES = re.compile(
    rf"""{NOT_IN_WORD}(?P<feet>\d+)\s?['′’]\s?(?P<inches>\d+(?:\.\d+)?)\s?(?:["″”]|'')""", re.VERBOSE
)
_QUOTE_ENDS = r"(?=\s|[.,;!?)]|$)"
_INCHES = re.compile(
    rf"""{NOT_IN_WORD}(?P<inches>\d+(?:\.\d+)?)["″] {_QUOTE_ENDS} (?<!"\d")(?<!"\d\d")""", re.VERBOSE
)
_FEET = re.compile(
    rf"{NOT_IN_WORD}(?P<feet>\d+(?:\.\d+)?)['′] {_QUOTE_ENDS} (?<!'\d')(?<!'\d\d')", re.VERBOSE
)
_BEHIND_FRACTION = r"(?:(?<=[½¼¾⅓⅔⅛])|(?<=\d/\d)|(?<=[½¼¾⅓⅔⅛] )|(?<=\d/\d ))"


def rules(vocabulary: Vocabulary) -> list[Rule]:
    measures = _Measures(vocabulary)
    number = vocabulary.numbers.written
    amount = rf"""(?<![\w)%°])(?<!\w[.,\-])
        (?P<sign>[-−+±]?) (?:(?P<first>{number})%?\s?(?P<joint>[-–x×])\s?)? (?P<last>{number})"""
    english_units = ENGLISH_UNITS if vocabulary.is_english else ()
    unit = any_of([*UNITS, *OTHER_SPELLINGS, *vocabulary.unit_spellings, *english_units])
    unit_end = r"(?:(?<=[a-z])\.(?=\s+[a-z\d]|[,;:)]))?(?![^\W_]|['’][^\W_s]|[.\-]\d)"
    return [
        Rule(re.compile(rf"{amount}\s?(?P<percent>[%‰])", re.VERBOSE), measures.percent),
        Rule(re.compile(rf"{_BEHIND_FRACTION}(?P<unit>{unit}){unit_end}"), measures.of_fraction),
        *(_english_rules(measures, number) if vocabulary.is_english else []),
        Rule(
            re.compile(
                rf"""{amount} (?:\s?|(?P<hyphen>-)) (?P<unit>{unit})
                (?:/(?P<per>(?:{unit})(?![^\W_])|[^\W\d_]{{3,12}}))? {unit_end}""",
                re.VERBOSE,
            ),
            measures.quantity,
        ),
    ]


def _english_rules(measures: "_Measures", number: str) -> list[Rule]:
    square = rf"{NOT_IN_WORD}(?P<last>{number})\s?(?P<square>sq)\.?\s?(?P<unit>ft|in|mi|m|km)\b\.?"
    scaled = rf"(?<![\w.,])(?<!\w-)(?P<last>{number})(?P<scale>[kKMBT]|bn)(?P<plus>\+)?(?![^\W_])"
    return [
        Rule(_FEET_AND_INCHES, measures.feet_and_inches),
        Rule(_WHOLE_FEET_AND_INCHES, measures.feet_and_inches),
        Rule(_INCHES, lambda match: measures.spoken(match["inches"], "in")),
        Rule(_FEET, lambda match: measures.spoken(match["feet"], "ft")),
        Rule(re.compile(square), measures.square),
        Rule(re.compile(scaled), measures.scaled),
    ]


class _Measures:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._numbers = vocabulary.numbers

    def percent(self, match: re.Match[str]) -> WordByWord:
        name = self._vocabulary.symbols[match["percent"]]
        return by_group(match, **self._amount(match, name), percent=name)

    def quantity(self, match: re.Match[str]) -> WordByWord | None:
        unit, per = match["unit"], match["per"]
        if unit in "AB" and self._vocabulary.is_english:
            return None
        if unit in _ONLY_ATTACHED and match.string[match.start("unit") - 1].isspace():
            return None
        name = self._name(unit, 1 if match["hyphen"] else self._numbers.value(match["last"]))
        spoken_per = f"{self._vocabulary.per} {self._name(per, 1)}" if per else ""
        return by_group(match, **self._amount(match, name), unit=name, per=spoken_per)

    def of_fraction(self, match: re.Match[str]) -> str:
        """The unit behind a fraction, which another rule verbalizes."""
        return " " * (not match.string[match.start() - 1].isspace()) + self._name(match["unit"], 1)

    def _amount(self, match: re.Match[str], name: str) -> dict[str, str]:
        sign, first = match["sign"], match["first"]
        return {
            "sign": self._numbers.minus if sign in ("-", "−") else self._vocabulary.symbols.get(sign, ""),
            "first": self._numbers.number(first) if first else "",
            "joint": self._vocabulary.by if match["joint"] in ("x", "×") else self._vocabulary.to,
            "last": self._vocabulary.agree(self._numbers.number(match["last"]), name),
        }

    def _name(self, unit: str, value: float) -> str:
        if unit in ENGLISH_UNITS and self._vocabulary.is_english:
            return ENGLISH_UNITS[unit][value != 1]
        sign = self._vocabulary.unit_spellings.get(unit) or OTHER_SPELLINGS.get(unit, unit)
        if sign not in UNITS:
            return unit
        return unit_name(sign, value, self._vocabulary.locale).replace("byte", self._vocabulary.byte)

    def spoken(self, number: str, unit: str) -> str:
        return f"{self._numbers.number(number)} {self._name(unit, float(number))}"

    def feet_and_inches(self, match: re.Match[str]) -> WordByWord:
        feet, inches = self.spoken(match["feet"], "ft"), self.spoken(match["inches"], "in")
        return by_group(match, feet=feet, inches=inches)

    def square(self, match: re.Match[str]) -> WordByWord:
        name = self._name(match["unit"], self._numbers.value(match["last"]))
        return by_group(match, last=self._numbers.number(match["last"]), square="square", unit=name)

    def scaled(self, match: re.Match[str]) -> str | None:
        """ "8B" may be a size or a flat; "1.2B" is billions."""
        if match["scale"] in "BT" and "." not in match["last"]:
            return None
        spoken = f"{self._numbers.number(match['last'])} {_SCALES[match['scale']]}"
        return f"{spoken} plus" if match["plus"] else spoken
