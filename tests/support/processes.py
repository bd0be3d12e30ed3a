"""The server in a process of its own, with the real model or with tones."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray
from websockets.sync.client import connect

from kokoro_trio.config import REPOSITORY

KEY = "k"


@attrs.frozen
class Server:
    process: subprocess.Popen[str]
    port: int
    logs: Path

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/audio/speech/stream/ws?api_key={KEY}"

    def wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + 300
        while time.monotonic() < give_up_at:
            assert self.process.poll() is None, (self.logs / "server.log").read_text()
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


def output_of(*arguments: str) -> str:
    """The output of Python with these arguments, which must succeed."""
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def start(
    logs: Path,
    port: int | None = None,
    module: str = "kokoro_trio",
    *arguments: str,
    within: Sequence[str] = (),
    **settings: str,
) -> Server:
    """Starts `module`; `tests.support.tones` is the server without the model. `settings` are knobs, and
    `within` is a command that runs it.
    """
    port = port or free_port()
    defaults = {
        "API_KEY": KEY,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "LOG_FOLDER": str(logs),
        "CUSTOM_VOICES_FOLDER": str(logs / "custom_voices"),
    }
    with (logs / "server.log").open("a") as log:
        process = subprocess.Popen(
            [*within, sys.executable, "-m", module, *arguments],
            env=os.environ | defaults | settings,
            cwd=REPOSITORY,
            stderr=log,
            text=True,
        )
    return Server(process, port, logs)


@contextmanager
def running(logs: Path, module: str = "kokoro_trio", *arguments: str, **settings: str) -> Iterator[Server]:
    """A server that is ready, and killed at the end."""
    server = start(logs, None, module, *arguments, **settings)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait()
