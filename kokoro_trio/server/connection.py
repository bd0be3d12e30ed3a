"""The connection of a session: its interface, and its implementation over trio-websocket."""

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
_PARSER_ERRORS = {1002, 1007}
"""Close codes for malformed frames and for text that is not UTF-8."""
_TEXT, _BINARY = 0x81, 0x82
"""FIN and opcode 1 or 2."""
_CLOSE_FRAME = struct.Struct("!BBH")
"""Unmasked, as servers send it: FIN and opcode 8, the payload's length of two bytes, and the code."""


class ConnectionGone(Exception):
    """The peer closed the connection, died, or stopped reading."""


class Connection(Protocol):
    """One task at a time calls `send` and `close`. A `send` is never cancelled halfway."""

    @property
    def is_congested(self) -> bool:
        """Whether a frame that is sent now waits until the peer reads."""

    async def receive(self) -> str | bytes:
        """The next message. Raises `ConnectionGone`."""

    async def send(self, messages: Sequence[str | bytes]) -> None:
        """Raises `ConnectionGone`."""

    async def close(self, code: int, reason: str) -> None:
        """Sends a close code; does nothing if the connection is gone."""


class DeadlineStream(trio.abc.HalfCloseableStream):
    """A TCP stream with a timeout for writes.

    A write that takes longer than `send_timeout_s` resets the connection: half a message is sent by then, so
    nothing can follow it. `already_read` is returned by `receive_some` first.
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
        self.closing_bytes: Callable[[], bytes] = bytes
        """Returns the bytes to send before the stream is closed."""

    @property
    def is_congested(self) -> bool:
        """Whether the kernel's send buffer is full. Trio's TCP_NOTSENT_LOWAT limits it to 16 KiB."""
        return not self._writable.poll(0)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Locked, because trio-websocket answers pings from another task while we send audio."""
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
        if self._sending.locked() and self.closing_bytes():
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.send_all(b"")  # Waits for the write that is in progress.
        self._send_closing_bytes()
        await self.stream.aclose()

    async def abort(self) -> None:
        """Resets the connection and discards unsent data."""
        if self.socket.fileno() != -1:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
        await trio.aclose_forcefully(self.stream)

    def _send_closing_bytes(self) -> None:
        """Sends them once and without a checkpoint, because the task of a session that ends is cancelled.

        The few bytes are lost if the peer does not read or if half a message was sent before.
        """
        data, self.closing_bytes = self.closing_bytes(), bytes
        if data and not self._sending.locked() and self.socket.fileno() != -1:
            with suppress(OSError):
                os.write(self.socket.fileno(), data)

    async def close_gently(self, timeout_s: float) -> None:
        """Closes so that the data sent before arrives. No other task may be reading.

        Closing a socket with unread input resets the connection, and the peer then loses data that it has not
        read. So the rest of an over-long message is read and discarded first, for at most `timeout_s`.
        """
        with trio.move_on_after(timeout_s):
            try:
                await self.stream.send_eof()
                while await self.stream.receive_some(_DISCARD_BYTES):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # The peer closed first.
        await trio.aclose_forcefully(self.stream)


def _framed(message: str | bytes) -> bytes:
    """An unmasked WebSocket frame (RFC 6455, section 5.2)."""
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
        self._stream.closing_bytes = self._close_frame

    def _close_frame(self) -> bytes:
        """The close frame that trio-websocket leaves out when its parser fails: it closes the stream only."""
        reason = self._websocket.closed
        if reason is None or reason.code not in _PARSER_ERRORS:
            return b""
        return _CLOSE_FRAME.pack(0x88, 2, reason.code)

    async def receive(self) -> str | bytes:
        with _raising_connection_gone():
            return await self._websocket.get_message()

    async def send(self, messages: Sequence[str | bytes]) -> None:
        """Sends several messages in one write. trio-websocket needs four locks and a system call for each
        message, which at hundreds of listeners is most of the server's work.
        """
        if len(messages) == 1:
            await self._write(partial(self._websocket.send_message, messages[0]))
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
        """Pings until the connection is gone, and resets it when the peer stays silent after a ping."""
        ping = partial(self._write, partial(send_ping, self._websocket))
        with suppress(ConnectionGone):
            await wait_until_silent(self._stream, ping, interval_s, timeout_s)
            await self._stream.abort()

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        # Half a frame would break the framing, so a write is never cancelled; the stream limits its time.
        with trio.CancelScope(shield=True), _raising_connection_gone():
            await write()


@contextmanager
def _raising_connection_gone() -> Iterator[None]:
    try:
        yield
    except trio_websocket.ConnectionClosed as closed:
        raise ConnectionGone(str(closed.reason)) from closed
