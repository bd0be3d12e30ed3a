"""A scripted reader for worker processes, in a module that each process imports quickly."""

import os
import signal
import sys
import time
from pathlib import Path

from kokoro_trio.config import VoiceConfig
from kokoro_trio.engine.phonemizing import Reader
from kokoro_trio.errors import TooLong
from kokoro_trio.speech import Segment, Word
from kokoro_trio.text.english import G2PUnavailable
from kokoro_trio.text.reading import Sentence, read


class ObedientReader:
    """Obeys the commands in its sentences. The phonemes of each are the process id."""

    sentences = staticmethod(read)

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        command, _, argument = sentence.text.partition(" ")
        match command:
            case "Sleep":
                time.sleep(float(argument))
            case "Die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "Refuse":
                raise TooLong(max_words=2, got_words=3)
            case "Stumble":
                raise KeyError(argument)
        span = sentence.start_char, sentence.end_char
        return [Segment(first_index, str(os.getpid()), *span, (Word(*span, 0, 1),))]


def obedient(alphabet: frozenset[str]) -> Reader:
    return ObedientReader()


def unavailable(alphabet: frozenset[str]) -> Reader:
    raise G2PUnavailable(("nowhere",))


def load_without_torch(voices: VoiceConfig, alphabet: frozenset[str]) -> Reader:
    """Loads the real reader."""
    from kokoro_trio.text.g2p import load

    reader = load(voices, alphabet)
    loaded = {name for name, module in sys.modules.items() if module is not None}
    assert loaded.isdisjoint({"torch", "transformers"})
    assert "libgomp" not in Path("/proc/self/maps").read_text()
    return reader


def no_log() -> None:
    pass
