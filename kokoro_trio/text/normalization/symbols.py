"""Symbols between and beside words and numbers, and words that are written with symbols in them."""

import re
import unicodedata
from collections.abc import Iterator

from kokoro_trio.text.normalization.rules import Normalize, Rule, WordByWord
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_DOUBLE = "&&|->|=>|==|!=|<=|>="
_SINGLE = "&%+=@#~/\\\\×÷−≈≠≤≥±√∞→←⇒↔©§°‰∑∈<>*^|"
_ALONE = re.compile(rf"(?<![^\s(\[])(?:{_DOUBLE}|[{_SINGLE}])(?![^\s)\],.;:!?])")
_IN_WORD = re.compile(rf"(?<=[^\W_])(?:{_DOUBLE}|[{_SINGLE}])(?=[^\W_]|[-−]\d)")
_MISTAKEN_APOSTROPHE = re.compile(r"(?<=[^\W\d_])[`´‘](?=[^\W\d_])")
_TRADEMARK = re.compile(r"(?<!\w)([^\W_][\w'’]{0,60})[®™℠]+")
_COMPOUND = re.compile(r"(?<!\S)\S*[^\W_]\S*")
_INNER_SYMBOL = re.compile(
    rf"""[{_SINGLE}⁰¹²³⁴-⁹_·•…]
    | \(\)
    | [^\W_]['’]?[()\[\]{{}}][^\W_]
    | [^\W\d_][.,:;!?…][^\W\d_]{{2}}""",
    re.VERBOSE,
)
_OPENERS, _CLOSERS = "([{\"'“”‘’«»„‚`_*|.~", ")]}\"'“”‘’«»`_*|.,:;!?…~"
# A point or comma only between letters, where a space is missing or the point belongs to a name.
_PIECE = re.compile(
    rf"""( {_DOUBLE}
    | [{_SINGLE}_·•…()\[\]{{}}]
    | ⁻?[⁰¹²³⁴-⁹]+
    | (?<=[^\W\d_])[.,:;!?](?=[^\W\d_]) )""",
    re.VERBOSE,
)
_SILENT = frozenset("_·•|()[]{}*")
_PAUSES = frozenset("….,:;!?")
_POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SAME_AS = {"&&": "&", "->": "→", "=>": "→", "==": "=", "!=": "≠", "<=": "≤", ">=": "≥", "*": "×"}
_QUANTITY_BEFORE = re.compile(r"\d\w{0,3}\s\Z")
_SUBTRACTION = re.compile(r"(?<=[\d\w]) ([-–−]) (?=\d[\d.,]*\s*[=<>])")
_ABOUT = re.compile(r"(?<![^\s(])~(?=[$€£¥₹\d])")
_TIMES = re.compile(r"(?<=\s)[x×](?=\s\d)")
_NUMBERED = re.compile(r"(?<!\w)[#№](\d+)(?!\w|[.,]\d)")


def early_rules(vocabulary: Vocabulary) -> list[Rule]:
    """Symbols that later rules would take for a part of a range or of a telephone number."""
    numbers = vocabulary.numbers
    number_sign = vocabulary.number_sign

    def numbered(match: re.Match[str]) -> str:
        digits = match[1]
        return f"{number_sign} {numbers.digits(digits) if len(digits) > 4 else numbers.number(digits)}"

    def number_word(match: re.Match[str]) -> str:
        return number_sign.capitalize() if match[0].startswith("N") else number_sign

    def by(match: re.Match[str]) -> str | None:
        is_size = _QUANTITY_BEFORE.search(match.string, max(0, match.start() - 12), match.start())
        return vocabulary.by if is_size else None

    return [
        Rule(_ABOUT, lambda match: vocabulary.symbols["~"] + " "),
        Rule(_SUBTRACTION, lambda match: [numbers.minus]),
        Rule(_TIMES, by),
        Rule(_NUMBERED, numbered),
        Rule(re.compile(rf"(?<!\w)(?:{vocabulary.number_marks})(?=\s?\d)"), number_word),
    ]


def rules(vocabulary: Vocabulary, normalize: Normalize) -> list[Rule]:
    words = _words(vocabulary)

    def alone(match: re.Match[str]) -> WordByWord:
        if match[0] == "|" or (match[0] == "*" and not _is_between_operands(match)):
            return []
        return [words[match[0]]]

    return [
        Rule(_MISTAKEN_APOSTROPHE, lambda match: "'"),
        Rule(_TRADEMARK, lambda match: normalize(match[1])),
        Rule(_COMPOUND, _Compound(vocabulary, normalize).verbalize),
        Rule(_ALONE, alone),
    ]


def fallback_rules(vocabulary: Vocabulary) -> list[Rule]:
    """Symbols in words of which another rule verbalized a part."""
    words = _words(vocabulary)

    def verbalize(match: re.Match[str]) -> str | WordByWord:
        return f" {words[match[0]]} " if match[0] in words else []

    return [Rule(_IN_WORD, verbalize)]


def _words(vocabulary: Vocabulary) -> dict[str, str]:
    symbols = vocabulary.symbols
    words = {sign: symbols[sign] for sign in symbols if sign not in _SILENT | _PAUSES}
    return words | {sign: symbols[same] for sign, same in _SAME_AS.items()}


class _Compound:
    """Words with symbols in them."""

    def __init__(self, vocabulary: Vocabulary, normalize: Normalize) -> None:
        self._words = _words(vocabulary)
        self._dot = vocabulary.symbols["."]
        self._normalize = normalize
        self._spell = vocabulary.spell

    def verbalize(self, match: re.Match[str]) -> str | None:
        if not _INNER_SYMBOL.search(match[0]):
            return None
        word = match[0].replace("()", "")
        unopened = word.lstrip(_OPENERS)
        inner = unopened.rstrip(_CLOSERS)
        opening, closing = word[: len(word) - len(unopened)], unopened[len(inner) :]
        spoken = " ".join(self._spoken(list(filter(None, _PIECE.split(inner)))))
        if "(" in inner or "[" in inner:
            closing = closing.replace(")", "").replace("]", "")
        without_marks = str.maketrans("", "", "_*|~")
        return (
            opening.translate(without_marks) + spoken + closing.translate(without_marks) if spoken else None
        )

    def _spoken(self, pieces: list[str]) -> Iterator[str]:
        for index, piece in enumerate(pieces):
            if piece == "/" and _joins_abbreviations(pieces, index):
                continue
            if piece == "." and pieces[index + 1][0].islower():
                yield self._dot
            elif piece in self._words:
                yield self._words[piece]
            elif piece[-1] in _POWERS:
                is_footnote = index == 0 or pieces[index - 1][2:].isalpha()
                power = self._normalize(unicodedata.normalize("NFKC", piece))
                yield power if is_footnote else f"{self._words['^']} {power}"
            elif len(piece) == 1 and piece.isalpha():
                yield self._spell(piece)
            elif any(map(str.isalnum, piece)):
                yield self._normalize(piece)
            elif piece not in _SILENT:
                yield piece


def _joins_abbreviations(pieces: list[str], index: int) -> bool:
    """As in "TCP/IP"."""
    return all(piece.isupper() for piece in pieces[max(0, index - 1) : index + 2 : 2])


def _is_between_operands(match: re.Match[str]) -> bool:
    before, after = match.string[: match.start()].rstrip()[-1:], match.string[match.end() :].lstrip()[:1]
    return before.isalnum() and after.isalnum()
