"""Which web pages may use the server: the check of `Origin` and the CORS headers of `/v1/*`.

A browser sends the origin of the requesting page in `Origin`. Other clients send no `Origin` and pass.
"""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from attrs import frozen

from kokoro_trio.config import is_loopback
from kokoro_trio.server.http_speech import JSON_CONTENT_TYPE, Application, Event, Receive, Send
from kokoro_trio.server.openai import foreign_origin

Headers = Sequence[tuple[bytes, bytes]]

ANY = "*"
CORS_PATHS = "/v1/"
READING_METHODS = ("GET", "HEAD")
PREFLIGHT_MAX_AGE_S = 600
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_VARY = (b"vary", b"Origin")
_ALLOWED_HEADERS = b"Authorization, X-API-Key, Content-Type"
_EXPOSED_HEADERS = b"Retry-After, X-Request-Id"


@frozen
class Origins:
    """The server's own origin and those of the knob ALLOWED_ORIGINS.

    `needs_local_host`: without an API key, the own origin must be a loopback address. An attacker's host name
    can resolve to a loopback address, and `Host` and `Origin` then agree.
    """

    _listed: frozenset[str]
    _needs_local_host: bool = False

    @classmethod
    def of(cls, listed: Iterable[str], *, needs_local_host: bool = False) -> "Origins":
        return cls(frozenset(map(_without_default_port, listed)), needs_local_host)

    def allow(self, headers: Headers) -> bool:
        """Whether a request with these headers, their names in lower case, may be served."""
        origin = header_text(headers, b"origin")
        return origin is None or self._allows(origin, header_text(headers, b"host") or "")

    def _allows(self, origin: str, host: str) -> bool:
        if ANY in self._listed or _without_default_port(origin) in self._listed:
            return True
        return _is_own(origin, host) and (not self._needs_local_host or _is_local(host))


def _is_own(origin: str, host: str) -> bool:
    """Ignores the scheme, which differs from ours behind a proxy that terminates TLS."""
    scheme, _, authority = origin.partition("://")
    default_port = _DEFAULT_PORTS.get(scheme, "")
    return authority != "" and authority.removesuffix(default_port) == host.removesuffix(default_port)


def _is_local(host: str) -> bool:
    """Whether a `Host` header names this machine by a loopback address."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _without_default_port(origin: str) -> str:
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], ""))


def header_text(headers: Headers, name: bytes) -> str | None:
    """The value in lower case. The values of a repeated header are joined, as HTTP requires."""
    values = [value.decode("latin-1").lower() for each, value in headers if each == name]
    return ", ".join(values) if values else None


@frozen
class CrossOrigin:
    """ASGI middleware that adds CORS to `/v1/*`.

    A foreign page may send GET and HEAD, because the browser hides their answers from it. Its other requests
    are refused here, because a browser sends a POST of plain text without a preflight.
    """

    _app: Application
    _origins: Origins

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(CORS_PATHS):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if not self._origins.allow(scope["headers"]):
            if scope["method"] in READING_METHODS:
                await self._app(scope, receive, partial(_send_with, [_VARY], send))
            else:
                await _refuse(send)
        elif origin is not None and _is_preflight(scope["method"], headers):
            await _respond(send, HTTPStatus.NO_CONTENT, _preflight_headers(origin, headers))
        else:
            await self._app(scope, receive, partial(_send_with, _response_headers(origin), send))


def _is_preflight(method: str, headers: dict[bytes, bytes]) -> bool:
    return method == "OPTIONS" and b"access-control-request-method" in headers


def _response_headers(origin: bytes | None) -> list[tuple[bytes, bytes]]:
    if origin is None:
        return [_VARY]
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED_HEADERS),
        _VARY,
    ]


def _preflight_headers(origin: bytes, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    # OpenAI's browser client sends a dozen further headers.
    asked_for = headers.get(b"access-control-request-headers")
    allowed = _ALLOWED_HEADERS if asked_for is None else b", ".join((_ALLOWED_HEADERS, asked_for))
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", b"GET, HEAD, POST"),
        (b"access-control-allow-headers", allowed),
        (b"access-control-max-age", b"%d" % PREFLIGHT_MAX_AGE_S),
        _VARY,
    ]


async def _send_with(added: list[tuple[bytes, bytes]], send: Send, event: Event) -> None:
    if event["type"] == "http.response.start":
        event = {**event, "headers": [*event["headers"], *added]}
    await send(event)


async def _refuse(send: Send) -> None:
    refusal = foreign_origin()
    content_type = (b"content-type", JSON_CONTENT_TYPE.encode())
    await _respond(send, refusal.status, [content_type, _VARY], json.dumps(refusal.body).encode())


async def _respond(
    send: Send, status: HTTPStatus, headers: list[tuple[bytes, bytes]], body: bytes = b""
) -> None:
    length = [] if status == HTTPStatus.NO_CONTENT else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": int(status), "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
