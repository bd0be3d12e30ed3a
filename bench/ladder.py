"""Several concurrencies one after the other, and what their listeners saw at each."""

import argparse
from collections.abc import Iterator, Sequence

from attrs import frozen

from .load import Summary, percentiles_ms, run, warm_up


@frozen
class Ladder:
    rungs: list[Summary]

    @property
    def has_failed(self) -> bool:
        return any(rung.has_failed for rung in self.rungs)

    def report(self) -> Iterator[str]:
        return table(self.rungs)


async def climb(options: argparse.Namespace, sentences: Sequence[str]) -> Ladder:
    """Raises `ClientError` where a connection cannot be made, or the warm-up fails."""
    await warm_up(options, sentences)
    return Ladder([await rung(options, sentences, concurrency) for concurrency in options.ladder])


async def rung(options: argparse.Namespace, sentences: Sequence[str], concurrency: int) -> Summary:
    """At least one request for each connection. Raises `ClientError` where one cannot be made."""
    return await run(options, sentences, max(options.n, concurrency), concurrency)


def table(rungs: Sequence[Summary]) -> Iterator[str]:
    yield _HEAD
    yield from map(_row, rungs)


_ROW = "{:>7} {:>5} {:>15} {:>15} {:>7} {:>7} {:>11} {:>14} {:>6}"
_HEAD = _ROW.format(
    "clients",
    "n",
    "TTFB p50/p95 ms",
    "TTFA p50/p95 ms",
    "xRT",
    "RTF p50",
    "underruns",
    "longest gap ms",
    "errors",
)


def _row(summary: Summary) -> str:
    return _ROW.format(
        summary.concurrency,
        summary.n,
        percentiles_ms(summary.ttfb_s),
        percentiles_ms(summary.ttfa_s),
        f"{summary.xrt:.2f}",
        "-" if summary.rtf is None else f"{summary.rtf.p50:.3f}",
        f"{summary.n_underruns} of {summary.n_spoken}",
        f"{summary.longest_gap_s * 1000:.0f}",
        summary.n_errors,
    )
