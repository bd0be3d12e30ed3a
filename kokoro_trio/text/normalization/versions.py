"""Version numbers: several points, or one behind "v" or the name of a program."""

import re

from kokoro_trio.text.normalization.rules import Rule
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_GROUPED = re.compile(r"\d{1,3}(?:\.\d{3})+")
_PREFIXED = re.compile(r"(?<![\w.,])(?P<v>[vV])(?P<numbers>\d+(?:\.\d+){1,10})(?!\w|\.\d)")
_BARE = re.compile(
    r"""(?<![\w.,]) (?P<v>)
    (?P<numbers> \d+(?:\.\d+){2,10}(?!\w|\.\d)
    | (?<=\bPython\ )\d\.\d+
    | (?:(?<=\bversion\ )|(?<=\bVersion\ ))\d+\.\d+
    | (?<=\bUbuntu\ )\d\d\.\d\d )
    (?!\w|\.\d)""",
    re.VERBOSE,
)


def rules(vocabulary: Vocabulary) -> list[Rule]:
    numbers = vocabulary.numbers
    point = numbers.point if vocabulary.is_english else vocabulary.symbols["."]

    def verbalize(match: re.Match[str]) -> str | None:
        if not match["v"] and "." in numbers.group_marks and _GROUPED.fullmatch(match[0]):
            return None
        spoken = f" {point} ".join(map(numbers.cardinal, match["numbers"].split(".")))
        return f"{vocabulary.version} {spoken}" if match["v"] else spoken

    return [Rule(_PREFIXED, verbalize), Rule(_BARE, verbalize)]
