"""Hindi. Integers stay digits for espeak, because num2words does not know the language."""

from kokoro_trio.text.normalization.number_words import LAKH_GROUPS, WITH_COMMAS, NumberWords
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_capitals


def _date(numbers: NumberWords, day: int, month: str, year: int) -> str:
    return f"{day} {month} {year}"


def _time(numbers: NumberWords, hour: int, minute: int) -> str:
    return f"{hour} बजकर {minute} मिनट" if minute else f"{hour} बजे"


HINDI = Vocabulary(
    code="h",
    locale="hi",
    numbers=NumberWords(None, ".", ",", WITH_COMMAS, "दशमलव", "माइनस", LAKH_GROUPS),
    to="से",
    by="गुणा",
    per="प्रति",
    number_sign="नंबर",
    number_marks=r"№|क्र\.|नं\.",
    version="वर्ज़न",
    hashtag="हैशटैग",
    region="IN",
    say_date=_date,
    say_time=_time,
    and_seconds="{} सेकंड",
    clock_word=r"\s?बजे",
    cents={"INR": ("पैसा", "पैसे"), "USD": ("सेंट", "सेंट"), "EUR": ("सेंट", "सेंट"), "GBP": ("पेंस", "पेंस")},
    names_cents=True,
    spell=spell_in_capitals,
    scales="लाख|करोड़|अरब|हज़ार|मिलियन|बिलियन",
    unit_spellings={"किमी": "km", "मी": "m", "किग्रा": "kg", "ग्राम": "g", "सेमी": "cm"},
)
