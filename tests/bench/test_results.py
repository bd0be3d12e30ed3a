"""End to end: results that --save stores, and the tables that the READMEs show of them."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from bench import plot
from bench.command_line import run
from bench.ladder import Ladder
from bench.render import BENCH_README, README, rendered
from bench.results import without_secrets
from tests.support.benches import bench, options, spoken, summary_of
from tests.support.servers import running


async def test_save_stores_the_figures_with_date_machine_and_commit(tmp_path: Path) -> None:
    async with running() as server:
        more = ["--ladder", "1,2", "--n", "2", "--save", str(tmp_path), "--note", "busy machine"]
        ran = await bench(server.port, "--api-key", "first", *more)
    assert ran.returncode == 0, ran.stderr
    path = only_result(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d+core_\w+-ladder", path.stem)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    record = json.loads(path.read_text())
    assert date.fromisoformat(record["date"])
    assert record["machine"]["cores"] >= 1
    assert record["machine"]["memory_gb"] > 0
    assert (record["note"], record["server"]["device"]) == ("busy machine", "cpu")
    assert re.match("[0-9a-f]{10}", record["commit"])
    assert "--ladder 1,2" in record["command"]
    assert "first" not in record["command"]
    assert [rung["concurrency"] for rung in record["figures"]["rungs"]] == [1, 2]


def only_result(folder: Path) -> Path:
    [path] = folder.glob("*.json")
    return path


def test_command_hides_keys() -> None:
    command = ["--api-key", "secret", "--n", "3", "--openai-key=secret"]
    assert list(without_secrets(command)) == ["--api-key", "…", "--n", "3", "--openai-key=…"]


def test_plot_leaves_out_rungs_without_audio(tmp_path: Path) -> None:
    plot.draw(Ladder([summary_of(spoken()), summary_of(concurrency=2)]), tmp_path / "ladder.png")
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_missing_matplotlib_is_found_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def measure() -> Ladder:
        raise AssertionError("measured in vain")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="matplotlib, which draws the plot, is not installed"):
        run(options(1, "--ladder", "1", "--save"), "ladder", measure)


@pytest.mark.parametrize("path", [README, BENCH_README], ids=lambda path: path.parent.name)
def test_readme_shows_the_figures_of_the_results(path: Path) -> None:
    """If it fails: python -m bench.render."""
    assert path.read_text(encoding="utf-8") == rendered(path)
