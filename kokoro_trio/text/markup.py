"""What clients may write into a text to say how it is spoken: pronunciations and pauses.

`[word](/phonemes/)` is misaki's way to say how a word sounds, in Kokoro's phonemes. `[pause:0.5s]` and
`[pause:500ms]` are silence.
"""

import re
from collections.abc import Iterator

from kokoro_trio.errors import BadText
from kokoro_trio.text.traced import Span, Traced
from kokoro_trio.wire.limits import MAX_PAUSE_S, MAX_PRONOUNCED_CHARS, MAX_PRONUNCIATION_PHONEMES

PRONUNCIATION = re.compile(
    rf"\[([^\[\]\n]{{1,{MAX_PRONOUNCED_CHARS}}})\]\(/([^/()\n]{{1,{MAX_PRONUNCIATION_PHONEMES}}})/\)"
)
_PAUSE = re.compile(r"\[pause:\s{0,3}(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s{0,3}(ms|s)\]", re.IGNORECASE)
_PLACEHOLDER = "\ue000"
"""Of private use, so no text holds it once `without_unreadable` has been over it."""


def hidden(text: str) -> str:
    """`text`, as long as before, with what marks pronunciations and pauses out of Markdown's sight."""
    masked = PRONUNCIATION.sub(lambda found: _PLACEHOLDER * len(found.group()), text)
    return _PAUSE.sub(lambda found: _PLACEHOLDER * len(found.group()), masked)


def at_pauses(text: Traced) -> Iterator[tuple[float, Traced]]:
    """The stretches of `text` between its pauses, each with the seconds of silence before it.

    Raises `BadText` for a pause that is too long.
    """
    start, silence_s = 0, 0.0
    for pause in _PAUSE.finditer(text.text):
        yield silence_s, text.part(start, pause.start())
        start, silence_s = pause.end(), _seconds(pause)
    yield silence_s, text.part(start, len(text.text))


def pronunciations(text: str) -> Iterator[tuple[Span, str, str]]:
    """Where each is, the word, and how it sounds."""
    for found in PRONUNCIATION.finditer(text):
        yield found.span(), found[1], found[2]


def _seconds(pause: re.Match[str]) -> float:
    seconds = float(pause[1]) / (1000 if pause[2].lower() == "ms" else 1)
    if seconds > MAX_PAUSE_S:
        raise BadText(reason=f"a pause may last {MAX_PAUSE_S:g} s, not {seconds:g} s")
    return seconds
