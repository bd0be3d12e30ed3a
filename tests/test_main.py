"""End to end: the process as an operator runs it, with the real model where that is marked."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from kokoro_trio import __version__
from kokoro_trio.config import REPOSITORY
from tests.support.environment import TEST_WEIGHTS
from tests.support.processes import Server, running
from tests.support.readme import snippet

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
        ("settings", "knob"),
        [
            ({"MAX_CONCURRENT_JOBS": "0"}, "MAX_CONCURRENT_JOBS"),
            ({"API_KEY": ""}, "API_KEY"),
            ({"PORT": "http"}, "PORT"),
        ],
    )
    def test_bad_knob_stops_the_start_with_one_line(self, settings: dict[str, str], knob: str) -> None:
        ended = run("--host", "0.0.0.0", **settings)
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: ")
        assert knob in line

    def test_port_in_use_stops_the_start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = run("--host", "127.0.0.1", "--port", str(port))
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith(f"error: cannot listen on 127.0.0.1 port {port}")

    def test_missing_device_stops_the_start(self) -> None:
        ended = run("--host", "127.0.0.1", "--port", "0", KOKORO_DEVICE="cuda:77")
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith("error: KOKORO_DEVICE=cuda:77: ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("logs")) as started:
        yield started
        assert_no_error_in_log(started)


def assert_no_error_in_log(server: Server) -> None:
    log = (server.logs / "server.log").read_text()
    assert all("error" not in json.loads(line)["level"] for line in log.splitlines())


@pytest.mark.model
class TestServing:
    def test_every_sentence_is_spoken_audibly(self, server: Server) -> None:
        for sentence in SENTENCES:
            audio, end = server.speak(sentence)
            assert end["type"] == "done"
            assert end["duration_s"] == pytest.approx(len(audio) / 24_000, abs=1e-3)
            # English has 10 to 20 characters a second. The level excludes silence and noise.
            assert len(sentence) / 25 < len(audio) / 24_000 < 1.5 + len(sentence) / 8
            assert 0.01 < np.sqrt(np.mean(audio**2)) < 0.5

    def test_three_clients_are_served_at_once(self, server: Server) -> None:
        ends: list[object] = []

        def talk() -> None:
            ends.extend(server.speak(sentence)[1]["type"] for sentence in SENTENCES)

        clients = [threading.Thread(target=talk) for _ in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert ends == ["done"] * 12

    def test_example_client_of_the_readme_speaks(self, server: Server, tmp_path: Path) -> None:
        example = snippet("# hello.py")
        assert "8000, api_key" in example
        script = example.replace("8000, api_key", f"{server.port}, api_key")
        command = [sys.executable, "-c", script]
        environment = os.environ | {"KOKORO_API_KEY": "k"}
        spoken = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (spoken.returncode, spoken.stderr) == (0, "")
        assert "TTFA" in spoken.stdout
        assert (tmp_path / "hello.wav").stat().st_size > 24_000

    def test_voice_added_while_the_server_runs_is_available(self, server: Server) -> None:
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


@pytest.mark.model
def test_sigterm_finishes_the_sentence_then_closes(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.speak(SENTENCES[0], voice="bm_george")
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
    assert_no_error_in_log(server)
    records = [json.loads(line) for line in (server.logs / "metrics.log").read_text().splitlines()]
    assert [record["voice"] for record in records] == ["bm_george", "af_aoede"]
    assert all(record["ttfa_ms"] >= record["ttfb_ms"] > 0 for record in records)


@pytest.mark.model
def test_damaged_weight_file_stops_the_start_and_names_the_fix(tmp_path: Path) -> None:
    damaged = tmp_path / "weights"
    shutil.copytree(TEST_WEIGHTS, damaged, ignore=shutil.ignore_patterns("source"))
    with (damaged / "voices.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\xff" * 8)
    ended = run("--host", "127.0.0.1", "--port", "0", KOKORO_WEIGHTS=str(damaged))
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert "voices.safetensors" in line
    assert "scripts/setup.sh" in line
