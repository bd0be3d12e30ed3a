"""End to end: the process as an operator runs it, with the real model where that is marked."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from kokoro_trio import __version__
from kokoro_trio.config import DEFAULT_WEIGHTS_FOLDER, REPOSITORY

SENTENCES = (
    "Hello there.",
    "How are you today?",
    "I will be with you in a minute.",
    "The weather is lovely, is it not?",
)


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kokoro_trio", *arguments]
    environment = os.environ | {"API_KEY": "k"} | settings
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


class TestCommandLine:
    def test_version(self) -> None:
        assert run("--version").stdout == f"kokoro_trio {__version__}\n"

    def test_help_names_the_options(self) -> None:
        assert {"--host", "--port", "--version"} <= set(run("--help").stdout.split())

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"MAX_CONCURRENT_JOBS": "0"}, "MAX_CONCURRENT_JOBS"),
            ({"API_KEY": ""}, "API_KEY"),
            ({"PORT": "http"}, "PORT"),
        ],
    )
    def test_a_bad_knob_stops_the_start_with_one_line(self, settings: dict[str, str], says: str) -> None:
        ended = run("--host", "0.0.0.0", **settings)
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: ")
        assert says in line

    def test_a_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = run("--host", "127.0.0.1", "--port", str(port))
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith(f"error: cannot listen on 127.0.0.1 port {port}")

    def test_a_device_that_is_not_there(self) -> None:
        ended = run("--host", "127.0.0.1", "--port", "0", KOKORO_DEVICE="cuda:77")
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith("error: KOKORO_DEVICE=cuda:77 is not there")


@attrs.frozen
class Server:
    process: subprocess.Popen[str]
    port: int
    logs: Path

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/audio/speech/stream/ws?api_key=k"

    def wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + 300
        while time.monotonic() < give_up_at:
            assert self.process.poll() is None, "the server ended"
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.2)
        raise TimeoutError

    def speak(self, text: str, **fields: str) -> tuple[NDArray[np.float64], dict[str, object]]:
        """The audio and the message that ended it."""
        with connect(self.url) as client:
            client.send(json.dumps({"type": "speak", "text": text, **fields}))
            audio, speaking = b"", False
            while True:
                frame = client.recv(timeout=60)
                if isinstance(frame, bytes):
                    audio += frame if speaking else b""
                    continue
                message = json.loads(frame)
                speaking |= message["type"] == "started_speak"
                if message["type"] in ("done", "error"):
                    return np.frombuffer(audio, "<i2") / 32768, message


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def start(logs: Path) -> Server:
    port = free_port()
    settings = {
        "API_KEY": "k",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "LOG_FOLDER": str(logs),
        "CUSTOM_VOICES_FOLDER": str(logs / "custom_voices"),
    }
    with (logs / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kokoro_trio"], env=os.environ | settings, stderr=log, text=True
        )
    return Server(process, port, logs)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start(tmp_path_factory.mktemp("logs"))
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.mark.model
class TestServing:
    """In this order: the last one ends the server."""

    def test_each_sentence_is_spoken(self, server: Server) -> None:
        for sentence in SENTENCES:
            audio, end = server.speak(sentence)
            assert end["type"] == "done"
            assert end["duration_s"] == pytest.approx(len(audio) / 24_000, abs=1e-3)
            # English is spoken at 10 to 20 characters a second, and not in whispers.
            assert len(sentence) / 25 < len(audio) / 24_000 < 1.5 + len(sentence) / 8
            assert 0.01 < np.sqrt(np.mean(audio**2)) < 0.5

    def test_three_clients_at_once(self, server: Server) -> None:
        ends: list[object] = []

        def talk() -> None:
            ends.extend(server.speak(sentence)[1]["type"] for sentence in SENTENCES)

        clients = [threading.Thread(target=talk) for _ in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert ends == ["done"] * 12

    def test_the_client_of_the_readme(self, server: Server, tmp_path: Path) -> None:
        readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
        (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        assert '8000, api_key="dev-key"' in example
        script = example.replace('8000, api_key="dev-key"', f'{server.port}, api_key="k"')
        command = [sys.executable, "-c", script]
        spoken = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (spoken.returncode, spoken.stderr) == (0, "")
        assert "TTFA" in spoken.stdout
        assert (tmp_path / "hello.wav").stat().st_size > 24_000

    def test_a_voice_that_is_named_while_it_runs(self, server: Server) -> None:
        arguments = ["add", "--name", "my_blend", "--recipe", "af_aoede+bm_george", "--validate"]
        subprocess.run(
            [sys.executable, REPOSITORY / "voices" / "custom_voices.py", *arguments],
            env=os.environ | {"CUSTOM_VOICES_FOLDER": str(server.logs / "custom_voices")},
            check=True,
        )
        audio, end = server.speak("Buenos días, señora.", voice="my_blend", language="es")
        assert end["type"] == "done"
        assert 0.01 < np.sqrt(np.mean(audio**2)) < 0.5
        assert server.speak("Hello.", voice="my_blnd")[1]["close_matches"] == ["my_blend"]

    def test_each_request_left_a_line(self, server: Server) -> None:
        lines = (server.logs / "metrics.log").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert len(records) == 18
        assert records[-1]["voice"] == "my_blend"
        assert all(record["ttfa_ms"] >= record["ttfb_ms"] > 0 for record in records)

    def test_sigterm_finishes_the_sentence_then_closes(self, server: Server) -> None:
        with connect(server.url) as client:
            client.send(json.dumps({"type": "speak", "text": " ".join(SENTENCES)}))
            client.recv(timeout=60)
            server.process.send_signal(signal.SIGTERM)
            kinds = []
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    frame = client.recv(timeout=60)
                    kinds.append("audio" if isinstance(frame, bytes) else json.loads(frame)["type"])
        assert kinds[-1] == "done"
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert server.process.wait(timeout=30) == 0
        log = (server.logs / "server.log").read_text()
        assert all("error" not in json.loads(line)["level"] for line in log.splitlines())


@pytest.mark.model
def test_a_damaged_weight_file_stops_the_start_with_the_mending_command(tmp_path: Path) -> None:
    damaged = tmp_path / "weights"
    shutil.copytree(DEFAULT_WEIGHTS_FOLDER, damaged, ignore=shutil.ignore_patterns("source"))
    with (damaged / "voices.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\xff" * 8)
    ended = run("--host", "127.0.0.1", "--port", "0", KOKORO_WEIGHTS=str(damaged))
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert "voices.safetensors" in line
    assert "scripts/setup.sh" in line
