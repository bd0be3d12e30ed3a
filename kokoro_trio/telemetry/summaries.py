"""Summaries of request records over periods, as a table."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
from attrs import define, frozen

from kokoro_trio.telemetry.records import DISCONNECTED, RequestRecord


@frozen
class Summary:
    """Of some requests. `ttfb_ms` and `ttfa_ms`: p50, p95 and p99, or empty if nothing was measured."""

    n: int
    n_done: int
    n_canceled: int
    n_disconnected: int
    ttfb_ms: tuple[float, ...]
    ttfa_ms: tuple[float, ...]
    xrt_median: float | None

    @classmethod
    def of(cls, records: Sequence[RequestRecord]) -> "Summary":
        ends = [record.end for record in records]
        xrts = [record.xrt for record in records if record.xrt is not None]
        return cls(
            n=len(records),
            n_done=ends.count("done"),
            n_canceled=ends.count("canceled"),
            n_disconnected=ends.count(DISCONNECTED),
            ttfb_ms=_percentiles(record.ttfb_ms for record in records),
            ttfa_ms=_percentiles(record.ttfa_ms for record in records),
            xrt_median=float(np.median(xrts)) if xrts else None,
        )

    @property
    def n_failed(self) -> int:
        return self.n - self.n_done - self.n_canceled - self.n_disconnected

    @property
    def canceled_share(self) -> float | None:
        return self.n_canceled / self.n if self.n else None


def _percentiles(values: Iterable[float | None]) -> tuple[float, ...]:
    present = [value for value in values if value is not None]
    return tuple(np.percentile(present, [50, 95, 99]).tolist()) if present else ()


@define
class BadPeriod(Exception):
    got: str

    def __str__(self) -> str:
        return f"{self.got!r} is not a period; --periods takes a list such as 30m,1h,6h"


def parse_periods(text: str) -> dict[str, timedelta]:
    """`"30m,6h"` → the periods by name; s, m, h and d, from 1 to 9999. Raises `BadPeriod`."""
    return {name: _parse_period(name) for name in (part.strip() for part in text.split(","))}


def _parse_period(name: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,4})([smhd])", name)
    if match is None or int(match[1]) == 0:
        raise BadPeriod(name)
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    return timedelta(**{units[match[2]]: int(match[1])})


_ROW = "{:>6} {:>8} {:>6} {:>8} {:>12} {:>6} {:>10} {:>21} {:>21} {:>8}"
_HEAD = _ROW.format(
    "period",
    "requests",
    "done",
    "canceled",
    "disconnected",
    "failed",
    "canceled %",
    "TTFB p50/p95/p99 ms",
    "TTFA p50/p95/p99 ms",
    "xRT p50",
)


def table(periods: dict[str, timedelta], records: Sequence[RequestRecord], now: datetime) -> Iterator[str]:
    yield _HEAD
    for name, length in periods.items():
        yield _row(name, Summary.of([record for record in records if record.ts >= now - length]))


def _row(period: str, summary: Summary) -> str:
    return _ROW.format(
        period,
        summary.n,
        summary.n_done,
        summary.n_canceled,
        summary.n_disconnected,
        summary.n_failed,
        "-" if summary.canceled_share is None else f"{summary.canceled_share:.1%}",
        "/".join(f"{value:.0f}" for value in summary.ttfb_ms) or "-",
        "/".join(f"{value:.0f}" for value in summary.ttfa_ms) or "-",
        "-" if summary.xrt_median is None else f"{summary.xrt_median:.2f}",
    )
