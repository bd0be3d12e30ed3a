"""The ladder and its picture, against a server that plays a script."""

import json
import sys
from pathlib import Path

import pytest
from attrs import evolve

from bench import plot
from bench.bench import _parse
from bench.ladder import Ladder, climb, table
from bench.load import Failed, Spoken, Summary
from kokoro_trio.client import Timing
from tests.support.benches import bench, options
from tests.support.peers import Peer, serving, speak_always

SPOKEN = Spoken(Timing(ttfb_s=0.1, ttfa_s=0.3, wall_s=0.5, audio_s=1.0), 0.25)
ALONE = Summary.of([SPOKEN, SPOKEN], concurrency=1, wall_s=1.0)


class TestClimb:
    async def test_a_rung_has_its_requests_over_its_connections(self) -> None:
        peers: list[Peer] = []

        async def script(peer: Peer) -> None:
            peers.append(peer)
            await speak_always(peer)

        async with serving(script) as port:
            climbed = await climb(options(port, "--ladder", "1,3", "--n", "2"), ["One.", "Two."])
        assert [(rung.concurrency, rung.n) for rung in climbed.rungs] == [(1, 2), (3, 3)]
        assert not climbed.has_failed
        # The warm-up, which nobody counts, the one of the first rung, and the three of the second.
        assert [len(peer.heard) for peer in peers[:2]] == [2, 2]
        assert len(peers) == 1 + 1 + 3

    def test_one_row_a_rung(self) -> None:
        some_failed = Summary.of([SPOKEN, Failed("overloaded")], concurrency=16, wall_s=2.0)
        assert list(table([ALONE, some_failed])) == [
            "clients     n TTFB p50/p95 ms TTFA p50/p95 ms     xRT RTF p50   underruns longest gap ms errors",
            "      1     2         100/100         300/300    2.00   0.500      2 of 2            250      0",
            "     16     2         100/100         300/300    0.50   0.500      1 of 1            250      1",
        ]
        assert Ladder([ALONE, some_failed]).has_failed

    def test_a_rung_on_which_nothing_was_spoken(self) -> None:
        silent = Summary.of([Failed("overloaded")], concurrency=2, wall_s=1.0)
        assert list(table([silent]))[1].split() == ["2", "1", "-", "-", "0.00", "-", "0", "of", "0", "0", "1"]

    @pytest.mark.parametrize("text", ["", "1,", "1,0", "1;2"])
    def test_a_list_that_is_none(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            options(1, "--ladder", text)
        assert "is not a number from 1 upwards" in capsys.readouterr().err


class TestPlot:
    def test_draws_what_was_heard_and_leaves_out_what_was_not(self, tmp_path: Path) -> None:
        silent = evolve(ALONE, concurrency=2, ttfa_s=None)
        plot.draw(Ladder([ALONE, silent, evolve(ALONE, concurrency=4)]), tmp_path / "ladder.png")
        assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")

    def test_without_matplotlib_nothing_is_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
        monkeypatch.setattr(sys, "path", [])
        with pytest.raises(plot.MatplotlibMissing, match=r"run: bash scripts/setup\.sh --bench"):
            _parse(["--ladder", "1,2", "--plot", "ladder.png"])

    def test_only_a_ladder_is_drawn(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            _parse(["--plot", "ladder.png"])
        assert "--plot draws what --ladder measures" in capsys.readouterr().err

    async def test_from_the_command_line(self, tmp_path: Path) -> None:
        picture, result = tmp_path / "ladder.png", tmp_path / "ladder.json"
        async with serving(speak_always) as port:
            ran = await bench(
                port, "--ladder", "1,2", "--n", "2", "--plot", str(picture), "--json", str(result)
            )
        assert ran.returncode == 0, ran.stderr
        assert len(ran.stdout.splitlines()) == 3
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert [rung["concurrency"] for rung in json.loads(result.read_text())["rungs"]] == [1, 2]
