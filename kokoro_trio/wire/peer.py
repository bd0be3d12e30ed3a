"""Two fixes for trio-websocket, used by server and client: replies while closing, and silent peers."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
import trio_websocket
from wsproto.events import Event, Ping
from wsproto.utilities import LocalProtocolError


class Readable(Protocol):
    """A stream whose pending read can be observed."""

    @property
    def pending_read(self) -> object | None:
        """A new object for each read; None while no read is pending."""


def drop_late_replies(websocket: trio_websocket.WebSocketConnection) -> None:
    """Drops the frames that trio-websocket sends after its close frame.

    While a connection closes, the peer may still send a ping or an over-long message. trio-websocket answers
    these, and wsproto then raises an error that would end the reading task before the closing handshake ends.
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
    """Returns when the ping is written, so that a timeout for the pong cannot interrupt the write.

    Raises `trio_websocket.ConnectionClosed`.
    """
    await websocket._send(Ping())


async def wait_until_silent(
    stream: Readable, ping: Callable[[], Awaitable[None]], interval_s: float, timeout_s: float
) -> None:
    """Pings every `interval_s`, and returns when the peer sends nothing for `timeout_s` after a ping.

    Any received byte counts, because the pong may be queued behind audio on a slow line. Silence counts only
    while a read is pending, because without one the peer's bytes wait in the kernel.
    """
    await trio.sleep(interval_s)
    while True:
        read = stream.pending_read
        await ping()
        await trio.sleep(timeout_s)
        # If the event loop was blocked, the reader must first receive the data that has arrived meanwhile.
        await trio.lowlevel.checkpoint()
        if read is not None and stream.pending_read is read:
            return
        await trio.sleep(max(0.0, interval_s - timeout_s))
