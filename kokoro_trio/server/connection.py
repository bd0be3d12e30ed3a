"""What a session needs of its peer, and how trio-websocket gives it."""

import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

import trio
import trio_websocket
from attrs import define

from kokoro_trio.wire.peer import drop_late_replies, send_ping, wait_until_silent

_LINGER_AND_RESET = struct.pack("ii", 1, 0)
_DISCARD_BYTES = 65_536
_PARSER_COMPLAINTS = {1002, 1007}
"""Close codes for malformed frames, and for text that is not UTF-8."""
_TEXT, _BINARY = 0x81, 0x82
"""FIN and opcode 1 or 2."""
_CLOSE_FRAME = struct.Struct("!BBH")
"""From a server, which masks nothing: FIN and opcode 8, two bytes of payload, and those, the code."""


class ConnectionGone(Exception):
    """The peer closed, died, or stopped reading."""


class Connection(Protocol):
    """One peer. `send` and `close` are called from one task at a time; a `send` is never cancelled."""

    @property
    def is_congested(self) -> bool:
        """What is sent now has to wait for the peer to read."""

    async def receive(self) -> str | bytes:
        """The next message. Raises `ConnectionGone`."""

    async def send(self, message: str | bytes) -> None:
        """Raises `ConnectionGone`."""

    async def send_many(self, messages: Sequence[str | bytes]) -> None:
        """As `send` of each, one after the other."""

    async def close(self, code: int, reason: str) -> None:
        """Says goodbye with a close code; does nothing where the connection is gone."""


class DeadlineStream(trio.abc.HalfCloseableStream):
    """A TCP stream that was already read from, and whose peer must go on reading.

    A write that takes longer than `send_timeout_s` resets the connection: half a message is out by
    then, so nothing more can be said on it.
    """

    def __init__(self, stream: trio.SocketStream, already_read: bytes, send_timeout_s: float) -> None:
        self.stream = stream
        self.socket = stream.socket
        self._already_read = already_read
        self._send_timeout_s = send_timeout_s
        self._writable = select.poll()
        self._writable.register(stream.socket.fileno(), select.POLLOUT)
        self._sending = trio.StrictFIFOLock()
        self.pending_read: object | None = None
        self.last_words: Callable[[], bytes] = bytes
        """Asked for what is still to be sent before the stream is closed."""

    @property
    def is_congested(self) -> bool:
        """The kernel holds as much for the peer as it takes: with trio's TCP_NOTSENT_LOWAT that is 16 KiB."""
        return not self._writable.poll(0)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Whole, whoever else sends: trio-websocket answers a ping in the midst of our audio."""
        with trio.move_on_after(self._send_timeout_s):
            async with self._sending:
                await self.stream.send_all(data)
            return
        await self.abort()
        raise trio.BrokenResourceError("the peer does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._already_read:
            n_bytes = len(self._already_read) if max_bytes is None else max_bytes
            data, self._already_read = self._already_read[:n_bytes], self._already_read[n_bytes:]
            await trio.lowlevel.checkpoint()
            return data
        self.pending_read = object()
        try:
            return await self.stream.receive_some(max_bytes)
        finally:
            self.pending_read = None

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        if self._sending.locked() and self.last_words():
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.send_all(b"")  # When the write that is under way has ended.
        self._say_last_words()
        await self.stream.aclose()

    async def abort(self) -> None:
        """Drops the connection now, with whatever the kernel still holds for it."""
        if self.socket.fileno() != -1:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
        await trio.aclose_forcefully(self.stream)

    def _say_last_words(self) -> None:
        """Once, and without a checkpoint: a session that ends cancels whoever is about to say them.

        They are few bytes. Where the peer does not read, or half a message lies before them, they are lost.
        """
        words, self.last_words = self.last_words(), bytes
        if words and not self._sending.locked() and self.socket.fileno() != -1:
            with suppress(OSError):
                os.write(self.socket.fileno(), words)

    async def close_gently(self, timeout_s: float) -> None:
        """Closes so that what was sent arrives.

        Closing a socket with unread input resets it, and a reset overtakes what was sent; so the rest
        of an over-long message is read away first, for a while. Nobody else may be reading.
        """
        with trio.move_on_after(timeout_s):
            try:
                await self.stream.send_eof()
                while await self.stream.receive_some(_DISCARD_BYTES):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # The peer was faster.
        await trio.aclose_forcefully(self.stream)


def _framed(message: str | bytes) -> bytes:
    """As a WebSocket frame (RFC 6455, section 5.2) from a server, which masks nothing."""
    opcode, payload = (_TEXT, message.encode()) if isinstance(message, str) else (_BINARY, message)
    n_bytes = len(payload)
    if n_bytes < 126:
        return bytes([opcode, n_bytes]) + payload
    if n_bytes < 2**16:
        return struct.pack("!BBH", opcode, 126, n_bytes) + payload
    return struct.pack("!BBQ", opcode, 127, n_bytes) + payload


@define
class WebSocket:
    """A `Connection` over trio-websocket."""

    _websocket: trio_websocket.WebSocketConnection
    _stream: DeadlineStream

    @property
    def is_congested(self) -> bool:
        return self._stream.is_congested

    def __attrs_post_init__(self) -> None:
        drop_late_replies(self._websocket)
        self._stream.last_words = self._complaint

    def _complaint(self) -> bytes:
        """trio-websocket takes its parser's complaint for the peer's own close, and just hangs up."""
        reason = self._websocket.closed
        if reason is None or reason.code not in _PARSER_COMPLAINTS:
            return b""
        return _CLOSE_FRAME.pack(0x88, 2, reason.code)

    async def receive(self) -> str | bytes:
        with _raising_connection_gone():
            return await self._websocket.get_message()

    async def send(self, message: str | bytes) -> None:
        await self._write(partial(self._websocket.send_message, message))

    async def send_many(self, messages: Sequence[str | bytes]) -> None:
        """In one write: trio-websocket takes four locks and a system call for each, which at hundreds of
        listeners is most of the work there is."""
        if len(messages) == 1:
            await self.send(messages[0])
            return
        if self._websocket.closed is not None:
            raise ConnectionGone(str(self._websocket.closed.reason))
        with trio.CancelScope(shield=True):
            try:
                await self._stream.send_all(b"".join(map(_framed, messages)))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as gone:
                raise ConnectionGone("the peer is gone") from gone

    async def close(self, code: int, reason: str, *, timeout_s: float = 1.0) -> None:
        with trio.move_on_after(timeout_s, shield=True):
            await self._websocket.aclose(code, reason)

    async def keep_alive(self, interval_s: float, timeout_s: float) -> None:
        """Pings until the connection is gone, and drops it when the peer stays silent after a ping."""
        ping = partial(self._write, partial(send_ping, self._websocket))
        with suppress(ConnectionGone):
            await wait_until_silent(self._stream, ping, interval_s, timeout_s)
            await self._stream.abort()

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        # Half a frame breaks the framing for good, so a write is finished; the stream bounds it.
        with trio.CancelScope(shield=True), _raising_connection_gone():
            await write()


@contextmanager
def _raising_connection_gone() -> Iterator[None]:
    try:
        yield
    except trio_websocket.ConnectionClosed as closed:
        raise ConnectionGone(str(closed.reason)) from closed
