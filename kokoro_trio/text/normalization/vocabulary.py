"""What the languages call what is not a letter, and how they put dates, times and money."""

from collections.abc import Callable, Mapping

from attrs import field, frozen

from kokoro_trio.text.normalization.figures import Figures

Clock = Callable[[Figures, int, int], str]
"""Hours and minutes as they are said."""


@frozen
class Vocabulary:
    """One language. Signs are spoken by `symbols`: inside words, between numbers, or alone."""

    code: str
    locale: str
    figures: Figures
    symbols: Mapping[str, str]
    to: str
    by: str
    """As in "two by four"."""
    per: str
    percent: str
    permille: str
    squared: str
    cubed: str
    number_sign: str
    version: str
    hashtag: str
    region: str
    """Whose telephone numbers are written without a country code."""
    say_date: Callable[[Figures, int, str, int], str]
    say_time: Clock
    and_seconds: str
    cents: Mapping[str, tuple[str, str]]
    """Currency → the name of its hundredth, singular and plural."""
    money_joint: str
    names_cents: bool
    spell: Callable[[str], str]
    abbreviations: Mapping[str, str]
    unit_spellings: Mapping[str, str] = field(factory=dict)
    """The language's own signs of units → those of `names.UNITS`."""
    byte: str = "byte"
    """As it must be written to sound like it."""
    scales: str = ""
    """A regular expression for the words that make an amount of money large."""
    spoken_names: Mapping[str, str] = field(factory=dict)
    """Parts of addresses and file names that are not words of the language."""
    of_amount: Callable[[str], str] = field(default=str)
    """What is counted in millions: "de dollars"."""
    royal_ordinals: int = 0
    """Kings up to this number are the first and second; those above have cardinals. 0: no such rule."""
    century_ordinals: int = 0
    number_marks: str = r"[Nn]\.?[º°]|№"
    """A regular expression for what is read as `number_sign` before a number."""
    ordinals: Mapping[str, str] = field(factory=dict)
    """The mark behind a number → what the ordinal ends in instead of the last "o" of its words."""
    agree: Callable[[str, str], str] = field(default=lambda number, noun: number)
    """The number before that noun: "un" for ("uno", "euro")."""
    clock_word: str = ""
    """A regular expression for what follows a time of day and is in `say_time` already."""
    is_month_first: bool = False
    is_english: bool = False


def spell_in_english(letters: str) -> str:
    """misaki reads "A.P.I" as letters, and as one word; in "A P I" the first would be the article."""
    if len(letters) == 1:
        return "A." if letters in "aA" else letters.upper()
    return ".".join(letters.upper())


def spell_in_capitals(letters: str) -> str:
    return " ".join(letters.upper())
