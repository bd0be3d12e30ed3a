"""The one port: reads a request's head, and hands WebSockets to sessions, the rest to HTTP.

WebSockets do not go through hypercorn: it shields its writes, so a client that stops reading holds a
send for seconds and a shutdown with it, and it costs nearly twice the time per frame.
"""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import h11
import structlog
import trio
import trio_websocket
from attrs import field, frozen

from kokoro_trio.config import ListenConfig, RequestLimits, StreamConfig
from kokoro_trio.engine.engine import Engine, EngineStatistics
from kokoro_trio.errors import AddressUnavailable, Overloaded
from kokoro_trio.exposition import Exposition
from kokoro_trio.metrics import RequestRecord
from kokoro_trio.model.voices import Voice, VoiceCatalogue
from kokoro_trio.server.connection import Connection, ConnectionGone, DeadlineStream, WebSocket
from kokoro_trio.server.http import HttpServer, Readiness, make_app, routed
from kokoro_trio.server.http_speech import RETRY_AFTER_S, HttpSpeech
from kokoro_trio.server.keys import Door
from kokoro_trio.server.messages import WEBSOCKET_PATH
from kokoro_trio.server.openai import SPEECH_PATH
from kokoro_trio.server.origins import CrossOrigin, Headers, Origins, text_of
from kokoro_trio.server.protocol import Protocol
from kokoro_trio.server.session import Session
from kokoro_trio.server.together import TOGETHER_PATH, Together
from kokoro_trio.server.together_connection import TogetherConnection

log = structlog.get_logger()

MAX_HEAD_BYTES = 16_384
CLOSE_FAULT = 1011
HANG_UP_S = 2.0
CLOSE_GENTLY_S = 1.0
SPARE_SOCKETS = 256
"""Beyond the sessions, for plain HTTP and for those who have not said yet what they want."""
_NO_ROOM = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()
_REASONS = {
    "draining": "it is shutting down",
    "loading": "the model is still being loaded",
    "stalled": "the model does not answer",
}
_END_OF_HEAD = b"\r\n\r\n"


@frozen
class Speaker:
    """What sessions share once the model is loaded."""

    voices: VoiceCatalogue
    limits: RequestLimits
    device: str
    device_reason: str = ""


class Listener:
    """Accepts connections from the start; takes WebSockets once it was given a `Speaker`."""

    def __init__(
        self,
        config: ListenConfig,
        stream_config: StreamConfig,
        engine: Engine,
        on_request_end: Callable[[RequestRecord], None],
        exposition: Exposition,
    ) -> None:
        self._config = config
        self._stream_config = stream_config
        self._engine = engine
        self._on_request_end = on_request_end
        self._exposition = exposition
        exposition.watch(engine.statistics, lambda: len(self._sessions))
        self._door = Door(config.api_keys)
        self._origins = Origins.of(config.allowed_origins, needs_local_host=not config.api_keys)
        self._http_speech = HttpSpeech(
            config,
            stream_config,
            self._door,
            engine,
            voices=self._catalogue,
            why_not=self._why_not,
            on_request_end=self._request_ended,
            on_refused=exposition.message_refused,
        )
        metrics = None if config.metrics_port else exposition
        app = make_app(self.readiness, self._voices, self._door, metrics)
        self._http = HttpServer(CrossOrigin(routed(app, SPEECH_PATH, self._http_speech), self._origins))
        self._sessions: dict[Session, int | None] = {}
        """Each with the number of the key that opened the door for it."""
        self.n_sockets = 0
        self._sessions_ended = trio.lowlevel.ParkingLot()
        self._speaker: Speaker | None = None
        self._is_draining = False
        self._grace = trio.CancelScope()

    def open_for(self, speaker: Speaker) -> None:
        self._speaker = speaker

    @property
    def is_open(self) -> bool:
        """Whether there is a `Speaker`."""
        return self._speaker is not None

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; reports the port as started. Raises `AddressUnavailable`."""
        listeners = await open_listeners(self._config.host, self._config.port)
        port: int = listeners[0].socket.getsockname()[1]
        task_status.started(port)
        await trio.serve_listeners(self._serve_stream, listeners)

    async def drain(self, grace_s: float) -> None:
        """Takes no new request, lets outstanding ones finish within `grace_s`, closes every session.

        To be called once.
        """
        self._is_draining = True
        for session in list(self._sessions):
            session.drain()
        self._grace.deadline = trio.current_time() + grace_s
        with self._grace:
            await self._until_no_session()
            await self._http.until_idle()
        for session in list(self._sessions):
            session.hang_up()
        with trio.move_on_after(HANG_UP_S):
            await self._until_no_session()
        await self._http.end_idle_connections()

    def hasten(self) -> None:
        """Ends the grace of a `drain`: what is outstanding is dropped."""
        self._grace.cancel()

    async def hang_up(self) -> None:
        """The engine is gone: closes every session as the fault of the server that it is."""
        for session in list(self._sessions):
            session.hang_up(CLOSE_FAULT, "the engine failed")
        with trio.move_on_after(HANG_UP_S, shield=True):
            await self._until_no_session()

    async def _until_no_session(self) -> None:
        while self._sessions:
            await self._sessions_ended.park()

    def readiness(self) -> Readiness:
        engine = self._engine.statistics()
        speaker = self._speaker
        state = self._state(engine)
        return Readiness(
            is_ready=state == "ready",
            state=state,
            engine="kokoro-82m",
            device=speaker.device if speaker else "",
            device_reason=speaker.device_reason if speaker else "",
            early_audio=engine.early_audio is not None and engine.early_audio.is_on,
            early_audio_reason=engine.early_audio.reason if engine.early_audio else "",
            voices=len(speaker.voices.names) if speaker else 0,
            connections=len(self._sessions),
            active=engine.active,
            waiting=engine.waiting,
            max_concurrent_jobs=self._engine.max_concurrent_jobs,
        )

    def _state(self, engine: EngineStatistics) -> str:
        if self._is_draining:
            return "draining"
        if self._speaker is None:
            return "loading"
        return "stalled" if engine.is_stalled else "ready"

    def _why_not(self) -> Overloaded | None:
        """Where nothing new is spoken now."""
        reason = _REASONS.get(self.readiness().state)
        return None if reason is None else Overloaded(reason=reason)

    def _catalogue(self) -> VoiceCatalogue:
        assert self._speaker is not None, "asked for voices while the model is loading"
        return self._speaker.voices

    def _voices(self) -> list[Voice] | None:
        return None if self._speaker is None else list(self._speaker.voices.voices())

    # One connection.

    async def _serve_stream(self, tcp_stream: trio.SocketStream) -> None:
        self.n_sockets += 1
        try:
            async with containing_faults(tcp_stream):
                await self._serve_request(tcp_stream)
        finally:
            self.n_sockets -= 1

    async def _serve_request(self, tcp_stream: trio.SocketStream) -> None:
        if self.n_sockets > self._config.max_connections + SPARE_SOCKETS:
            await _turn_away(tcp_stream)
            return
        head = None
        with trio.move_on_after(self._config.handshake_timeout_s):
            head = await _read_head(tcp_stream)
        if head is None:
            return
        if (handshake := _websocket_request(head)) is not None:
            stream = DeadlineStream(tcp_stream, head, self._stream_config.send_timeout_s)
            await self._serve_websocket(stream, list(handshake.headers))
        else:
            # A client that reads only as fast as it plays blocks our writes.
            stream = DeadlineStream(tcp_stream, head, self._config.http_send_timeout_s)
            await self._http.serve(stream)

    async def _serve_websocket(self, stream: DeadlineStream, headers: Headers) -> None:
        """`headers`: all of the request, while trio-websocket removes `Host`."""
        async with trio.open_nursery() as nursery:
            with trio.fail_after(self._config.handshake_timeout_s):
                request = await trio_websocket.wrap_server_stream(
                    nursery, stream, max_message_size=self._config.max_message_bytes
                )
            key = self._door.key_for(urlsplit(request.path).query, headers)
            if (refusal := self._refusal(request.path, headers, key)) is not None:
                self._exposition.turned_away(refusal.status)
                await request.reject(
                    refusal.status, extra_headers=refusal.headers, body=refusal.status.phrase.encode()
                )
            else:
                websocket = WebSocket(await request.accept(), stream)
                ping = self._config.ping_interval_s, self._config.ping_timeout_s
                nursery.start_soon(websocket.keep_alive, *ping)
                await self._serve_session(websocket, request.path, key)
            nursery.cancel_scope.cancel()
        await stream.close_gently(CLOSE_GENTLY_S)

    async def _serve_session(self, websocket: WebSocket, path: str, key: int | None) -> None:
        assert self._speaker is not None
        protocol = Protocol(
            session_id=uuid.uuid4().hex,
            voices=self._speaker.voices,
            limits=self._speaker.limits,
            new_request_id=lambda: uuid.uuid4().hex,
        )
        session = Session(
            await self._understood(websocket, path, protocol.session_id),
            protocol,
            self._engine,
            self._stream_config,
            self._request_ended,
            self._exposition.cancel_acknowledged,
            self._exposition.message_refused,
            idle_timeout_s=self._config.idle_timeout_s,
        )
        self._sessions[session] = key
        if self._is_draining:
            session.drain()
        try:
            await session.run()
        except* Exception:
            log.exception("session_failed", session_id=protocol.session_id)
            await websocket.close(CLOSE_FAULT, "the server made a mistake")
        finally:
            del self._sessions[session]
            self._sessions_ended.unpark_all()

    async def _understood(self, websocket: WebSocket, path: str, session_id: str) -> Connection:
        """A connection that speaks our own protocol, whatever the client speaks on this path."""
        assert self._speaker is not None
        url = urlsplit(path)
        if url.path != TOGETHER_PATH:
            return websocket
        dialect = Together(
            session_id,
            dict(reversed(parse_qsl(url.query))),
            self._speaker.voices,
            self._speaker.limits.max_words,
            new_id=lambda: uuid.uuid4().hex,
        )
        return await TogetherConnection.open(websocket, dialect)

    def _request_ended(self, record: RequestRecord) -> None:
        self._exposition.request_ended(record)
        self._on_request_end(record)

    def _refusal(self, path: str, headers: Headers, key: int | None) -> "_Refusal | None":
        """Why a handshake is refused; a key is asked for before anything is told."""
        if urlsplit(path).path not in (WEBSOCKET_PATH, TOGETHER_PATH):
            return _Refusal(HTTPStatus.NOT_FOUND)
        if not self._origins.allow(headers):
            log.info("foreign_origin", origin=text_of(headers, b"origin"), host=text_of(headers, b"host"))
            return _Refusal(HTTPStatus.FORBIDDEN)
        if key is None:
            return _Refusal(HTTPStatus.UNAUTHORIZED, [(b"WWW-Authenticate", b"Bearer")])
        n_of_key = sum(other == key for other in self._sessions.values())
        is_full = (
            len(self._sessions) >= self._config.max_connections
            or n_of_key >= self._config.max_connections_per_key
        )
        if is_full or not self.readiness().is_ready:
            return _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, [(b"Retry-After", b"%d" % RETRY_AFTER_S)])
        return None


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Raises `AddressUnavailable`."""
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise AddressUnavailable(host, port, error.strerror or str(error)) from error


@asynccontextmanager
async def containing_faults(stream: trio.SocketStream) -> AsyncIterator[None]:
    """Closes the stream at the end, and logs what goes wrong: an exception would end the server."""
    try:
        yield
    except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ConnectionGone):
        pass  # A peer that went away, or never finished its handshake.
    except* Exception:
        log.exception("connection_failed")
    finally:
        await trio.aclose_forcefully(stream)


@frozen
class _Refusal:
    status: HTTPStatus
    headers: list[tuple[bytes, bytes]] = field(factory=list)


async def _turn_away(stream: trio.SocketStream) -> None:
    """Without reading: whoever fills the house with silent connections is not waited for."""
    with trio.move_on_after(CLOSE_GENTLY_S):
        await stream.send_all(_NO_ROOM)
        await stream.send_eof()


async def _read_head(stream: trio.SocketStream) -> bytes | None:
    """What was received up to the end of the request's head; None where the peer said nothing whole.

    A head that is over the limit is returned as far as it came: hypercorn has an answer for it.
    """
    received = b""
    while _END_OF_HEAD not in received and len(received) <= MAX_HEAD_BYTES:
        data = await stream.receive_some()
        if not data:
            return None
        received += data
    return received


def _websocket_request(head: bytes) -> h11.Request | None:
    """The request where it asks for a WebSocket."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(head)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError:
        return None  # hypercorn says what is wrong with it.
    if not isinstance(request, h11.Request):
        return None
    upgrades = {value.lower() for name, value in request.headers if name == b"upgrade"}
    return request if b"websocket" in upgrades else None
