"""The server as a process of its own, with a model that fails: `python -m tests.faulty stuck`."""

import sys
import threading
from collections.abc import Callable, Sequence

import kokoro_trio.__main__ as server
from kokoro_trio.config import ModelConfig, VoiceConfig, WindowConfig
from kokoro_trio.engine.phonemizing import Reader
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.speech import Samples, Window
from tests.conftest import SpellingReader


class Stuck(ToneSynthesizer):
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        threading.Event().wait()
        raise AssertionError("nobody sets it")


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


MODELS: dict[str, Callable[[], Synthesizer]] = {
    "tones": ToneSynthesizer,
    "stuck": Stuck,
    "dying": Dying,
    "holding": Holding,
}


def main() -> None:
    load = MODELS[sys.argv.pop(1)]

    def load_model(config: ModelConfig, windows: WindowConfig) -> Synthesizer:
        return load()

    def load_text(config: VoiceConfig, alphabet: frozenset[str]) -> Reader:
        return SpellingReader()

    server._load_model = load_model
    server._load_text = load_text
    server.main()


if __name__ == "__main__":
    main()
