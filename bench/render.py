"""Writes the tables of figures in README.md and bench/README.md from the files in bench/results.

    python -m bench.render

README.md gets a short table of the newest ladder and the newest comparison with peers, and the ladder's plot;
bench/README.md gets all results.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from kokoro_trio.installation import REPOSITORY

from .report import Report
from .results import Machine

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
FOLDER = REPOSITORY / "bench" / "results"
README, BENCH_README = REPOSITORY / "README.md", REPOSITORY / "bench" / "README.md"
HEADLINES = ("ladder", "peers")
COLUMNS = ("TTFA p50/p95 ms", "xRT", "underruns")


def main() -> None:
    for path in (README, BENCH_README):
        path.write_text(rendered(path), encoding="utf-8")


def rendered(path: Path) -> str:
    """The text of the file with new tables between its markers."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the figures between {BEGIN} and {END}")
    results = [SavedResult.read(each) for each in sorted(FOLDER.glob("*.json"), reverse=True)]
    lines = _headlines(results) if path == README else _all(results, path.parent)
    return "\n".join([before + BEGIN, *lines, END + after])


@frozen
class SavedResult:
    content: dict[str, Any]
    """See `results.Record`."""
    plot: Path

    @classmethod
    def read(cls, path: Path) -> "SavedResult":
        return cls(json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".png"))

    @property
    def report(self) -> Report:
        return Report(**self.content["report"])

    def __str__(self) -> str:
        machine = Machine(**self.content["machine"])
        facts = [self.content["date"], str(machine), f"commit {self.content['commit']}", self.content["note"]]
        return "; ".join(fact for fact in facts if fact)


def _headlines(results: Sequence[SavedResult]) -> Iterator[str]:
    """One short table of the newest result of each kind in `HEADLINES`, and the plot of the first."""
    newest = [each for kind in HEADLINES for each in _of_kind(results, kind)[:1]]
    yield from Report("", [["", *COLUMNS], *(row for each in newest for row in _short_rows(each))]).markdown()
    yield ""
    yield "\\\n".join(dict.fromkeys(f"Measured {each}." for each in newest))
    for result in newest[:1]:
        yield from _plot(result, README.parent)


def _of_kind(results: Sequence[SavedResult], kind: str) -> list[SavedResult]:
    return [each for each in results if each.content["what"] == kind]


def _short_rows(result: SavedResult) -> Iterator[list[str]]:
    head, *rows = result.report.rows
    for row in rows:
        yield [f"{head[0]}: {row[0]}", *(row[head.index(column)] for column in COLUMNS)]


def _all(results: Sequence[SavedResult], folder: Path) -> Iterator[str]:
    """`folder`: where the Markdown lies, for the links to the plots."""
    for result in results:
        yield f"**{result.report.title}** ({result}): `{result.content['command']}`"
        yield ""
        yield from result.report.markdown()
        if result.report.remarks:
            yield ""
            yield from (f"- {remark}" for remark in result.report.remarks)
        yield from _plot(result, folder)
        yield ""


def _plot(result: SavedResult, folder: Path) -> Iterator[str]:
    if result.plot.is_file():
        yield ""
        yield f"![{result.content['what']}]({os.path.relpath(result.plot, folder)})"


if __name__ == "__main__":
    main()
