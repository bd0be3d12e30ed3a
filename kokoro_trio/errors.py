"""The errors that operators and clients see.

A `StartError` stops the process before it serves, with one line for the operator. An `EngineFault` ends the
serving process. A `RequestError` ends one speak request or rejects one message; it carries the wire code and
the facts that the client gets. `wire/messages.py` turns it into a message.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from attrs import asdict, define

from kokoro_trio.installation import PREPARE_WEIGHTS

Fact = str | int | float | bool | None | list[str]  # what JSON can carry


class KokoroTrioError(Exception):
    """The base class of all errors of this package."""

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        """Errors from worker processes are pickled; this recreates them from their fields."""
        return type(self), self.args


# These stop the start.


class StartError(KokoroTrioError):
    """The process cannot serve; `str(error)` is one line that says how to fix it."""


@define
class BadKnob(StartError):
    """A knob (environment variable or line in `.env`) holds a value outside its range."""

    knob: str
    got: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.knob}={self.got!r} is not usable: it must be {self.allowed}"


@define
class SettingsUnreadable(StartError):
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.reason}"


@define
class DeviceUnavailable(StartError):
    device: str
    reason: str

    def __str__(self) -> str:
        return f"KOKORO_DEVICE={self.device}: {self.reason}"


@define
class WeightsUnusable(StartError):
    """A file of the prepared weights is missing, damaged or from another model."""

    path: Path
    reason: str
    mend: str = PREPARE_WEIGHTS

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; to fix it, run: {self.mend}"


@define
class AddressUnavailable(StartError):
    host: str
    port: int
    reason: str

    def __str__(self) -> str:
        return f"cannot listen on {self.host} port {self.port}: {self.reason}"


# These end the process while it serves.


class EngineFault(KokoroTrioError):
    """The engine cannot speak any more: the process must be replaced."""


@define
class InferenceStuck(EngineFault):
    """A step, or grapheme-to-phoneme, does not return."""

    step: str
    seconds: float

    def __str__(self) -> str:
        return f"a {self.step} step has been running for {self.seconds:.0f} s"


@define
class InferenceBroken(EngineFault):
    """Every call of the model fails."""

    reason: str

    def __str__(self) -> str:
        return f"every call of the model fails: {self.reason}"


# These end a request or reject a message.


@define
class RequestError(KokoroTrioError):
    """One message or one request is rejected; the connection and all other requests continue.

    The attributes of a subclass are sent to the client beside `code` and `message`.
    """

    code: ClassVar[str]

    def facts(self) -> dict[str, Fact]:
        return asdict(self)


def request_error_codes() -> list[str]:
    """Every wire code, sorted."""
    return sorted({error.code for error in _below(RequestError)})


def _below(cls: type[RequestError]) -> Iterator[type[RequestError]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _below(subclass)


@define
class BadJson(RequestError):
    code: ClassVar[str] = "bad_json"
    reason: str

    def __str__(self) -> str:
        return f"a text frame must hold one JSON object: {self.reason}"


@define
class BadMessage(RequestError):
    code: ClassVar[str] = "bad_message"
    field: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"field {self.field!r} must be {self.expected}, got {self.got}"


@define
class UnknownType(RequestError):
    code: ClassVar[str] = "unknown_type"
    got: str
    allowed: list[str]

    def __str__(self) -> str:
        return f"unknown message type {self.got}; the types are {', '.join(self.allowed)}"


@define
class UnexpectedBinary(RequestError):
    code: ClassVar[str] = "unexpected_binary"
    got_bytes: int

    def __str__(self) -> str:
        return f"clients send text frames only, got a binary frame of {self.got_bytes} bytes"


@define
class BadText(RequestError):
    code: ClassVar[str] = "bad_text"
    reason: str

    def __str__(self) -> str:
        return f"the text cannot be used: {self.reason}"


@define
class EmptyText(RequestError):
    code: ClassVar[str] = "empty_text"

    def __str__(self) -> str:
        return "the text is empty"


@define
class TooLong(RequestError):
    code: ClassVar[str] = "too_long"
    max_words: int
    got_words: int

    def __str__(self) -> str:
        return f"the text has {self.got_words} words; the limit is {self.max_words}"


@define
class TooManyCharacters(RequestError):
    code: ClassVar[str] = "too_long"
    max_characters: int
    got_characters: int

    def __str__(self) -> str:
        return f"the text has {self.got_characters} characters; the limit is {self.max_characters}"


@define
class TooManyPhonemes(RequestError):
    """Found while the text is read, sentence by sentence, so the sentences before are spoken."""

    code: ClassVar[str] = "too_long"
    max_phonemes: int

    def __str__(self) -> str:
        return f"the text has more than {self.max_phonemes} phonemes, which is over ten minutes of speech"


@define
class Unpronounceable(RequestError):
    code: ClassVar[str] = "unpronounceable"

    def __str__(self) -> str:
        return "the text holds nothing that can be pronounced"


@define
class UnknownVoice(RequestError):
    code: ClassVar[str] = "unknown_voice"
    got: str
    close_matches: list[str]

    def __str__(self) -> str:
        return f"there is no voice {self.got!r}{self._near}"

    @property
    def _near(self) -> str:
        return f"; did you mean {' or '.join(self.close_matches)}?" if self.close_matches else ""


@define
class NotMixable(UnknownVoice):
    """`got` is part of a recipe, but not a voice of the model; it may be the name of another blend."""

    def __str__(self) -> str:
        return f"{self.got!r} is not a voice of the model, and a recipe can mix only those{self._near}"


@define
class MalformedRecipe(UnknownVoice):
    """`got` looks like a recipe, but its syntax is wrong."""

    reason: str

    def __str__(self) -> str:
        return f"{self.got!r} is not a recipe of voices such as af_bella(2)+af_sky: {self.reason}"


@define
class BadSpeed(RequestError):
    code: ClassVar[str] = "bad_speed"
    got: str
    minimum: float
    maximum: float

    def __str__(self) -> str:
        return f"speed must be a number from {self.minimum} to {self.maximum}, got {self.got}"


@define
class BadLanguage(RequestError):
    """`mend`: the command that adds the language, if there is one."""

    code: ClassVar[str] = "bad_language"
    got: str
    allowed: list[str]
    mend: str | None = None

    def __str__(self) -> str:
        message = f"the language {self.got!r} is not available; the languages are {', '.join(self.allowed)}"
        return message if self.mend is None else f"{message}; to add it, run on the server: {self.mend}"


@define
class UnsupportedFormat(RequestError):
    code: ClassVar[str] = "unsupported_format"
    got: str
    allowed: list[str]

    def __str__(self) -> str:
        return f"the audio format {self.got!r} is not supported; use {' or '.join(self.allowed)}"


@define
class UnsupportedSampleRate(RequestError):
    code: ClassVar[str] = "unsupported_sample_rate"
    got: int
    allowed: list[str]

    def __str__(self) -> str:
        return f"a sample rate of {self.got} Hz is not supported; use {' or '.join(self.allowed)}"


@define
class DuplicateRequest(RequestError):
    code: ClassVar[str] = "duplicate_request"

    def __str__(self) -> str:
        return "a request with this id is still outstanding"


@define
class UnknownRequest(RequestError):
    code: ClassVar[str] = "unknown_request"

    def __str__(self) -> str:
        return "this connection has had no request with this id"


@define
class Overloaded(RequestError):
    """If `reason` is `SHUTTING_DOWN`, clients reconnect, because another server can take the request."""

    code: ClassVar[str] = "overloaded"
    SHUTTING_DOWN: ClassVar[str] = "it is shutting down"
    reason: str

    def __str__(self) -> str:
        return f"the server accepts no new request: {self.reason}"


@define
class SessionFull(Overloaded):
    """One connection has reached a limit; `limit` is the knob, `allowed` its value."""

    limit: str
    allowed: int


@define
class SynthesisFailed(RequestError):
    """The model failed on this request. The log has the details; the client does not get them."""

    code: ClassVar[str] = "synthesis_failed"

    def __str__(self) -> str:
        return "speech synthesis failed; the server has logged the error"
