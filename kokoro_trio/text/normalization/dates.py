"""Dates and times of day."""

import re

from kokoro_trio.text.normalization.cldr import month_names, short_month_names
from kokoro_trio.text.normalization.numerals import ENDS, NOT_IN_WORD
from kokoro_trio.text.normalization.rules import Rule, WordByWord, by_group
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_SHORT_YEARS_OF_THIS_CENTURY = 50
_YEAR = r"(?P<year>\d{4})(?![\d.,]*\d|\w)"
_DAY = r"(?P<day>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?"
_DAYS = rf"{_DAY}(?:\s?(?P<to>[-–])\s?{_DAY.replace('day', 'last_day')})?"
_YEAR_MONTH_DAY = re.compile(
    rf"{NOT_IN_WORD}(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d\d)(?P=mark)(?P<day>\d\d)(?:(?=T)|{ENDS})"
)
_NUMERIC = re.compile(
    rf"""{NOT_IN_WORD}
    (?P<first>\d\d?) (?P<mark>[/.\-]) (?P<second>\d\d?) (?P=mark) (?P<year>\d{{4}}|\d\d)
    (?![\w/\-]|[.,]\d)""",
    re.VERBOSE,
)
_HOUR = r"(?P<hour>\d\d?)"
_MINUTE = r"(?P<minute>[0-5]\d)"
_HALF = r"(?:\s?(?P<half>[ap])(?:\.\s?m\b\.?(?!\s*$)|\.\s?m\b|m\b(?:\.(?=\s+[a-z]))?))"
"""The "a" or "p" of "a.m." and "p.m."."""
_LAST_HOUR, _LAST_MINUTE, _LAST_HALF = (part.replace("?P<", "?P<last_") for part in (_HOUR, _MINUTE, _HALF))
_FRENCH_TIME = re.compile(
    rf"{NOT_IN_WORD}{_HOUR}\s?h\s?{_MINUTE}(?P<second>)(?P<half>)(?:\s?min)?(?!\w|[.,]\d)"
)
_ENGLISH_HOUR = re.compile(rf"{NOT_IN_WORD}(?<!:){_HOUR}(?:[.:]{_MINUTE})?{_HALF}", re.I)
_ENGLISH_HOURS = re.compile(
    rf"""{NOT_IN_WORD} (?<!:)
    {_HOUR} (?: :{_MINUTE} )? {_HALF}? \s?(?P<to>[-–])\s?
    {_LAST_HOUR} (?: :{_LAST_MINUTE} )? {_LAST_HALF}""",
    re.I | re.VERBOSE,
)
_ENGLISH_TIMES = re.compile(
    rf"""{NOT_IN_WORD} (?<!:)
    {_HOUR}:{_MINUTE}(?P<half>) \s?(?P<to>[-–])\s? {_LAST_HOUR}:{_LAST_MINUTE}(?P<last_half>)
    (?![\w:])""",
    re.VERBOSE,
)


def rules(vocabulary: Vocabulary) -> list[Rule]:
    dates = _Dates(vocabulary)
    clock = _Clock(vocabulary)
    numeric = [Rule(_YEAR_MONTH_DAY, dates.year_month_day), Rule(_NUMERIC, dates.numeric)]
    time = Rule(_time_pattern(vocabulary), clock.time)
    if not vocabulary.is_english:
        return [*numeric, time, Rule(_FRENCH_TIME, clock.time)]
    return [
        *numeric,
        *_english_dates(dates),
        Rule(_ENGLISH_HOURS, clock.span),
        Rule(_ENGLISH_TIMES, clock.span),
        Rule(_ENGLISH_HOUR, clock.hour),
        time,
    ]


def _time_pattern(vocabulary: Vocabulary) -> re.Pattern[str]:
    return re.compile(
        rf"""(?:{NOT_IN_WORD}|(?<=\dT)) (?<![:\d])
        {_HOUR}:{_MINUTE} (?: :(?P<second>[0-5]\d)(?:[.,]\d+)? )? Z?
        (?![\w:]|\.\d)
        (?:{_HALF if vocabulary.is_english else "(?P<half>)" + vocabulary.clock_word})?""",
        re.I | re.VERBOSE,
    )


def _english_dates(dates: "_Dates") -> list[Rule]:
    names = [*month_names("en"), *(rf"{name}\.?" for name in short_month_names("en")), r"Sept\.?"]
    month = f"(?P<month>{'|'.join(sorted(names, key=len, reverse=True))})"
    return [
        Rule(
            re.compile(rf"\b{month}\s+{_DAYS}(?![\w:]|[.,/]\d)(?:,?\s+{_YEAR})?"),
            dates.month_first,
        ),
        Rule(
            re.compile(rf"{NOT_IN_WORD}{_DAYS}\s+(?P<of>of\s+)?{month}\b(?:,?\s+{_YEAR})?"),
            dates.day_first,
        ),
        Rule(re.compile(rf"\b{month},?\s+{_YEAR}"), dates.month_and_year),
    ]


class _Dates:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._numbers = vocabulary.numbers
        self._months = month_names(vocabulary.locale)

    def year_month_day(self, match: re.Match[str]) -> str | None:
        return self._date(int(match["day"]), int(match["month"]), int(match["year"]))

    def numeric(self, match: re.Match[str]) -> str | None:
        first, second = int(match["first"]), int(match["second"])
        is_month_first = (self._vocabulary.is_month_first and first <= 12) or second > 12
        day, month = (second, first) if is_month_first else (first, second)
        year = int(match["year"])
        if len(match["year"]) == 2:
            if match["mark"] != "/":
                return None
            year += 2000 if year < _SHORT_YEARS_OF_THIS_CENTURY else 1900
        return self._date(day, month, year)

    def _date(self, day: int, month: int, year: int) -> str | None:
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return None
        return self._vocabulary.say_date(self._numbers, day, self._months[month - 1], year)

    def month_first(self, match: re.Match[str]) -> WordByWord:
        comma = "," if match["year"] else ""
        return by_group(
            match,
            month=self._month(match["month"]),
            day=self._ordinal(match["day"]) + ("" if match["last_day"] else comma),
            to="to",
            last_day=self._ordinal(match["last_day"]) + comma,
            year=self._year(match["year"]),
        )

    def day_first(self, match: re.Match[str]) -> WordByWord:
        article = "" if match.string[: match.start()].rstrip().lower().endswith("the") else "the "
        of = "" if match["of"] else " of"
        return by_group(
            match,
            day=article + self._ordinal(match["day"]) + ("" if match["last_day"] else of),
            to="to",
            last_day=self._ordinal(match["last_day"]) + of,
            of="of",
            month=self._month(match["month"]),
            year=self._year(match["year"]),
        )

    def month_and_year(self, match: re.Match[str]) -> WordByWord:
        return by_group(match, month=self._month(match["month"]), year=self._year(match["year"]))

    def _ordinal(self, day: str | None) -> str:
        return self._numbers.ordinal(int(day)) if day else ""

    def _month(self, written: str) -> str:
        start = written[:3].lower()
        return next(name for name in self._months if name.lower().startswith(start))

    def _year(self, written: str | None) -> str:
        return self._numbers.year(int(written)) if written else ""


class _Clock:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._numbers = vocabulary.numbers

    def time(self, match: re.Match[str]) -> str | WordByWord | None:
        spoken = self._time(match["hour"], match["minute"], match["half"])
        if spoken is None:
            return None
        if match["second"]:
            spoken += " " + self._vocabulary.and_seconds.format(self._numbers.cardinal(int(match["second"])))
        return by_group(match, hour=spoken, half=_letters(match["half"])) if match["half"] else spoken

    def hour(self, match: re.Match[str]) -> WordByWord | None:
        spoken = self._time(match["hour"], match["minute"], match["half"])
        return spoken and by_group(match, hour=spoken, half=_letters(match["half"]))

    def span(self, match: re.Match[str]) -> WordByWord | None:
        first = self._time(match["hour"], match["minute"], match["last_half"])
        last = self._time(match["last_hour"], match["last_minute"], match["last_half"])
        if first is None or last is None:
            return None
        return by_group(
            match,
            hour=first,
            half=_letters(match["half"]),
            to="to",
            last_hour=last,
            last_half=_letters(match["last_half"]),
        )

    def _time(self, hour: str, minute: str | None, half: str | None) -> str | None:
        if int(hour) > (12 if half else 24):
            return None
        if half and int(minute or 0) == 0:
            return self._numbers.cardinal(int(hour))
        return self._vocabulary.say_time(self._numbers, int(hour), int(minute or 0))


def _letters(half: str | None) -> str:
    return f"{half.upper()}.M" if half else ""
