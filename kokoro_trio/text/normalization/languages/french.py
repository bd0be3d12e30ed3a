"""French. The table of symbols has "plusse" for "+", because espeak leaves out the "s" of "plus"."""

import re
from functools import partial

from kokoro_trio.text.normalization.languages.romance import WITH_SPACES, say_date
from kokoro_trio.text.normalization.number_words import NumberWords
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals

_FEMININE = re.compile(
    "(?:livre|once|heure|minute|seconde|milliseconde|tonne|calorie|kilocalorie|roupie|couronne|semaine|année|fois|"
    "page|personne|chose|femme|voiture)s?(?: |\\Z)"
)


def _agree(number: str, noun: str) -> str:
    return number + "e" if re.search(r"\bun\Z", number) and _FEMININE.match(noun) else number


def _of(noun: str) -> str:
    return ("d'" if noun[0] in "aeiouéh" else "de ") + noun


def _time(numbers: NumberWords, hour: int, minute: int) -> str:
    spoken_hour = f"{_agree(numbers.cardinal(hour), 'heure')} heure{'s' if hour != 1 else ''}"
    return f"{spoken_hour} {numbers.cardinal(minute)}" if minute else spoken_hour


FRENCH = Vocabulary(
    code="f",
    locale="fr",
    numbers=NumberWords("fr", ",.", " .\u00a0\u202f", WITH_SPACES, "virgule", "moins"),
    to="à",
    by="sur",
    per="par",
    number_sign="numéro",
    version="version",
    region="FR",
    say_date=partial(say_date, joint=" ", first="premier"),
    say_time=_time,
    and_seconds="et {} secondes",
    cents={
        "USD": ("cent", "cents"),
        "EUR": ("centime", "centimes"),
        "GBP": ("penny", "pence"),
        "CAD": ("cent", "cents"),
        "CHF": ("centime", "centimes"),
    },
    spell=spell_in_capitals,
    scales="millions|million|milliards|milliard|mille",
    unit_spellings={"ko": "kB", "Ko": "kB", "Mo": "MB", "Go": "GB", "To": "TB"},
    of_amount=_of,
    agree=_agree,
    royal_ordinals=1,
    ordinals={"er": "o", "re": "a", "ère": "a", "e": "o", "ème": "o", "ᵉ": "o", "nd": "o", "nde": "a"},
)
