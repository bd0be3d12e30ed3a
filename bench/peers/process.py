"""A library that speaks whole sentences, in a process of its own: see whole_sentences.py."""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from kokoro_trio.client import Arrival, Timing
from kokoro_trio.errors import KokoroTrioError
from kokoro_trio.installation import install_command

from ..configured import weights_folder
from ..load import Failed, Spoken

PROGRAM = Path(__file__).with_name("whole_sentences.py")
KPIPELINE, KOKORO_ONNX = "kpipeline", "kokoro-onnx"
PEERS = (KPIPELINE, KOKORO_ONNX)
PROCESS_ENDED = "process_ended"
ENGLISH = ("a", "b")
"""How the names of English voices begin."""


@define
class NotEnglish(KokoroTrioError):
    peer: str
    voice: str

    def __str__(self) -> str:
        return f"--peer {self.peer} needs an English voice; {self.voice} is not English"


@define
class PeerMissing(KokoroTrioError):
    peer: str

    def __str__(self) -> str:
        return f"the peer {self.peer} is not installed; run: {install_command('peers')}"


@define
class ModelMissing(KokoroTrioError):
    path: Path

    def __str__(self) -> str:
        return f"there is no ONNX model at {self.path}; name one with --onnx-model"


@define
class ProcessEnded(KokoroTrioError):
    peer: str
    status: int

    def __str__(self) -> str:
        return f"the process of the peer {self.peer} ended with status {self.status}"


def command_of(peer: str, options: argparse.Namespace, voice: str, device: str) -> list[str]:
    """The program and its arguments. Raises `NotEnglish`, `PeerMissing`, `ModelMissing` and `BadKnob`."""
    if not voice.startswith(ENGLISH):
        raise NotEnglish(peer, voice)
    weights = weights_folder()
    # -P: modules beside the program must not hide others of the same name.
    command = [sys.executable, "-P", str(PROGRAM), peer, "--voice", voice, "--weights", str(weights)]
    if peer == KPIPELINE:
        return [*command, "--device", device]
    if importlib.util.find_spec("kokoro_onnx") is None:
        raise PeerMissing(peer)
    model = options.onnx_model or weights / "source" / "model.onnx"
    if not model.is_file():
        raise ModelMissing(model)
    return [*command, "--onnx-model", str(model)]


@define
class ProcessPeer:
    """Speaks one sentence at a time; a sentence that waits for another one waits as a client would."""

    peer: str
    process: trio.Process
    name: str = ""
    _lock: trio.Lock = field(factory=trio.Lock)
    _received: bytearray = field(factory=bytearray)

    @classmethod
    @asynccontextmanager
    async def started(cls, peer: str, command: Sequence[str]) -> AsyncIterator["ProcessPeer"]:
        """Waits until the model is loaded. Raises `ProcessEnded`."""
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self = cls(peer, process)
        try:
            self.name = (await self._receive())["name"]
            yield self
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def speak(self, sentence: str) -> Spoken | Failed:
        """The first audio of a whole sentence is all of it."""
        requested_at = trio.current_time()
        try:
            async with self._lock:
                await self._send(sentence)
                spoken = await self._receive()
        except ProcessEnded:
            return Failed(PROCESS_ENDED)
        ended_at = trio.current_time()
        arrivals = [Arrival(ended_at, spoken["n_samples"])]
        return Spoken.of(Timing.of(requested_at, arrivals, spoken["silence_s"], ended_at), arrivals)

    async def _send(self, sentence: str) -> None:
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(json.dumps(sentence).encode() + b"\n")
        except trio.BrokenResourceError:
            raise await self._ended() from None

    async def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while b"\n" not in self._received:
            received = await self.process.stdout.receive_some()
            if not received:
                raise await self._ended()
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _ended(self) -> ProcessEnded:
        return ProcessEnded(self.peer, await self.process.wait())
