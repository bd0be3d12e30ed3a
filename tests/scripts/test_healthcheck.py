"""End to end: scripts/healthcheck.py as a process, against servers with good, bad and no responses."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from kokoro_trio.config import REPOSITORY
from tests.support.processes import free_port, running

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LOADING = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\r\n"
    b'{"is_ready":false,"state":"loading"}'
)
Answer = Callable[[socket.socket], None]


def says(data: bytes) -> Answer:
    def answer(client: socket.socket) -> None:
        client.recv(65_536)
        client.sendall(data)

    return answer


def hangs(client: socket.socket) -> None:
    while client.recv(65_536):
        pass


def dribbles(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    with suppress(OSError):
        client.settimeout(0.5)
        while True:
            with suppress(TimeoutError):
                if not client.recv(65_536):
                    return
            client.sendall(b"X-More: 1\r\n")


def hangs_up(client: socket.socket) -> None:
    client.recv(65_536)


@contextmanager
def serving(answer: Answer, host: str = "127.0.0.1") -> Iterator[int]:
    """Serves one client."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:

        def serve() -> None:
            with suppress(OSError):
                client, _ = server.accept()
                with closing(client):
                    answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            # If no client came.
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """In its own checkout, so that tests can write `.env`."""
    checkout = tmp_path / "check out"
    for name in (
        "scripts/healthcheck.py",
        "scripts/setup.sh",
        "kokoro_trio/__init__.py",
        "kokoro_trio/config.py",
        "kokoro_trio/errors.py",
        "kokoro_trio/installation.py",
    ):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, checkout / name)
    return checkout / "scripts" / "healthcheck.py"


def check(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(script.parent.parent)} | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def error_line(checked: subprocess.CompletedProcess[str]) -> str:
    assert checked.returncode == 1
    [line] = checked.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_ready_server_exits_with_0(script: Path) -> None:
    with serving(says(READY)) as port:
        checked = check(script, PORT=str(port))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_port_comes_from_the_env_file(script: Path) -> None:
    with serving(says(READY)) as port:
        (script.parent.parent / ".env").write_text(f"PORT={port}\n")
        assert check(script).returncode == 0


def test_environment_wins_over_the_env_file(script: Path) -> None:
    (script.parent.parent / ".env").write_text(f"PORT={free_port()}\n")
    with serving(says(READY)) as port:
        assert check(script, PORT=str(port)).returncode == 0


def test_command_line_wins_over_the_environment(script: Path) -> None:
    with serving(says(READY)) as port:
        checked = check(script, "--host", "127.0.0.1", "--port", str(port), PORT="1", HOST="192.0.2.1")
    assert checked.returncode == 0


@pytest.mark.parametrize(
    ("listens_on", "host"),
    [("127.0.0.1", "0.0.0.0"), ("::1", "::"), ("::1", "::1"), ("127.0.0.2", "127.0.0.2")],
)
def test_checks_the_address_that_the_server_listens_on(script: Path, listens_on: str, host: str) -> None:
    with serving(says(READY), listens_on) as port:
        assert check(script, PORT=str(port), HOST=host).returncode == 0


def test_checks_only_the_given_host(script: Path) -> None:
    with serving(says(READY), "127.0.0.2") as port:
        assert "refused" in error_line(check(script, PORT=str(port), HOST="127.0.0.3"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (hangs, "no complete answer within 4 s"),
        (dribbles, "no complete answer within 4 s"),
        (hangs_up, "closed connection"),
        (says(b"\x00\n\x1b[2J\r\n\r\n"), "the answer is not HTTP (BadStatusLine)"),
        (says(b"SSH-2.0-OpenSSH\r\n"), "the answer is not HTTP (BadStatusLine)"),
        (says(LOADING), "HTTP status 503, state 'loading'"),
        (says(b"HTTP/1.1 503 No\r\n\r\n[]"), "HTTP status 503"),
        (says(b"HTTP/1.1 404 Not Found\r\n\r\nnot json"), "HTTP status 404"),
        (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "HTTP status 204"),
    ],
    ids=[
        "hangs",
        "dribbles",
        "hangs-up",
        "garbage",
        "not-http",
        "loading",
        "other-json",
        "not-found",
        "no-content",
    ],
)
def test_bad_response_is_one_line_of_error(script: Path, answer: Answer, reason: str) -> None:
    with serving(answer) as port:
        line = error_line(check(script, PORT=str(port)))
    assert reason in line
    assert line.isprintable()


def test_connection_refused_is_one_line_of_error(script: Path) -> None:
    assert "refused" in error_line(check(script, PORT=str(free_port())))


def test_bad_knob_is_one_line_of_error(script: Path) -> None:
    assert "PORT='web' is not usable" in error_line(check(script, PORT="web"))


def test_real_server_is_ready(tmp_path: Path, script: Path) -> None:
    with running(tmp_path, "tests.support.tones") as server:
        assert check(script, PORT=str(server.port)).returncode == 0
        assert check(script, "--path", "/healthz", PORT=str(server.port)).returncode == 0
