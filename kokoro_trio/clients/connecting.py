"""Connecting to a server, from arguments or from the options of a command line."""

import argparse
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from urllib.parse import quote

import trio
import trio_websocket
import wsproto

from kokoro_trio.clients.backoff import parse_retry_after
from kokoro_trio.clients.errors import ConnectFailed, HandshakeRejected
from kokoro_trio.clients.session import ClientSession, loss_of
from kokoro_trio.config import ClientConfig
from kokoro_trio.wire.messages import WEBSOCKET_PATH
from kokoro_trio.wire.peer import drop_late_replies

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
PING_INTERVAL_S = 20.0
"""The client notices a dead server within twice this time. Routers forget an idle connection after a minute
or more."""
MAX_MESSAGE_BYTES = 2**24
"""Above the largest binary frame that a server can be set to send (`WS_BUFFER_BYTES`, 10 MB)."""
RECEIVE_BYTES = 2**16
"""A second of audio or more for each read; trio-websocket's 4 KiB would be 80 ms."""
URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~"
"""The characters of a path and its query that are not escaped, beside letters and digits."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    api_key: str | None = None,
    tls: bool | ssl.SSLContext = False,
    path: str = WEBSOCKET_PATH,
    timeout_s: float = CONNECT_TIMEOUT_S,
    ping_interval_s: float = PING_INTERVAL_S,
) -> AsyncIterator[ClientSession]:
    """Is connected while the block runs; requests that are outstanding at its end are dropped.

    `timeout_s` limits each of three steps: reaching the server, the handshake, and the answer to `start`,
    where each received frame restarts it. The client pings every `ping_interval_s`; if the server sends
    nothing for as long after a ping, the connection counts as lost. `tls` may be an SSL context, for
    certificates that the system does not trust. Raises `ConnectFailed`, `HandshakeRejected`, and ValueError
    for an `api_key` that a header cannot hold. If the connection is lost later, every call that waits for
    the server raises `ConnectionLost`.
    """
    headers = authorization(api_key)
    tcp_stream = await _open_stream(host, port, tls, timeout_s)
    async with tcp_stream, open_nursery_of_plain_errors() as nursery:
        stream = _WatchedStream(tcp_stream)
        websocket = await _shake_hands(nursery, stream, (host, port), path, headers, timeout_s)
        session = ClientSession(websocket, timeout_s)
        nursery.start_soon(session._receive_until_lost)
        nursery.start_soon(session._watch, stream, ping_interval_s)
        try:
            yield session
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT_S):
                await websocket.aclose()
                await session.wait_until_lost()  # So that each speech gets its end.
            nursery.cancel_scope.cancel()


async def _open_stream(host: str, port: int, tls: bool | ssl.SSLContext, timeout_s: float) -> Stream:
    try:
        with trio.fail_after(timeout_s):
            tcp_stream = await trio.open_tcp_stream(host, port)
            return await _secure(tcp_stream, host, tls) if tls else tcp_stream
    except trio.TooSlowError:
        over = " over TLS" if tls else ""
        raise ConnectFailed(host, port, f"no answer{over} within {timeout_s:g} s") from None
    except OSError as error:
        raise ConnectFailed(host, port, "connection refused, or host unreachable") from error
    except UnicodeError as error:
        raise ConnectFailed(host, port, f"invalid host name: {error}") from error
    except trio.BrokenResourceError as error:
        raise ConnectFailed(host, port, f"TLS failed: {error.__cause__ or 'the server hung up'}") from error


async def _secure(
    stream: trio.SocketStream, host: str, tls: bool | ssl.SSLContext
) -> trio.SSLStream[trio.SocketStream]:
    context = tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context()
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except (trio.BrokenResourceError, trio.Cancelled):
        await trio.aclose_forcefully(stream)
        raise
    return secured


def authorization(api_key: str | None) -> list[tuple[bytes, bytes]]:
    """The header with the key, because proxies would log a URL with it. Raises ValueError."""
    key = (api_key or "").strip()
    if not key.isprintable():
        raise ValueError("the API key contains control characters")
    return [(b"Authorization", b"Bearer " + key.encode())] if key else []


async def _shake_hands(
    nursery: trio.Nursery,
    stream: "_WatchedStream",
    address: tuple[str, int],
    path: str,
    headers: list[tuple[bytes, bytes]],
    timeout_s: float,
) -> trio_websocket.WebSocketConnection:
    host, port = address
    websocket = trio_websocket.WebSocketConnection(
        stream,
        wsproto.WSConnection(wsproto.ConnectionType.CLIENT),
        host=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        path=quote(path, safe=URL_CHARACTERS),
        client_extra_headers=headers,
        max_message_size=MAX_MESSAGE_BYTES,
        receive_buffer_size=RECEIVE_BYTES,
    )
    drop_late_replies(websocket)
    with trio.move_on_after(timeout_s) as scope:
        stream.on_end = scope.cancel
        nursery.start_soon(websocket._reader_task)
        await websocket._open_handshake.wait()
        return websocket
    if stream.has_ended:
        raise ConnectFailed(host, port, "the server hung up during the WebSocket handshake")
    raise ConnectFailed(host, port, f"no WebSocket handshake within {timeout_s:g} s")


class _WatchedStream(trio.abc.Stream):
    """Reports its end, which trio-websocket does not notice during a handshake, and its pending read."""

    def __init__(self, stream: Stream) -> None:
        self.has_ended = False
        self.on_end: Callable[[], None] = lambda: None
        self.pending_read: object | None = None
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.pending_read = object()
        try:
            with self._watched():
                data = bytes(await self._stream.receive_some(max_bytes))
        finally:
            self.pending_read = None
        if not data:
            self._end()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._watched():
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end()
            raise

    def _end(self) -> None:
        self.has_ended = True
        self.on_end()


@asynccontextmanager
async def open_nursery_of_plain_errors() -> AsyncIterator[trio.Nursery]:
    """A nursery that raises a single exception, of its block or of a task, without a group.

    It replaces exceptions of trio-websocket, whose tasks run in it, by those of the clients.
    """
    error = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        _, rest = group.split(trio.Cancelled)
        if rest is None or len(rest.exceptions) > 1:
            raise
        error = rest.exceptions[0]
    if isinstance(error, trio_websocket.ConnectionRejected):
        raise _rejection(error) from error
    if isinstance(error, trio_websocket.ConnectionClosed):
        raise loss_of(error) from error
    if error is not None:
        raise error


def _rejection(rejected: trio_websocket.ConnectionRejected) -> HandshakeRejected:
    headers = {name.lower(): value for name, value in rejected.headers}
    retry_after = headers.get(b"retry-after", b"").decode("latin-1")
    return HandshakeRejected(rejected.status_code, parse_retry_after(retry_after))


# The command lines of the scripts and of the bench.


def connection_options() -> argparse.ArgumentParser:
    """A parent parser of the options that `connect_with` reads. Raises `BadKnob` and `SettingsUnreadable`."""
    config = ClientConfig.load()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--host", default=config.host, help="the server's host (default: %(default)s)")
    parser.add_argument("--port", type=int, default=config.port, help="default: %(default)s")
    parser.add_argument("--api-key", default=config.api_key, help="default: the first key of API_KEY")
    parser.add_argument("--tls", action="store_true", help="connect with wss instead of ws")
    return parser


def connect_with(options: argparse.Namespace) -> AbstractAsyncContextManager[ClientSession]:
    """Connects with the options of a command line; see `connect`."""
    return connect(options.host, options.port, api_key=options.api_key, tls=options.tls)
