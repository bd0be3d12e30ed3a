"""Parts of an engine that need no weights: models, text sides, a heap; and utterances."""

import json
import re
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import ClassVar

import attrs
import trio

from kokoro_trio.engine.engine import Engine
from kokoro_trio.engine.heap import Heap
from kokoro_trio.engine.inference import OnStepEnd, StepEnd, run_step
from kokoro_trio.engine.scheduler import Step
from kokoro_trio.engine.stream import Piece
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.speech import SAMPLE_RATE_HZ, Line, Prosody, Samples, Segment, Utterance, Window, Word
from kokoro_trio.text.reading import Sentence, read

CONFIG = json.loads(files("kokoro_trio.weights").joinpath("kokoro-v1_0.json").read_text(encoding="utf-8"))
ALPHABET = frozenset(CONFIG["vocab"])
MB = 10**6


def spell(sentence: Sentence, language: str, first_index: int) -> list[Segment]:
    """Grapheme-to-phoneme for tests: the letters are the phonemes."""
    kept = [n for n, char in enumerate(sentence.text) if char.isalpha() or char == " "]
    phonemes = "".join(sentence.text[n].lower() for n in kept)
    if not phonemes.strip():
        return []
    words = tuple(
        Word(*sentence.written.origin(kept[found.start()], kept[found.end() - 1] + 1), *found.span())
        for found in re.finditer(r"\S+", phonemes)
    )
    return [Segment(first_index, phonemes, sentence.start_char, sentence.end_char, words)]


class SpellingReader:
    """The same as a `Reader`."""

    sentences = staticmethod(read)
    segments = staticmethod(spell)


@attrs.define
class Speller:
    """A phonemizer in the event loop, for virtual time like `InLoopInference`."""

    phonemize: Callable[[Sentence, str, int], list[Segment]] = spell
    busy_s: float = 0.0

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def sentences(self, text: str, language: str) -> list[Sentence]:
        await trio.lowlevel.checkpoint()
        return read(text, language)

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        await trio.lowlevel.checkpoint()
        return self.phonemize(sentence, language, first_index)


@attrs.define
class InLoopInference:
    """Runs steps in the event loop, each taking `step_seconds` of (virtual) time.

    A thread in flight looks idle to `autojump_clock`, so tests on virtual time need this one.
    """

    synthesizer: Synthesizer = attrs.field(factory=ToneSynthesizer)
    step_seconds: float = 0.1
    steps: list[Step] = attrs.field(factory=list)
    submitted_at: list[float] = attrs.field(factory=list)
    _nursery: trio.Nursery | None = None
    _on_step_end: OnStepEnd | None = None

    async def run(
        self, on_step_end: OnStepEnd, *, task_status: trio.TaskStatus[Synthesizer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._on_step_end = on_step_end
        async with trio.open_nursery() as self._nursery:
            task_status.started(self.synthesizer)
            await trio.sleep_forever()

    def submit(self, step: Step) -> None:
        assert self._nursery is not None
        self.steps.append(step)
        self.submitted_at.append(trio.current_time())
        self._nursery.start_soon(self._run, step)

    async def _run(self, step: Step) -> None:
        assert self._on_step_end is not None
        await trio.sleep(self.step_seconds)
        self._on_step_end(StepEnd(step, run_step(self.synthesizer, step), self.step_seconds))


@attrs.frozen
class StumblingSynthesizer(ToneSynthesizer):
    """Tones that fail at the letter x."""

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        if any("x" in line.phonemes for line in lines):
            raise RuntimeError("the model has a hole")
        return super().prosody(lines)


class SlowTones(ToneSynthesizer):
    STEP_S: ClassVar = 0.2

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        time.sleep(self.STEP_S)
        return super().vocode(windows)


class RatherSlowTones(SlowTones):
    STEP_S = 0.01


class LeisurelyTones(SlowTones):
    """Slow enough that a listener can interrupt before the end."""

    STEP_S = 0.4


@attrs.define
class ScriptedMemory:
    """Memory that trimming reduces to `needed_bytes`."""

    needed_bytes: int = 1000 * MB
    resident_bytes: int = 1400 * MB
    now_s: float = 1000.0
    n_trimmed: int = 0

    def trim(self, padding: int) -> None:
        self.resident_bytes = self.needed_bytes
        self.n_trimmed += 1

    def heap(self) -> Heap:
        return Heap(self.trim, lambda: self.resident_bytes, lambda: self.now_s)


HELLO = Utterance("Hello there.", "af_aoede")
LONG = Utterance("This is quite a long sentence, for its kind. And another one. And a third.", "af_aoede")


async def speak(engine: Engine, utterance: Utterance = HELLO, session: str = "s") -> list[Piece]:
    async with engine.open(utterance, session) as stream:
        return [piece async for piece in stream]


def n_samples(pieces: list[Piece]) -> int:
    return round(sum(piece.seconds for piece in pieces) * SAMPLE_RATE_HZ)
