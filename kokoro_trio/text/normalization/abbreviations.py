"""Abbreviations of the languages besides English."""

import re

from kokoro_trio.text.normalization.scan import Kind
from kokoro_trio.text.normalization.vocabulary import Vocabulary


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    written = "|".join(map(re.escape, sorted(vocabulary.abbreviations, key=len, reverse=True)))

    def read(match: re.Match[str]) -> str:
        is_last = not any(map(str.isalnum, match.string[match.end() :]))
        return vocabulary.abbreviations[match[0]] + "." * (is_last and match[0].endswith("."))

    return [Kind(re.compile(rf"(?<![\w.])(?:{written})(?!\w)"), read)]
