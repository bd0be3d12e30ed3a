"""Spanish."""

import re
from functools import partial

from kokoro_trio.text.normalization.languages.romance import WITH_POINTS, is_feminine, say_date
from kokoro_trio.text.normalization.number_words import NumberWords
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals


def _agree(number: str, noun: str) -> str:
    """ "un euro", "veintiún euros", "una libra"."""
    if is_feminine(noun):
        return re.sub(r"uno\Z", "una", re.sub(r"ientos\b", "ientas", number))
    return re.sub(r"uno\Z", "un", re.sub(r"veintiuno\Z", "veintiún", number))


def _time(numbers: NumberWords, hour: int, minute: int) -> str:
    spoken_hour = _agree(numbers.cardinal(hour), "hora")
    return f"{spoken_hour} {numbers.cardinal(minute)}" if minute else f"{spoken_hour} en punto"


SPANISH = Vocabulary(
    code="e",
    locale="es",
    numbers=NumberWords("es", ",.", ".\u00a0\u202f", WITH_POINTS, "coma", "menos"),
    to="a",
    by="por",
    per="por",
    number_sign="número",
    version="versión",
    region="ES",
    say_date=partial(say_date, joint=" de ", first="uno"),
    say_time=_time,
    and_seconds="y {} segundos",
    clock_word=r"\s?(?:hs?|hrs)\b",
    cents={
        "USD": ("centavo", "centavos"),
        "EUR": ("céntimo", "céntimos"),
        "GBP": ("penique", "peniques"),
        "MXN": ("centavo", "centavos"),
    },
    money_joint="con",
    spell=spell_in_capitals,
    byte="bait",
    scales=r"mil\ millones|millones|millón|mil|billones|billón",
    of_amount="de {}".format,
    agree=_agree,
    royal_ordinals=10,
    ordinals={"º": "o", "ª": "a", "er": ""},
)
