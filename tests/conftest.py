"""Shared by all levels: a model and a text side that run in the event loop."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from hypothesis import HealthCheck, settings

from kokoro_trio.config import WindowConfig
from kokoro_trio.engine.inference import OnStepEnd, StepEnd, run_step
from kokoro_trio.engine.scheduler import Step
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.model.weights import is_prepared
from kokoro_trio.speech import Line, Prosody, Segment, Word
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.reading import Sentence, read
from tests.environment import forget_settings
from tests.programs import Lacking, lack_of
from tests.weights import TEST_WEIGHTS

if TYPE_CHECKING:
    from kokoro_trio.model.kokoro import KokoroSynthesizer

# How fast an example is made says something about the machine's neighbours, nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
DEFAULT_EXAMPLES = settings().max_examples


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        metavar="N",
        help="N times as many of the tests that are drawn by chance",
    )


def pytest_configure(config: pytest.Config) -> None:
    data_folder = TemporaryDirectory()
    config.add_cleanup(data_folder.cleanup)
    forget_settings(data_folder.name)
    if (factor := config.getoption("--fuzz")) > 1:
        settings.register_profile("long", max_examples=DEFAULT_EXAMPLES * factor)
        settings.load_profile("long")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("model") and not is_prepared(TEST_WEIGHTS):
        pytest.fail(f"{TEST_WEIGHTS} is not prepared; to mend it run: bash scripts/setup.sh --test", False)
    for mark in item.iter_markers("needs"):
        if (lacking := lack_of(*mark.args)) is not None:
            skip_or_fail(lacking)


def skip_or_fail(lacking: Lacking) -> None:
    """Continuous integration installs all programs, so it must not skip a test for a missing one."""
    if lacking.is_mendable and os.environ.get("REQUIRE_PROGRAMS"):
        pytest.fail(lacking.reason, False)
    pytest.skip(lacking.reason)


@pytest.fixture
def fuzz_factor(request: pytest.FixtureRequest) -> int:
    factor: int = request.config.getoption("--fuzz")
    return factor


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
    """Tones, but no way to say an x."""

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        if any("x" in line.phonemes for line in lines):
            raise RuntimeError("the model has a hole")
        return super().prosody(lines)


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
    """The same, for a thread."""

    sentences = staticmethod(read)
    segments = staticmethod(spell)


@attrs.define
class Speller:
    """A phonemizer in the event loop, for the same reason as the inference."""

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


CONFIG = json.loads(files("kokoro_trio.model").joinpath("kokoro-v1_0.json").read_text(encoding="utf-8"))
ALPHABET = frozenset(CONFIG["vocab"])


@pytest.fixture(scope="session")
def g2p() -> GraphemeToPhoneme:
    """The real one: misaki, spaCy, espeak and the extras."""
    loaded = GraphemeToPhoneme(ALPHABET)
    loaded.warm_up()
    return loaded


@pytest.fixture(scope="session")
def exact_kokoro() -> "KokoroSynthesizer":
    """The real one, a window a segment, with the silence before it left out."""
    import torch

    from kokoro_trio.model.kokoro import KokoroSynthesizer
    from kokoro_trio.model.weights import open_weights

    whole = WindowConfig(first_max_words=0, first_boundaries="", trims_leading_silence=True)
    return KokoroSynthesizer(open_weights(TEST_WEIGHTS), torch.device("cpu"), whole, predictor=None)


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """As tmp_path, but one that others may enter."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def in_loop() -> InLoopInference:
    return InLoopInference()
