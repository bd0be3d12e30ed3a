"""Spanish."""

import re

from kokoro_trio.text.normalization.figures import Figures
from kokoro_trio.text.normalization.languages.romance import WITH_POINTS, is_feminine, say_date
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals


def _before(number: str, noun: str) -> str:
    """ "un euro", "veintiún euros", "una libra"."""
    if is_feminine(noun):
        number = re.sub(r"ientos\b", "ientas", number)
    if not number.endswith("uno"):
        return number
    if is_feminine(noun):
        return number[:-1] + "a"
    return re.sub("veintiuno\\Z", "veintiún", number) if number.endswith("veintiuno") else number[:-1]


def _date(figures: Figures, day: int, month: str, year: int) -> str:
    return say_date(figures, day, month, year, " de ", "uno")


def _time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = "una" if hour == 1 else _feminine_hour(figures.cardinal(str(hour)))
    return f"{spoken_hour} {figures.cardinal(str(minute))}" if minute else f"{spoken_hour} en punto"


def _feminine_hour(hour: str) -> str:
    return re.sub("uno\\Z", "una", hour)


SPANISH = Vocabulary(
    code="e",
    locale="es",
    figures=Figures("es", ",.", ".\u00a0\u202f", WITH_POINTS, "coma", "menos"),
    symbols={
        "&": "y",
        "%": "por ciento",
        "+": "más",
        "=": "igual a",
        "@": "arroba",
        "#": "almohadilla",
        "~": "aproximadamente",
        "/": "barra",
        "\\": "barra invertida",
        "*": "por",
        "^": "elevado a",
        "×": "por",
        "÷": "entre",
        "−": "menos",
        "<": "menor que",
        ">": "mayor que",
        "≈": "aproximadamente",
        "≠": "distinto de",
        "≤": "menor o igual que",
        "≥": "mayor o igual que",
        "±": "más menos",
        "√": "raíz de",
        "∞": "infinito",
        "→": "a",
        "←": "de",
        "⇒": "implica",
        "↔": "y",
        "©": "copyright",
        "§": "sección",
        "°": "grados",
        "‰": "por mil",
        "∑": "suma",
        "∈": "en",
        ".": "punto",
        "-": "guion",
        "_": "guion bajo",
        ":": "dos puntos",
    },
    to="a",
    by="por",
    per="por",
    percent="por ciento",
    permille="por mil",
    squared="al cuadrado",
    cubed="al cubo",
    number_sign="número",
    version="versión",
    hashtag="hashtag",
    region="ES",
    say_date=_date,
    say_time=_time,
    and_seconds="y {} segundos",
    cents={
        "USD": ("centavo", "centavos"),
        "EUR": ("céntimo", "céntimos"),
        "GBP": ("penique", "peniques"),
        "MXN": ("centavo", "centavos"),
    },
    money_joint="con",
    names_cents=False,
    spell=spell_in_capitals,
    byte="bait",
    scales="mil millones|millones|millón|mil|billones|billón",
    of_amount="de {}".format,
    agree=_before,
    royal_ordinals=10,
    clock_word=r"\s?(?:hs?|hrs)\b",
    ordinals={"º": "o", "ª": "a", "er": ""},
    abbreviations={
        "1/2": "un medio",
        "½": "un medio",
        "1/3": "un tercio",
        "⅓": "un tercio",
        "1/4": "un cuarto",
        "¼": "un cuarto",
        "3/4": "tres cuartos",
        "¾": "tres cuartos",
        "24/7": "veinticuatro siete",
        "Sr.": "señor",
        "Sra.": "señora",
        "Srta.": "señorita",
        "Sres.": "señores",
        "Dr.": "doctor",
        "Dra.": "doctora",
        "D.": "don",
        "Dña.": "doña",
        "Prof.": "profesor",
        "Ud.": "usted",
        "Uds.": "ustedes",
        "Vd.": "usted",
        "p. ej.": "por ejemplo",
        "p.ej.": "por ejemplo",
        "etc.": "etcétera",
        "Av.": "avenida",
        "Avda.": "avenida",
        "C/": "calle",
        "núm.": "número",
        "pág.": "página",
        "págs.": "páginas",
        "tel.": "teléfono",
        "Tel.": "teléfono",
        "aprox.": "aproximadamente",
        "máx.": "máximo",
        "mín.": "mínimo",
        "EE. UU.": "Estados Unidos",
        "EE.UU.": "Estados Unidos",
        "a. C.": "antes de Cristo",
        "d. C.": "después de Cristo",
        "a. m.": "a eme",
        "p. m.": "pe eme",
        "a.m.": "a eme",
        "p.m.": "pe eme",
        "vs.": "contra",
        "S.A.": "ese a",
        "y/o": "y o",
    },
)
