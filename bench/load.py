"""Requests over several connections: what their listeners saw, one by one and all together."""

import argparse
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import trio
from attrs import define, field, frozen
from tqdm import tqdm

from bench.sentences import in_turn
from kokoro_trio.client import Arrival, ConnectionLost, RequestFailed, Session, Timing, connect_with
from kokoro_trio.config import BYTES_PER_SAMPLE
from kokoro_trio.speech import SAMPLE_RATE_HZ

NOT_SENT = "not_sent"
"""What a request counts as that no connection was left for."""
CONNECTION_LOST = "connection_lost"
WARM_UP_SENTENCES = 3


# What is measured.


@frozen
class Spoken:
    """A request that ended well. `longest_gap_s`: see `longest_gap_s` below."""

    timing: Timing
    longest_gap_s: float


@frozen
class Failed:
    """A request that did not; `code` is that of the protocol, connection_lost or not_sent."""

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
            xrt=audio_s / wall_s,
            kb_per_s=audio_s * SAMPLE_RATE_HZ * BYTES_PER_SAMPLE / 1000 / wall_s,
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
class Run:
    """`sentences` are those still to be spoken; whoever is free takes the next one."""

    sentences: Iterator[str]
    voice: str | None
    on_outcome: Callable[[], object]
    outcomes: list[Spoken | Failed] = field(factory=list)

    async def speak_on(self, session: Session) -> None:
        """Until there is nothing left to say, or the connection is lost: the others then go on."""
        for sentence in self.sentences:
            try:
                outcome: Spoken | Failed = await self._speak(session, sentence)
            except RequestFailed as error:
                outcome = Failed(error.code)
            except ConnectionLost:
                self._note(Failed(CONNECTION_LOST))
                return
            self._note(outcome)

    async def _speak(self, session: Session, sentence: str) -> Spoken:
        async with session.speak(sentence, voice=self.voice) as speech:
            await speech.wait_until_over()
        return Spoken(speech.timing, longest_gap_s(speech.arrivals))

    def note_rest(self) -> None:
        for _ in self.sentences:
            self._note(Failed(NOT_SENT))

    def _note(self, outcome: Spoken | Failed) -> None:
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
            async with session.speak(sentence, voice=options.voice) as speech:
                await speech.wait_until_over()


async def run(options: argparse.Namespace, sentences: Sequence[str], n: int, concurrency: int) -> Summary:
    """Each connection has one request outstanding at a time and takes the next one when that has ended.

    The clock runs from when all connections stand. Raises `ClientError` where one cannot be made.
    """
    with tqdm(total=n, unit="request", disable=None) as progress:
        work = Run(in_turn(sentences, n), options.voice, progress.update)
        async with connections(options, concurrency) as sessions:
            began_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                for session in sessions:
                    nursery.start_soon(work.speak_on, session)
            wall_s = trio.current_time() - began_at
        work.note_rest()
    return Summary.of(work.outcomes, concurrency, wall_s)
