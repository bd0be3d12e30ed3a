"""Requests over several connections: what each client saw, and the summary of all of them."""

import argparse
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import trio
from attrs import define, field, frozen
from tqdm import tqdm

from kokoro_trio.client import Arrival, ConnectionLost, RequestFailed, Session, Timing, connect_with
from kokoro_trio.config import BYTES_PER_SAMPLE
from kokoro_trio.speech import SAMPLE_RATE_HZ

from .report import Report
from .sentences import in_turn

CONNECTION_LOST = "connection_lost"
NOT_SENT = "not_sent"
"""The code of a request for which no connection was left."""
NEVER_ENDED = "never_ended"
"""The code of a request that had not ended when its deadline passed."""
WARM_UP_SENTENCES = 3

Connection = TypeVar("Connection")
Task = TypeVar("Task")
Result = TypeVar("Result")


# What is measured.


@frozen
class Spoken:
    """A request that succeeded. `longest_gap_s`: see `longest_gap_s` below."""

    timing: Timing
    longest_gap_s: float

    @classmethod
    def of(cls, timing: Timing, arrivals: Sequence[Arrival]) -> "Spoken":
        return cls(timing, longest_gap_s(arrivals))


@frozen
class Failed:
    """A request that failed. `code`: one of the protocol's, or one of the constants above."""

    code: str


def longest_gap_s(arrivals: Sequence[Arrival]) -> float:
    """The longest silence for a client that plays the audio as it arrives; 0.0 without an underrun.

    Playback starts with the first frame, in real time. After an underrun it waits for the next frame.
    """
    longest_s = 0.0
    played_until = arrivals[0].at if arrivals else 0.0
    for arrival in arrivals:
        longest_s = max(longest_s, arrival.at - played_until)
        played_until = max(played_until, arrival.at) + arrival.n_samples / SAMPLE_RATE_HZ
    return longest_s


@frozen
class Spread:
    average: float
    p50: float
    p95: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """Ignores None among the values. Returns None if no value is left."""
        present = [value for value in values if value is not None]
        if not present:
            return None
        p50, p95 = np.percentile(present, [50, 95]).tolist()
        return cls(float(np.mean(present)), p50, p95, max(present))


def percentiles_ms(spread_s: Spread | None) -> str:
    """p50/p95."""
    return "-" if spread_s is None else f"{spread_s.p50 * 1000:.0f}/{spread_s.p95 * 1000:.0f}"


def cells_of(spread: Spread | None, names: Sequence[str], scale: float, form: str) -> list[str]:
    """The named attributes of the spread, multiplied by `scale`."""
    return ["-" if spread is None else format(getattr(spread, name) * scale, form) for name in names]


def listed(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in errors.items())


@frozen
class Ratio:
    """The ratio of one spread to another."""

    p50: float
    p95: float

    @classmethod
    def of(cls, one: Spread | None, other: Spread | None) -> "Ratio | None":
        if one is None or other is None:
            return None
        return cls(one.p50 / other.p50, one.p95 / other.p95)

    def __str__(self) -> str:
        return f"{self.p50:.2f}/{self.p95:.2f}"


COLUMNS = ("n", "TTFB p50/p95 ms", "TTFA p50/p95 ms", "xRT", "underruns", "longest gap ms", "errors")
"""The titles of `Summary.cells`."""


@frozen
class Summary:
    """All requests of a run. `xrt` and `kb_per_s` (1000 bytes) are totals over all connections."""

    n: int
    concurrency: int
    errors: dict[str, int]
    ttfb_s: Spread | None
    ttfa_s: Spread | None
    rtf: Spread | None
    wall_s: float
    audio_s: float
    xrt: float
    kb_per_s: float
    n_underruns: int
    longest_gap_s: float

    @classmethod
    def of(cls, outcomes: Sequence[Spoken | Failed], concurrency: int, wall_s: float) -> "Summary":
        spoken = [outcome for outcome in outcomes if isinstance(outcome, Spoken)]
        audio_s = sum(each.timing.audio_s for each in spoken)
        gaps_s = [each.longest_gap_s for each in spoken]
        return cls(
            n=len(outcomes),
            concurrency=concurrency,
            errors=dict(Counter(outcome.code for outcome in outcomes if isinstance(outcome, Failed))),
            ttfb_s=Spread.of(each.timing.ttfb_s for each in spoken),
            ttfa_s=Spread.of(each.timing.ttfa_s for each in spoken),
            rtf=Spread.of(each.timing.rtf for each in spoken),
            wall_s=wall_s,
            audio_s=audio_s,
            xrt=audio_s / wall_s if spoken else 0.0,
            kb_per_s=audio_s * SAMPLE_RATE_HZ * BYTES_PER_SAMPLE / 1000 / wall_s if spoken else 0.0,
            n_underruns=sum(gap_s > 0 for gap_s in gaps_s),
            longest_gap_s=max(gaps_s, default=0.0),
        )

    @property
    def n_errors(self) -> int:
        return sum(self.errors.values())

    @property
    def n_spoken(self) -> int:
        return self.n - self.n_errors

    @property
    def has_failed(self) -> bool:
        return self.n_errors > 0

    def cells(self) -> list[str]:
        """One row of a table that compares several runs."""
        return [
            str(self.n),
            percentiles_ms(self.ttfb_s),
            percentiles_ms(self.ttfa_s),
            f"{self.xrt:.2f}",
            f"{self.n_underruns} of {self.n_spoken}",
            f"{self.longest_gap_s * 1000:.0f}",
            listed(self.errors) or "0",
        ]

    def report(self) -> Report:
        kinds = f" ({listed(self.errors)})" if self.errors else ""
        columns = ("average", "p50", "p95")
        return Report(
            f"n {self.n}, concurrency {self.concurrency}, errors {self.n_errors}{kinds}",
            [
                ["", *columns],
                ["TTFB ms", *cells_of(self.ttfb_s, columns, 1000, ".0f")],
                ["TTFA ms", *cells_of(self.ttfa_s, columns, 1000, ".0f")],
                ["RTF", *cells_of(self.rtf, columns, 1, ".3f")],
            ],
            [
                f"wall {self.wall_s:.2f} s, audio {self.audio_s:.2f} s, "
                f"xRT {self.xrt:.2f}, {self.kb_per_s:.1f} KB/s",
                f"underruns {self.n_underruns}, longest gap {self.longest_gap_s * 1000:.0f} ms",
            ],
        )


# How it is measured.


@define
class Run(Generic[Connection, Task, Result]):
    """The `tasks` that are left, and how to `do` one; each free connection takes the next task.

    `do` may raise `RequestFailed`, `ConnectionLost`, and `TooSlowError` when a deadline passes.
    """

    tasks: Iterator[Task]
    do: Callable[[Connection, Task], Awaitable[Result]]
    on_outcome: Callable[[], object]
    outcomes: list[Result | Failed] = field(factory=list)

    async def over(self, connections: Iterable[Connection]) -> None:
        """Returns when every task has an outcome."""
        async with trio.open_nursery() as nursery:
            for connection in connections:
                nursery.start_soon(self._work_on, connection)
        for _ in self.tasks:
            self._note(Failed(NOT_SENT))

    async def _work_on(self, connection: Connection) -> None:
        """Returns when no task is left or the connection is lost; the other connections go on."""
        for task in self.tasks:
            try:
                self._note(await self.do(connection, task))
            except RequestFailed as error:
                self._note(Failed(error.code))
            except trio.TooSlowError:
                self._note(Failed(NEVER_ENDED))
            except ConnectionLost:
                self._note(Failed(CONNECTION_LOST))
                return

    def _note(self, outcome: Result | Failed) -> None:
        self.outcomes.append(outcome)
        self.on_outcome()


@asynccontextmanager
async def connections(options: argparse.Namespace, n: int) -> AsyncIterator[list[Session]]:
    """Holds `n` connections while the block runs. Raises `ClientError` if one cannot be made."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect_with(options)) for _ in range(n)]


async def warm_up(options: argparse.Namespace, sentences: Sequence[str]) -> None:
    """Speaks a few sentences that are not counted. Raises `ClientError` if that fails."""
    async with connect_with(options) as session:
        for sentence in sentences[:WARM_UP_SENTENCES]:
            await speak(session, sentence, options.voice)


async def run(options: argparse.Namespace, sentences: Sequence[str], n: int, concurrency: int) -> Summary:
    """Each connection has one request outstanding at a time and takes the next one when that has ended.

    The clock starts when all connections are open. Raises `ClientError` if one cannot be made.
    """
    async with connections(options, concurrency) as sessions:
        return await run_over(sessions, sentences, n, options.voice)


async def run_over(
    sessions: Sequence[Session], sentences: Sequence[str], n: int, voice: str | None
) -> Summary:
    with tqdm(total=n, unit="request", disable=None) as progress:
        work = Run(in_turn(sentences, n), partial(speak, voice=voice), progress.update)
        began_at = trio.current_time()
        await work.over(sessions)
    return Summary.of(work.outcomes, len(sessions), trio.current_time() - began_at)


async def speak(session: Session, sentence: str, voice: str | None) -> Spoken:
    """Raises `RequestFailed` and `ConnectionLost`."""
    async with session.speak(sentence, voice=voice) as speech:
        await speech.wait_until_over()
    return Spoken.of(speech.timing, speech.arrivals)
