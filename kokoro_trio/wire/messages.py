"""The typed messages of the wire. Only this module knows their JSON.

The server decodes `ClientMessage`s and encodes `ServerMessage`s, the client the other way round. Unknown
fields are ignored, and unknown types are an error.
"""

import json
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, NoReturn, TypeVar

from attrs import AttrsInstance, asdict, define, field, fields, frozen

from kokoro_trio.errors import (
    BadJson,
    BadMessage,
    BadSpeed,
    BadText,
    EmptyText,
    Fact,
    RequestError,
    UnknownType,
)
from kokoro_trio.wire.framing import PLAIN
from kokoro_trio.wire.limits import (
    MAX_GOT_CHARS,
    MAX_REQUEST_ID_CHARS,
    MAX_SPEED,
    MAX_WHOLE,
    MIN_SPEED,
)

M = TypeVar("M", bound=AttrsInstance)

WEBSOCKET_PATH = "/v1/audio/speech/stream/ws"

# Close codes (RFC 6455, section 7.4).
CLOSE_NORMAL, CLOSE_PROTOCOL_ERROR, CLOSE_FAULT, CLOSE_RESTART = 1000, 1002, 1011, 1012
CLOSE_ABNORMAL = 1006
"""Never sent: the connection ended without a close frame."""


# Client to server. A field that was left out is None: the session's setting applies.


@frozen
class Start:
    voice: str | None = None
    format: str | None = None
    sample_rate: int | None = None
    timestamps: bool | None = None
    framing: str | None = None
    language: str | None = None


@frozen
class Speak:
    text: str
    request_id: str | None = None
    voice: str | None = None
    speed: float | None = None
    language: str | None = None


@frozen
class Cancel:
    """Ends one request, or every outstanding one if `request_id` is None.

    `played_s`: the seconds that the listener heard of the request that is being spoken.
    """

    request_id: str | None = None
    played_s: float | None = None


@frozen
class Stop:
    """No more requests follow. The connection closes when the outstanding ones have ended."""


ClientMessage = Start | Speak | Cancel | Stop


# Server to client.


@frozen
class Started:
    voice: str
    format: str
    sample_rate: int
    timestamps: bool
    # Older servers send neither.
    framing: str = PLAIN
    session_id: str = ""


@frozen
class StartedSpeak:
    request_id: str


@frozen
class SpokenWord:
    """`text` is at `start_char` to `end_char` (exclusive) of the client's text.

    Seconds count from the first sample of the request.
    """

    text: str
    start_s: float
    end_s: float
    start_char: int
    end_char: int


@frozen
class Meta:
    """`total_samples` were sent so far. `words` belong to `segment`, whose audio follows."""

    request_id: str
    segment: int
    total_samples: int
    words: Sequence[SpokenWord] | None = None


@frozen
class Queue:
    """The request was accepted and waits for a slot."""

    request_id: str


@frozen
class Done:
    request_id: str
    duration_s: float


@frozen
class Canceled:
    """`text_spoken` and `text_remaining` together are the text of the request."""

    request_id: str
    duration_s: float = 0.0
    # Older servers send neither.
    text_spoken: str | None = None
    text_remaining: str | None = None


@frozen
class Error:
    code: str
    message: str
    request_id: str | None = None
    facts: Mapping[str, Fact] = field(factory=dict)

    @classmethod
    def of(cls, error: RequestError, request_id: str | None = None) -> "Error":
        return cls(error.code, str(error), request_id, error.facts())


ServerMessage = Started | StartedSpeak | Meta | Queue | Done | Canceled | Error

_CLIENT_TYPES: dict[str, type[Any]] = {"start": Start, "speak": Speak, "cancel": Cancel, "stop": Stop}
_SERVER_TYPES: dict[str, type[Any]] = {
    "started": Started,
    "started_speak": StartedSpeak,
    "meta": Meta,
    "queue": Queue,
    "done": Done,
    "canceled": Canceled,
    "error": Error,
}
_TYPE_NAMES = {kind: name for name, kind in (_CLIENT_TYPES | _SERVER_TYPES).items()}


def encode(message: ClientMessage | ServerMessage) -> str:
    """A text frame. Fields that are None are left out; an error's facts are fields beside its code."""
    values = asdict(message)
    facts = values.pop("facts", {})
    given = {name: value for name, value in values.items() if value is not None}
    # ASCII escapes, because a refused value may contain a lone surrogate, which UTF-8 cannot encode.
    return json.dumps({"type": _TYPE_NAMES[type(message)], **facts, **given})


@define
class Refused(Exception):
    """A malformed message, with its request id if that could be read."""

    error: RequestError
    request_id: str | None = None


def decode_client(frame: str) -> ClientMessage:
    """The message in a text frame from a client. Raises `Refused`."""
    try:
        values = decode_object(frame)
    except RequestError as error:
        raise Refused(error) from error
    request_id: str | None = None
    try:
        request_id = _request_id(values)
        return _decode_fields(values, request_id)
    except RequestError as error:
        raise Refused(error, request_id) from error


def _decode_fields(values: Mapping[str, Any], request_id: str | None) -> ClientMessage:
    match values.get("type"):
        case "start":
            return _typed(Start, values)
        case "speak":
            return Speak(
                text=_text(values),
                request_id=request_id,
                voice=optional(values, "voice", str),
                speed=optional_speed(values),
                language=optional(values, "language", str),
            )
        case "cancel":
            return Cancel(request_id, _played_s(values))
        case "stop":
            return Stop()
        case kind:
            raise UnknownType(got=shown(kind), allowed=list(_CLIENT_TYPES))


def decode_server(frame: str) -> ServerMessage:
    """The message in a text frame from a server. Raises `BadJson`, `UnknownType` or `BadMessage`."""
    values = decode_object(frame)
    kind = values.pop("type", None)
    if not isinstance(kind, str):
        raise BadMessage(field="type", expected="a string", got=shown(kind))
    if kind not in _SERVER_TYPES:
        raise UnknownType(got=shown(kind), allowed=list(_SERVER_TYPES))
    message_class = _SERVER_TYPES[kind]
    if message_class is Meta and values.get("words") is not None:
        values["words"] = _spoken_words(values["words"])
    if message_class is Error:
        known = {each.name for each in fields(Error)}
        values["facts"] = {name: value for name, value in values.items() if name not in known}
    message: ServerMessage = _typed(message_class, values)
    return message


def _typed(kind: type[M], values: Mapping[str, Any]) -> M:
    """An instance with the fields that `values` has for it. Raises `BadMessage`."""
    given = {each.name: optional(values, each.name, _without_none(each.type)) for each in fields(kind)}
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except TypeError as error:
        raise BadMessage(field=kind.__name__, expected="complete", got=str(error)) from error


def _without_none(kind: Any) -> Any:  # noqa: ANN401
    """`str` for `str | None`."""
    return kind.__args__[0] if isinstance(kind, UnionType) else kind


def _spoken_words(values: object) -> list[SpokenWord]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise BadMessage(field="words", expected="a list of words", got=shown(values))
    return [_typed(SpokenWord, value) for value in values]


def decode_object(frame: str | bytes) -> dict[str, Any]:
    """The JSON object in a text. Raises `BadJson`."""
    try:
        values = json.loads(frame, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BadJson(reason="it is nested too deeply") from error
    except ValueError as error:
        raise BadJson(reason=str(error)) from error
    if not isinstance(values, dict):
        raise BadJson(reason=f"it contains {shown(values)}")
    return values


def _refuse_constant(constant: str) -> NoReturn:
    # Python's parser accepts NaN and Infinity, which JSON does not have.
    raise ValueError(f"{constant} is not JSON")


def optional(values: Mapping[str, Any], name: str, kind: type[Any]) -> Any:  # noqa: ANN401
    """The field, or None if it was left out. Raises `BadMessage` if it is of another type.

    A value whose `kind` is not a JSON type, such as a list of words, is returned unchecked.
    """
    value = values.get(name)
    if value is None or kind not in _KIND_NAMES or _fits(value, kind):
        return value
    raise BadMessage(field=name, expected=_KIND_NAMES[kind], got=shown(value))


def number_within(value: object, minimum: float, maximum: float) -> float | None:
    """`value` as a float, or None if it is not a number in this range.

    Every number of a client is checked here, because Python parses integers that do not fit into a float, and
    parses 1e400 as infinity.
    """
    # bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
        return None
    return float(value)


def _fits(value: object, kind: type[Any]) -> bool:
    if kind in (int, float) and number_within(value, -MAX_WHOLE, MAX_WHOLE) is None:
        return False
    return kind is float or type(value) is kind


_KIND_NAMES: dict[type[Any], str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _request_id(values: Mapping[str, Any]) -> str | None:
    request_id: str | None = optional(values, "request_id", str)
    if request_id is None or (1 <= len(request_id) <= MAX_REQUEST_ID_CHARS and _is_unicode(request_id)):
        return request_id
    raise BadMessage(
        field="request_id", expected=f"1 to {MAX_REQUEST_ID_CHARS} characters", got=shown(request_id)
    )


def _text(values: Mapping[str, Any]) -> str:
    text = values.get("text")
    if not isinstance(text, str):
        raise BadText(reason=f"field 'text' must be a string, got {shown(text)}")
    return spoken_text(text)


def spoken_text(text: str) -> str:
    """Returns a text that can be spoken. Raises `BadText` or `EmptyText`."""
    if not _is_unicode(text):
        raise BadText(reason="it contains half of a surrogate pair")
    if not text.strip():
        raise EmptyText()
    return text


def optional_speed(values: Mapping[str, Any]) -> float | None:
    value = values.get("speed")
    speed = number_within(value, MIN_SPEED, MAX_SPEED)
    if value is None or speed is not None:
        return speed
    raise BadSpeed(got=shown(value), minimum=MIN_SPEED, maximum=MAX_SPEED)


def _played_s(values: Mapping[str, Any]) -> float | None:
    value = values.get("played_s")
    played_s = number_within(value, 0, MAX_WHOLE)
    if value is None or played_s is not None:
        return played_s
    raise BadMessage(field="played_s", expected="seconds, 0 or more", got=shown(value))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """A refused value for an error: JSON, truncated, without nested values."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    written = json.dumps(value[: MAX_GOT_CHARS + 1] if isinstance(value, str) else value)
    return written if len(written) <= MAX_GOT_CHARS else written[:MAX_GOT_CHARS] + "…"
