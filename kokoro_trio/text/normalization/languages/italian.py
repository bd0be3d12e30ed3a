"""Italian."""

from functools import partial

from kokoro_trio.text.normalization.languages.romance import WITH_POINTS, say_date
from kokoro_trio.text.normalization.number_words import NumberWords
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals


def _agree(number: str, noun: str) -> str:
    if number == "uno":
        return "una" if noun.endswith("a") and not noun.endswith("ma") else "un"
    return number


def _time(numbers: NumberWords, hour: int, minute: int) -> str:
    spoken_hour = _agree(numbers.cardinal(hour), "ora")
    return f"{spoken_hour} e {numbers.cardinal(minute)}" if minute else spoken_hour


ITALIAN = Vocabulary(
    code="i",
    locale="it",
    numbers=NumberWords("it", ",.", ".\u00a0\u202f", WITH_POINTS, "virgola", "meno"),
    to="a",
    by="per",
    per="per",
    number_sign="numero",
    version="versione",
    region="IT",
    say_date=partial(say_date, joint=" ", first="primo"),
    say_time=_time,
    and_seconds="e {} secondi",
    cents={
        "USD": ("centesimo", "centesimi"),
        "EUR": ("centesimo", "centesimi"),
        "GBP": ("penny", "pence"),
        "CHF": ("centesimo", "centesimi"),
    },
    money_joint="e",
    spell=spell_in_capitals,
    byte="bait",
    scales="milioni|milione|miliardi|miliardo|mila|mille",
    of_amount="di {}".format,
    agree=_agree,
    royal_ordinals=99,
    century_ordinals=99,
    ordinals={"º": "o", "°": "o", "ª": "a"},
)
