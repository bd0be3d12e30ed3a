"""Two mends for trio-websocket, used by both sides.

Drop replies that may no longer be sent while closing, and notice a silent peer.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
import trio_websocket
from wsproto.events import Event, Ping
from wsproto.utilities import LocalProtocolError


class Readable(Protocol):
    """A stream that tells which of its reads is under way."""

    @property
    def pending_read(self) -> object | None:
        """Another object for each read; None while nobody reads."""


def drop_late_replies(websocket: trio_websocket.WebSocketConnection) -> None:
    """Makes a connection that closes drop the frames that it may no longer send.

    The peer may still send a ping, or a message over the limit. trio-websocket answers these, and wsproto
    then raises an error that would end the reading task in the middle of the closing handshake.
    """
    connection = websocket._wsproto
    send = connection.send

    def send_or_drop(event: Event) -> bytes:
        try:
            return send(event)
        except LocalProtocolError:
            if websocket.closed is None:
                raise
            return b""

    connection.send = send_or_drop  # type: ignore[method-assign]


async def send_ping(websocket: trio_websocket.WebSocketConnection) -> None:
    """Returns when the ping is written: a timeout for the pong must not interrupt the write.

    Raises `trio_websocket.ConnectionClosed`.
    """
    await websocket._send(Ping())


async def wait_until_silent(
    stream: Readable, ping: Callable[[], Awaitable[None]], interval_s: float, timeout_s: float
) -> None:
    """Pings every `interval_s`, and returns when the peer sends nothing for `timeout_s` after a ping.

    Any byte is a sign of life, as the pong may be queued behind audio on a slow line. Silence counts only
    while a read is pending: the bytes of a peer that we do not read wait in the kernel.
    """
    await trio.sleep(interval_s)
    while True:
        read = stream.pending_read
        await ping()
        await trio.sleep(timeout_s)
        # After the event loop was blocked, the reader must see first what has arrived meanwhile.
        await trio.lowlevel.checkpoint()
        if read is not None and stream.pending_read is read:
            return
        await trio.sleep(max(0.0, interval_s - timeout_s))
