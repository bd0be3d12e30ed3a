"""Requests over several connections: what their listeners saw, one by one and all together."""

import argparse
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
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

from .sentences import in_turn

CONNECTION_LOST = "connection_lost"
NOT_SENT = "not_sent"
"""What a request counts as that no connection was left for."""
NEVER_ENDED = "never_ended"
"""What one counts as whose end was waited for, and did not come."""
WARM_UP_SENTENCES = 3

Task = TypeVar("Task")
Result = TypeVar("Result")


# What is measured.


@frozen
class Spoken:
    """A request that ended well. `longest_gap_s`: see `longest_gap_s` below."""

    timing: Timing
    longest_gap_s: float


@frozen
class Failed:
    """A request that did not; `code` is that of the protocol or one of those above."""

    code: str


def longest_gap_s(arrivals: Sequence[Arrival]) -> float:
    """The longest silence in between for who plays the audio as it comes; 0.0 where all came in time.

    Playback starts with the first frame, in real time; where it runs dry it waits for the next frame.
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
        """Of what is not None; None where nothing is."""
        present = [value for value in values if value is not None]
        if not present:
            return None
        p50, p95 = np.percentile(present, [50, 95]).tolist()
        return cls(float(np.mean(present)), p50, p95, max(present))


def percentiles_ms(spread_s: Spread | None) -> str:
    """p50/p95."""
    return "-" if spread_s is None else f"{spread_s.p50 * 1000:.0f}/{spread_s.p95 * 1000:.0f}"


@frozen
class Ratio:
    """Of one spread to another."""

    p50: float
    p95: float

    @classmethod
    def of(cls, one: Spread | None, other: Spread | None) -> "Ratio | None":
        if one is None or other is None:
            return None
        return cls(one.p50 / other.p50, one.p95 / other.p95)


@frozen
class Summary:
    """All requests of a run. `xrt` and `kb_per_s` (1000 bytes) are those of all connections together."""

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

    def report(self) -> Iterator[str]:
        kinds = ", ".join(f"{count} {code}" for code, count in self.errors.items())
        yield f"n {self.n}, concurrency {self.concurrency}, errors {self.n_errors}" + (
            kinds and f" ({kinds})"
        )
        yield _ROW.format("", "avg", "p50", "p95")
        yield _row("TTFB ms", self.ttfb_s, 1000, ".0f")
        yield _row("TTFA ms", self.ttfa_s, 1000, ".0f")
        yield _row("RTF", self.rtf, 1, ".3f")
        yield (
            f"wall {self.wall_s:.2f} s, audio {self.audio_s:.2f} s, "
            f"xRT {self.xrt:.2f}, {self.kb_per_s:.1f} KB/s"
        )
        yield f"underruns {self.n_underruns}, longest gap {self.longest_gap_s * 1000:.0f} ms"


_ROW = "{:<8} {:>9} {:>9} {:>9}"


def _row(name: str, spread: Spread | None, scale: float, form: str) -> str:
    values = [spread.average, spread.p50, spread.p95] if spread else []
    shown = [format(value * scale, form) for value in values] or ["-"] * 3
    return _ROW.format(name, *shown)


# How it is measured.


@define
class Run(Generic[Task, Result]):
    """`tasks` are those still to be done, each with `do`; whatever connection is free takes the next one.

    `do` may raise `RequestFailed`, `ConnectionLost`, and `TooSlowError` where it waited long enough.
    """

    tasks: Iterator[Task]
    do: Callable[[Session, Task], Awaitable[Result]]
    on_outcome: Callable[[], object]
    outcomes: list[Result | Failed] = field(factory=list)

    async def over(self, sessions: Iterable[Session]) -> None:
        """Returns when there is an outcome of every task."""
        async with trio.open_nursery() as nursery:
            for session in sessions:
                nursery.start_soon(self._work_on, session)
        for _ in self.tasks:
            self._note(Failed(NOT_SENT))

    async def _work_on(self, session: Session) -> None:
        """Until there is nothing left to do, or the connection is lost: the others then go on."""
        for task in self.tasks:
            try:
                self._note(await self.do(session, task))
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
    """So many connections for as long as the block runs. Raises `ClientError` where one cannot be made."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect_with(options)) for _ in range(n)]


async def warm_up(options: argparse.Namespace, sentences: Sequence[str]) -> None:
    """Has a few sentences spoken that nobody counts. Raises `ClientError` where that fails."""
    async with connect_with(options) as session:
        for sentence in sentences[:WARM_UP_SENTENCES]:
            await speak(session, sentence, options.voice)


async def run(options: argparse.Namespace, sentences: Sequence[str], n: int, concurrency: int) -> Summary:
    """Each connection has one request outstanding at a time and takes the next one when that has ended.

    The clock runs from when all connections stand. Raises `ClientError` where one cannot be made.
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
    return Spoken(speech.timing, longest_gap_s(speech.arrivals))
