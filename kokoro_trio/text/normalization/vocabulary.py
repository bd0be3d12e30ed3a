"""What one language needs for normalisation: its words for symbols, dates, times, money and units."""

from collections.abc import Callable, Mapping

from attrs import Factory, field, frozen

from kokoro_trio.text.normalization import tables
from kokoro_trio.text.normalization.number_words import NumberWords


@frozen(kw_only=True)
class Vocabulary:
    code: str
    """The first letter of the names of the language's voices."""
    locale: str
    """The language in CLDR and in the tables."""
    numbers: NumberWords
    symbols: Mapping[str, str] = field(default=Factory(lambda v: tables.symbols(v.locale), takes_self=True))
    """Signs inside words, between numbers or alone → words."""
    abbreviations: Mapping[str, str] = field(
        default=Factory(lambda v: tables.abbreviations(v.locale), takes_self=True)
    )
    to: str
    """Between the ends of a range."""
    by: str
    """Between the sides of a size: "two by four"."""
    per: str
    number_sign: str
    """The word for "#" and "No." before a number."""
    number_marks: str = r"[Nn]\.?[º°]|№"
    """A regular expression for what is spoken as `number_sign` before a number."""
    version: str
    hashtag: str = "hashtag"
    region: str
    """The country whose telephone numbers are written without a country code."""
    say_date: Callable[[NumberWords, int, str, int], str]
    """Of a day, the name of a month and a year."""
    say_time: Callable[[NumberWords, int, int], str]
    """Of hours and minutes."""
    and_seconds: str
    clock_word: str = ""
    """A regular expression for a written word after a time of day that `say_time` says already."""
    cents: Mapping[str, tuple[str, str]]
    """Currency → its hundredth, singular and plural."""
    money_joint: str = ""
    """Between the amount and its hundredths."""
    names_cents: bool = False
    spell: Callable[[str], str]
    unit_spellings: Mapping[str, str] = field(factory=dict)
    """The language's own signs of units → those of the table of units."""
    byte: str = "byte"
    """Spelled so that espeak pronounces it as the language does."""
    scales: str = ""
    """A regular expression for the words "thousand", "million" … in an amount of money."""
    of_amount: Callable[[str], str] = field(default=str)
    """The noun after millions: "de dollars"."""
    spoken_names: Mapping[str, str] = field(factory=dict)
    """Parts of addresses and file names that are not words of the language → words."""
    royal_ordinals: int = 0
    """Kings up to this number have ordinals, later ones cardinals. 0: the language has no such rule."""
    century_ordinals: int = 0
    ordinals: Mapping[str, str] = field(factory=dict)
    """The mark behind a number → the ending of the ordinal, in place of the last "o" of its words."""
    agree: Callable[[str, str], str] = field(default=lambda number, noun: number)
    """The number as it agrees with a noun: "un" for ("uno", "euro")."""
    is_month_first: bool = False
    is_english: bool = False


def spell_in_english(letters: str) -> str:
    """misaki reads "A.P.I" as three letters of one word; the first of "A P I" would be the article."""
    if len(letters) == 1:
        return "A." if letters in "aA" else letters.upper()
    return ".".join(letters.upper())


def spell_in_capitals(letters: str) -> str:
    return " ".join(letters.upper())
