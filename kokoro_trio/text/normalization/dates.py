"""Dates and times of day."""

import re

from kokoro_trio.text.normalization.names import month_names, short_month_names
from kokoro_trio.text.normalization.numerals import ENDS, NOT_IN_WORD
from kokoro_trio.text.normalization.scan import Kind, WordByWord, along
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_SHORT_YEARS_OF_THIS_CENTURY = 50
_YEAR = r"(\d{4})(?![\d.,]*\d|\w)"
_DAY = r"(3[01]|[12]\d|0?[1-9])(st|nd|rd|th)?"
_HALF_OF_DAY = r"(?:\s?([ap])(?:\.\s?m\b\.?(?!\s*$)|\.\s?m\b|m\b(?:\.(?=\s+[a-z]))?))"


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    dates = _Dates(vocabulary)
    clock = _Clock(vocabulary)
    shared = [
        Kind(re.compile(rf"{NOT_IN_WORD}(\d{{4}})([-/.])(\d\d)\2(\d\d)(?:(?=T)|{ENDS})"), dates.iso),
        Kind(
            re.compile(rf"{NOT_IN_WORD}(\d\d?)([/.\-])(\d\d?)\2(\d{{4}}|\d\d)(?![\w/\-]|[.,]\d)"),
            dates.figures,
        ),
    ]
    times = [
        Kind(
            re.compile(
                rf"(?:{NOT_IN_WORD}|(?<=\dT))(?<![:\d])(\d\d?):([0-5]\d)(?::([0-5]\d)(?:[.,]\d+)?)?Z?(?![\w:]|\.\d)"
                rf"(?:{_HALF_OF_DAY if vocabulary.is_english else '()' + vocabulary.clock_word})?",
                re.I,
            ),
            clock.time,
        )
    ]
    if vocabulary.is_english:
        return [*shared, *_english_dates(dates), *_english_times(clock), *times]
    with_h = re.compile(rf"{NOT_IN_WORD}(\d\d?)\s?h\s?([0-5]\d)()()(?:\s?min)?(?!\w|[.,]\d)")
    return [*shared, *times, Kind(with_h, clock.time)]


def _english_dates(dates: "_Dates") -> list[Kind]:
    names = [*month_names("en"), *(rf"{name}\.?" for name in short_month_names("en")), r"Sept\.?"]
    month = f"({'|'.join(sorted(names, key=len, reverse=True))})"
    separators = r"(?:,?\s+)"
    until = r"(?:\s?([-–])\s?" + _DAY + ")?"
    return [
        Kind(re.compile(rf"\b{month}\s+{_DAY}{until}(?![\w:]|[.,/]\d)(?:,?\s+{_YEAR})?"), dates.month_first),
        Kind(
            re.compile(rf"{NOT_IN_WORD}{_DAY}{until}\s+(of\s+)?{month}\b(?:{separators}{_YEAR})?"),
            dates.day_first,
        ),
        Kind(re.compile(rf"\b{month}{separators}{_YEAR}"), dates.month_and_year),
    ]


def _english_times(clock: "_Clock") -> list[Kind]:
    hour = r"(\d\d?)(?::([0-5]\d))?"
    minute = r"(\d\d?):([0-5]\d)"
    begin = rf"{NOT_IN_WORD}(?<!:)"
    return [
        Kind(re.compile(rf"{begin}{hour}{_HALF_OF_DAY}?\s?([-–])\s?{hour}{_HALF_OF_DAY}", re.I), clock.span),
        Kind(re.compile(rf"{begin}{minute}()\s?([-–])\s?{minute}()(?![\w:])"), clock.span),
        Kind(re.compile(rf"{begin}(\d\d?)(?:[.:]([0-5]\d))?{_HALF_OF_DAY}", re.I), clock.hour),
    ]


class _Dates:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._figures = vocabulary.figures
        self._months = month_names(vocabulary.locale)

    def iso(self, match: re.Match[str]) -> str | None:
        return self._date(int(match[4]), int(match[3]), int(match[1]))

    def figures(self, match: re.Match[str]) -> str | None:
        first, second = int(match[1]), int(match[3])
        is_month_first = (self._vocabulary.is_month_first and first <= 12) or second > 12
        day, month = (second, first) if is_month_first else (first, second)
        year = int(match[4])
        if len(match[4]) == 2:
            if match[2] != "/":
                return None
            year += 2000 if year < _SHORT_YEARS_OF_THIS_CENTURY else 1900
        return self._date(day, month, year)

    def _date(self, day: int, month: int, year: int) -> str | None:
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return None
        return self._vocabulary.say_date(self._figures, day, self._months[month - 1], year)

    def month_first(self, match: re.Match[str]) -> WordByWord:
        month, day, _, _, until, _, year = match.groups()
        comma = "," if year else ""
        return along(
            match,
            (1, self._month(month)),
            (2, self._ordinal(day) + ("" if until else comma)),
            (4, "to"),
            (5, self._ordinal(until) + comma),
            (7, self._year(year)),
        )

    def day_first(self, match: re.Match[str]) -> WordByWord:
        day, _, _, until, _, of, month, year = match.groups()
        article = "" if match.string[: match.start()].rstrip().lower().endswith("the") else "the "
        joint = "" if of else " of"
        return along(
            match,
            (1, article + self._ordinal(day) + ("" if until else joint)),
            (3, "to"),
            (4, self._ordinal(until) + joint),
            (6, "of"),
            (7, self._month(month)),
            (8, self._year(year)),
        )

    def month_and_year(self, match: re.Match[str]) -> WordByWord:
        return along(match, (1, self._month(match[1])), (2, self._year(match[2])))

    def _ordinal(self, day: str | None) -> str:
        return self._figures.ordinal(int(day)) if day else ""

    def _month(self, written: str) -> str:
        start = written[:3].lower()
        return next(name for name in self._months if name.lower().startswith(start))

    def _year(self, written: str | None) -> str:
        return self._figures.year(int(written)) if written else ""


class _Clock:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._figures = vocabulary.figures

    def time(self, match: re.Match[str]) -> str | WordByWord | None:
        hour, minute, second, half = match.groups()
        spoken = self._time(hour, minute, half)
        if spoken is None:
            return None
        if second:
            spoken += " " + self._vocabulary.and_seconds.format(self._figures.cardinal(str(int(second))))
        return along(match, (1, spoken), (4, _letters(half))) if half else spoken

    def hour(self, match: re.Match[str]) -> WordByWord | None:
        hour, minute, half = match.groups()
        spoken = self._time(hour, minute, half)
        return spoken and along(match, (1, spoken), (3, _letters(half)))

    def span(self, match: re.Match[str]) -> WordByWord | None:
        hour, minute, half, _, last_hour, last_minute, last_half = match.groups()
        first = self._time(hour, minute, last_half)
        last = self._time(last_hour, last_minute, last_half)
        if first is None or last is None:
            return None
        return along(match, (1, first), (3, _letters(half)), (4, "to"), (5, last), (7, _letters(last_half)))

    def _time(self, hour: str, minute: str | None, half: str | None) -> str | None:
        if int(hour) > (12 if half else 24):
            return None
        if half and int(minute or 0) == 0:
            return self._figures.cardinal(str(int(hour)))
        return self._vocabulary.say_time(self._figures, int(hour), int(minute or 0))


def _letters(half: str | None) -> str:
    return f"{half.upper()}.M" if half else ""
