"""French."""

import re

from kokoro_trio.text.normalization.figures import Figures
from kokoro_trio.text.normalization.languages.romance import WITH_SPACES, say_date
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals

_FEMININE = re.compile(
    "(?:livre|once|heure|minute|seconde|milliseconde|tonne|calorie|kilocalorie|roupie|couronne|semaine|année|fois|"
    "page|personne|chose|femme|voiture)s?(?: |\\Z)"
)


def _before(number: str, noun: str) -> str:
    return number + "e" if re.search(r"\bun\Z", number) and _FEMININE.match(noun) else number


def _of(noun: str) -> str:
    return ("d'" if noun[0] in "aeiouéh" else "de ") + noun


def _date(figures: Figures, day: int, month: str, year: int) -> str:
    return say_date(figures, day, month, year, " ", "premier")


def _time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = "une heure" if hour == 1 else f"{_feminine(figures.cardinal(str(hour)))} heures"
    return f"{spoken_hour} {figures.cardinal(str(minute))}" if minute else spoken_hour


def _feminine(hour: str) -> str:
    return re.sub(r"\bun\Z", "une", hour)


FRENCH = Vocabulary(
    code="f",
    locale="fr",
    figures=Figures("fr", ",.", " .\u00a0\u202f", WITH_SPACES, "virgule", "moins"),
    symbols={
        "&": "et",
        "%": "pour cent",
        "+": "plusse",  # the "s" is heard, which espeak knows of no other spelling
        "=": "égale",
        "@": "arobase",
        "#": "dièse",
        "~": "environ",
        "/": "slash",
        "\\": "antislash",
        "*": "fois",
        "^": "puissance",
        "×": "fois",
        "÷": "divisé par",
        "−": "moins",
        "<": "inférieur à",
        ">": "supérieur à",
        "≈": "environ",
        "≠": "différent de",
        "≤": "inférieur ou égal à",
        "≥": "supérieur ou égal à",
        "±": "plus ou moins",
        "√": "racine de",
        "∞": "infini",
        "→": "vers",
        "←": "de",
        "⇒": "implique",
        "↔": "et",
        "©": "copyright",
        "§": "paragraphe",
        "°": "degrés",
        "‰": "pour mille",
        "∑": "somme",
        "∈": "dans",
        ".": "point",
        "-": "tiret",
        "_": "tiret bas",
        ":": "deux points",
    },
    to="à",
    by="sur",
    per="par",
    percent="pour cent",
    permille="pour mille",
    squared="au carré",
    cubed="au cube",
    number_sign="numéro",
    version="version",
    hashtag="hashtag",
    region="FR",
    say_date=_date,
    say_time=_time,
    and_seconds="et {} secondes",
    cents={
        "USD": ("cent", "cents"),
        "EUR": ("centime", "centimes"),
        "GBP": ("penny", "pence"),
        "CAD": ("cent", "cents"),
        "CHF": ("centime", "centimes"),
    },
    money_joint="",
    names_cents=False,
    spell=spell_in_capitals,
    scales="millions|million|milliards|milliard|mille",
    unit_spellings={"ko": "kB", "Ko": "kB", "Mo": "MB", "Go": "GB", "To": "TB"},
    of_amount=_of,
    agree=_before,
    royal_ordinals=1,
    ordinals={"er": "o", "re": "a", "ère": "a", "e": "o", "ème": "o", "ᵉ": "o", "nd": "o", "nde": "a"},
    abbreviations={
        "1/2": "un demi",
        "½": "un demi",
        "1/3": "un tiers",
        "⅓": "un tiers",
        "1/4": "un quart",
        "¼": "un quart",
        "3/4": "trois quarts",
        "¾": "trois quarts",
        "M.": "monsieur",
        "MM.": "messieurs",
        "Mme": "madame",
        "Mme.": "madame",
        "24/7": "vingt-quatre sept",
        "Mmes": "mesdames",
        "Mlle": "mademoiselle",
        "Mlles": "mesdemoiselles",
        "Dr": "docteur",
        "Dr.": "docteur",
        "Pr": "professeur",
        "Me": "maître",
        "p. ex.": "par exemple",
        "p.ex.": "par exemple",
        "etc.": "et cetera",
        "c.-à-d.": "c'est-à-dire",
        "cf.": "confer",
        "av.": "avenue",
        "bd": "boulevard",
        "tél.": "téléphone",
        "Tél.": "téléphone",
        "env.": "environ",
        "max.": "maximum",
        "min.": "minimum",
        "n°": "numéro",
        "N°": "numéro",
        "no.": "numéro",
        "St": "Saint",
        "Ste": "Sainte",
        "vs": "contre",
        "vs.": "contre",
        "av. J.-C.": "avant Jésus-Christ",
        "apr. J.-C.": "après Jésus-Christ",
        "et/ou": "et ou",
        "SVP": "s'il vous plaît",
    },
)
