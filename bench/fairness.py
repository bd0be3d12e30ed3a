"""Whether long texts make others wait: short sentences alone, and beside listeners of long ones."""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

import trio
from attrs import define, field, frozen

from kokoro_trio.client import Arrival, ConnectionLost, RequestFailed, Session, Speech

from .load import (
    CONNECTION_LOST,
    Ratio,
    Summary,
    connections,
    longest_gap_s,
    percentiles_ms,
    run_over,
    warm_up,
)

BEGIN_TIMEOUT_S = 20.0
"""How long the short sentences wait for the first audio of each long text."""


@frozen
class LongSummary:
    """The long texts; the last one of each listener was cut short."""

    n_listeners: int
    n_begun: int
    errors: dict[str, int]
    n_underruns: int
    longest_gap_s: float


@frozen
class Fairness:
    """`ttfa_ratio`: of the short sentences, beside the long ones to alone."""

    alone: Summary
    beside: Summary
    ttfa_ratio: Ratio | None
    long: LongSummary

    @property
    def has_failed(self) -> bool:
        return self.alone.has_failed or self.beside.has_failed or bool(self.long.errors)

    def report(self) -> Iterator[str]:
        yield _ROW.format("short sentences", "n", "TTFA p50/p95 ms", "underruns", "longest gap ms", "errors")
        yield _row("alone", self.alone)
        yield _row(f"beside {self.long.n_listeners} long", self.beside)
        yield f"TTFA beside to alone: {self._comparison()}"
        kinds = "".join(f", {count} {code}" for code, count in self.long.errors.items())
        yield (
            f"long texts: begun {self.long.n_begun}, underruns {self.long.n_underruns}, "
            f"longest gap {self.long.longest_gap_s * 1000:.0f} ms{kinds}"
        )

    def _comparison(self) -> str:
        one, other = self.beside.ttfa_s, self.alone.ttfa_s
        if one is None or other is None or self.ttfa_ratio is None:
            return "-"
        return (
            f"ratio p50 {self.ttfa_ratio.p50:.2f}, p95 {self.ttfa_ratio.p95:.2f}; difference "
            f"p50 {(one.p50 - other.p50) * 1000:+.0f} ms, p95 {(one.p95 - other.p95) * 1000:+.0f} ms"
        )


_ROW = "{:<15} {:>5} {:>15} {:>11} {:>14} {:>6}"


def _row(name: str, summary: Summary) -> str:
    return _ROW.format(
        name,
        summary.n,
        percentiles_ms(summary.ttfa_s),
        f"{summary.n_underruns} of {summary.n_spoken}",
        f"{summary.longest_gap_s * 1000:.0f}",
        summary.n_errors,
    )


@define
class LongListeners:
    """Each has the text spoken over and over. What they heard is there when they were cancelled."""

    text: str
    voice: str | None
    gaps_s: list[float] = field(factory=list)
    """The longest one of each time that the text was begun."""
    failures: list[str] = field(factory=list)

    async def listen(self, session: Session, begun: trio.Event) -> None:
        """Until cancelled, or a request fails. `begun` is set with the first audio, or when none comes."""
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
    """Of a speech that was cut short while its listener waited, that silence counts."""
    if speech.end is not None:
        return longest_gap_s(speech.arrivals)
    return longest_gap_s([*speech.arrivals, Arrival(trio.current_time(), 0)])


async def measure(options: argparse.Namespace, short: Sequence[str], long_text: str) -> Fairness:
    """Raises `ClientError` where a connection cannot be made, or the warm-up fails."""
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
