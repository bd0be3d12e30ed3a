"""Brazilian Portuguese."""

import re

from kokoro_trio.text.normalization.figures import Figures
from kokoro_trio.text.normalization.languages.romance import WITH_POINTS, is_feminine, say_date
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals


def _before(number: str, noun: str) -> str:
    if not is_feminine(noun) or noun.startswith(("grama", "quilograma", "miligrama")):
        return number
    number = re.sub(r"entos\b", "entas", number)
    return re.sub(r"dois\Z", "duas", re.sub(r"\bum\Z", "uma", number))


def _date(figures: Figures, day: int, month: str, year: int) -> str:
    return say_date(figures, day, month, year, " de ", "primeiro")


def _time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = _before(figures.cardinal(str(hour)), "hora")
    if minute:
        return f"{spoken_hour} e {figures.cardinal(str(minute))}"
    return f"{spoken_hour} hora{'s' if hour != 1 else ''}"


PORTUGUESE = Vocabulary(
    code="p",
    locale="pt",
    figures=Figures("pt_BR", ",.", ".\u00a0\u202f", WITH_POINTS, "vírgula", "menos"),
    symbols={
        "&": "e",
        "%": "por cento",
        "+": "mais",
        "=": "igual a",
        "@": "arroba",
        "#": "cerquilha",
        "~": "aproximadamente",
        "/": "barra",
        "\\": "barra invertida",
        "*": "vezes",
        "^": "elevado a",
        "×": "vezes",
        "÷": "dividido por",
        "−": "menos",
        "<": "menor que",
        ">": "maior que",
        "≈": "aproximadamente",
        "≠": "diferente de",
        "≤": "menor ou igual a",
        "≥": "maior ou igual a",
        "±": "mais ou menos",
        "√": "raiz de",
        "∞": "infinito",
        "→": "para",
        "←": "de",
        "⇒": "implica",
        "↔": "e",
        "©": "copyright",
        "§": "parágrafo",
        "°": "graus",
        "‰": "por mil",
        "∑": "soma",
        "∈": "em",
        ".": "ponto",
        "-": "hífen",
        "_": "sublinhado",
        ":": "dois pontos",
    },
    to="a",
    by="por",
    per="por",
    percent="por cento",
    permille="por mil",
    squared="ao quadrado",
    cubed="ao cubo",
    number_sign="número",
    version="versão",
    hashtag="hashtag",
    region="BR",
    say_date=_date,
    say_time=_time,
    and_seconds="e {} segundos",
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
    agree=_before,
    royal_ordinals=10,
    clock_word=r"\s?hs?\b",
    ordinals={"º": "o", "°": "o", "ª": "a"},
    abbreviations={
        "1/2": "meio",
        "½": "meio",
        "1/3": "um terço",
        "⅓": "um terço",
        "1/4": "um quarto",
        "¼": "um quarto",
        "3/4": "três quartos",
        "¾": "três quartos",
        "24/7": "vinte e quatro por sete",
        "Sr.": "senhor",
        "Sra.": "senhora",
        "Srta.": "senhorita",
        "Srs.": "senhores",
        "Dr.": "doutor",
        "Dra.": "doutora",
        "Prof.": "professor",
        "Profa.": "professora",
        "Profª": "professora",
        "D.": "dona",
        "p. ex.": "por exemplo",
        "p.ex.": "por exemplo",
        "etc.": "etcétera",
        "Av.": "avenida",
        "R.": "rua",
        "nº": "número",
        "Nº": "número",
        "n.º": "número",
        "pág.": "página",
        "págs.": "páginas",
        "tel.": "telefone",
        "Tel.": "telefone",
        "aprox.": "aproximadamente",
        "máx.": "máximo",
        "mín.": "mínimo",
        "EUA": "Estados Unidos",
        "a.C.": "antes de Cristo",
        "d.C.": "depois de Cristo",
        "Ltda.": "limitada",
        "Cia.": "companhia",
        "vs.": "versus",
        "e/ou": "e ou",
    },
)
