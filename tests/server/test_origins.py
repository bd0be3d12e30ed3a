"""Pure: allowed origins, and the CORS middleware around an ASGI application."""

from collections.abc import Sequence

import pytest

from kokoro_trio.config import Config
from kokoro_trio.errors import BadKnob
from kokoro_trio.server.http_speech import Event, Receive, Send
from kokoro_trio.server.origins import CrossOrigin, Origins

APP = "https://app.example"
HOST = (b"host", b"tts.example:8000")
PREFLIGHT = {"access_control_request_method": "POST"}


def listed(value: str) -> Origins:
    return Origins.of(Config.of({"API_KEY": "k", "ALLOWED_ORIGINS": value}).listen.allowed_origins)


class TestOrigins:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://tts.example", "tts.example"),
            ("http://tts.example", "tts.example:80"),
            ("https://tts.example", "tts.example:443"),
            ("https://tts.example", "TTS.example"),
            ("https://tts.example:8443", "tts.example:8443"),
        ],
    )
    def test_own_origin_is_allowed(self, origin: str, host: str) -> None:
        assert listed("").allow([(b"host", host.encode()), (b"origin", origin.encode())])

    @pytest.mark.parametrize(
        ("host", "is_allowed"),
        [
            ("127.0.0.1:8000", True),
            ("[::1]:8000", True),
            ("localhost:8000", True),
            ("evil.example:8000", False),
            ("127.0.0.1.evil.example", False),
            ("[::1", False),
        ],
    )
    def test_without_a_key_the_own_origin_must_be_loopback(self, host: str, is_allowed: bool) -> None:
        headers = [(b"host", host.encode()), (b"origin", f"http://{host}".encode())]
        assert Origins.of([], needs_local_host=True).allow(headers) is is_allowed
        assert Origins.of([]).allow(headers)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("http://evil.example", "127.0.0.1:8000"),
            ("http://127.0.0.1:3000", "127.0.0.1:8000"),
            ("http://localhost:8000", "127.0.0.1:8000"),
            ("https://tts.example:8443", "tts.example"),
            ("http://tts.example:443", "tts.example"),
            ("https://tts.example.evil.example", "tts.example"),
            ("https://eviltts.example", "tts.example"),
            ("https://tts.example@evil.example", "tts.example"),
            ("null", "tts.example"),
            ("null", ""),
            ("file://", ""),
            ("", ""),
            ("tts.example", "tts.example"),
        ],
    )
    def test_foreign_origin_is_refused(self, origin: str, host: str) -> None:
        assert not listed("").allow([(b"host", host.encode()), (b"origin", origin.encode())])

    def test_forwarded_host_is_not_trusted(self) -> None:
        headers = [HOST, (b"x-forwarded-host", b"app.example"), (b"origin", APP.encode())]
        assert not listed("").allow(headers)

    def test_client_without_an_origin_is_allowed(self) -> None:
        assert listed("").allow([HOST])

    def test_repeated_origins_must_all_be_allowed(self) -> None:
        assert not listed(APP).allow([HOST, (b"origin", b"http://evil.example"), (b"origin", APP.encode())])

    @pytest.mark.parametrize("knob", [APP, f"http://localhost:5173, {APP}/", f"{APP}:443", "*", APP.upper()])
    def test_listed_origin_is_allowed(self, knob: str) -> None:
        assert listed(knob).allow([HOST, (b"origin", APP.encode())])

    @pytest.mark.parametrize("origin", ["http://app.example", "https://app.example:8443", "https://example"])
    def test_listed_origin_must_match_completely(self, origin: str) -> None:
        assert not listed(APP).allow([HOST, (b"origin", origin.encode())])

    def test_own_origin_is_allowed_in_addition_to_listed_ones(self) -> None:
        assert listed(APP).allow([HOST, (b"origin", b"https://tts.example:8000")])

    @pytest.mark.parametrize(
        "knob", ["app.example", "https://app.example/page", "https://*.example", "https://a b", APP + ",null"]
    )
    def test_knob_that_lists_no_origins(self, knob: str) -> None:
        with pytest.raises(BadKnob, match=r"https://app\.example"):
            listed(knob)


async def answered(
    origins: Origins, method: str, path: str = "/v1/models", **headers: str
) -> tuple[int | None, dict[str, str]]:
    """The status and headers; the status is None if the inner application was not called."""
    sent: list[Event] = []
    reached: list[Event] = []

    async def application(scope: Event, receive: Receive, send: Send) -> None:
        reached.append(scope)
        await send({"type": "http.response.start", "status": 401, "headers": [(b"retry-after", b"2")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Event:
        raise AssertionError("CORS does not read bodies")

    async def send(event: Event) -> None:
        sent.append(event)

    raw = [
        HOST,
        *((name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
    ]
    scope: Event = {"type": "http", "method": method, "path": path, "headers": raw}
    await CrossOrigin(application, origins)(scope, receive, send)
    start, body = sent
    assert not body["more_body"]
    if not reached:
        assert len(body["body"]) == int(_decoded(start["headers"]).get("content-length", 0))
    return start["status"] if not reached else None, _decoded(start["headers"])


def _decoded(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


class TestCors:
    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
    async def test_allowed_origin_may_read_errors_too(self, method: str) -> None:
        status, headers = await answered(listed(APP), method, origin=APP)
        assert status is None
        assert headers == {
            "retry-after": "2",
            "access-control-allow-origin": APP,
            "access-control-expose-headers": "Retry-After, X-Request-Id",
            "vary": "Origin",
        }

    async def test_allowed_preflight_needs_no_key(self) -> None:
        status, headers = await answered(listed(APP), "OPTIONS", origin=APP, **PREFLIGHT)
        assert (status, headers["access-control-allow-origin"], headers["vary"]) == (204, APP, "Origin")
        assert {"GET", "POST"} <= set(headers["access-control-allow-methods"].split(", "))
        allowed = {name.lower() for name in headers["access-control-allow-headers"].split(", ")}
        assert allowed == {"authorization", "x-api-key", "content-type"}
        assert int(headers["access-control-max-age"]) > 0

    async def test_preflight_allows_the_headers_that_a_client_library_adds(self) -> None:
        asked = PREFLIGHT | {"access_control_request_headers": "authorization,x-stainless-os"}
        _, headers = await answered(listed(APP), "OPTIONS", origin=APP, **asked)
        assert "x-stainless-os" in headers["access-control-allow-headers"]

    @pytest.mark.parametrize("headers", [{}, PREFLIGHT])
    @pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
    async def test_foreign_origin_gets_403_and_no_cors_headers(
        self, method: str, headers: dict[str, str]
    ) -> None:
        status, received = await answered(listed(""), method, origin=APP, **headers)
        assert (status, received["vary"]) == (403, "Origin")
        assert not any(name.startswith("access-control") for name in received)

    async def test_foreign_origin_may_send_get_but_not_read_the_answer(self) -> None:
        status, headers = await answered(listed(""), "GET", origin=APP)
        assert status is None
        assert headers == {"retry-after": "2", "vary": "Origin"}

    async def test_without_an_origin_the_answer_varies_by_origin(self) -> None:
        status, headers = await answered(listed(APP), "POST")
        assert status is None
        assert headers == {"retry-after": "2", "vary": "Origin"}

    @pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/v10/x"])
    async def test_other_paths_get_no_cors_headers(self, path: str) -> None:
        status, headers = await answered(listed(APP), "GET", path, origin=APP)
        assert status is None
        assert headers == {"retry-after": "2"}
