"""Short sentences alone, and beside clients that listen to long texts."""

import argparse
from collections import Counter
from collections.abc import Sequence

import trio
from attrs import define, field, frozen

from kokoro_trio.client import Arrival, ConnectionLost, RequestFailed, Session, Speech

from .load import (
    COLUMNS,
    CONNECTION_LOST,
    Ratio,
    Summary,
    connections,
    listed,
    longest_gap_s,
    run_over,
    warm_up,
)
from .report import Report

BEGIN_TIMEOUT_S = 20.0
"""How long the short sentences wait for the first audio of each long text."""


@frozen
class LongSummary:
    """The long texts. The last one of each client was cancelled."""

    n_listeners: int
    n_begun: int
    errors: dict[str, int]
    n_underruns: int
    longest_gap_s: float


@frozen
class Fairness:
    """`ttfa_ratio`: of the short sentences beside the long texts to the short sentences alone."""

    alone: Summary
    beside: Summary
    ttfa_ratio: Ratio | None
    long: LongSummary

    @property
    def has_failed(self) -> bool:
        return self.alone.has_failed or self.beside.has_failed or bool(self.long.errors)

    def report(self) -> Report:
        long = self.long
        return Report(
            f"Short sentences alone, and beside {long.n_listeners} long texts",
            [
                ["short sentences", *COLUMNS],
                ["alone", *self.alone.cells()],
                [f"beside {long.n_listeners} long", *self.beside.cells()],
            ],
            [
                f"TTFA beside to alone, ratio of p50/p95: {self.ttfa_ratio or '-'}",
                f"long texts: begun {long.n_begun}, underruns {long.n_underruns}, "
                f"longest gap {long.longest_gap_s * 1000:.0f} ms, errors {listed(long.errors) or '0'}",
            ],
        )


@define
class LongListeners:
    """Each client has the text spoken over and over until it is cancelled."""

    text: str
    voice: str | None
    gaps_s: list[float] = field(factory=list)
    """The longest gap of each time that the text was begun."""
    failures: list[str] = field(factory=list)

    async def listen(self, session: Session, begun: trio.Event) -> None:
        """Returns when a request fails. Sets `begun` with the first audio, and at the latest on return."""
        try:
            while True:
                await self._listen_once(session, begun)
        except RequestFailed as error:
            self.failures.append(error.code)
        except ConnectionLost:
            self.failures.append(CONNECTION_LOST)
        finally:
            begun.set()

    async def _listen_once(self, session: Session, begun: trio.Event) -> None:
        async with session.speak(self.text, voice=self.voice) as speech:
            try:
                async for _ in speech:
                    begun.set()
            finally:
                self.gaps_s.append(_longest_gap_so_far_s(speech))

    def summed_up(self, n_listeners: int) -> LongSummary:
        return LongSummary(
            n_listeners=n_listeners,
            n_begun=len(self.gaps_s),
            errors=dict(Counter(self.failures)),
            n_underruns=sum(gap_s > 0 for gap_s in self.gaps_s),
            longest_gap_s=max(self.gaps_s, default=0.0),
        )


def _longest_gap_so_far_s(speech: Speech) -> float:
    """If the speech was cancelled during an underrun, that silence counts."""
    if speech.end is not None:
        return longest_gap_s(speech.arrivals)
    return longest_gap_s([*speech.arrivals, Arrival(trio.current_time(), 0)])


async def measure(options: argparse.Namespace, short: Sequence[str], long_text: str) -> Fairness:
    """Raises `ClientError` if a connection cannot be made or the warm-up fails."""
    await warm_up(options, short)
    long = LongListeners(long_text, options.voice)
    async with connections(options, 1 + options.long) as (session, *others):
        alone = await run_over([session], short, options.n, options.voice)
        async with trio.open_nursery() as nursery:
            begun = [trio.Event() for _ in others]
            for other, event in zip(others, begun, strict=True):
                nursery.start_soon(long.listen, other, event)
            with trio.move_on_after(BEGIN_TIMEOUT_S):
                for event in begun:
                    await event.wait()
            beside = await run_over([session], short, options.n, options.voice)
            nursery.cancel_scope.cancel()
    ratio = Ratio.of(beside.ttfa_s, alone.ttfa_s)
    return Fairness(alone, beside, ratio, long.summed_up(options.long))
