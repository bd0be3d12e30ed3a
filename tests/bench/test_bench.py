"""The bench's command line, run as its users run it."""

import json
from pathlib import Path

import pytest

from tests.support.benches import bench, options
from tests.support.peers import Peer, serving, speak_always
from tests.support.processes import free_port
from tests.support.servers import running


class TestCommand:
    async def test_writes_the_result(self, tmp_path: Path) -> None:
        async with serving(speak_always) as port:
            ran = await bench(port, "--n", "3", "--json", str(tmp_path / "result.json"))
        assert ran.stdout.decode().startswith("n 3, concurrency 4, errors 0\n")
        assert ran.returncode == 0
        assert json.loads((tmp_path / "result.json").read_text())["n"] == 3

    @pytest.mark.parametrize(
        ("mode", "holds"),
        [
            (["--ladder", "1,2"], "rungs"),
            (["--target-p95-ms", "60000"], "max_concurrent_jobs"),
            (["--cancel"], "ack_s"),
            (["--fairness"], "ttfa_ratio"),
        ],
        ids=lambda value: value[0],
    )
    async def test_each_mode_with_our_own_server(self, mode: list[str], holds: str, tmp_path: Path) -> None:
        result = tmp_path / "result.json"
        async with running() as server:
            ran = await bench(server.port, "--api-key", "first", "--n", "2", *mode, "--json", str(result))
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert ran.stdout
        assert holds in json.loads(result.read_text())

    async def test_a_failed_request_shows_in_the_exit_status(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="too_long", message="")

        async with serving(script) as port:
            ran = await bench(port, "--n", "1", "--concurrency", "1")
        assert ran.stdout.decode().startswith("n 1, concurrency 1, errors 1 (1 too_long)\n")
        assert ran.returncode == 1

    async def test_no_server(self) -> None:
        ran = await bench(free_port())
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr.startswith(b"error: cannot connect to 127.0.0.1")
        assert ran.stderr.count(b"\n") == 1

    def test_one_mode_at_a_time(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            options(1, "--cancel", "--fairness")
        assert "not allowed with argument --cancel" in capsys.readouterr().err

    @pytest.mark.parametrize("n", ["0", "-1", "many"])
    def test_a_count_that_is_none(self, n: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            options(1, "--n", n)
        assert "is not a number from 1 upwards" in capsys.readouterr().err
