"""What a worker process of `g2p_processes` does: it keeps a reader, and asks it.

Started by name, so nothing in here needs the event loop, and importing it costs little.
"""

import signal
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from attrs import frozen

from kokoro_trio.speech import Segment

if TYPE_CHECKING:
    from kokoro_trio.engine.phonemizing import Reader
    from kokoro_trio.text.reading import Sentence

OF_THE_SERVER = (signal.SIGINT, signal.SIGTERM)


@frozen
class Beginning:
    """Called in a process before anything is asked of it. Both parts can be pickled."""

    load: Callable[[], "Reader"]
    configure_log: Callable[[], None]

    def __call__(self) -> None:
        # A signal to the whole group is for the server, which may need this process to drain. It ends when
        # its pipe is closed, as it is too where the server was killed.
        for number in OF_THE_SERVER:
            signal.signal(number, signal.SIG_IGN)
        # Nothing computes with torch here. thinc, spaCy's own, imports it where it finds it, for seconds
        # and 170 MB.
        sys.modules["torch"] = None  # type: ignore[assignment]
        self.configure_log()
        global _load
        _load = self.load


_load: Callable[[], "Reader"]
"""Set once, by `Beginning`."""


@cache
def reader() -> "Reader":
    """Loaded at the first call, so that what goes wrong with it is raised where somebody asked."""
    return _load()


def warm_up() -> None:
    reader()


def sentences(text: str, language: str) -> "list[Sentence]":
    return reader().sentences(text, language)


def segments(sentence: "Sentence", language: str, first_index: int) -> list[Segment]:
    return reader().segments(sentence, language, first_index)
