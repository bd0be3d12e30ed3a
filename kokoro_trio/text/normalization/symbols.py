"""Signs between and beside words and numbers, and the words that are written with signs in them."""

import re
import unicodedata
from collections.abc import Iterator

from kokoro_trio.text.normalization.scan import Kind, Speak, WordByWord
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_DOUBLE = "&&|->|=>|==|!=|<=|>="
_SINGLE = "&%+=@#~/\\\\×÷−≈≠≤≥±√∞→←⇒↔©§°‰∑∈<>*^|"
_ALONE = re.compile(rf"(?<![^\s(\[])(?:{_DOUBLE}|[{_SINGLE}])(?![^\s)\],.;:!?])")
_MISTAKEN_APOSTROPHE = re.compile(r"(?<=[^\W\d_])[`´‘](?=[^\W\d_])")
_MARKED = re.compile(r"(?<!\w)([^\W_][\w'’]{0,60})[®™℠]+")
_COMPOUND = re.compile(r"(?<!\S)\S*[^\W_]\S*")
_INNER = re.compile(
    rf"[{_SINGLE}⁰¹²³⁴-⁹_·•…]|\(\)|[^\W_]['’]?[()\[\]{{}}][^\W_]|[^\W\d_][.,:;!?…][^\W\d_]{{2}}"
)
_OPENERS, _CLOSERS = "([{\"'“”‘’«»„‚`_*|.~", ")]}\"'“”‘’«»`_*|.,:;!?…~"
_POWER = "⁻?[⁰¹²³⁴-⁹]+"
# A point or comma between letters only: a missing space, or a name with points in it.
_PIECES = re.compile(rf"({_DOUBLE}|[{_SINGLE}_·•…()\[\]{{}}]|{_POWER}|(?<=[^\W\d_])[.,:;!?](?=[^\W\d_]))")
_SILENT = frozenset("_·•|()[]{}*")
_PAUSES = frozenset("….,:;!?")
_POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_MEANT = {"&&": "&", "->": "→", "=>": "→", "==": "=", "!=": "≠", "<=": "≤", ">=": "≥", "*": "×"}
_QUANTITY_BEFORE = re.compile(r"\d\w{0,3}\s\Z")
_SUBTRACTION = re.compile(r"(?<=[\d\w]) ([-–−]) (?=\d[\d.,]*\s*[=<>])")


def kinds(vocabulary: Vocabulary, speak: Speak) -> list[Kind]:
    signs = _Signs(vocabulary, speak)
    return [
        Kind(_MISTAKEN_APOSTROPHE, lambda match: "'"),
        Kind(_MARKED, signs.marked),
        Kind(_COMPOUND, signs.compound),
        Kind(_ALONE, signs.alone),
    ]


def leftovers(vocabulary: Vocabulary, speak: Speak) -> list[Kind]:
    """Signs in words of which another kind has read a part."""
    said = _Signs(vocabulary, speak).said

    def read(match: re.Match[str]) -> str | WordByWord:
        return f" {said[match[0]]} " if match[0] in said else []

    return [Kind(re.compile(rf"(?<=[^\W_])(?:{_DOUBLE}|[{_SINGLE}])(?=[^\W_]|[-−]\d)"), read)]


def early_kinds(vocabulary: Vocabulary) -> list[Kind]:
    """What would be half of a range or of a telephone number otherwise."""
    minus = vocabulary.figures.minus
    number = vocabulary.number_sign

    def numbered(match: re.Match[str]) -> str:
        figures = vocabulary.figures
        spoken = figures.digits(match[1]) if len(match[1]) > 4 else figures.number(match[1])
        return f"{number} {spoken}"

    def number_word(match: re.Match[str]) -> str:
        return number.capitalize() if match[0].startswith("N") else number

    def by(match: re.Match[str]) -> str | None:
        is_size = _QUANTITY_BEFORE.search(match.string, max(0, match.start() - 12), match.start())
        return vocabulary.by if is_size else None

    return [
        Kind(re.compile(r"(?<![^\s(])~(?=[$€£¥₹\d])"), lambda match: vocabulary.symbols["~"] + " "),
        Kind(_SUBTRACTION, lambda match: [minus]),
        Kind(re.compile(r"(?<=\s)[x×](?=\s\d)"), by),
        Kind(re.compile(r"(?<!\w)[#№](\d+)(?!\w|[.,]\d)"), numbered),
        Kind(re.compile(rf"(?<!\w)(?:{vocabulary.number_marks})(?=\s?\d)"), number_word),
    ]


class _Signs:
    def __init__(self, vocabulary: Vocabulary, speak: Speak) -> None:
        words = vocabulary.symbols
        self.said = {sign: words[sign] for sign in words if sign not in _SILENT | _PAUSES}
        self.said |= {sign: words[meant] for sign, meant in _MEANT.items()}
        self.said |= {"²": vocabulary.squared, "³": vocabulary.cubed}
        self._dot = words["."]
        self._speak = speak
        self._spell = vocabulary.spell

    def marked(self, match: re.Match[str]) -> str:
        return self._speak(match[1])

    def alone(self, match: re.Match[str]) -> WordByWord:
        if match[0] == "|" or (match[0] == "*" and not _between_numbers(match)):
            return []
        return [self.said[match[0]]]

    def compound(self, match: re.Match[str]) -> str | None:
        word = match[0]
        if not _INNER.search(word):
            return None
        word = word.replace("()", "")
        unopened = word.lstrip(_OPENERS)
        inner = unopened.rstrip(_CLOSERS)
        opening, closing = word[: len(word) - len(unopened)], unopened[len(inner) :]
        spoken = " ".join(self._spoken(list(filter(None, _PIECES.split(inner)))))
        if "(" in inner or "[" in inner:
            closing = closing.replace(")", "").replace("]", "")
        quiet = str.maketrans("", "", "_*|~")
        return opening.translate(quiet) + spoken + closing.translate(quiet) if spoken else None

    def _spoken(self, pieces: list[str]) -> Iterator[str]:
        for index, piece in enumerate(pieces):
            if piece == "/" and _is_joint(pieces, index):
                continue
            if piece == "." and pieces[index + 1][0].islower():
                yield self._dot
            elif piece in self.said:
                yield self.said[piece]
            elif piece[-1] in _POWERS:
                is_footnote = index == 0 or pieces[index - 1][2:].isalpha()
                power = self._speak(unicodedata.normalize("NFKC", piece))
                yield power if is_footnote else f"{self.said['^']} {power}"
            elif len(piece) == 1 and piece.isalpha():
                yield self._spell(piece)
            elif any(map(str.isalnum, piece)):
                yield self._speak(piece)
            elif piece not in _SILENT:
                yield piece


def _is_joint(pieces: list[str], index: int) -> bool:
    """Between abbreviations: TCP/IP."""
    return all(piece.isupper() for piece in pieces[max(0, index - 1) : index + 2 : 2])


def _between_numbers(match: re.Match[str]) -> bool:
    before, after = match.string[: match.start()].rstrip()[-1:], match.string[match.end() :].lstrip()[:1]
    return before.isalnum() and after.isalnum()
