"""The server's port: reads the head of each request, and hands over the connection.

trio-websocket serves WebSockets, and `HttpConnection` serves everything else.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import parse_qsl

import h11
import structlog
import trio
import trio_websocket
from attrs import field, frozen

from kokoro_trio.config import ListenConfig, RequestLimits, StreamConfig
from kokoro_trio.engine.engine import Engine, EngineStatistics
from kokoro_trio.errors import AddressUnavailable, Overloaded
from kokoro_trio.model.voices import Voice, VoiceCatalogue
from kokoro_trio.server.connection import ConnectionGone, DeadlineStream, WebSocket
from kokoro_trio.server.dialects import DIALECTS
from kokoro_trio.server.dialects.dialect import Opening
from kokoro_trio.server.http import Readiness, make_app, routed
from kokoro_trio.server.http_connection import HttpConnection, HttpServer
from kokoro_trio.server.http_speech import RETRY_AFTER_S, HttpSpeech
from kokoro_trio.server.keys import ApiKeys, Seats
from kokoro_trio.server.openai import SPEECH_PATH
from kokoro_trio.server.origins import CrossOrigin, Headers, Origins, header_text
from kokoro_trio.server.protocol import Protocol
from kokoro_trio.server.session import Session
from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from kokoro_trio.wire.limits import SPARE_SOCKETS
from kokoro_trio.wire.messages import CLOSE_FAULT

log = structlog.get_logger()

HANG_UP_S = 2.0
CLOSE_GENTLY_S = 1.0
_NO_ROOM = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()
_PEER_LEFT = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    trio_websocket.ConnectionClosed,
    ConnectionGone,
)
"""Raised when a peer leaves or does not finish its handshake."""
_REASONS = {
    "draining": "it is shutting down",
    "loading": "the model is still being loaded",
    "stalled": "a step of the model takes too long",
}


@frozen
class LoadedModel:
    """The voices, limits and device that are known once the model is loaded."""

    voices: VoiceCatalogue
    limits: RequestLimits
    device: str
    device_reason: str = ""


class Listener:
    """Accepts connections from the start, and WebSockets when it has a `LoadedModel`."""

    def __init__(
        self,
        config: ListenConfig,
        stream_config: StreamConfig,
        engine: Engine,
        telemetry: PrometheusMetrics,
    ) -> None:
        self._config = config
        self._stream_config = stream_config
        self._engine = engine
        self._telemetry = telemetry
        telemetry.watch(engine.statistics, lambda: len(self._sessions))
        self._api_keys = ApiKeys(config.api_keys)
        self._origins = Origins.of(config.allowed_origins, needs_local_host=not config.api_keys)
        self._seats = Seats(config.max_connections, config.max_connections_per_key)
        speech = HttpSpeech(
            config,
            stream_config,
            self._api_keys,
            self._seats,
            engine,
            telemetry,
            self._catalogue,
            self._overloaded,
        )
        served = None if config.metrics_port else telemetry
        app = make_app(self.readiness, self._voices, self._api_keys, served)
        routes = CrossOrigin(routed(app, SPEECH_PATH, speech), self._origins)
        self._http = HttpServer(routes, config, telemetry)
        self._sessions: set[Session] = set()
        self.n_sockets = 0
        self._unauthenticated: dict[trio.CancelScope, None] = {}
        """Sockets without a valid key so far, the oldest first. Cancelling a scope closes its socket."""
        self._sessions_ended = trio.lowlevel.ParkingLot()
        self._model: LoadedModel | None = None
        self._is_draining = False
        self._grace = trio.CancelScope()

    def open_for(self, model: LoadedModel) -> None:
        self._model = model

    @property
    def is_open(self) -> bool:
        """Whether the model is loaded."""
        return self._model is not None

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; reports the port as started. Raises `AddressUnavailable`."""
        listeners = await open_listeners(self._config.host, self._config.port)
        port: int = listeners[0].socket.getsockname()[1]
        task_status.started(port)
        await trio.serve_listeners(self._serve_stream, listeners)

    async def drain(self, grace_s: float) -> None:
        """Refuses new requests, lets outstanding ones finish within `grace_s`, and closes every session.

        Call it once.
        """
        self._is_draining = self._http.is_draining = True
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

    def skip_grace(self) -> None:
        """Ends the grace period of `drain` and drops the outstanding requests."""
        self._grace.cancel()

    async def hang_up(self) -> None:
        """Closes every session with a server error after the engine has failed."""
        for session in list(self._sessions):
            session.hang_up(CLOSE_FAULT, "the engine failed")
        with trio.move_on_after(HANG_UP_S, shield=True):
            await self._until_no_session()

    async def _until_no_session(self) -> None:
        while self._sessions:
            await self._sessions_ended.park()

    def readiness(self) -> Readiness:
        engine = self._engine.statistics()
        model = self._model
        state = self._state(engine)
        return Readiness(
            is_ready=state == "ready",
            state=state,
            engine="kokoro-82m",
            device=model.device if model else "",
            device_reason=model.device_reason if model else "",
            early_audio=engine.early_audio is not None and engine.early_audio.is_on,
            early_audio_reason=engine.early_audio.reason if engine.early_audio else "",
            voices=len(model.voices.names) if model else 0,
            connections=len(self._sessions),
            active=engine.active,
            waiting=engine.waiting,
            max_concurrent_jobs=self._engine.max_concurrent_jobs,
        )

    def _state(self, engine: EngineStatistics) -> str:
        if self._is_draining:
            return "draining"
        if self._model is None:
            return "loading"
        return "stalled" if engine.is_stalled else "ready"

    def _overloaded(self) -> Overloaded | None:
        """The error for new requests; None while they are accepted."""
        reason = _REASONS.get(self.readiness().state)
        return None if reason is None else Overloaded(reason=reason)

    def _catalogue(self) -> VoiceCatalogue:
        assert self._model is not None, "the voices are unknown while the model is loading"
        return self._model.voices

    def _voices(self) -> list[Voice] | None:
        return None if self._model is None else list(self._model.voices.voices())

    # One connection.

    async def _serve_stream(self, tcp_stream: trio.SocketStream) -> None:
        self.n_sockets += 1
        with trio.CancelScope() as scope:
            self._unauthenticated[scope] = None
            try:
                async with containing_faults(tcp_stream):
                    if self._make_room_for(scope):
                        await self._serve_requests(tcp_stream, scope)
                    else:
                        self._telemetry.http_refused(HTTPStatus.SERVICE_UNAVAILABLE)
                        await _turn_away(tcp_stream)
            finally:
                self._unauthenticated.pop(scope, None)
                self.n_sockets -= 1

    def _make_room_for(self, newcomer: trio.CancelScope) -> bool:
        """Drops the oldest socket without a key if there is no room, so that clients with a key get in."""
        if (
            len(self._unauthenticated) <= SPARE_SOCKETS
            and self.n_sockets <= self._config.max_connections + SPARE_SOCKETS
        ):
            return True
        oldest = next(iter(self._unauthenticated))
        if oldest is newcomer:
            return False
        del self._unauthenticated[oldest]
        oldest.cancel()
        return True

    async def _serve_requests(self, tcp_stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        # A client that reads only as fast as it plays blocks our writes.
        stream = DeadlineStream(tcp_stream, b"", self._config.http_send_timeout_s)
        connection = HttpConnection(self._http, stream)
        while (request := await connection.next_request()) is not None:
            key = self._api_keys.key_for(_query_of(request.target.decode("ascii")), request.headers)
            if key is not None:
                self._unauthenticated.pop(scope, None)
            if _asks_for_websocket(request):
                stream = DeadlineStream(
                    tcp_stream, bytes(connection.head), self._stream_config.send_timeout_s
                )
                await self._serve_websocket(stream, request, key)
                return
            await connection.answer(request)
        await stream.close_gently(CLOSE_GENTLY_S)

    async def _serve_websocket(self, stream: DeadlineStream, handshake: h11.Request, key: int | None) -> None:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(self._config.handshake_timeout_s):
                request = await trio_websocket.wrap_server_stream(
                    nursery, stream, max_message_size=self._config.max_message_bytes
                )
            # The headers come from h11, because trio-websocket removes `Host`.
            if (refusal := self._refusal(request.path, list(handshake.headers), key)) is not None:
                self._telemetry.handshake_refused(refusal.status)
                headers = [*refusal.headers, (b"Connection", b"close")]
                body = refusal.status.phrase.encode()
                await request.reject(refusal.status, extra_headers=headers, body=body)
            else:
                assert key is not None
                # No `await` between check and seat, or concurrent handshakes would take the same seat.
                with self._seats.taken_by(key):
                    websocket = WebSocket(await request.accept(), stream)
                    ping = self._config.ping_interval_s, self._config.ping_timeout_s
                    nursery.start_soon(websocket.keep_alive, *ping)
                    await self._serve_session(websocket, request.path)
            nursery.cancel_scope.cancel()
        await stream.close_gently(CLOSE_GENTLY_S)

    async def _serve_session(self, websocket: WebSocket, path: str) -> None:
        opening = self._opening(path)
        session = Session(
            websocket,
            DIALECTS[_without_query(path)](opening),
            Protocol(opening.session_id, opening.voices, opening.limits, new_id),
            self._engine,
            self._stream_config,
            self._telemetry,
            idle_timeout_s=self._config.idle_timeout_s,
        )
        self._sessions.add(session)
        if self._is_draining:
            session.drain()
        try:
            await session.run()
        except* Exception:
            log.exception("session_failed", session_id=opening.session_id)
            await websocket.close(CLOSE_FAULT, "internal server error")
        finally:
            self._sessions.remove(session)
            self._sessions_ended.unpark_all()

    def _opening(self, path: str) -> Opening:
        assert self._model is not None
        return Opening(
            session_id=new_id(),
            query=dict(reversed(parse_qsl(_query_of(path)))),
            voices=self._model.voices,
            limits=self._model.limits,
            primer=bytes(self._stream_config.prime_bytes),
            new_id=new_id,
        )

    def _refusal(self, path: str, headers: Headers, key: int | None) -> "_HandshakeRefusal | None":
        """The refusal of a handshake, or None to accept it. The key is checked before the server's state."""
        if _without_query(path) not in DIALECTS:
            return _HandshakeRefusal(HTTPStatus.NOT_FOUND)
        if not self._origins.allow(headers):
            origin, host = header_text(headers, b"origin"), header_text(headers, b"host")
            log.info("foreign_origin", origin=origin, host=host)
            return _HandshakeRefusal(HTTPStatus.FORBIDDEN)
        if key is None:
            return _HandshakeRefusal(HTTPStatus.UNAUTHORIZED, [(b"WWW-Authenticate", b"Bearer")])
        if not self._seats.is_free_for(key) or not self.readiness().is_ready:
            retry_after = (b"Retry-After", b"%d" % RETRY_AFTER_S)
            return _HandshakeRefusal(HTTPStatus.SERVICE_UNAVAILABLE, [retry_after])
        return None


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Raises `AddressUnavailable`."""
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise AddressUnavailable(host, port, error.strerror or str(error)) from error


@asynccontextmanager
async def containing_faults(stream: trio.SocketStream) -> AsyncIterator[None]:
    """Closes the stream at the end and logs exceptions, which would otherwise end the server."""
    try:
        yield
    except* _PEER_LEFT:
        pass
    except* Exception:
        log.exception("connection_failed")
    finally:
        await trio.aclose_forcefully(stream)


@frozen
class _HandshakeRefusal:
    status: HTTPStatus
    headers: list[tuple[bytes, bytes]] = field(factory=list)


async def _turn_away(stream: trio.SocketStream) -> None:
    """Answers without reading: a client that opens many silent connections must not delay the answer."""
    with trio.move_on_after(CLOSE_GENTLY_S):
        await stream.send_all(_NO_ROOM)
        await stream.send_eof()


def new_id() -> str:
    return uuid.uuid4().hex


def _asks_for_websocket(request: h11.Request) -> bool:
    return (b"upgrade", b"websocket") in {(name, value.lower()) for name, value in request.headers}


def _without_query(path: str) -> str:
    return path.partition("?")[0]


def _query_of(path: str) -> str:
    return path.partition("?")[2]
