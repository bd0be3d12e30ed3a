"""The server as a process of its own, with tones instead of the model: `python -m tests.tones`.

It takes the knobs and the command line of the real one, and in seconds `TONES_LOAD_S`, how long the
model takes to load, and `TONES_STEP_S`, how long a second of sound takes to make.
"""

import os
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


def main() -> None:
    server._load_model = _tones
    server._load_text = _spelling
    server.main()


def _tones(config: ModelConfig, windows: WindowConfig) -> Synthesizer:
    time.sleep(LOAD_S)
    return Tones()


def _spelling(config: VoiceConfig, alphabet: frozenset[str]) -> Reader:
    return SpellingReader()


if __name__ == "__main__":
    main()
