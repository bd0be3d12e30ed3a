"""From a text as the client wrote it to sentences that can be read out, each with its span."""

import re
import unicodedata

from attrs import frozen

from kokoro_trio.errors import BadText
from kokoro_trio.text import markdown, segmentation
from kokoro_trio.text.markup import at_pauses, hidden
from kokoro_trio.text.traced import Traced
from kokoro_trio.wire.limits import MAX_PAUSES_S

_SUBSTITUTES = {
    # Stops that neither misaki nor espeak takes for a pause.
    **dict(zip("।॥。！？；：，、؟،؛", "...!?;:,,?,;", strict=True)),
    # Invisible: soft hyphen, zero-width space, directions, word joiner, byte order mark. Not the
    # zero-width joiners, which Hindi is spelled with.
    **dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e", ""),
}
# espeak would say "grinning face". Not in here: © ® ™ and arrows, which are read out.
_PICTOGRAPH = re.compile(
    "[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u20e3\U000e0020-\U000e007f]"
)
# Control characters (espeak stops at NUL), lone surrogates (spaCy raises), private use, unassigned.
_UNREADABLE_CATEGORIES = ("Cc", "Cs", "Co", "Cn")
_NEWLINES = "\r\n"


@frozen(eq=False)
class Sentence:
    """A sentence to be read out. `written` knows where each of its characters comes from.

    `silence_before_s` is to be heard before it, and before whatever follows where it makes no sound.
    """

    written: Traced
    silence_before_s: float = 0.0

    @classmethod
    def at(cls, text: str, start_char: int = 0) -> "Sentence":
        """One that the client wrote exactly like this, from `start_char` on."""
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
    """The sentences of `text` in order, without what is not said: Markdown's marks, pictographs, controls.

    `language` is the first letter of a voice's name. A pause at the end of `text` belongs to a last
    sentence without any text. Raises `BadText` for a pause, or a sum of pauses, that is too long.
    """
    readable = without_unreadable(Traced.of(text))
    found: list[Sentence] = []
    silence_s = total_s = 0.0
    for block in markdown.blocks(readable, hidden(readable.text)):
        for pause_s, stretch in at_pauses(block):
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
    """Pictographs and control characters become spaces; line ends stay."""
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
