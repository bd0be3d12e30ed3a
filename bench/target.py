"""Finds the largest number of clients for which the first audio comes in time."""

import argparse
from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from .ladder import rows_of, rung
from .load import Summary, warm_up
from .report import Report
from .server_state import read_state


@frozen
class Target:
    """`max_concurrent_jobs`: the largest number that keeps the p95 of TTFA within `p95_ms`, or 0.

    `limit` is the server's own setting; larger numbers cannot be measured.
    """

    p95_ms: float
    max_concurrent_jobs: int
    limit: int
    rungs: list[Summary]
    """Sorted by concurrency."""

    @property
    def has_failed(self) -> bool:
        return self.max_concurrent_jobs == 0 or any(rung.has_failed for rung in self.rungs)

    def report(self) -> Report:
        return Report(f"TTFA p95 within {self.p95_ms:g} ms: {self._answer()}", rows_of(self.rungs))

    def _answer(self) -> str:
        if self.max_concurrent_jobs == 0:
            return "not even with one client"
        if self.max_concurrent_jobs == self.limit:
            return (
                f"MAX_CONCURRENT_JOBS at least {self.limit}, the server's setting; "
                f"start the server with a higher one to measure further"
            )
        return f"MAX_CONCURRENT_JOBS {self.max_concurrent_jobs}"


async def measure(options: argparse.Namespace, sentences: Sequence[str]) -> Target:
    """Raises `StateUnknown`, and `ClientError` if a connection cannot be made or the warm-up fails."""
    limit = (await read_state(options)).max_concurrent_jobs
    await warm_up(options, sentences)
    rungs: list[Summary] = []

    async def holds(concurrency: int) -> bool:
        rungs.append(await rung(options, sentences, concurrency))
        return is_within(rungs[-1], options.target_p95_ms)

    largest = await largest_that_holds(holds, limit)
    return Target(options.target_p95_ms, largest, limit, sorted(rungs, key=lambda each: each.concurrency))


def is_within(summary: Summary, p95_ms: float) -> bool:
    """False if a request failed."""
    return not summary.has_failed and summary.ttfa_s is not None and summary.ttfa_s.p95 * 1000 <= p95_ms


async def largest_that_holds(holds: Callable[[int], Awaitable[bool]], limit: int) -> int:
    """From 1 to `limit`, or 0: doubles up to the first number that does not hold, then bisects.

    Assumes that a number holds if a larger one does. Asks for no number twice.
    """
    good, bad = 0, limit + 1
    while bad - good > 1:
        doubled = max(1, 2 * good)
        candidate = min(doubled, limit) if bad > limit else (good + bad) // 2
        if await holds(candidate):
            good = candidate
        else:
            bad = candidate
    return good
