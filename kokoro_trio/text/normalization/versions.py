"""Numbers with points that are not decimal points."""

import re

from kokoro_trio.text.normalization.scan import Kind
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_POINTED = r"\d+(?:\.\d+){2,10}(?!\w|\.\d)"
_GROUPED = re.compile(r"\d{1,3}(?:\.\d{3})+")
_NAMED = r"(?<=\bPython )\d\.\d+|(?<=\bversion )\d+\.\d+|(?<=\bVersion )\d+\.\d+|(?<=\bUbuntu )\d\d\.\d\d"


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    figures = vocabulary.figures

    point = figures.point if vocabulary.is_english else vocabulary.symbols["."]

    def read(match: re.Match[str]) -> str | None:
        if not match["v"] and "." in figures.group_marks and _GROUPED.fullmatch(match[0]):
            return None
        spoken = f" {point} ".join(map(figures.cardinal, match["numbers"].split(".")))
        return f"{vocabulary.version} {spoken}" if match["v"] else spoken

    return [
        Kind(re.compile(r"(?<![\w.,])(?P<v>[vV])(?P<numbers>\d+(?:\.\d+){1,10})(?!\w|\.\d)"), read),
        Kind(re.compile(rf"(?<![\w.,])(?P<v>)(?P<numbers>{_POINTED}|{_NAMED})(?!\w|\.\d)"), read),
    ]
