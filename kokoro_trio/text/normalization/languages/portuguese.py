"""Brazilian Portuguese."""

import re
from functools import partial

from kokoro_trio.text.normalization.languages.romance import WITH_POINTS, is_feminine, say_date
from kokoro_trio.text.normalization.number_words import NumberWords
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals


def _agree(number: str, noun: str) -> str:
    if not is_feminine(noun) or noun.startswith(("grama", "quilograma", "miligrama")):
        return number
    number = re.sub(r"entos\b", "entas", number)
    return re.sub(r"dois\Z", "duas", re.sub(r"\bum\Z", "uma", number))


def _time(numbers: NumberWords, hour: int, minute: int) -> str:
    spoken_hour = _agree(numbers.cardinal(hour), "hora")
    if minute:
        return f"{spoken_hour} e {numbers.cardinal(minute)}"
    return f"{spoken_hour} hora{'s' if hour != 1 else ''}"


PORTUGUESE = Vocabulary(
    code="p",
    locale="pt",
    numbers=NumberWords("pt_BR", ",.", ".\u00a0\u202f", WITH_POINTS, "vírgula", "menos"),
    to="a",
    by="por",
    per="por",
    number_sign="número",
    version="versão",
    region="BR",
    say_date=partial(say_date, joint=" de ", first="primeiro"),
    say_time=_time,
    and_seconds="e {} segundos",
    clock_word=r"\s?hs?\b",
    cents={
        "BRL": ("centavo", "centavos"),
        "USD": ("centavo", "centavos"),
        "EUR": ("centavo", "centavos"),
        "GBP": ("pêni", "pence"),
    },
    money_joint="e",
    names_cents=True,
    spell=spell_in_capitals,
    byte="baite",
    scales="milhões|milhão|bilhões|bilhão|trilhões|mil",
    of_amount="de {}".format,
    agree=_agree,
    royal_ordinals=10,
    ordinals={"º": "o", "°": "o", "ª": "a"},
)
