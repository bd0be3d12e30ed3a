"""Scripted servers for tests of our clients."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import numpy as np
import trio
import trio_websocket
from numpy.typing import NDArray

from kokoro_trio.client import Session, connect

FRAME = 480
"""Samples in 20 ms."""


@attrs.define
class Peer:
    """The server's end of a connection, and the messages of the client."""

    websocket: trio_websocket.WebSocketConnection
    heard: list[dict[str, object]] = attrs.field(factory=list)

    async def hear(self, kind: str) -> dict[str, object]:
        """The next message, which must be of this kind."""
        self.heard.append(json.loads(await self.websocket.get_message()))
        assert self.heard[-1]["type"] == kind
        return self.heard[-1]

    async def say(self, kind: str, **fields: object) -> None:
        await self.websocket.send_message(json.dumps({"type": kind, **fields}))

    async def play(self, *levels: int) -> None:
        """A frame of 20 ms for each level."""
        for level in levels:
            await self.websocket.send_message(np.full(FRAME, level, "<i2").tobytes())

    async def speak(self, request_id: object, *levels: int) -> None:
        await self.say("started_speak", request_id=request_id)
        await self.play(*levels)
        await self.say("done", request_id=request_id, duration_s=len(levels) * 0.02)


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[int]:
    """Runs the script for each connection until it closes. Yields the port."""

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        with suppress(trio_websocket.ConnectionClosed):
            await script(Peer(await request.accept()))

    async with serving_requests(handle) as port:
        yield port


@asynccontextmanager
async def serving_requests(
    handle: Callable[[trio_websocket.WebSocketRequest], Awaitable[None]],
) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, handle, "127.0.0.1", 0, None)
        server = await nursery.start(serve)
        yield server.port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_streams(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A server that writes bytes which trio-websocket would not send."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def talking(script: Script) -> AsyncIterator[Session]:
    """A session with a scripted server. A test that hangs fails after 20 s."""
    with trio.fail_after(20):
        async with serving(script) as port, connect("127.0.0.1", port) as session:
            yield session


def levels(samples: NDArray[np.int16]) -> list[int]:
    """The level of each frame."""
    return [int(level) for level in samples[::FRAME]]


async def speak_always(peer: Peer) -> None:
    while True:
        speak = await peer.hear("speak")
        await peer.speak(speak["request_id"], 0, 1000)


async def end_again(peer: Peer) -> None:
    """Sends a frame and a second end after `canceled`."""
    speak = await peer.hear("speak")
    await peer.websocket.send_message(bytes(512))
    await peer.hear("cancel")
    await peer.say("canceled", request_id=speak["request_id"], duration_s=0.0)
    await peer.play(1)
    await peer.say("done", request_id=speak["request_id"], duration_s=0.0)
    await peer.speak((await peer.hear("speak"))["request_id"], 4)
    await trio.sleep_forever()


async def say_nothing(peer: Peer) -> None:
    await trio.sleep_forever()


async def never_answer(peer: Peer) -> None:
    await peer.hear("speak")
    await trio.sleep_forever()
