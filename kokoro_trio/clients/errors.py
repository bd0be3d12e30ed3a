"""The errors of the clients; `str(error)` is one line."""

from collections.abc import Mapping
from typing import Self

from attrs import define

from kokoro_trio.errors import Fact, KokoroTrioError
from kokoro_trio.wire.messages import Error

_BEHIND_PROXY = "the server behind the proxy does not answer"
_REJECTIONS = {
    401: "the API key is wrong or missing",
    403: "the server does not accept this client",
    429: "the API key is over a limit",
    502: _BEHIND_PROXY,
    503: "the server is loading, full or shutting down",
    504: _BEHIND_PROXY,
}


class ClientError(KokoroTrioError):
    """The base class of the errors that the clients raise."""


@define
class ConnectFailed(ClientError):
    """The client reached no server, or the server does not speak WebSocket (or TLS, if requested)."""

    host: str
    port: int
    reason: str

    def __str__(self) -> str:
        return f"cannot connect to {self.host} port {self.port}: {self.reason}"


@define
class HandshakeRejected(ClientError):
    """The server answered the handshake with an HTTP error."""

    status: int
    retry_after_s: float | None = None

    def __str__(self) -> str:
        wait = "" if self.retry_after_s is None else f"; try again in {self.retry_after_s:g} s"
        meaning = _REJECTIONS.get(self.status, "the server does not serve this path")
        return f"the server refused the connection (HTTP {self.status}): {meaning}{wait}"


@define
class ConnectionLost(ClientError):
    """The connection ended. `code` is the WebSocket close code, 1006 if the server sent none."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"the connection was lost (close code {self.code}){reason}"


@define
class RequestFailed(ClientError):
    """The server answered a request with an error; `facts` are its fields beside code and message."""

    code: str
    message: str
    request_id: str | None
    facts: Mapping[str, Fact]

    @classmethod
    def of(cls, error: Error) -> Self:
        return cls(error.code, error.message, error.request_id, error.facts)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@define
class DecoderMissing(ClientError):
    """This installation cannot decode the audio format."""

    format: str

    def __str__(self) -> str:
        return f'the format {self.format} needs PyAV: pip install "kokoro-trio[opus]"'
