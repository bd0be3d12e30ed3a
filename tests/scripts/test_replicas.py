"""End to end: scripts/serve_replicas.sh with the real HAProxy; the replicas make tones.

Each letter has its own pitch, so the tests can recognize the spoken words in the audio.
"""

import os
import random
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import httpx
import numpy as np
import pytest
import trio
from numpy.typing import NDArray

from kokoro_trio import client, reconnecting
from kokoro_trio.audio.pcm import to_pcm16
from kokoro_trio.config import REPOSITORY
from kokoro_trio.model.synthesizer import ToneSynthesizer, _pitch_hz
from kokoro_trio.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Line
from tests.support.processes import KEY, free_port
from tests.support.programs import PATH

pytestmark = pytest.mark.slow

LETTER_FRAMES = ToneSynthesizer().frames_per_phoneme
LETTERS = string.ascii_lowercase


def _tone(letter: str) -> NDArray[np.float64]:
    """An orthonormal basis, in two columns, of the frames of this letter in all phases."""
    angles = 2 * np.pi * _pitch_hz(letter) / SAMPLE_RATE_HZ * np.arange(FRAME_SAMPLES)
    basis: NDArray[np.float64] = np.linalg.qr(np.stack([np.sin(angles), np.cos(angles)], axis=1))[0]
    return basis


TONES = np.stack([_tone(letter) for letter in LETTERS])
WORDS = ("amber", "bottle", "copper", "dune", "ember", "fjord", "glove", "hinge", "ivory", "jumble", "kettle")
N_CLIENTS = 6


@attrs.define
class Replicas:
    """The running scripts/serve_replicas.sh."""

    script: subprocess.Popen[str]
    folder: Path
    port: int

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def pid(self, number: int) -> int:
        return int((self.folder / "logs" / f"replica-{number}" / "server.pid").read_text())

    @staticmethod
    def runs(pid: int) -> bool:
        return Path(f"/proc/{pid}").exists()

    def state(self, number: int) -> dict[str, object]:
        answer = httpx.get(f"http://127.0.0.1:{self.port + number}/readyz")
        state: dict[str, object] = answer.json()
        return state

    def wait_until_it_says(self, line: str, times: int = 1) -> None:
        give_up_at = time.monotonic() + 60
        while self.output.count(line) < times:
            assert self.script.poll() is None, self.output
            assert time.monotonic() < give_up_at, self.output
            time.sleep(0.05)


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(180):
        while not is_so():
            await trio.sleep(0.05)


def free_ports(n: int) -> int:
    """The first of `n` consecutive free ports."""
    while True:
        first = free_port()
        with ExitStack() as taken:
            try:
                for port in range(first, first + n):
                    taken.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first


@contextmanager
def running(folder: Path, n_replicas: int = 2) -> Iterator[Replicas]:
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"""#!/bin/sh
if [ "$1 $2" = "-m kokoro_trio" ]; then shift 2; exec "{sys.executable}" -m tests.support.tones "$@"; fi
exec "{sys.executable}" "$@"
"""
    )
    python.chmod(0o755)
    port = free_ports(n_replicas + 2)
    settings = {
        "PATH": PATH,
        "PYTHONPATH": str(REPOSITORY),
        "API_KEY": KEY,
        "HOST": "127.0.0.1",
        # The replicas cannot share it.
        "METRICS_PORT": str(free_port()),
        "TONES_STEP_S": "0.15",
        "CUSTOM_VOICES_FOLDER": str(folder / "custom_voices"),
    }
    command = ["bash", str(folder / "scripts" / "serve_replicas.sh"), str(n_replicas), "--port", str(port)]
    with (folder / "output").open("w") as output:
        script = subprocess.Popen(
            command, env=os.environ | settings, stdout=output, stderr=subprocess.STDOUT, text=True
        )
    replicas = Replicas(script, folder, port)
    try:
        replicas.wait_until_it_says("Serving on")
        yield replicas
    finally:
        for _ in range(3):
            script.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        script.wait(timeout=30)


def spelled(samples: NDArray[np.int16]) -> list[str]:
    """The words in the audio. The first 25 ms of a letter suffice: the end of its word was sent then."""
    n_frames = len(samples) // FRAME_SAMPLES
    frames = samples[: n_frames * FRAME_SAMPLES].reshape(n_frames, FRAME_SAMPLES).astype(float)
    is_loud = np.abs(frames).max(axis=1) > 100
    heard, at = "", 0
    while at < n_frames:
        if not is_loud[at]:
            heard, at = heard + " ", at + 1
        else:
            energies = np.linalg.norm(frames[at] @ TONES, axis=1)
            heard, at = heard + LETTERS[np.argmax(energies)], at + LETTER_FRAMES
    return heard.split()


def spelling(text: str) -> list[str]:
    return "".join(char.lower() if char.isalpha() else " " for char in text).split()


@attrs.define
class Client:
    """Speaks without a pause; `heard` has each text and its audio, split at the seams."""

    number: int
    heard: list[tuple[str, list[NDArray[np.int16]]]] = attrs.field(factory=list)
    session: reconnecting.Session | None = None

    async def talk(self, port: int, until: trio.Event) -> None:
        chance = random.Random(self.number)
        async with reconnecting.connect("127.0.0.1", port, api_key=KEY) as self.session:
            while not until.is_set():
                texts = [" ".join(chance.choices(WORDS, k=chance.randint(3, 9))) + "." for _ in range(2)]
                async with (
                    self.session.speak(texts[0]) as first,
                    self.session.speak(texts[1]) as second,
                ):
                    for speech in (first, second):
                        samples = await speech.read_all()
                        self.heard.append((speech.text, np.split(samples, speech.seams)))
                await trio.sleep(chance.random() * 0.2)

    @property
    def n_connections(self) -> int:
        assert self.session is not None
        return self.session.n_connections

    @property
    def n_seams(self) -> int:
        """Including the seams of outstanding requests."""
        assert self.session is not None
        in_speech = sum(len(speech.seams) for speech in self.session._outstanding)
        return in_speech + sum(len(pieces) - 1 for text, pieces in self.heard if text not in self.in_speech)

    @property
    def in_speech(self) -> set[str]:
        assert self.session is not None
        return {speech.text for speech in self.session._outstanding}

    def check(self) -> None:
        """Checks that each word was heard once and in order, apart from one interrupted word at each seam."""
        assert self.heard
        for text, pieces in self.heard:
            *broken_off, last = [spelled(piece) for piece in pieces]
            expected, heard = spelling(text), list[str]()
            for words in broken_off:
                if words and words[-1] != expected[len(heard) + len(words) - 1]:
                    begun = words.pop()
                    assert expected[len(heard) + len(words)].startswith(begun)
                heard += words
            # The last word of a text ends with half of its last letter.
            assert heard + last == expected or (heard == expected and last == expected[-1:])


@asynccontextmanager
async def talking(clients: list[Client], port: int) -> AsyncIterator[None]:
    """All clients speak during the block; at its end they finish their requests."""
    is_over = trio.Event()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for talker in clients:
                nursery.start_soon(talker.talk, port, is_over)
            yield
            is_over.set()


@asynccontextmanager
async def arriving(port: int) -> AsyncIterator[list[int]]:
    """New clients connect without retrying; yields the status that each of them got."""
    statuses: list[int] = []

    async def arrive() -> None:
        headers = {"X-API-Key": KEY}
        while True:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
                statuses.append((await http.get("/v1/audio/voices")).status_code)
                statuses.append((await http.get("/readyz")).status_code)
            async with client.connect("127.0.0.1", port, api_key=KEY):
                statuses.append(200)
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrive)
        yield statuses
        nursery.cancel_scope.cancel()


def test_letters_are_recognized_by_their_pitch() -> None:
    tones = ToneSynthesizer()
    [prosody] = tones.prosody([Line(0, "zigzag amber", "af_aoede", 1.0)])
    samples = to_pcm16(np.concatenate(tones.vocode(list(tones.windows(prosody)))))
    n_frames_to_z = tones.padding_frames + 5 * LETTER_FRAMES
    assert spelled(samples) == ["zigzag", "amber"]
    assert spelled(samples[: n_frames_to_z * FRAME_SAMPLES]) == ["zigza"]


@pytest.mark.needs("haproxy")
async def test_clients_reconnect_after_kill_and_after_drain(tmp_path: Path) -> None:
    clients = [Client(number) for number in range(N_CLIENTS)]
    with running(tmp_path) as replicas:
        async with talking(clients, replicas.port):
            await until(lambda: [replicas.state(number)["connections"] for number in (1, 2)] == [3, 3])
            await trio.sleep(2)
            os.kill(replicas.pid(1), signal.SIGKILL)
            await until(lambda: sum(talker.n_seams for talker in clients) > 0)
            await until(lambda: sorted(talker.n_connections for talker in clients) == [1, 1, 1, 2, 2, 2])
            assert [talker.n_seams for talker in clients if talker.n_connections == 1] == [0, 0, 0]
            n_seams = sum(talker.n_seams for talker in clients)
            old = replicas.pid(2)
            os.kill(old, signal.SIGTERM)
            await until(lambda: not replicas.runs(old))
            assert sum(talker.n_seams for talker in clients) == n_seams, "draining cut clients off"
            await trio.sleep(3)
    for talker in clients:
        talker.check()


@pytest.mark.needs("haproxy")
async def test_rolling_restart_under_load_loses_no_audio(tmp_path: Path) -> None:
    clients = [Client(number) for number in range(N_CLIENTS)]
    with running(tmp_path) as replicas:
        old = {replicas.pid(number) for number in (1, 2)}
        async with talking(clients, replicas.port), arriving(replicas.port) as statuses:
            await trio.sleep(1)
            restart = str(replicas.folder / "scripts" / "serve_replicas.sh")
            await trio.run_process(["bash", restart, "--restart"], capture_stdout=True)
            await until(lambda: "All replicas were restarted." in replicas.output)
            await until(lambda: all(talker.n_connections > 1 for talker in clients))
        assert not old & {replicas.pid(number) for number in (1, 2)}
    assert set(statuses) == {200}
    assert len(statuses) > 100
    for talker in clients:
        assert talker.n_seams == 0
        talker.check()


@pytest.mark.needs("haproxy")
async def test_haproxy_log_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_MAX_BYTES", "10000")
    logs = tmp_path / "logs"
    n_requests = 200

    def logged() -> str:
        files = [logs / f"haproxy.log{suffix}" for suffix in (".2", ".1", "")]
        return "".join(file.read_text() for file in files if file.exists())

    with running(tmp_path, n_replicas=1) as replicas:
        for _ in range(n_requests):
            async with await trio.open_tcp_stream("127.0.0.1", replicas.port) as stream:
                await stream.send_all(b"not HTTP\r\n\r\n")
                await stream.receive_some()
        await until(lambda: logged().count("<BADREQ> <BADREQ>") == n_requests)
    assert (logs / "haproxy.log.1").exists()
    assert "\0" not in logged()


@pytest.mark.needs("haproxy")
async def test_sigterm_drains_all_replicas(tmp_path: Path) -> None:
    with running(tmp_path) as replicas:
        pids = [replicas.pid(number) for number in (1, 2)]
        async with client.connect("127.0.0.1", replicas.port, api_key=KEY) as session:
            async with session.speak("amber bottle copper dune. " * 3) as speech:
                await anext(speech)
                replicas.script.send_signal(signal.SIGTERM)
                await speech.read_all()
            assert speech.end == "done"
            assert (await session.wait_until_lost()).code == 1012
        with trio.fail_after(10):
            while replicas.script.poll() is None:
                await trio.sleep(0.05)
        assert replicas.script.returncode == 0
        assert replicas.output.splitlines()[-2:] == ["Draining the replicas.", "All replicas have ended."]
        assert not any(replicas.runs(pid) for pid in pids)
        for port in range(replicas.port, replicas.port + 4):
            socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.needs("haproxy")
async def test_clients_leave_a_replica_that_hangs(tmp_path: Path) -> None:
    talker = Client(1)
    with running(tmp_path) as replicas:
        async with talking([talker], replicas.port):
            await trio.sleep(1)
            [hangs] = [number for number in (1, 2) if replicas.state(number)["connections"]]
            pid = replicas.pid(hangs)
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: talker.n_connections > 1)
            await trio.sleep(2)
            os.kill(pid, signal.SIGKILL)
    talker.check()
