"""Measures the engine on one GPU: whether it sounds right, and how many listeners it can serve.

    python -m bench.gpu --graphs --json gpu.json

First the sound is compared with float32 on the CPU: all durations must be equal and the log-spectral
distance small. Then comes a ladder. At each number of streams, listeners start at random times, hear a
sentence in real time, pause, and ask for the next one; TTFA is the time they wait. After that the same
number of streams asks without pauses ("flat out"); xRT is the seconds of audio per second. The report also
has the times of the steps, the number of rows in a step, and the share of padding. "in step" is the share
of the time in which the inference thread ran a step, "GPU" the share in which NVML reports the GPU as busy.
The last line has the floors of `bench.research.floors`.

The program calls the engine itself, without sockets, with phonemes that were looked up before. So the
machine needs neither a network nor the G2P. It needs this repository, torch for CUDA, transformers, numpy,
attrs, safetensors, markdown-it-py and tqdm, and the wheels of `CARRIED`, which can be copied there
(`pip download --no-deps`). `--weights` names the folder of the prepared weights: 328 MB of model, or 87 MB
as `tar -cJ` with XZ_OPT=-2, and 28 MB of voices. nvidia-ml-py is optional and reports how busy the GPU is.

`python -m bench.gpu --phonemes` looks the sentences up again, on a machine with the G2P.
"""

import argparse
import importlib.util
import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
import trio
from attrs import define, field, frozen

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.config import (
    DEFAULT_WEIGHTS_FOLDER,
    DTYPES,
    REPOSITORY,
    EngineConfig,
    ModelConfig,
    WindowConfig,
)
from kokoro_trio.engine.engine import Engine
from kokoro_trio.engine.inference import InferenceThread, OnStepEnd, StepEnd
from kokoro_trio.engine.scheduler import Step, StepKind
from kokoro_trio.errors import KokoroTrioError
from kokoro_trio.model.synthesizer import Synthesizer
from kokoro_trio.speech import SAMPLE_RATE_HZ, Line, Prosody, Samples, Segment, Utterance, Window
from kokoro_trio.text.reading import Sentence

from .sentences import SENTENCES, read_sentences

if TYPE_CHECKING:
    from kokoro_trio.weights.prepared import Weights

    from .research.floors import Floors

CARRIED = (
    "kokoro",
    "trio",
    "outcome",
    "sniffio",
    "structlog",
    "python-dotenv",
    "sentencex",
    "linkify-it-py",
    "uc-micro-py",
    "RapidFuzz",
)
PHONEMES = Path(__file__).with_name("phonemes.json")
MODEL_CONFIG = REPOSITORY / "kokoro_trio" / "weights" / "kokoro-v1_0.json"
WINDOWS = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)
VOICES = ("af_heart", "am_michael", "bf_emma", "af_bella")
MAX_DISTANCE_DB = {"float32": 0.5, "tf32": 0.7, "bfloat16": 0.7}
"""The limit to the CPU, with the same noise. Another noise alone makes 0.5 dB, bfloat16 on the CPU 0.07."""
START_SPREAD_S = 4.0
MAX_PAUSE_S = 1.0
BUSY_POLL_S = 0.2
FLAT_OUT_SHARE = 0.5
"""The time flat out, as a share of the seconds of a rung."""
PRODUCT_SIZE = {"cuda": 8192, "cpu": 1024}
FLOOR_FRAMES, FLOOR_ROWS = 160, {"cuda": 8, "cpu": 1}


@define
class SoundsUnlike(KokoroTrioError):
    what: str

    def __str__(self) -> str:
        return f"the device does not sound like the CPU: {self.what}"


# The sentences.


@frozen
class PhonemeBook:
    """A phonemizer that knows only sentences looked up before."""

    phonemes: dict[str, list[str]]
    """By sentence: the phonemes of each segment."""
    busy_s: float = 0.0

    @classmethod
    def read(cls, path: Path = PHONEMES) -> "PhonemeBook":
        return cls(json.loads(path.read_text(encoding="utf-8")))

    @property
    def texts(self) -> list[str]:
        return list(self.phonemes)

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def sentences(self, text: str, language: str) -> list[Sentence]:
        await trio.lowlevel.checkpoint()
        return [Sentence.at(text)]

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        await trio.lowlevel.checkpoint()
        return [
            Segment(index, phonemes, sentence.start_char, sentence.end_char)
            for index, phonemes in enumerate(self.phonemes[sentence.text], first_index)
        ]


def look_up(texts: Sequence[str], alphabet: frozenset[str]) -> dict[str, list[str]]:
    from kokoro_trio.text.g2p import GraphemeToPhoneme

    g2p = GraphemeToPhoneme(alphabet)
    return {
        text: [
            segment.phonemes
            for sentence in g2p.sentences(text, "a")
            for segment in g2p.segments(sentence, "a", 0)
        ]
        for text in texts
    }


# Does it sound right?


@frozen
class Likeness:
    """The distances of a device to the CPU, in dB."""

    n_segments: int
    distance_mean: float
    distance_worst: float


def check(synthesizer: Synthesizer, reference: Synthesizer, book: PhonemeBook, limit_db: float) -> Likeness:
    """Runs batches on the device and single lines on the CPU. Raises `SoundsUnlike`."""
    from kokoro_trio.model.spectral_distance import log_spectral_distance_db

    lines = [
        Line(0, phonemes, VOICES[n % len(VOICES)], 1.0)
        for n, phonemes in enumerate(segment for text in book.texts for segment in book.phonemes[text])
    ]
    together = synthesizer.prosody(lines)
    for line, prosody in zip(lines, together, strict=True):
        (alone,) = reference.prosody([line])
        if prosody.durations_frames.tolist() != alone.durations_frames.tolist():
            raise SoundsUnlike(f"other durations for {line.phonemes!r}")
    # One by one: in a batch, noise is drawn for the other rows too.
    with _noise_drawn_on_the_cpu():
        prosodies = [synthesizer.prosody([line])[0] for line in lines]
        expected = [_sound(reference, reference.prosody([line])[0]) for line in lines]
    windows = [window for prosody in prosodies for window in list(synthesizer.windows(prosody))]
    pieces = []
    for begin in range(0, len(windows), synthesizer.max_batch):
        pieces += synthesizer.vocode(windows[begin : begin + synthesizer.max_batch])
    distances = []
    for prosody, sound in zip(prosodies, expected, strict=True):
        made = [samples for window, samples in zip(windows, pieces, strict=True) if window.prosody is prosody]
        distances.append(log_spectral_distance_db(np.concatenate(made), sound))
    if not max(distances) <= limit_db:
        raise SoundsUnlike(f"the distance is {max(distances):.2f} dB, the limit {limit_db}")
    return Likeness(len(lines), float(np.mean(distances)), max(distances))


def _sound(synthesizer: Synthesizer, prosody: Prosody) -> Samples:
    return np.concatenate(synthesizer.vocode(list(synthesizer.windows(prosody))))


@contextmanager
def _noise_drawn_on_the_cpu() -> Iterator[None]:
    """Draws the same noise for the same shape: the generator of a device draws other numbers."""
    drawn = torch.randn_like

    def same(x: torch.Tensor) -> torch.Tensor:
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(x.shape[-1])).to(x)

    torch.randn_like = same  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.randn_like = drawn


# The listeners.


@frozen
class Heard:
    """One utterance. `gap_s`: the longest underrun."""

    ttfb_s: float
    ttfa_s: float
    gap_s: float
    played_until: float


@frozen
class StepRun:
    kind: StepKind
    n_rows: int
    seconds: float
    waste: float | None
    """See `BatchShape.waste`. None for prosody steps."""


class MeasuredInference(InferenceThread):
    """Records its steps."""

    def __init__(self, load: Callable[[], Synthesizer]) -> None:
        super().__init__(load)
        self.steps: list[StepRun] = []

    async def run(
        self, on_step_end: OnStepEnd, *, task_status: trio.TaskStatus[Synthesizer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        def noted(end: StepEnd) -> None:
            self.steps.append(StepRun(end.step.kind, len(end.step.jobs), end.seconds, _waste(end.step)))
            on_step_end(end)

        await super().run(noted, task_status=task_status)


def _waste(step: Step) -> float | None:
    from kokoro_trio.model.batching import BatchShape

    if step.kind is StepKind.PROSODY or (shape_frames := step.windows[0].shape_frames) is None:
        return None
    shape = BatchShape.of([w.prosody.n_frames for w in step.windows], shape_frames)
    return shape.waste([window.end_frame - window.start_frame for window in step.windows])


@define
class Room:
    """The listeners of one rung and what they have heard."""

    engine: Engine
    texts: Sequence[str]
    is_paced: bool
    """Whether listeners hear in real time, or ask for the next sentence as soon as they have one."""
    heard: list[Heard] = field(factory=list)
    audio_s: float = 0.0
    n_failed: int = 0

    async def run(self, n_listeners: int, seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for number in range(n_listeners):
                    nursery.start_soon(self._listen, number)

    async def _listen(self, number: int) -> None:
        drawn = random.Random(number)
        if self.is_paced:
            await trio.sleep(drawn.uniform(0, START_SPREAD_S))
        for turn in count(number):
            heard = await self._hear(number, self.texts[turn % len(self.texts)])
            if heard is None:
                continue
            self.heard.append(heard)
            if self.is_paced:
                await trio.sleep_until(heard.played_until + drawn.uniform(0, MAX_PAUSE_S))

    async def _hear(self, number: int, text: str) -> Heard | None:
        asked_at = trio.current_time()
        head = HeadSilence(SAMPLE_RATE_HZ)
        first_at, played_until, gap_s = math.nan, math.inf, 0.0
        utterance = Utterance(text, VOICES[number % len(VOICES)])
        try:
            async with self.engine.open(utterance, number) as stream:
                async for piece in stream:
                    now = trio.current_time()
                    if math.isnan(first_at):
                        first_at = played_until = now
                    gap_s = max(gap_s, now - played_until)
                    piece_s = piece.seconds
                    played_until = max(played_until, now) + piece_s
                    head.feed_silence(piece.silence_s)
                    head.feed(piece.samples)
                    self.audio_s += piece_s
        except KokoroTrioError:
            self.n_failed += 1
            return None
        return Heard(first_at - asked_at, first_at + (head.seconds or 0.0) - asked_at, gap_s, played_until)


@frozen
class Rung:
    """Times are p50 and p95 in ms, shares from 0 to 1."""

    streams: int
    n_heard: int
    n_failed: int
    n_dry: int
    ttfb_ms: tuple[float, float]
    ttfa_ms: tuple[float, float]
    prosody_ms: tuple[float, float]
    vocode_ms: tuple[float, float]
    vocode_rows: float
    waste: float
    in_step: float
    gpu_busy: float | None
    flat_out_xrt: float
    flat_out_gpu_busy: float | None


async def climb(
    engine: Engine, inference: MeasuredInference, texts: Sequence[str], streams: int, seconds: float
) -> Rung:
    inference.steps.clear()
    paced, busy = await _watched(Room(engine, texts, is_paced=True), streams, seconds)
    steps = list(inference.steps)
    flat_out_s = seconds * FLAT_OUT_SHARE
    flat_out, flat_out_busy = await _watched(Room(engine, texts, is_paced=False), streams, flat_out_s)
    vocoded = [step for step in steps if step.kind is StepKind.VOCODE]
    return Rung(
        streams=streams,
        n_heard=len(paced.heard),
        n_failed=paced.n_failed + flat_out.n_failed,
        n_dry=sum(heard.gap_s > 0 for heard in paced.heard),
        ttfb_ms=_percentiles_ms([heard.ttfb_s for heard in paced.heard]),
        ttfa_ms=_percentiles_ms([heard.ttfa_s for heard in paced.heard]),
        prosody_ms=_percentiles_ms([step.seconds for step in steps if step.kind is StepKind.PROSODY]),
        vocode_ms=_percentiles_ms([step.seconds for step in vocoded]),
        vocode_rows=_mean([step.n_rows for step in vocoded]),
        waste=_mean([step.waste for step in vocoded if step.waste is not None]),
        in_step=sum(step.seconds for step in steps) / seconds,
        gpu_busy=busy,
        flat_out_xrt=flat_out.audio_s / flat_out_s,
        flat_out_gpu_busy=flat_out_busy,
    )


async def _watched(room: Room, streams: int, seconds: float) -> tuple[Room, float | None]:
    """Returns the room at the end and the share of the time that the GPU was busy, None if unknown."""
    shares: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_gpu, shares)
        await room.run(streams, seconds)
        nursery.cancel_scope.cancel()
    return room, _mean(shares) if shares else None


async def _watch_gpu(shares: list[float]) -> None:
    if not torch.cuda.is_available() or importlib.util.find_spec("pynvml") is None:
        return
    while True:
        await trio.sleep(BUSY_POLL_S)
        shares.append(await trio.to_thread.run_sync(torch.cuda.utilization) / 100)


def _percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    if not seconds:
        return (math.nan, math.nan)
    p50, p95 = (1000 * np.percentile(seconds, [50, 95])).tolist()
    return p50, p95


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


# The report.

ROW = "{:>7} {:>5} {:>6} {:>5} {:>13} {:>13} {:>13} {:>13} {:>6} {:>6} {:>8} {:>5} {:>8} {:>5}"
HEAD = ROW.format(
    "streams", "n", "failed", "dry", "TTFB ms", "TTFA ms", "prosody ms", "vocode ms", "rows", "waste",
    "in step", "GPU", "xRT", "GPU",
)  # fmt: skip


def row(rung: Rung) -> str:
    return ROW.format(
        rung.streams,
        rung.n_heard,
        rung.n_failed,
        rung.n_dry,
        *(
            f"{p50:.1f}/{p95:.1f}"
            for p50, p95 in (rung.ttfb_ms, rung.ttfa_ms, rung.prosody_ms, rung.vocode_ms)
        ),
        f"{rung.vocode_rows:.1f}",
        f"{rung.waste:.0%}",
        f"{rung.in_step:.0%}",
        _share(rung.gpu_busy),
        f"{rung.flat_out_xrt:.1f}",
        _share(rung.flat_out_gpu_busy),
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


# The program.


def load_without_g2p() -> None:
    """Imports only the network of the package kokoro: the package itself would import the G2P."""
    spec = importlib.util.find_spec("kokoro")
    if spec is None or spec.submodule_search_locations is None:
        sys.exit("error: the package kokoro is not installed")
    package = ModuleType("kokoro")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault("kokoro", package)


@frozen
class Setting:
    """The device and the precision to measure."""

    device: torch.device
    config: ModelConfig
    dtype: torch.dtype
    tf32: bool

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Setting":
        """Raises `DeviceUnavailable`."""
        from kokoro_trio.model.device import allows_tf32, choose_device, choose_dtype

        config = ModelConfig("auto", options.device, options.dtype, options.memory_fraction, options.graphs)
        device = choose_device(config).device
        return cls(device, config, choose_dtype(config), allows_tf32(config, device))

    @property
    def precision(self) -> str:
        return "tf32" if self.tf32 else str(self.dtype).removeprefix("torch.")

    def facts(self) -> dict[str, Any]:
        is_gpu = self.device.type == "cuda"
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(self.device) if is_gpu else "cpu",
            "computes_in": self.precision,
            "graphs": is_gpu and self.config.cuda_graphs,
        }


def load(setting: Setting, weights: "Weights", book: PhonemeBook) -> Synthesizer:
    """Returns a synthesizer whose sound was checked. Raises `SoundsUnlike`."""
    from kokoro_trio.model.kokoro import KokoroSynthesizer

    synthesizer = KokoroSynthesizer.of(weights, setting.device, setting.config, WINDOWS)
    on_cpu = ModelConfig("auto", "cpu", "float32", 1.0)
    reference = KokoroSynthesizer.of(weights, torch.device("cpu"), on_cpu, WINDOWS)
    likeness = check(synthesizer, reference, book, MAX_DISTANCE_DB[setting.precision])
    print(
        f"sounds as on the CPU: {likeness.n_segments} segments of equal durations, log-spectral distance "
        f"{likeness.distance_mean:.2f} dB, worst {likeness.distance_worst:.2f} dB",
        flush=True,
    )
    return synthesizer


def floors_of(setting: Setting, weights: "Weights", phonemes: str) -> "Floors":
    """The floors of the vocoder, without CUDA graphs, which hide the operations that are counted."""
    from kokoro_trio.model.calibration import load_predictor
    from kokoro_trio.model.kokoro import KokoroSynthesizer

    from .research.floors import Floors, Speed, Work

    predictor = load_predictor(weights, setting.device)
    plain = KokoroSynthesizer(weights, setting.device, WINDOWS, predictor, setting.dtype, tf32=setting.tf32)
    (prosody,) = plain.prosody([Line(0, phonemes, VOICES[0], 1.0)])
    windows = [Window(prosody, 0, FLOOR_FRAMES)] * FLOOR_ROWS[setting.device.type]
    work = Work.of(lambda: plain.vocode(windows))
    size = PRODUCT_SIZE[setting.device.type]
    with torch.inference_mode():
        speed = Speed.of(setting.device, setting.dtype, setting.tf32, size)
    return Floors.of(work, speed, sum(window.seconds for window in windows))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Raises `KokoroTrioError` in an exception group."""
    from kokoro_trio.weights.prepared import open_weights

    setting, weights, book = Setting.of(options), open_weights(options.weights), PhonemeBook.read()
    facts = setting.facts()
    print(" ".join(f"{name}={value}" for name, value in facts.items()), flush=True)
    checked = PhonemeBook({text: book.phonemes[text] for text in book.texts[: options.sentences]})
    inference = MeasuredInference(partial(load, setting, weights, checked))
    engine_config = EngineConfig(max_concurrent_jobs=max(options.streams), queue_maxsize=10_000)
    engine = Engine(engine_config, inference, book)
    rungs: list[Rung] = []
    async with trio.open_nursery() as nursery:
        synthesizer = await nursery.start(engine.run)
        print(f"in batches of up to {synthesizer.max_batch}\n{HEAD}", flush=True)
        for streams in options.streams:
            rungs.append(await climb(engine, inference, book.texts, streams, options.seconds))
            print(row(rungs[-1]), flush=True)
        nursery.cancel_scope.cancel()
    longest = max((segment for segments in book.phonemes.values() for segment in segments), key=len)
    floors = floors_of(setting, weights, longest)
    print(
        f"floors of the vocoder per second of audio: arithmetic {1e6 * floors.arithmetic_s:.0f} µs, "
        f"memory {1e6 * floors.memory_s:.0f} µs; at most {floors.xrt:.0f} xRT"
    )
    return {**facts, "rungs": [attrs.asdict(rung) for rung in rungs], "floors": attrs.asdict(floors)}


def look_up_all(path: Path = PHONEMES) -> None:
    texts = [*read_sentences(SENTENCES), *read_sentences(SENTENCES.with_name("six_sentences.txt"))]
    config = json.loads(MODEL_CONFIG.read_text(encoding="utf-8"))
    book = look_up(texts, frozenset(config["vocab"]))
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _counts(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise ValueError(text)
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", help="as KOKORO_DEVICE")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help="as KOKORO_DTYPE")
    parser.add_argument("--graphs", action="store_true", help="as KOKORO_CUDA_GRAPHS=1")
    parser.add_argument("--memory-fraction", type=float, default=0.95, metavar="SHARE")
    parser.add_argument("--streams", type=_counts, default=_counts("1,4,8,16,32,64,128"), metavar="N,N,…")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="of a rung; the time flat out is half of it"
    )
    parser.add_argument("--sentences", type=int, default=8, help="compared with the CPU")
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS_FOLDER, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--phonemes", action="store_true", help="only look the sentences up again")
    options = parser.parse_args(arguments)
    if options.phonemes:
        look_up_all()
        return
    load_without_g2p()
    try:
        figures = trio.run(measure, options)
    except* KokoroTrioError as errors:
        sys.exit("\n".join(f"error: {error}" for error in _leaves(errors)))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _leaves(errors: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    main()
