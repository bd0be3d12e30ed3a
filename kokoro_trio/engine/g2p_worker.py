"""The code of a worker process of `g2p_processes`: it keeps a reader and calls it.

A process imports this module by name, so it is cheap to import and does not need the event loop.
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

SERVER_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@frozen
class Setup:
    """Called first in a new process. Both attributes can be pickled."""

    load: Callable[[], "Reader"]
    configure_log: Callable[[], None]

    def __call__(self) -> None:
        # The server may need this process while it drains after a signal to the process group. The process
        # ends when its pipe is closed, which also happens when the server is killed.
        for number in SERVER_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        # thinc (of spaCy) would import torch, which takes seconds and 170 MB and is not needed here.
        sys.modules["torch"] = None  # type: ignore[assignment]
        self.configure_log()
        global _load
        _load = self.load


_load: Callable[[], "Reader"]
"""Set once, by `Setup`."""


@cache
def reader() -> "Reader":
    """Loaded at the first call, so that its errors are raised in the task that called."""
    return _load()


def warm_up() -> None:
    reader()


def sentences(text: str, language: str) -> "list[Sentence]":
    return reader().sentences(text, language)


def segments(sentence: "Sentence", language: str, first_index: int) -> list[Segment]:
    return reader().segments(sentence, language, first_index)
