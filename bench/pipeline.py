"""The server beside kokoro's own KPipeline, which speaks whole sentences, in one run and in turn.

KPipeline runs in the bench's process, on the device that the server names, and so has to be on the
server's machine; while one of the two speaks the other is idle. Nothing is downloaded.
"""

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import trio
from attrs import define, evolve, frozen
from tqdm import tqdm

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.client import Arrival, Session, Timing, connect_with
from kokoro_trio.config import Config
from kokoro_trio.errors import KokoroTrioError

# Before torch, which kokoro brings: this room sets what libgomp reads when torch loads it.
from kokoro_trio.model.voices import language_of
from kokoro_trio.text.english import load_misaki
from kokoro_trio.text.g2p import ENGLISH
from kokoro_trio.weights.prepared import Weights

from .configured import open_configured_weights
from .load import WARM_UP_SENTENCES, Failed, Ratio, Run, Spoken, Summary, percentiles_ms, speak
from .sentences import in_turn
from .server_state import read_state

if TYPE_CHECKING:
    import torch
    from kokoro import KModel, KPipeline  # type: ignore[import-untyped]

REPOSITORY_ID = "hexgrad/Kokoro-82M"


@define
class NotEnglish(KokoroTrioError):
    voice: str

    def __str__(self) -> str:
        return f"--pipeline speaks with English voices only, and {self.voice} is none"


@frozen
class Comparison:
    """Both have spoken the same sentences, one at a time. `ttfa_ratio`: the server's to KPipeline's."""

    voice: str
    device: str
    pipeline: Summary
    server: Summary
    ttfa_ratio: Ratio | None

    @property
    def has_failed(self) -> bool:
        return self.server.has_failed

    def report(self) -> Iterator[str]:
        yield f"{self.voice} on {self.device}, each sentence once by KPipeline, whole, and once by the server"
        yield _ROW.format("", "n", "TTFA p50/p95 ms", "xRT", "errors")
        yield _row("KPipeline", self.pipeline)
        yield _row("server", self.server)
        if self.ttfa_ratio is not None:
            yield f"TTFA ratio to KPipeline {self.ttfa_ratio.p50:.2f} (p50), {self.ttfa_ratio.p95:.2f} (p95)"


_ROW = "{:<10} {:>5} {:>15} {:>7} {:>6}"


def _row(name: str, summary: Summary) -> str:
    xrt = f"{summary.xrt:.2f}"
    return _ROW.format(name, summary.n, percentiles_ms(summary.ttfa_s), xrt, summary.n_errors)


@frozen
class Pair:
    pipeline: Spoken
    server: Spoken


@frozen
class WholeSpeaker:
    """KPipeline with one voice."""

    pipeline: "KPipeline"
    voice: str

    @classmethod
    def load(cls, voice: str, device: str) -> "WholeSpeaker":
        """Takes seconds. Raises `StartError` where weights, device or language model are not there."""
        from kokoro_trio.model.device import choose_device

        # Nothing listens here: with a loopback host the configuration asks for no API_KEY.
        config = evolve(Config.load(host="127.0.0.1").model, device=device)
        chosen = choose_device(config).device
        weights = open_configured_weights()
        return cls(kpipeline_of(weights, voice, chosen), voice)

    def speak(self, sentence: str) -> Timing:
        """The first audio of a whole sentence is all of it."""
        requested_at = time.perf_counter()
        results = list(self.pipeline(sentence, voice=self.voice))
        samples = np.concatenate([np.zeros(0, np.float32), *(result.audio.numpy() for result in results)])
        ended_at = time.perf_counter()
        silence = HeadSilence()
        silence.feed(samples)
        return Timing.of(requested_at, [Arrival(ended_at, len(samples))], silence.seconds, ended_at)

    async def speak_in_turn(self, session: Session, sentence: str) -> Pair:
        """Raises `RequestFailed` and `ConnectionLost`."""
        # In a thread, so that the connection goes on answering pings.
        alone = await trio.to_thread.run_sync(self.speak, sentence)
        return Pair(Spoken(alone, 0.0), await speak(session, sentence, self.voice))


def kpipeline_of(weights: Weights, voice: str, device: "torch.device") -> "KPipeline":
    from kokoro import KPipeline

    with TemporaryDirectory() as folder:
        model = kmodel_of(weights, Path(folder)).to(device)

    class PreparedPipeline(KPipeline):  # type: ignore[misc]
        """Given its parts: KPipeline's own __init__ downloads what it needs for English."""

        def __init__(self) -> None:
            self.repo_id = REPOSITORY_ID
            self.lang_code = language_of(voice)
            self.model = model
            self.voices = {voice: weights.voices[voice][:, None]}
            self.g2p = load_misaki(is_british=self.lang_code == "b")

    return PreparedPipeline()


def kmodel_of(weights: Weights, folder: Path) -> "KModel":
    """kokoro's own model of the same weights, which it only takes as a pickle of its five parts."""
    import torch
    from kokoro import KModel

    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.model.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    torch.save(parts, folder / "kokoro.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KModel(REPOSITORY_ID, dict(weights.config), str(folder / "kokoro.pth")).eval()


async def measure(options: argparse.Namespace, sentences: Sequence[str]) -> Comparison:
    """Raises `NotEnglish`, `StateUnknown`, `StartError` and `ClientError`."""
    device = (await read_state(options)).device
    async with connect_with(options) as session:
        voice = (await session.start(voice=options.voice or "female")).voice
        if language_of(voice) not in ENGLISH:
            raise NotEnglish(voice)
        speaker = await trio.to_thread.run_sync(WholeSpeaker.load, voice, device)
        for sentence in sentences[:WARM_UP_SENTENCES]:
            await speaker.speak_in_turn(session, sentence)
        with tqdm(total=options.n, unit="sentence", disable=None) as progress:
            work = Run(in_turn(sentences, options.n), speaker.speak_in_turn, progress.update)
            await work.over([session])
    return compared(work.outcomes, voice, device)


def compared(outcomes: Sequence[Pair | Failed], voice: str, device: str) -> Comparison:
    pipeline = _summary([each.pipeline for each in outcomes if isinstance(each, Pair)])
    server = _summary([each.server if isinstance(each, Pair) else each for each in outcomes])
    return Comparison(voice, device, pipeline, server, Ratio.of(server.ttfa_s, pipeline.ttfa_s))


def _summary(outcomes: Sequence[Spoken | Failed]) -> Summary:
    """Of one after the other: the time in between belongs to nobody."""
    wall_s = sum(outcome.timing.wall_s for outcome in outcomes if isinstance(outcome, Spoken))
    return Summary.of(outcomes, concurrency=1, wall_s=wall_s)
