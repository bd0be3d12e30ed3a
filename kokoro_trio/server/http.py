"""The HTTP side: is the process alive, is it ready to speak, with which voices, and how is it doing."""

from collections.abc import Callable, Iterable, Sequence

import trio
from attrs import asdict, frozen
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ConnectionState, Scope
from quart import Response, jsonify, request
from quart_trio import QuartTrio

from kokoro_trio.exposition import Exposition
from kokoro_trio.model.voices import Voice
from kokoro_trio.server.connection import DeadlineStream
from kokoro_trio.server.keys import Door
from kokoro_trio.text.languages import tag_of

VOICES_PATH = "/v1/audio/voices"
RETRY_AFTER_S = 2


@frozen
class Readiness:
    """Whether new requests are taken, and what a load balancer or an operator wants to know."""

    is_ready: bool
    state: str
    engine: str
    device: str
    voices: int
    connections: int
    active: int
    waiting: int
    max_concurrent_jobs: int


def make_app(
    readiness: Callable[[], Readiness],
    voices: Callable[[], Sequence[Voice] | None],
    door: Door,
    exposition: Exposition,
) -> QuartTrio:
    """`voices` tells none at all while the model is loading."""
    app = QuartTrio(__name__)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        now = readiness()
        response: Response = jsonify(asdict(now))
        if not now.is_ready:
            response.status_code = 503
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response

    # Without the key, as scrapers are set up: it holds nothing that anybody said.
    @app.get("/metrics")
    async def metrics() -> Response:
        text, content_type = exposition.scrape(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    @app.get(VOICES_PATH)
    async def list_voices() -> Response:
        if not door.opens_for(request.query_string.decode("latin-1"), _raw(request.headers.items())):
            return _refusal(401, "the API key is wrong or missing", "WWW-Authenticate", "Bearer")
        known = voices()
        if known is None:
            return _refusal(503, "the model is still being loaded", "Retry-After", str(RETRY_AFTER_S))
        response: Response = jsonify({"voices": [_listed(voice) for voice in known]})
        return response

    return app


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _refusal(status: int, message: str, header: str, value: str) -> Response:
    response: Response = jsonify({"error": message})
    response.status_code = status
    response.headers[header] = value
    return response


def _listed(voice: Voice) -> dict[str, str | bool | None]:
    """As JSON. `recipe` only where it is a blend."""
    told: dict[str, str | bool | None] = {
        "name": voice.name,
        "language": tag_of(voice.language),
        "gender": voice.gender,
        "is_blend": voice.written is not None,
    }
    return told if voice.written is None else told | {"recipe": voice.written}


class HttpServer:
    """Serves one HTTP connection at a time per call, on a stream that somebody else accepted."""

    def __init__(self, app: QuartTrio, *, keep_alive_s: float = 30.0, read_timeout_s: float = 30.0) -> None:
        self._app = ASGIWrapper(self._count)
        self._asgi = app
        self._outstanding = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._context = WorkerContext(None)
        self._config = HypercornConfig()
        self._config.keep_alive_timeout = keep_alive_s
        self._config.read_timeout = int(read_timeout_s)
        self._config.errorlog = None
        self._config.accesslog = None

    async def serve(self, stream: DeadlineStream) -> None:
        # hypercorn is typed for its own TLS streams, and takes any stream that has a `socket`.
        server = TCPServer(self._app, self._config, self._context, ConnectionState({}), stream)  # type: ignore[arg-type]
        await server.run()

    async def until_idle(self) -> None:
        """Until the response to every request that was received has been sent, or given up."""
        while self._outstanding:
            await self._idle.park()

    async def _count(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self._outstanding += 1
        try:
            await self._asgi(scope, receive, send)
        finally:
            self._outstanding -= 1
            self._idle.unpark_all()

    async def end_idle_connections(self) -> None:
        """At shutdown: connections that wait for another request are closed."""
        await self._context.terminated.set()
