"""What a sentence is read as where that is not how it is written: numbers, dates, money, addresses, signs …

Pure functions. For the languages besides English integers may stay figures, which espeak reads by itself.
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
from kokoro_trio.text.normalization.scan import Kind, Reading, scan

__all__ = ["Reading", "read_out", "readings"]

_MARKUP = Kind(PRONUNCIATION, lambda match: [])


def readings(text: str, language: str) -> list[Reading]:
    """Ascending, without overlaps; what is between them is read as it is written.

    `language` is the first letter of a voice's name. Nothing is known for those not in `VOCABULARIES`.
    """
    found = scan(text, _kinds(language))
    if found and VOCABULARIES[language].is_english:
        found[-1] = english_words.with_full_stop(found[-1], text)
    return found


def read_out(text: str, language: str) -> str:
    pieces: list[str] = []
    last_end = 0
    for reading in readings(text, language):
        pieces += text[last_end : reading.start_char], reading.spoken
        last_end = reading.end_char
    return "".join(pieces) + text[last_end:]


@lru_cache(maxsize=16)
def _kinds(language: str) -> list[Kind]:
    """In the order in which they have a say."""
    if language not in VOCABULARIES:
        return []
    vocabulary = VOCABULARIES[language]
    speak = partial(read_out, language=language)
    is_english = vocabulary.is_english
    return [
        _MARKUP,
        *web.kinds(vocabulary, speak),
        *dates.kinds(vocabulary),
        *(english_words.early_kinds(vocabulary) if is_english else abbreviations.kinds(vocabulary)),
        *roman.kinds(vocabulary),
        *symbols.early_kinds(vocabulary),
        *money.kinds(vocabulary),
        *phones.kinds(vocabulary),
        *versions.kinds(vocabulary),
        *numerals.early_kinds(vocabulary),
        *measures.kinds(vocabulary),
        *symbols.kinds(vocabulary, speak),
        *(english_words.mixed_kinds(vocabulary, speak) if is_english else []),
        *numerals.kinds(vocabulary),
        *(english_words.kinds(vocabulary, speak) if is_english else []),
        *symbols.leftovers(vocabulary, speak),
        *numerals.leftovers(vocabulary),
    ]
