"""Abbreviations of the language's table."""

import re

from kokoro_trio.text.normalization.rules import Rule, any_of, ends_sentence
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_AMBIGUOUS_IN_ENGLISH = {
    "min.": r"(?<!\d )min\.",
    "Sun.": r"Sun\.(?=,|\s\d|\s(?:at|from|and|to)\b)",
    "c.": r"c\.(?=\s?\d{3,4}\b)",
    "p.": r"p\.(?=\s?\d)",
}
"""Abbreviations that are also words or units → the context in which they are abbreviations."""


def rules(vocabulary: Vocabulary) -> list[Rule]:
    abbreviations = vocabulary.abbreviations

    def verbalize(match: re.Match[str]) -> str:
        spoken = abbreviations[match[0]]
        if not match[0].endswith(".") and not spoken.endswith("."):
            return spoken
        if not ends_sentence(match):
            return spoken
        # misaki takes a full stop behind a letter for a part of the letter.
        return f"{spoken} ." if spoken.endswith(".") else f"{spoken}."

    if not vocabulary.is_english:
        return [Rule(re.compile(rf"(?<![\w.])(?:{any_of([*abbreviations])})(?!\w)"), verbalize)]
    by_context = "|".join(_AMBIGUOUS_IN_ENGLISH.values())
    unambiguous = any_of([*abbreviations.keys() - _AMBIGUOUS_IN_ENGLISH.keys()])
    pattern = rf"(?<![\w.&/])(?:{by_context}|{unambiguous})(?![^\W_]|[&/]\w|\.[a-z])"
    return [Rule(re.compile(pattern), verbalize)]
