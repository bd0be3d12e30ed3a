"""Text normalisation: numbers, dates, money, addresses, symbols and abbreviations become words.

Pure functions, one module for each kind of written form. In Hindi integers stay digits for espeak, because
num2words does not know the language. `japanese` and `mandarin` normalize by other rules, on their own.
"""

from functools import lru_cache, partial

from kokoro_trio.text.markup import PRONUNCIATION
from kokoro_trio.text.normalization import (
    abbreviations,
    dates,
    english_words,
    measures,
    money,
    numerals,
    phones,
    roman,
    symbols,
    versions,
    web,
)
from kokoro_trio.text.normalization.languages import VOCABULARIES
from kokoro_trio.text.normalization.rules import Rule, Verbalization, apply

__all__ = ["Verbalization", "normalized", "verbalizations"]

_PRONUNCIATION = Rule(PRONUNCIATION, lambda match: [])


def verbalizations(text: str, language: str) -> list[Verbalization]:
    """The stretches of `text` that are not spoken as they are written, in order and without overlaps.

    `language` is the first letter of a voice's name. Languages without a vocabulary have no verbalizations.
    """
    found = apply(_rules(language), text)
    if found and VOCABULARIES[language].is_english:
        found[-1] = english_words.with_full_stop(found[-1], text)
    return found


def normalized(text: str, language: str) -> str:
    pieces: list[str] = []
    last_end = 0
    for verbalization in verbalizations(text, language):
        pieces += text[last_end : verbalization.start_char], verbalization.spoken
        last_end = verbalization.end_char
    return "".join(pieces) + text[last_end:]


@lru_cache(maxsize=16)
def _rules(language: str) -> list[Rule]:
    """In order of precedence."""
    if language not in VOCABULARIES:
        return []
    vocabulary = VOCABULARIES[language]
    normalize = partial(normalized, language=language)
    is_english = vocabulary.is_english
    return [
        _PRONUNCIATION,
        *web.rules(vocabulary, normalize),
        *dates.rules(vocabulary),
        *(english_words.weekday_rules(vocabulary) if is_english else []),
        *abbreviations.rules(vocabulary),
        *(english_words.name_rules(vocabulary) if is_english else roman.rules(vocabulary)),
        *symbols.early_rules(vocabulary),
        *money.rules(vocabulary),
        *phones.rules(vocabulary),
        *versions.rules(vocabulary),
        *numerals.early_rules(vocabulary),
        *measures.rules(vocabulary),
        *symbols.rules(vocabulary, normalize),
        *(english_words.code_rules(vocabulary, normalize) if is_english else []),
        *numerals.rules(vocabulary),
        *(english_words.word_rules() if is_english else []),
        *symbols.fallback_rules(vocabulary),
        *numerals.fallback_rules(vocabulary),
    ]
