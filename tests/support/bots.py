"""A Pipecat bot in a process of its own, and texts for it."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

GREETING = "Hello there."
REPLY = "It is a fine day. The sun is out! Shall we go for a walk in the park?"
STORY = "Once upon a time there was a king who had a great many horses, and a queen who had none at all. " * 4
LATER = "All right, I will be quiet."
NOTHING = "(...)"
Script = list[list[Any]]
"""Steps of `pipecat_bot`."""
LONG = "This goes on for a very long time, says the man with the hat and the dog, and he is right about it."


@attrs.frozen
class Report:
    """The bot's report at its end."""

    events: list[list[Any]]
    played_s: float
    rate_hz: int
    context: list[str]

    def of(self, kind: str) -> list[list[Any]]:
        """The details of all events of a kind, without their times."""
        return [event[2:] for event in self.events if event[1] == kind]

    def at(self, kind: str, nth: int = 0) -> float:
        return float([event[0] for event in self.events if event[1] == kind][nth])

    @property
    def words(self) -> list[str]:
        return [word for (word,) in self.of("word")]


@attrs.define
class Bot:
    _process: trio.Process

    async def asks(self, what: str) -> None:
        assert await self._line() == what

    async def goes_on(self) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(b"\n")

    async def report(self) -> Report:
        values = json.loads(await self._line())
        assert await self._process.wait() == 0
        return Report(**values)

    async def _line(self) -> str:
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            received = await self._process.stdout.receive_some()
            assert received, "the bot ended"
            line += received
        return line.decode().strip()


@asynccontextmanager
async def bot(
    url: str,
    script: Script,
    *,
    timeout_s: float = 60,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[Bot]:
    command = [
        sys.executable,
        "-m",
        "tests.support.pipecat_bot",
        url,
        json.dumps(options),
        json.dumps(script),
    ]
    with trio.fail_after(timeout_s):
        process = await trio.lowlevel.open_process(command, stdin=-1, stdout=-1)
        try:
            yield Bot(process)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
