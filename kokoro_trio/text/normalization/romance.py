"""Spanish, French, Italian and Brazilian Portuguese, which espeak reads.

Numbers are worded here all the same, because it says neither the decimal point nor the separators.
"""

import re

from kokoro_trio.text.normalization.figures import Figures
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals

_POINTED = r"\d{1,3}(?:\.\d{3}){1,5}(?![.\d])"
_GAPPED = r"\d{1,3}(?:[\u00a0\u202f]\d{3}){1,5}(?!\d)"
_SPACED = r"\d{1,3}(?:[ \u00a0\u202f]\d{3}){1,5}(?!\d)"
_WITH_POINTS = rf"(?:(?:{_POINTED}|{_GAPPED}|\d+)(?:,\d+)?|\d+\.\d+)"
_WITH_SPACES = rf"(?:(?:{_SPACED}|{_POINTED}|\d+)(?:,\d+)?|\d+\.\d+)"


def _spanish_before(number: str, noun: str) -> str:
    """ "un euro", "veintiún euros", "una libra"."""
    if not re.search(r"uno\Z", number):
        return number
    if _is_feminine(noun):
        return number[:-1] + "a"
    return re.sub("veintiuno\\Z", "veintiún", number) if number.endswith("veintiuno") else number[:-1]


def _french_before(number: str, noun: str) -> str:
    return number + "e" if re.search(r"\bun\Z", number) and _FRENCH_FEMININE.match(noun) else number


def _french_of(noun: str) -> str:
    return ("d'" if noun[0] in "aeiouéh" else "de ") + noun


def _italian_before(number: str, noun: str) -> str:
    if number == "uno":
        return "una" if noun.endswith("a") and not noun.endswith("ma") else "un"
    return number


def _portuguese_before(number: str, noun: str) -> str:
    if not _is_feminine(noun) or noun.startswith(("grama", "quilograma", "miligrama")):
        return number
    return re.sub(r"dois\Z", "duas", re.sub(r"\bum\Z", "uma", number))


def _is_feminine(noun: str) -> bool:
    return noun.partition(" ")[0].endswith(("a", "as"))


_FRENCH_FEMININE = re.compile(
    "(?:livre|once|heure|minute|seconde|milliseconde|tonne|calorie|kilocalorie|roupie|couronne|semaine|année|fois|"
    "page|personne|chose|femme|voiture)s?(?: |\\Z)"
)


def _date(figures: Figures, day: int, month: str, year: int, joint: str, first: str) -> str:
    spoken_day = first if day == 1 else figures.cardinal(str(day))
    return f"{spoken_day}{joint}{month}{joint}{figures.cardinal(str(year))}"


def _spanish_date(figures: Figures, day: int, month: str, year: int) -> str:
    return _date(figures, day, month, year, " de ", "uno")


def _french_date(figures: Figures, day: int, month: str, year: int) -> str:
    return _date(figures, day, month, year, " ", "premier")


def _italian_date(figures: Figures, day: int, month: str, year: int) -> str:
    return _date(figures, day, month, year, " ", "primo")


def _portuguese_date(figures: Figures, day: int, month: str, year: int) -> str:
    return _date(figures, day, month, year, " de ", "primeiro")


def _spanish_time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = "una" if hour == 1 else _feminine_hour(figures.cardinal(str(hour)))
    return f"{spoken_hour} {figures.cardinal(str(minute))}" if minute else f"{spoken_hour} en punto"


def _feminine_hour(hour: str) -> str:
    return re.sub("uno\\Z", "una", hour)


def _french_time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = "une heure" if hour == 1 else f"{_feminine_french(figures.cardinal(str(hour)))} heures"
    return f"{spoken_hour} {figures.cardinal(str(minute))}" if minute else spoken_hour


def _feminine_french(hour: str) -> str:
    return re.sub(r"\bun\Z", "une", hour)


def _italian_time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = "una" if hour == 1 else figures.cardinal(str(hour))
    return f"{spoken_hour} e {figures.cardinal(str(minute))}" if minute else spoken_hour


def _portuguese_time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = _portuguese_before(figures.cardinal(str(hour)), "hora")
    if minute:
        return f"{spoken_hour} e {figures.cardinal(str(minute))}"
    return f"{spoken_hour} hora{'s' if hour != 1 else ''}"


SPANISH = Vocabulary(
    code="e",
    locale="es",
    figures=Figures("es", ",.", ".\u00a0\u202f", _WITH_POINTS, "coma", "menos"),
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
    say_date=_spanish_date,
    say_time=_spanish_time,
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
    scales="mil millones|millones|millón|mil|billones|billón",
    of_amount="de {}".format,
    agree=_spanish_before,
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

FRENCH = Vocabulary(
    code="f",
    locale="fr",
    figures=Figures("fr", ",.", " .\u00a0\u202f", _WITH_SPACES, "virgule", "moins"),
    symbols={
        "&": "et",
        "%": "pour cent",
        "+": "plus",
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
    say_date=_french_date,
    say_time=_french_time,
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
    of_amount=_french_of,
    agree=_french_before,
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

ITALIAN = Vocabulary(
    code="i",
    locale="it",
    figures=Figures("it", ",.", ".\u00a0\u202f", _WITH_POINTS, "virgola", "meno"),
    symbols={
        "&": "e",
        "%": "per cento",
        "+": "più",
        "=": "uguale a",
        "@": "chiocciola",
        "#": "cancelletto",
        "~": "circa",
        "/": "barra",
        "\\": "barra inversa",
        "*": "per",
        "^": "elevato a",
        "×": "per",
        "÷": "diviso",
        "−": "meno",
        "<": "minore di",
        ">": "maggiore di",
        "≈": "circa",
        "≠": "diverso da",
        "≤": "minore o uguale a",
        "≥": "maggiore o uguale a",
        "±": "più o meno",
        "√": "radice di",
        "∞": "infinito",
        "→": "a",
        "←": "da",
        "⇒": "implica",
        "↔": "e",
        "©": "copyright",
        "§": "paragrafo",
        "°": "gradi",
        "‰": "per mille",
        "∑": "somma",
        "∈": "in",
        ".": "punto",
        "-": "trattino",
        "_": "trattino basso",
        ":": "due punti",
    },
    to="a",
    by="per",
    per="per",
    percent="per cento",
    permille="per mille",
    squared="al quadrato",
    cubed="al cubo",
    number_sign="numero",
    version="versione",
    hashtag="hashtag",
    region="IT",
    say_date=_italian_date,
    say_time=_italian_time,
    and_seconds="e {} secondi",
    cents={
        "USD": ("centesimo", "centesimi"),
        "EUR": ("centesimo", "centesimi"),
        "GBP": ("penny", "pence"),
        "CHF": ("centesimo", "centesimi"),
    },
    money_joint="e",
    names_cents=False,
    spell=spell_in_capitals,
    scales="milioni|milione|miliardi|miliardo|mila|mille",
    of_amount="di {}".format,
    agree=_italian_before,
    ordinals={"º": "o", "°": "o", "ª": "a"},
    abbreviations={
        "1/2": "un mezzo",
        "½": "un mezzo",
        "1/3": "un terzo",
        "⅓": "un terzo",
        "1/4": "un quarto",
        "¼": "un quarto",
        "3/4": "tre quarti",
        "¾": "tre quarti",
        "Sig.": "signor",
        "sig.": "signor",
        "Sig.ra": "signora",
        "sig.ra": "signora",
        "Sig.na": "signorina",
        "Sigg.": "signori",
        "Dott.": "dottor",
        "dott.": "dottor",
        "Dott.ssa": "dottoressa",
        "dott.ssa": "dottoressa",
        "Dr.": "dottor",
        "Prof.": "professor",
        "prof.": "professor",
        "Prof.ssa": "professoressa",
        "Ing.": "ingegner",
        "Avv.": "avvocato",
        "Arch.": "architetto",
        "ecc.": "eccetera",
        "etc.": "eccetera",
        "es.": "esempio",
        "p. es.": "per esempio",
        "p.es.": "per esempio",
        "pag.": "pagina",
        "pagg.": "pagine",
        "tel.": "telefono",
        "Tel.": "telefono",
        "ca.": "circa",
        "max.": "massimo",
        "min.": "minimo",
        "n.": "numero",
        "N.": "numero",
        "v.le": "viale",
        "a.C.": "avanti Cristo",
        "d.C.": "dopo Cristo",
        "S.p.A.": "società per azioni",
        "S.r.l.": "esse erre elle",
        "vs.": "contro",
        "e/o": "e o",
    },
)

PORTUGUESE = Vocabulary(
    code="p",
    locale="pt",
    figures=Figures("pt_BR", ",.", ".\u00a0\u202f", _WITH_POINTS, "vírgula", "menos"),
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
    say_date=_portuguese_date,
    say_time=_portuguese_time,
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
    scales="milhões|milhão|bilhões|bilhão|trilhões|mil",
    of_amount="de {}".format,
    agree=_portuguese_before,
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
