"""One run for each of several numbers of clients."""

import argparse
from collections.abc import Sequence

from attrs import frozen

from .load import COLUMNS, Summary, run, warm_up
from .report import Report


@frozen
class Ladder:
    rungs: list[Summary]

    @property
    def has_failed(self) -> bool:
        return any(rung.has_failed for rung in self.rungs)

    def report(self) -> Report:
        return Report("Clients that each ask for one sentence after the other", rows_of(self.rungs))


async def climb(options: argparse.Namespace, sentences: Sequence[str]) -> Ladder:
    """Raises `ClientError` if a connection cannot be made or the warm-up fails."""
    await warm_up(options, sentences)
    return Ladder([await rung(options, sentences, concurrency) for concurrency in options.ladder])


async def rung(options: argparse.Namespace, sentences: Sequence[str], concurrency: int) -> Summary:
    """At least one request for each connection. Raises `ClientError` if a connection cannot be made."""
    return await run(options, sentences, max(options.n, concurrency), concurrency)


def rows_of(rungs: Sequence[Summary]) -> list[list[str]]:
    return [["clients", *COLUMNS], *([str(rung.concurrency), *rung.cells()] for rung in rungs)]
