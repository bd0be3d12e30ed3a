"""Contract: rotation of the log file, in processes with their standard error in it."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.processes import running

MAX_BYTES = 10_000
# Writes `n` numbered lines, and runs `also` before each.
WRITER = """
import os, sys
from pathlib import Path
import structlog
from kokoro_trio.telemetry import log
from kokoro_trio.config import Config
from kokoro_trio.telemetry.log_file import LogFile

name, n, also = sys.argv[1], int(sys.argv[2]), sys.argv[3]
config = Config.of({"API_KEY": "k", "LOG_MAX_BYTES": "10000"}).log
log.configure(config, LogFile.of_stderr(config.max_bytes))
logger = structlog.get_logger()
for number in range(n):
    exec(also)
    logger.info(name, number=number, padding="x" * 50)
"""


def write(log: Path, name: str, n: int, also: str = "") -> None:
    with log.open("ab") as file:
        command = [sys.executable, "-c", WRITER, name, str(n), also]
        subprocess.run(command, stdout=file, stderr=file, check=True)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def all_lines(log: Path) -> list[str]:
    """The lines of all kept files, oldest first."""
    return [line for path in (f"{log}.2", f"{log}.1", log) for line in lines(Path(path))]


def numbers(log: Path, name: str) -> list[int]:
    records = [json.loads(line) for line in all_lines(log) if line.startswith("{")]
    return [record["number"] for record in records if record["event"] == name]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "the server's.log"


def test_log_drops_lines_if_its_reader_does_not_read() -> None:
    command = [sys.executable, "-c", WRITER, "unread", "5000", ""]
    with subprocess.Popen(command, stderr=PIPE, text=True) as process:
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        written = process.stderr.read().splitlines()
    assert json.loads(written[0])["number"] == 0
    assert 100 < len(written) < 5000


def test_rotation_loses_only_the_oldest_lines(log: Path) -> None:
    write(log, "a", 500)
    kept = numbers(log, "a")
    assert kept == list(range(kept[0], 500))
    assert kept[0] > 0
    assert sorted(path.name for path in log.parent.iterdir()) == [
        log.name,
        f"{log.name}.1",
        f"{log.name}.2",
    ]
    longest_line = 200
    for number in (1, 2):
        assert MAX_BYTES <= Path(f"{log}.{number}").stat().st_size < MAX_BYTES + longest_line
    assert log.stat().st_size < MAX_BYTES + longest_line


def test_small_log_is_not_rotated(log: Path) -> None:
    write(log, "a", 10)
    write(log, "b", 10)
    assert (numbers(log, "a"), numbers(log, "b")) == (list(range(10)), list(range(10)))
    assert list(log.parent.iterdir()) == [log]


def test_large_log_of_an_earlier_process_is_rotated(log: Path) -> None:
    log.write_text("before\n" * 2_000)
    write(log, "a", 1)
    assert Path(f"{log}.1").read_text() == "before\n" * 2_000
    assert len(lines(log)) == 1


def test_raw_writes_follow_the_rotation(log: Path) -> None:
    """C libraries write like this, and so does standard output."""
    write(log, "a", 150, 'os.write(2, b"raw %d\\n" % number); os.write(1, b"out %d\\n" % number)')
    written = all_lines(log)
    assert Path(f"{log}.1").exists()
    for kind in ("raw", "out"):
        assert [line for line in written if line.startswith(kind)] == [f"{kind} {n}" for n in range(150)]
    assert numbers(log, "a") == list(range(150))


def test_several_processes_share_a_log(log: Path) -> None:
    names = ("a", "b", "c")
    at_once = "number or (print(flush=True), sys.stdin.read())"
    with ExitStack() as stack, log.open("ab") as file:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, name, "55", at_once], stdin=PIPE, stdout=PIPE, stderr=file
                )
            )
            for name in names
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert Path(f"{log}.2").exists()
    for name in names:
        assert numbers(log, name) == list(range(55))


def test_log_continues_if_it_cannot_be_renamed(log: Path) -> None:
    write(log, "a", 300, "Path.replace = lambda *_: os.rename('/nowhere', '/nowhere')")
    assert numbers(log, "a") == list(range(300))
    assert list(log.parent.iterdir()) == [log]


def test_deleted_log_is_created_again(log: Path) -> None:
    write(log, "a", 400, f"number != 100 or os.unlink({str(log)!r})")
    kept = numbers(log, "a")
    assert kept == list(range(kept[0], 400))


@pytest.mark.parametrize("mode", ["wb", "pipe"])
def test_file_not_opened_for_appending_is_not_rotated(log: Path, mode: str) -> None:
    command = [sys.executable, "-c", WRITER, "a", "300", ""]
    if mode == "pipe":
        written = subprocess.run(command, stderr=subprocess.PIPE, check=True).stderr
    else:
        with log.open(mode) as file:
            subprocess.run(command, stderr=file, check=True)
        written = log.read_bytes()
    assert len(written.splitlines()) == 300
    assert not Path(f"{log}.1").exists()


def test_module_rotates_the_output_of_another_program(log: Path) -> None:
    lines_in = [f"line {number} {'x' * 90}" for number in range(250)]
    with log.open("ab") as file:
        subprocess.run(
            [sys.executable, "-m", "kokoro_trio.telemetry.log_file", str(MAX_BYTES)],
            input="\n".join(lines_in).encode(),
            stderr=file,
            check=True,
        )
    assert Path(f"{log}.2").exists()
    assert all_lines(log) == lines_in


def test_traceback_of_a_crash_is_in_the_log(tmp_path: Path) -> None:
    """Python writes it, not structlog."""
    before = "before\n" * 2_000
    (tmp_path / "server.log").write_text(before)
    with running(tmp_path, "tests.support.tones", "dying", LOG_MAX_BYTES=str(MAX_BYTES)) as server:
        with pytest.raises(ConnectionClosed):
            server.speak("Hello there.")
        assert server.process.wait(30) != 0
    assert (tmp_path / "server.log.1").read_text() == before
    assert "Traceback" in (tmp_path / "server.log").read_text()
