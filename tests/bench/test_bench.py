"""End to end: the bench's command line against our own server with tones and a scripted one."""

import json
from pathlib import Path

import pytest

from bench.sentences import NoSentence, read_short_sentences
from tests.support.benches import bench, options
from tests.support.peers import Peer, serving
from tests.support.processes import free_port
from tests.support.servers import running


class TestCommand:
    @pytest.mark.parametrize(
        ("mode", "holds"),
        [
            (["--concurrency", "2"], "n_underruns"),
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

    async def test_failed_request_makes_exit_status_1(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="too_long", message="")

        async with serving(script) as port:
            ran = await bench(port, "--n", "1", "--concurrency", "1")
        assert ran.stdout.decode().startswith("n 1, concurrency 1, errors 1 (1 too_long)\n")
        assert ran.returncode == 1

    @pytest.mark.parametrize("program", ["bench.py", "soak.py"])
    async def test_missing_server_makes_exit_status_1_and_one_line(self, program: str) -> None:
        ran = await bench(free_port(), program=program)
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr.startswith(b"error: cannot ")
        assert ran.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cancel", "--fairness"], "not allowed with argument --cancel"),
        (["--cancel", "--peer", "kpipeline"], "--openai and --peer are a mode of their own"),
        (["--openai", "localhost:8880"], "is not an HTTP URL"),
        (["--n", "0"], "is not a number from 1 upwards"),
        (["--ladder", "1,0"], "is not a number from 1 upwards"),
        (["--target-p95-ms", "inf"], "is not a number above 0"),
    ],
    ids=str,
)
def test_invalid_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(1, *arguments)
    assert message in capsys.readouterr().err


def test_short_sentences_have_at_most_12_words(tmp_path: Path) -> None:
    twelve = "It has been raining here since the first Monday of the year."
    (tmp_path / "mixed.txt").write_text(f"Yes.\n\n{twelve}\nI say, {twelve}\n")
    assert read_short_sentences(tmp_path / "mixed.txt") == ["Yes.", twelve]
    (tmp_path / "long.txt").write_text("word " * 13)
    with pytest.raises(NoSentence, match=r"long\.txt holds no sentence of at most 12 words"):
        read_short_sentences(tmp_path / "long.txt")
