"""The parts of a session: voices, a protocol, and a connection whose peer is the test."""

import json
from collections.abc import Mapping, Sequence
from itertools import count

import attrs
import trio
from attrs import evolve

from kokoro_trio.config import RequestLimits
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.connection import ConnectionGone
from kokoro_trio.server.dialects.dialect import Opening
from kokoro_trio.server.protocol import Protocol
from kokoro_trio.weights.release import Release

KOKORO = VoiceCatalogue.of(tuple(Release.load().hub.voices), female="af_aoede", male="am_michael")
"""All voices of the model."""
VOICES = VoiceCatalogue.of(("af_aoede", "af_heart", "am_michael"), female="af_aoede", male="am_michael")
LIMITS = RequestLimits(
    max_words=5, max_utterance_characters=10_000, max_requests=1000, max_characters=100_000
)


def make_protocol(max_words: int = 5, **limits: int) -> Protocol:
    names = (f"made-up-{n}" for n in count())
    return Protocol(
        "session-1", VOICES, evolve(LIMITS, max_words=max_words, **limits), new_request_id=lambda: next(names)
    )


def make_opening(
    voices: VoiceCatalogue = VOICES,
    limits: RequestLimits = LIMITS,
    prime_bytes: int = 0,
    query: Mapping[str, str] | None = None,
) -> Opening:
    """New ids are id-0, id-1 …"""
    names = (f"id-{n}" for n in count())
    return Opening("session-1", query or {}, voices, limits, bytes(prime_bytes), lambda: next(names))


Message = dict[str, object]
Channel = tuple[trio.MemorySendChannel[str | bytes], trio.MemoryReceiveChannel[str | bytes]]


@attrs.define
class MemoryConnection:
    """A connection whose peer is the test. Each send takes `send_seconds`."""

    _to_server: Channel = attrs.field(factory=lambda: trio.open_memory_channel[str | bytes](1000))
    _to_client: Channel = attrs.field(factory=lambda: trio.open_memory_channel[str | bytes](100_000))
    closed_with: int | None = None
    send_seconds: float = 0.0

    async def receive(self) -> str | bytes:
        try:
            return await self._to_server[1].receive()
        except trio.EndOfChannel:
            raise ConnectionGone("the test hung up") from None

    async def send(self, messages: Sequence[str | bytes]) -> None:
        for message in messages:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.send_seconds)
            await self._to_client[0].send(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed_with = code
        self._to_client[0].close()

    @property
    def is_congested(self) -> bool:
        return self.send_seconds > 0

    # The test's end.

    def say(self, kind: str, **fields: object) -> None:
        self.say_raw(json.dumps({"type": kind, **fields}))

    def say_raw(self, frame: str | bytes) -> None:
        self._to_server[0].send_nowait(frame)

    def hang_up(self) -> None:
        self._to_server[0].close()

    async def hear(self) -> Message | bytes:
        frame = await self._to_client[1].receive()
        return frame if isinstance(frame, bytes) else dict(json.loads(frame))

    async def hear_until(self, kind: str, **fields: object) -> list[Message | bytes]:
        """All that comes up to the message of this type, that one included."""
        heard: list[Message | bytes] = []
        with trio.fail_after(1000):
            while True:
                heard.append(last := await self.hear())
                if isinstance(last, dict) and {"type": kind, **fields}.items() <= last.items():
                    return heard

    def hear_rest(self) -> list[Message | bytes]:
        heard: list[Message | bytes] = []
        while True:
            try:
                frame = self._to_client[1].receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return heard
            heard.append(frame if isinstance(frame, bytes) else dict(json.loads(frame)))
