"""Writes the tables of figures in README.md and bench/README.md from the files in bench/results.

    python -m bench.render

README.md gets the newest ladder and the newest comparison with peers; bench/README.md gets all results.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kokoro_trio.installation import REPOSITORY

from .report import Report
from .results import Machine

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
FOLDER = REPOSITORY / "bench" / "results"
README, BENCH_README = REPOSITORY / "README.md", REPOSITORY / "bench" / "README.md"
HEADLINES = ("ladder", "peers")


def main() -> None:
    for path in (README, BENCH_README):
        path.write_text(rendered(path), encoding="utf-8")


def rendered(path: Path) -> str:
    """The text of the file with new tables between its markers."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the figures between {BEGIN} and {END}")
    results = sorted(FOLDER.glob("*.json"), reverse=True)
    chosen = results if path == BENCH_README else list(newest(results, HEADLINES))
    tables = "\n\n".join("\n".join(_table(each, path.parent)) for each in chosen)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def newest(results: Sequence[Path], kinds: Sequence[str]) -> Iterator[Path]:
    """`results`: newest first."""
    for kind in kinds:
        yield from [path for path in results if path.stem.endswith(f"-{kind}")][:1]


def _table(result: Path, folder: Path) -> Iterator[str]:
    """`folder`: where the Markdown lies, for the link to the plot."""
    record: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    report = Report(**record["report"])
    facts = [record["date"], str(Machine(**record["machine"])), f"commit {record['commit']}", record["note"]]
    yield f"**{report.title}** ({'; '.join(fact for fact in facts if fact)}), `{record['command']}`:"
    yield ""
    yield from report.markdown()
    if report.remarks:
        yield ""
        yield from (f"- {remark}" for remark in report.remarks)
    if (plot := result.with_suffix(".png")).is_file():
        yield ""
        yield f"![{record['what']}]({os.path.relpath(plot, folder)})"


if __name__ == "__main__":
    main()
