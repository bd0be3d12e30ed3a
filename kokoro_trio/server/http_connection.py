"""HTTP/1.1 on one connection: reads requests one by one and lets an ASGI application answer each.

h11 parses and serialises, and hypercorn turns a request into an ASGI exchange. hypercorn's own connection is
not used for three reasons: it reads ahead into a queue, in which application and reader can deadlock; it
keeps the connection, so a later WebSocket request never reaches the listener; and it accepts HTTP/2. Here
`receive` reads from the socket, and there is no queue.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import h11
import structlog
import trio
from attrs import define, field
from hypercorn.config import Config as HypercornConfig
from hypercorn.protocol import events
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from kokoro_trio.config import ListenConfig
from kokoro_trio.server.connection import DeadlineStream
from kokoro_trio.server.http_speech import Application, Event
from kokoro_trio.server.openai import SPEECH_PATH
from kokoro_trio.telemetry.telemetry import Telemetry
from kokoro_trio.wire.limits import MAX_HEAD_BYTES, MAX_READ_AHEAD_BYTES

log = structlog.get_logger()

KEEP_ALIVE_S = 30.0
_RECEIVE_BYTES = 65_536
_VERSIONS = (b"1.0", b"1.1")
_ORIGIN = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
_HYPERCORN = HypercornConfig()
_HYPERCORN.accesslog = None
_HYPERCORN.errorlog = None
"""hypercorn's error log covers its own server and task group, which we do not use."""


@define(eq=False)
class HttpServer:
    """The state that the connections of a port share."""

    app: Application
    config: ListenConfig
    telemetry: Telemetry
    is_draining: bool = False
    """Each response then closes its connection, so that clients reconnect to another server."""
    _n_outstanding: int = 0
    _answered: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    async def until_idle(self) -> None:
        """Waits until the response to every received request was sent or abandoned."""
        while self._n_outstanding:
            await self._answered.park()

    @contextmanager
    def outstanding(self) -> Iterator[None]:
        self._n_outstanding += 1
        try:
            yield
        finally:
            self._n_outstanding -= 1
            self._answered.unpark_all()


@define(eq=False)
class HttpConnection:
    """One connection. Call `next_request` and `answer` in turn until `next_request` returns None."""

    _server: HttpServer
    _stream: DeadlineStream
    head: bytearray = field(factory=bytearray)
    """All bytes received of the current request when its head was complete."""
    _parser: h11.Connection = field(
        factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    )
    _has_ended: bool = False
    """The client has closed its sending side. It may still read."""
    _gone: trio.Event = field(factory=trio.Event)
    """Set when no more data can be received from the client or sent to it."""
    _scope: Event = field(factory=dict)

    async def next_request(self) -> h11.Request | None:
        """None if the client left, was too slow, or sent a malformed request, which is answered here."""
        timeout_s = self._server.config.handshake_timeout_s
        if self._parser.our_state is not h11.IDLE:
            if self._is_gone or {*self._parser.states.values()} != {h11.DONE}:
                return None
            self._parser.start_next_cycle()
            timeout_s = KEEP_ALIVE_S
        self.head = bytearray(self._parser.trailing_data[0])
        with trio.move_on_after(timeout_s):
            return await self._read_head()
        return None

    async def _read_head(self) -> h11.Request | None:
        try:
            while (event := self._parser.next_event()) is h11.NEED_DATA:
                data = await self._read()
                if not data:
                    return None
                self.head += data
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return None
        assert isinstance(event, h11.Request)
        # h11 measures a head only while it is incomplete.
        if len(self.head) - len(self._parser.trailing_data[0]) > MAX_HEAD_BYTES:
            await self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif event.http_version not in _VERSIONS:
            await self._refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        elif not _path_of(event).startswith(b"/"):
            await self._refuse(HTTPStatus.BAD_REQUEST)
        return None if self._is_gone else event

    async def answer(self, request: h11.Request) -> None:
        """Runs the application, then reads the rest of the body."""
        stream = HTTPStream(
            self._server.app,  # type: ignore[arg-type]  # `spawn_app` gets it and does not call it
            _HYPERCORN,
            WorkerContext(None),
            self,  # type: ignore[arg-type]  # it uses only `spawn_app` of a task group
            ssl=False,
            client=None,
            server=None,
            send=self._send,
            stream_id=0,
        )
        with self._server.outstanding():
            await stream.handle(
                events.Request(
                    stream_id=0,
                    headers=list(request.headers),
                    http_version=request.http_version.decode(),
                    method=request.method.decode(),
                    raw_path=_path_of(request),
                    state=ConnectionState({}),
                )
            )
            try:
                await self._server.app(self._scope, self._receive, stream.app_send)  # type: ignore[arg-type]
            except* Exception:
                log.exception("http_request_failed", path=self._scope["path"])
            await stream.app_send(None)  # Answers with 500 if the application did not answer.
        # If we closed now, a client that is still sending would be reset and would not see its answer.
        with trio.move_on_after(self._server.config.handshake_timeout_s):
            while self._is_sending_body and self._parser.our_state in (h11.DONE, h11.MUST_CLOSE):
                await self._receive()

    async def spawn_app(self, app: object, config: object, scope: Event, send: object) -> None:
        """Called by hypercorn's stream with the ASGI scope of the request."""
        self._scope = scope

    @property
    def _is_gone(self) -> bool:
        return self._gone.is_set()

    @property
    def _is_sending_body(self) -> bool:
        return self._parser.their_state is h11.SEND_BODY and not self._is_gone

    async def _receive(self) -> Event:
        """The application's `receive`. After the body it waits until the client leaves."""
        while self._is_sending_body:
            if self._parser.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                break
            if isinstance(event, h11.Data):
                # One read may contain ten thousand chunks of one byte.
                await trio.lowlevel.checkpoint()
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            if isinstance(event, h11.EndOfMessage):
                return {"type": "http.request", "body": b"", "more_body": False}
            if not await self._read():
                self._gone.set()
        while not self._is_gone:
            if self._has_ended and self._scope["path"] == SPEECH_PATH:
                # A client that has left looks the same, and its speech would hold a slot.
                self._gone.set()
            elif self._has_ended or len(self._parser.trailing_data[0]) > MAX_READ_AHEAD_BYTES:
                await self._gone.wait()
            else:
                await self._read()
        return {"type": "http.disconnect"}

    async def _read(self) -> bytes:
        """Empty at the end of the client's data."""
        try:
            data = await self._stream.receive_some(_RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._gone.set()
            return b""
        if data:
            self._parser.receive_data(data)
        else:
            self._has_ended = True
        return data

    async def _send(self, event: events.Event) -> None:
        """Writes an event of the application, as hypercorn's stream passes it on."""
        match event:
            case events.Response():
                headers = [*event.headers, *_HYPERCORN.response_headers("h11")]
                await self._respond(event.status_code, headers)
            case events.Body():
                await self._write(h11.Data(data=event.data))
            case events.EndBody():
                await self._write(h11.EndOfMessage())

    async def _respond(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if status >= 400 and not self._is_gone:
            self._server.telemetry.http_refused(status)
        if self._server.is_draining:
            headers.append((b"connection", b"close"))
        await self._write(h11.Response(status_code=status, headers=headers))

    async def _refuse(self, status: int) -> None:
        """Ends the connection after a malformed request; answers it if the application has not begun to."""
        data = b""
        if self._parser.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._server.telemetry.http_refused(status)
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            data = self._parser.send(h11.Response(status_code=status, headers=headers)) or b""
        # Before the write, because the application may begin its answer during it.
        self._gone.set()
        await self._send_all(data)

    async def _write(self, event: h11.Event) -> None:
        if not self._is_gone:
            await self._send_all(self._parser.send(event) or b"")

    async def _send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._gone.set()
            await trio.aclose_forcefully(self._stream.stream)  # Ends a pending `receive`.


def _path_of(request: h11.Request) -> bytes:
    """The path with its query. A client that talks to a proxy sends an origin before it."""
    origin = _ORIGIN.match(request.target)
    return request.target[origin.end() :] if origin else request.target
