"""The server in a process of its own, with tones instead of the model: `python -m tests.support.tones`.

It has the knobs and the command line of the server. More variables set times in seconds: `TONES_LOAD_S` for
loading the model, `TONES_STEP_S` for a step, and `TONES_LAST_SENTENCE_S` for the shutdown to wait for a
sentence that is being read. A first argument of `FAULTS` selects a failing model, one of `READERS` a failing
reader.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence

import kokoro_trio.__main__ as server
from kokoro_trio.config import ModelConfig, VoiceConfig, WindowConfig
from kokoro_trio.engine import phonemizing
from kokoro_trio.engine.phonemizing import Reader
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.speech import Samples, Segment, Window
from kokoro_trio.text.reading import Sentence
from tests.support.models import SpellingReader

LOAD_S = float(os.environ.get("TONES_LOAD_S", "0"))
STEP_S = float(os.environ.get("TONES_STEP_S", "0"))
LAST_SENTENCE_S = float(os.environ.get("TONES_LAST_SENTENCE_S", phonemizing.LAST_SENTENCE_S))


class Tones(ToneSynthesizer):
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        time.sleep(STEP_S)
        return super().vocode(windows)


class Stuck(ToneSynthesizer):
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        threading.Event().wait()
        raise AssertionError("nobody sets it")


class Lost(ToneSynthesizer):
    """Behaves like a GPU after an illegal access."""

    def is_broken(self) -> bool:
        return True

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


class Dying(ToneSynthesizer):
    """Ends the inference thread."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        raise SystemExit(3)


class Holding(ToneSynthesizer):
    """Never releases Python's lock, like a faulty library."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        sys.setswitchinterval(1e6)
        while True:
            pass


class StuckReader(SpellingReader):
    @staticmethod
    def segments(sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        threading.Event().wait()
        raise AssertionError("nobody sets it")


def _spelling(config: VoiceConfig, alphabet: frozenset[str]) -> Reader:
    return SpellingReader()


def _stuck_spelling(config: VoiceConfig, alphabet: frozenset[str]) -> Reader:
    return StuckReader()


FAULTS: dict[str, type[ToneSynthesizer]] = {
    "stuck": Stuck,
    "lost": Lost,
    "dying": Dying,
    "holding": Holding,
}
READERS = {"unread": _stuck_spelling}


def main() -> None:
    fault = sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1] in (*FAULTS, *READERS) else ""
    synthesizer = FAULTS.get(fault, Tones)

    def load_model(config: ModelConfig, windows: WindowConfig) -> Synthesizer:
        time.sleep(LOAD_S)
        return synthesizer()

    phonemizing.LAST_SENTENCE_S = LAST_SENTENCE_S
    server._load_model = load_model
    server._load_text = READERS.get(fault, _spelling)
    server.main()


if __name__ == "__main__":
    main()
