"""The CPU time of the server without the model: it sends tones to many sessions at once.

    python -m bench.research.host --sessions 200
    python -m bench.research.host --sessions 200 --g2p-processes 2

One thread runs the event loop, the protocol, the framing and the sockets, so on a fast GPU that thread is
the limit. The program reads its CPU time from the system instead of a clock, so the figure holds on a busy
machine too. The second command also turns the texts into phonemes, in processes whose time is not counted;
with 0 it does so in a thread, whose time is part of "other threads".
"""

import argparse
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, frozen

import kokoro_trio.__main__ as server
from kokoro_trio.config import REPOSITORY, ModelConfig, VoiceConfig, WindowConfig
from kokoro_trio.engine.phonemizing import Reader
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.speech import Segment
from kokoro_trio.text.reading import Sentence, read
from kokoro_trio.wire.messages import WEBSOCKET_PATH

TEXT = "And so it went on and on until nobody knew any more how it had begun. " * 4
SETTINGS = {
    "HOST": "127.0.0.1",
    "API_KEY": "k",
    "LOG_LEVEL": "warning",
    "MAX_CONCURRENT_JOBS": "1000",
    "QUEUE_MAXSIZE": "1000",
    # The listeners share a process, answer no pings and may wait long.
    "WS_SEND_TIMEOUT": "300",
    "WS_PING_INTERVAL": "3600",
}
HANDSHAKE = (
    f"GET {WEBSOCKET_PATH}?api_key=k HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 600.0
SERVE, SERVE_READING = "--serve", "--serve-reading"


class LetterReader:
    """Takes letters for phonemes, so that grapheme-to-phoneme is not part of the measurement."""

    sentences = staticmethod(read)

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        phonemes = re.sub(r"[^a-z ]", "", sentence.text.lower())
        return [Segment(first_index, phonemes, sentence.start_char, sentence.end_char)]


def serve(*, reads: bool) -> None:
    """The real server with tones instead of the model and, unless it `reads`, without the text side."""

    def load_model(config: ModelConfig, windows: WindowConfig) -> Synthesizer:
        return ToneSynthesizer(max_batch=8, window_frames=80)

    def load_text(config: VoiceConfig, alphabet: frozenset[str]) -> Reader:
        return LetterReader()

    server._load_model = load_model
    if not reads:
        server._load_text = load_text
    server.main()


@frozen
class HostWork:
    """`loop_s`: CPU time of the event loop's thread. `others_s`: CPU time of the process's other threads."""

    sessions: int
    audio_s: float
    loop_s: float
    others_s: float

    @property
    def share(self) -> float:
        """The share of one core that a real-time stream needs."""
        return self.loop_s / self.audio_s

    def report(self) -> Iterator[str]:
        yield f"{self.sessions} sessions, {self.audio_s:.0f} s of audio"
        yield f"event loop {self.loop_s:.2f} s of CPU time, other threads {self.others_s:.2f} s"
        yield f"{self.share * 100:.3f}% of a core for a real-time stream: {1 / self.share:.0f} of them a core"


@contextmanager
def running(g2p_processes: int | None) -> Iterator[tuple[int, int]]:
    """Gives the pid and the port of a server with tones; with None it takes letters for phonemes."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    settings = SETTINGS | {"PORT": str(port), "G2P_PROCESSES": str(g2p_processes or 0)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.research.host", SERVE if g2p_processes is None else SERVE_READING],
        cwd=REPOSITORY,
        env=os.environ | settings,
    )
    try:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not _is_open(port):
            if time.monotonic() > give_up_at or process.poll() is not None:
                raise RuntimeError("the server with tones did not start")
            time.sleep(0.1)
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def _is_open(port: int) -> bool:
    try:
        peer = _connect(port)
    except OSError:
        return False
    peer.close()
    return True


def _connect(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), timeout=5)
    peer.sendall(HANDSHAKE)
    if b" 101 " not in peer.recv(1024):
        raise ConnectionRefusedError
    return peer


def _own_text(number: int) -> str:
    """A text with sentences of its own: the server caches the phonemes of known sentences."""
    return re.sub("on and on", lambda found: f"on for {number * 1000 + found.start()} days", TEXT)


def _speak(text: str) -> bytes:
    payload = json.dumps({"type": "speak", "text": text}).encode()
    return bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


@define
class _Listener:
    """Reads as fast as data arrives and parses the end only, so that the client is not the limit."""

    peer: socket.socket
    tail: bytes = b""
    duration_s: float | None = None

    def read(self) -> None:
        self.tail = (self.tail + self.peer.recv(1 << 20))[-300:]
        if found := re.search(rb'"type":\s*"done".*"duration_s":\s*([\d.]+)', self.tail):
            self.duration_s = float(found[1])


def listen(port: int, texts: Sequence[str]) -> float:
    """Has all texts spoken at once, a session each. Returns the seconds of audio."""
    listeners = [_Listener(_connect(port)) for _ in texts]
    selector = selectors.DefaultSelector()
    for listener in listeners:
        selector.register(listener.peer, selectors.EVENT_READ, listener)
    for listener, text in zip(listeners, texts, strict=True):
        listener.peer.sendall(_speak(text))
    give_up_at = time.monotonic() + END_TIMEOUT_S
    while any(listener.duration_s is None for listener in listeners):
        if time.monotonic() > give_up_at:
            raise TimeoutError("some sessions have not ended")
        for key, _ in selector.select(1.0):
            key.data.read()
    for listener in listeners:
        listener.peer.close()
    return sum(listener.duration_s or 0.0 for listener in listeners)


def processor_s(pid: int) -> tuple[float, float]:
    """CPU time of the main thread and of all other threads since their start."""
    ticks = os.sysconf("SC_CLK_TCK")
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        # utime and stime: fields 14 and 15. Field 2 may contain spaces and ends with a bracket.
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        times[task.name] = (int(fields[11]) + int(fields[12])) / ticks
    loop_s = times.pop(str(pid))
    return loop_s, sum(times.values())


def measure(sessions: int, g2p_processes: int | None = None) -> HostWork:
    with running(g2p_processes) as (pid, port):
        before, texts = [TEXT] * min(sessions, 20), [TEXT] * sessions
        if g2p_processes is not None:
            texts = [_own_text(number) for number in range(sessions)]
        listen(port, before)  # Warm-up.
        loop_before_s, others_before_s = processor_s(pid)
        audio_s = listen(port, texts)
        loop_s, others_s = processor_s(pid)
    return HostWork(sessions, audio_s, loop_s - loop_before_s, others_s - others_before_s)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.research.host", description="What the server costs."
    )
    parser.add_argument("--sessions", type=int, default=200, help="default: %(default)s")
    parser.add_argument(
        "--g2p-processes",
        type=int,
        metavar="N",
        help="turn text into phonemes too; 0: in a thread",
    )
    options = parser.parse_args(arguments)
    for line in measure(options.sessions, options.g2p_processes).report():
        print(line)


if __name__ == "__main__":
    if sys.argv[1:] in ([SERVE], [SERVE_READING]):
        serve(reads=sys.argv.pop() == SERVE_READING)
    else:
        main(sys.argv[1:])
