"""The HTTP side: the page, health and readiness, which voices there are, and how the server is doing."""

from collections.abc import Callable, Iterable, Sequence

import trio
from attrs import asdict, frozen
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Event as ProtocolEvent
from hypercorn.events import Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from quart import Response, abort, jsonify, request
from quart_trio import QuartTrio

from kokoro_trio.errors import Overloaded
from kokoro_trio.exposition import Exposition
from kokoro_trio.model.voices import Voice
from kokoro_trio.server.connection import DeadlineStream
from kokoro_trio.server.http_speech import RETRY_AFTER_S, Application, Event, Receive, Send
from kokoro_trio.server.keys import Door
from kokoro_trio.server.openai import (
    MODELS,
    MODELS_PATH,
    Refusal,
    model_listed,
    models_listed,
    not_found,
    unknown_model,
    wrong_key,
)
from kokoro_trio.server.page import HEADERS, INDEX, PageFile, page_files
from kokoro_trio.text.languages import tag_of

VOICES_PATH = "/v1/audio/voices"


@frozen
class Readiness:
    """Whether new requests are taken, and what a load balancer or an operator wants to know."""

    is_ready: bool
    state: str
    engine: str
    device: str
    device_reason: str
    """Why it is not the GPU, where there is one."""
    early_audio: bool
    early_audio_reason: str
    voices: int
    connections: int
    active: int
    waiting: int
    max_concurrent_jobs: int


def routed(app: QuartTrio, path: str, at_path: Application) -> Application:
    """`at_path` serves its path, `app` the others."""

    async def serve(scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == path:
            await at_path(scope, receive, send)
        else:
            await app(scope, receive, send)  # type: ignore[arg-type]  # typed for each kind of event

    return serve


def make_app(
    readiness: Callable[[], Readiness],
    voices: Callable[[], Sequence[Voice] | None],
    door: Door,
    exposition: Exposition | None,
) -> QuartTrio:
    """`voices` tells none at all while the model is loading. `exposition`: where `/metrics` is served too."""
    app = QuartTrio(__name__)
    page = page_files()
    if exposition is not None:
        _add_metrics(app, exposition)

    @app.get("/")
    async def index() -> Response:
        return await _page_file(page[INDEX])

    @app.get("/page/<name>")
    async def page_file(name: str) -> Response:
        if name not in page:
            abort(404)
        return await _page_file(page[name])

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

    @app.get(VOICES_PATH)
    async def list_voices() -> Response:
        check_key()
        known = voices()
        if known is None:
            raise Refusal.of(Overloaded(reason="the model is still being loaded"), RETRY_AFTER_S)
        response: Response = jsonify({"voices": [_listed(voice) for voice in known]})
        return response

    @app.get(MODELS_PATH)
    async def list_models() -> dict[str, object]:
        check_key()
        return models_listed()

    # A name may have a slash in it.
    @app.get(f"{MODELS_PATH}/<path:name>")
    async def show_model(name: str) -> dict[str, str | int]:
        check_key()
        if name not in MODELS:
            raise unknown_model(name)
        return model_listed(name)

    def check_key() -> None:
        if not door.opens_for(request.query_string.decode("latin-1"), _raw(request.headers.items())):
            raise wrong_key()

    @app.errorhandler(Refusal)
    async def refuse(refusal: Refusal) -> Response:
        response: Response = jsonify(refusal.body)
        response.status_code = refusal.status
        response.headers.extend(refusal.headers)
        return response

    @app.errorhandler(404)
    async def nothing_there(error: Exception) -> Response:
        return await refuse(not_found(request.path))

    return app


def make_metrics_app(exposition: Exposition) -> Application:
    """`/metrics` and nothing else."""
    app = QuartTrio(__name__)
    _add_metrics(app, exposition)
    return app  # type: ignore[return-value]  # typed for each kind of event


def _add_metrics(app: QuartTrio, exposition: Exposition) -> None:
    # Unauthenticated, because scrapers are set up without a key. It holds no text, voice or client.
    @app.get("/metrics")
    async def metrics() -> Response:
        text, content_type = exposition.scrape(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)


async def _page_file(file: PageFile) -> Response:
    """304 where the browser has it already."""
    response = Response(file.content, content_type=file.content_type, headers=HEADERS)
    await response.add_etag()
    await response.make_conditional(request)
    return response


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _listed(voice: Voice) -> dict[str, str | bool | None]:
    """As JSON. `recipe` only where it is a blend; `id` is what clients of other servers look for."""
    told: dict[str, str | bool | None] = {
        "id": voice.name,
        "name": voice.name,
        "language": tag_of(voice.language),
        "gender": voice.gender,
        "is_blend": voice.written is not None,
    }
    return told if voice.written is None else told | {"recipe": voice.written}


class _Connection(TCPServer):
    """Ends when its peer has gone: hypercorn's waits for the keep-alive timeout even then."""

    _has_heard_all = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self._has_heard_all = True
        await self.idle_task.stop()

    async def protocol_send(self, event: ProtocolEvent) -> None:
        # After an answer that was ready when its peer had gone, it would wait for another request.
        if not (self._has_heard_all and isinstance(event, Updated)):
            await super().protocol_send(event)


class HttpServer:
    """Serves one HTTP connection at a time per call, on a stream that somebody else accepted."""

    def __init__(self, app: Application, *, keep_alive_s: float = 30.0) -> None:
        self._app = ASGIWrapper(self._count)  # type: ignore[arg-type]  # typed for each kind of event
        self._asgi = app
        self._outstanding = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._context = WorkerContext(None)
        self._config = HypercornConfig()
        self._config.keep_alive_timeout = keep_alive_s
        # It would cut off every answer that takes longer, as its client says nothing meanwhile. What a
        # client is slow to say ends a connection by `keep_alive_timeout`, a body by `HttpSpeech`.
        self._config.read_timeout = None
        self._config.errorlog = None
        self._config.accesslog = None

    async def serve(self, stream: DeadlineStream) -> None:
        # hypercorn is typed for its own TLS streams, and takes any stream that has a `socket`.
        server = _Connection(self._app, self._config, self._context, ConnectionState({}), stream)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            # hypercorn shields its writes: a write that waits for its peer would hold up a shutdown.
            nursery.start_soon(stream.close_when_cancelled)
            await server.run()
            nursery.cancel_scope.cancel()

    async def until_idle(self) -> None:
        """Until the response to every request that was received has been sent, or given up."""
        while self._outstanding:
            await self._idle.park()

    async def _count(self, scope: Event, receive: Receive, send: Send) -> None:
        self._outstanding += 1
        try:
            await self._asgi(scope, receive, send)
        finally:
            self._outstanding -= 1
            self._idle.unpark_all()

    async def end_idle_connections(self) -> None:
        """At shutdown: connections that wait for another request are closed."""
        await self._context.terminated.set()
