"""Splits a client's text into sentences without Markdown, pauses and unreadable characters."""

import re
import unicodedata

from attrs import frozen

from kokoro_trio.errors import BadText
from kokoro_trio.text import markdown, segmentation
from kokoro_trio.text.markup import masked, split_at_pauses
from kokoro_trio.text.traced import Traced
from kokoro_trio.wire.limits import MAX_PAUSES_S

_SUBSTITUTES = {
    # Punctuation that neither misaki nor espeak knows.
    **dict(zip("।॥。！？；：，、؟،؛", "...!?;:,,?,;", strict=True)),
    # Invisible: soft hyphen, zero-width space, directions, word joiner, byte order mark. Not the
    # zero-width joiners, which Hindi spelling needs.
    **dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e", ""),
}
# espeak would say "grinning face". © ® ™ and arrows are not in here, because they are spoken.
_PICTOGRAPH = re.compile(
    "[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u20e3\U000e0020-\U000e007f]"
)
# Control characters (espeak stops at NUL), lone surrogates (spaCy raises), private use, unassigned.
_UNREADABLE_CATEGORIES = ("Cc", "Cs", "Co", "Cn")
_NEWLINES = "\r\n"


@frozen(eq=False)
class Sentence:
    """A sentence to be spoken. `written` knows the original span of each of its characters.

    `silence_before_s` is played before it, or before the next sentence if this one makes no sound.
    """

    written: Traced
    silence_before_s: float = 0.0

    @classmethod
    def at(cls, text: str, start_char: int = 0) -> "Sentence":
        """A sentence that the client wrote exactly like this, from `start_char` on."""
        return cls(Traced.of(text, start_char))

    @property
    def text(self) -> str:
        return self.written.text

    @property
    def start_char(self) -> int:
        return int(self.written.starts[0])

    @property
    def end_char(self) -> int:
        return int(self.written.ends[-1])


def read(text: str, language: str) -> list[Sentence]:
    """The sentences of `text` in order, without Markdown's marks, pictographs and control characters.

    `language` is the first letter of a voice's name. A pause at the end of `text` becomes a last sentence
    without text. Raises `BadText` if a pause, or all pauses together, are too long.
    """
    readable = without_unreadable(Traced.of(text))
    found: list[Sentence] = []
    silence_s = total_s = 0.0
    for block in markdown.blocks(readable, masked(readable.text)):
        for pause_s, stretch in split_at_pauses(block):
            silence_s += pause_s
            total_s += pause_s
            if total_s > MAX_PAUSES_S:
                raise BadText(reason=f"the pauses of a text may last {MAX_PAUSES_S:g} s together")
            for start, end in segmentation.sentence_spans(stretch.text, language):
                found.append(Sentence(stretch.part(start, end), silence_s))
                silence_s = 0.0
    if silence_s:
        found.append(Sentence(Traced.of("", len(text)), silence_s))
    return found


def without_unreadable(text: Traced) -> Traced:
    """Replaces pictographs and control characters, except line ends, with spaces."""
    return text.replaced(
        (position, position + 1, readable)
        for position, char in enumerate(text.text)
        if (readable := _readable(char)) != char
    )


def _readable(char: str) -> str:
    if char.isascii() and char.isprintable():
        return char
    if char in _NEWLINES:
        return char
    if char.isspace() or _PICTOGRAPH.match(char) or unicodedata.category(char) in _UNREADABLE_CATEGORIES:
        return " "
    return _SUBSTITUTES.get(char, char)
