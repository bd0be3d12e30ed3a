"""How many clients a server can speak to side by side before their first audio comes too late."""

import argparse
from collections.abc import Awaitable, Callable, Iterator, Sequence

from attrs import frozen

from .ladder import rung, table
from .load import Summary, warm_up
from .server_state import read_state


@frozen
class Target:
    """`max_concurrent_jobs`: the largest number that keeps TTFA p95 within `p95_ms`; 0: not even 1 does.

    `limit` is the server's own setting, beyond which nothing can be measured.
    """

    p95_ms: float
    max_concurrent_jobs: int
    limit: int
    rungs: list[Summary]
    """What was measured, by concurrency."""

    @property
    def has_failed(self) -> bool:
        return self.max_concurrent_jobs == 0 or any(rung.has_failed for rung in self.rungs)

    def report(self) -> Iterator[str]:
        yield from table(self.rungs)
        yield f"TTFA p95 within {self.p95_ms:g} ms: {self._answer()}"

    def _answer(self) -> str:
        if self.max_concurrent_jobs == 0:
            return "not even one client at a time"
        if self.max_concurrent_jobs == self.limit:
            return (
                f"MAX_CONCURRENT_JOBS at least {self.limit}: the server allows no more; "
                f"start it with a higher MAX_CONCURRENT_JOBS to see how far it goes"
            )
        return f"MAX_CONCURRENT_JOBS {self.max_concurrent_jobs}"


async def measure(options: argparse.Namespace, sentences: Sequence[str]) -> Target:
    """Raises `StateUnknown`, and `ClientError` where a connection cannot be made, or the warm-up fails."""
    limit = (await read_state(options)).max_concurrent_jobs
    await warm_up(options, sentences)
    rungs: list[Summary] = []

    async def holds(concurrency: int) -> bool:
        rungs.append(await rung(options, sentences, concurrency))
        return is_within(rungs[-1], options.target_p95_ms)

    largest = await largest_that_holds(holds, limit)
    return Target(options.target_p95_ms, largest, limit, sorted(rungs, key=lambda each: each.concurrency))


def is_within(summary: Summary, p95_ms: float) -> bool:
    """A request that failed was not in time."""
    return not summary.has_failed and summary.ttfa_s is not None and summary.ttfa_s.p95 * 1000 <= p95_ms


async def largest_that_holds(holds: Callable[[int], Awaitable[bool]], limit: int) -> int:
    """From 1 to `limit`, or 0: doubles up to the first that does not hold, then bisects.

    Takes it that what holds for a number holds for every smaller one, and asks for none twice.
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
