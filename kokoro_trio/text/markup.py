"""Markup in a client's text: pronunciations and pauses.

`[word](/phonemes/)` is misaki's syntax for a pronunciation, in Kokoro's phonemes. `[pause:0.5s]` and
`[pause:500ms]` are silence.
"""

import re
from collections.abc import Iterator

from kokoro_trio.errors import BadText
from kokoro_trio.text.traced import Traced
from kokoro_trio.wire.limits import MAX_PAUSE_S, MAX_PRONOUNCED_CHARS, MAX_PRONUNCIATION_PHONEMES

PRONUNCIATION = re.compile(
    rf"\[(?P<word>[^\[\]\n]{{1,{MAX_PRONOUNCED_CHARS}}})\]"
    rf"\(/(?P<phonemes>[^/()\n]{{1,{MAX_PRONUNCIATION_PHONEMES}}})/\)"
)
_PAUSE = re.compile(
    r"\[pause:\s{0,3}(?P<length>\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s{0,3}(?P<unit>ms|s)\]", re.IGNORECASE
)
_PLACEHOLDER = "\ue000"
"""Of private use, so that it is in no text behind `without_unreadable`."""


def masked(text: str) -> str:
    """`text` with each character of a pronunciation or pause masked, so that Markdown leaves it alone."""
    for pattern in (PRONUNCIATION, _PAUSE):
        text = pattern.sub(lambda found: _PLACEHOLDER * len(found[0]), text)
    return text


def split_at_pauses(text: Traced) -> Iterator[tuple[float, Traced]]:
    """The stretches of `text` between its pauses, each with the seconds of silence before it.

    Raises `BadText` if a pause is too long.
    """
    start, silence_s = 0, 0.0
    for pause in _PAUSE.finditer(text.text):
        yield silence_s, text.part(start, pause.start())
        start, silence_s = pause.end(), _seconds(pause)
    yield silence_s, text.part(start, len(text.text))


def _seconds(pause: re.Match[str]) -> float:
    seconds = float(pause["length"]) / (1000 if pause["unit"].lower() == "ms" else 1)
    if seconds > MAX_PAUSE_S:
        raise BadText(reason=f"a pause may last {MAX_PAUSE_S:g} s, not {seconds:g} s")
    return seconds
