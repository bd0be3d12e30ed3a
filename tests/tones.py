"""The server as a process of its own, with tones instead of the model: `python -m tests.tones`.

It takes the knobs and the command line of the real one, and in seconds `TONES_LOAD_S`, how long the
model takes to load, and `TONES_STEP_S`, how long a second of sound takes to make. A first argument that
names one of `FAULTS` gives it a model that fails.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence

import kokoro_trio.__main__ as server
from kokoro_trio.config import ModelConfig, VoiceConfig, WindowConfig
from kokoro_trio.engine.phonemizing import Reader
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.speech import Samples, Window
from tests.conftest import SpellingReader

LOAD_S = float(os.environ.get("TONES_LOAD_S", "0"))
STEP_S = float(os.environ.get("TONES_STEP_S", "0"))


class Tones(ToneSynthesizer):
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        time.sleep(STEP_S)
        return super().vocode(windows)


class Stuck(ToneSynthesizer):
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        threading.Event().wait()
        raise AssertionError("nobody sets it")


class Lost(ToneSynthesizer):
    """As on a GPU after an illegal access."""

    def is_broken(self) -> bool:
        return True

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


class Dying(ToneSynthesizer):
    """Ends its thread, as a fault in what runs the steps would."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        raise SystemExit(3)


class Holding(ToneSynthesizer):
    """Gives nobody else a turn: what a library that keeps Python's lock does."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        sys.setswitchinterval(1e6)
        while True:
            pass


FAULTS: dict[str, type[ToneSynthesizer]] = {
    "stuck": Stuck,
    "lost": Lost,
    "dying": Dying,
    "holding": Holding,
}


def main() -> None:
    synthesizer = FAULTS[sys.argv.pop(1)] if sys.argv[1:2] and sys.argv[1] in FAULTS else Tones

    def load_model(config: ModelConfig, windows: WindowConfig) -> Synthesizer:
        time.sleep(LOAD_S)
        return synthesizer()

    server._load_model = load_model
    server._load_text = _spelling
    server.main()


def _spelling(config: VoiceConfig, alphabet: frozenset[str]) -> Reader:
    return SpellingReader()


if __name__ == "__main__":
    main()
