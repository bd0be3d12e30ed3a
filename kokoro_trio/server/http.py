"""The HTTP routes except speech: the page, health, readiness, voices, models and metrics."""

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

import structlog
from attrs import asdict, frozen
from quart import Response, abort, jsonify, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from kokoro_trio.errors import Overloaded
from kokoro_trio.model.voices import Voice
from kokoro_trio.server.dialects import DIALECTS
from kokoro_trio.server.http_speech import RETRY_AFTER_S, Application, Event, Receive, Send
from kokoro_trio.server.keys import ApiKeys
from kokoro_trio.server.openai import (
    MODELS,
    MODELS_PATH,
    Refusal,
    fault,
    model_entry,
    model_list,
    not_found,
    unknown_model,
    websocket_only,
    wrong_key,
    wrong_method,
)
from kokoro_trio.server.page import HEADERS, INDEX, PageFile, page_files
from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from kokoro_trio.text.languages import tag_of

log = structlog.get_logger()

VOICES_PATH = "/v1/audio/voices"


@frozen
class Readiness:
    """The body of `/readyz`, for load balancers and operators."""

    is_ready: bool
    state: str
    engine: str
    device: str
    device_reason: str
    """Why the CPU is used although the machine has a GPU."""
    early_audio: bool
    early_audio_reason: str
    voices: int
    connections: int
    active: int
    waiting: int
    max_concurrent_jobs: int


def routed(app: QuartTrio, path: str, at_path: Application) -> Application:
    """`at_path` serves `path`, and `app` all other paths."""

    async def serve(scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == path:
            await at_path(scope, receive, send)
        else:
            await app(scope, receive, send)  # type: ignore[arg-type]  # typed for each kind of event

    return serve


def make_app(
    readiness: Callable[[], Readiness],
    voices: Callable[[], Sequence[Voice] | None],
    api_keys: ApiKeys,
    prometheus: PrometheusMetrics | None,
) -> QuartTrio:
    """`voices` returns None while the model is loading. `prometheus` None: there is no `/metrics`."""
    app = QuartTrio(__name__)
    page = page_files()
    if prometheus is not None:
        _add_metrics(app, prometheus)

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
        response: Response = jsonify({"voices": [_voice_entry(voice) for voice in known]})
        return response

    @app.get(MODELS_PATH)
    async def list_models() -> dict[str, object]:
        check_key()
        return model_list()

    # A name may contain a slash.
    @app.get(f"{MODELS_PATH}/<path:name>")
    async def show_model(name: str) -> dict[str, str | int]:
        check_key()
        if name not in MODELS:
            raise unknown_model(name)
        return model_entry(name)

    async def websocket() -> Response:
        raise websocket_only(request.path)

    for path in DIALECTS:
        app.add_url_rule(path, view_func=websocket)

    def check_key() -> None:
        if not api_keys.accept(request.query_string.decode("latin-1"), _raw(request.headers.items())):
            raise wrong_key()

    @app.errorhandler(Refusal)
    async def refuse(refusal: Refusal) -> Response:
        response: Response = jsonify(refusal.body)
        response.status_code = refusal.status
        response.headers.extend(refusal.headers)
        return response

    @app.errorhandler(HTTPException)
    async def refuse_as_json(error: HTTPException) -> Response:
        match error:
            case NotFound():
                return await refuse(not_found(request.path))
            case MethodNotAllowed(valid_methods=methods):
                return await refuse(wrong_method(", ".join(methods or ())))
        return await refuse(Refusal(HTTPStatus(error.code or 500), error.description or ""))

    @app.errorhandler(Exception)
    async def refuse_by_fault(error: Exception) -> Response:
        log.error("http_view_failed", path=request.path, exc_info=error)
        return await refuse(fault())

    return app


def make_metrics_app(prometheus: PrometheusMetrics) -> Application:
    """`/metrics` and nothing else."""
    app = QuartTrio(__name__)
    _add_metrics(app, prometheus)
    return app  # type: ignore[return-value]  # typed for each kind of event


def _add_metrics(app: QuartTrio, prometheus: PrometheusMetrics) -> None:
    # No key, because scrapers have none. The metrics contain no text, voice or client.
    @app.get("/metrics")
    async def metrics() -> Response:
        text, content_type = prometheus.scrape(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)


async def _page_file(file: PageFile) -> Response:
    """The answer is 304 if the browser has the file."""
    response = Response(file.content, content_type=file.content_type, headers=HEADERS)
    await response.add_etag()
    await response.make_conditional(request)
    return response


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _voice_entry(voice: Voice) -> dict[str, str | bool | None]:
    """A voice as JSON. Only a blend has a `recipe`. Clients of other servers read `id`."""
    payload: dict[str, str | bool | None] = {
        "id": voice.name,
        "name": voice.name,
        "language": tag_of(voice.language),
        "gender": voice.gender,
        "is_blend": voice.written is not None,
    }
    return payload if voice.written is None else payload | {"recipe": voice.written}
