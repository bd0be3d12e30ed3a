"""A connection on which the peer speaks Together's dialect, and the session our own protocol."""

import json
import math
from collections import deque
from collections.abc import Sequence

import trio
from attrs import define, field

from kokoro_trio.server.connection import Connection
from kokoro_trio.server.dialects.together import Event, Outcome, Together
from kokoro_trio.wire.messages import decode_server, encode

TURN_END_TIMEOUT_S = 2.5
"""Pipecat takes a turn for ended that has been silent for three seconds, whatever it was told."""


@define
class TogetherConnection:
    """A `Connection` over another.

    Some events are answered at once, from the task that receives; `connection` must take a `send` beside
    another, and send them in the order they come, as trio-websocket does.
    """

    _connection: Connection
    _dialect: Together
    _received: deque[str] = field(factory=deque)
    _receiving: trio.CancelScope = field(factory=trio.CancelScope)
    """Left when the client has not ended its turn for `TURN_END_TIMEOUT_S`."""
    _gives_up_at: float = math.inf

    @classmethod
    async def open(cls, connection: Connection, dialect: Together) -> "TogetherConnection":
        opened = cls(connection, dialect)
        await opened._tell(dialect.open())
        return opened

    @property
    def is_congested(self) -> bool:
        return self._connection.is_congested

    async def receive(self) -> str:
        while not self._received:
            frame: str | bytes | None = None
            with trio.CancelScope(deadline=self._gives_up_at) as self._receiving:
                frame = await self._connection.receive()
            if frame is None:
                await self._tell(self._dialect.give_up_waiting())
            else:
                await self._take(self._dialect.receive(frame))
        return self._received.popleft()

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._tell(self._dialect.tell_audio(message))
        else:
            await self._tell(self._dialect.tell(decode_server(message)))

    async def send_many(self, messages: Sequence[str | bytes]) -> None:
        for message in messages:
            await self.send(message)

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    async def _take(self, outcomes: Sequence[Outcome]) -> None:
        self._received.extend(encode(outcome) for outcome in outcomes if not isinstance(outcome, dict))
        await self._tell([outcome for outcome in outcomes if isinstance(outcome, dict)])

    async def _tell(self, events: Sequence[Event]) -> None:
        if not self._dialect.waits_for_end:
            self._gives_up_at = math.inf
        elif self._gives_up_at == math.inf:
            self._gives_up_at = trio.current_time() + TURN_END_TIMEOUT_S
        self._receiving.deadline = self._gives_up_at
        for event in events:
            # ASCII escapes: what is told may hold a lone surrogate, which has no UTF-8.
            await self._connection.send(json.dumps(event))
