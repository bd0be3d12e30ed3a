"""English, American and British."""

from kokoro_trio.text.normalization.number_words import LAKH_GROUPS, WITH_COMMAS, NumberWords
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_english

_SPELLED_NAMES = "io js ts md env http www html ai uk edu api png pdf csv exe"
_SPOKEN_NAMES = {name: spell_in_english(name) for name in _SPELLED_NAMES.split()} | {
    "C": "C",
    "etc": "etsy",
    "gov": "gov",
    "jpg": "jay peg",
    "json": "jason",
    "lib": "lib",
    "py": "pie",
    "src": "source",
    "txt": "text",
    "usr": "user",
    "yaml": "yammel",
}
_CENTS = {
    **dict.fromkeys(("USD", "EUR", "CAD", "AUD", "NZD", "HKD", "SGD", "ZAR"), ("cent", "cents")),
    **dict.fromkeys(("BRL", "MXN", "PHP"), ("centavo", "centavos")),
    "GBP": ("penny", "pence"),
    "INR": ("paisa", "paise"),
}


def _american_date(numbers: NumberWords, day: int, month: str, year: int) -> str:
    return f"{month} {numbers.ordinal(day)}, {numbers.year(year)}"


def _british_date(numbers: NumberWords, day: int, month: str, year: int) -> str:
    return f"the {numbers.ordinal(day)} of {month} {numbers.year(year)}"


def _time(numbers: NumberWords, hour: int, minute: int) -> str:
    spoken_hour = numbers.cardinal(hour)
    if minute == 0:
        return f"{spoken_hour} o'clock" if 0 < hour <= 12 else f"{spoken_hour} hundred"
    oh = "oh " if minute < 10 else ""
    return f"{spoken_hour} {oh}{numbers.cardinal(minute)}"


def _english(code: str) -> Vocabulary:
    is_american = code == "a"
    dropped = r",| and" if is_american else ","
    return Vocabulary(
        code=code,
        locale="en",
        numbers=NumberWords("en", ".", ",", WITH_COMMAS, "point", "minus", LAKH_GROUPS, dropped),
        to="to",
        by="by",
        per="per",
        number_sign="number",
        number_marks=r"[Nn]os?\.|№",
        version="version",
        region="US" if is_american else "GB",
        say_date=_american_date if is_american else _british_date,
        say_time=_time,
        and_seconds="and {} seconds",
        cents=_CENTS,
        money_joint="and",
        names_cents=True,
        spell=spell_in_english,
        scales="thousand|million|billion|trillion",
        spoken_names=_SPOKEN_NAMES,
        is_month_first=is_american,
        is_english=True,
    )


AMERICAN, BRITISH = _english("a"), _english("b")
