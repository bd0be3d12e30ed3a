"""The HTTP side: is the process alive, and is it ready to speak."""

from collections.abc import Callable

from attrs import asdict, frozen
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from quart import Response, jsonify
from quart_trio import QuartTrio

from kokoro_trio.server.connection import DeadlineStream

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


def make_app(readiness: Callable[[], Readiness]) -> QuartTrio:
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

    return app


class HttpServer:
    """Serves one HTTP connection at a time per call, on a stream that somebody else accepted."""

    def __init__(self, app: QuartTrio, *, keep_alive_s: float = 30.0, read_timeout_s: float = 30.0) -> None:
        self._app = ASGIWrapper(app)
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

    async def end_idle_connections(self) -> None:
        """At shutdown: connections that wait for another request are closed."""
        await self._context.terminated.set()
