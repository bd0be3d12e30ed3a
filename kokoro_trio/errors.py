"""The errors that operators and clients see.

A `StartError` stops the process before it serves, with one line for the operator. An `EngineFault` ends the
serving process. A `RequestError` ends one speak request or rejects one message; it carries the wire code and
the facts that the client gets. `wire/messages.py` turns it into a message.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from attrs import asdict, define, fields_dict

from kokoro_trio.installation import PREPARE_WEIGHTS

Fact = str | int | float | bool | None | list[str]  # as JSON


class KokoroTrioError(Exception):
    """The base class of all errors of this package."""

    text: ClassVar[str]
    """The message, with names of attributes in braces. A subclass defines it, or its own `__str__`."""

    def __str__(self) -> str:
        facts = {name: getattr(self, name) for name in fields_dict(type(self))}  # type: ignore[arg-type]
        lists = {name: ", ".join(value) for name, value in facts.items() if isinstance(value, list)}
        return self.text.format_map(facts | lists)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        """Errors from worker processes are pickled; this recreates them from their fields."""
        return type(self), self.args


# These stop the start.


class StartError(KokoroTrioError):
    """The process cannot serve; `str(error)` is one line that says how to fix it."""


@define
class BadKnob(StartError):
    """A knob (environment variable or line in `.env`) holds a value outside its range."""

    text: ClassVar[str] = "{knob}={got!r} is not usable: it must be {allowed}"
    knob: str
    got: str
    allowed: str


@define
class SettingsUnreadable(StartError):
    text: ClassVar[str] = "{path} cannot be read: {reason}"
    path: Path
    reason: str


@define
class DeviceUnavailable(StartError):
    text: ClassVar[str] = "KOKORO_DEVICE={device}: {reason}"
    device: str
    reason: str


@define
class WeightsUnusable(StartError):
    """A file of the prepared weights is missing, damaged or from another model."""

    text: ClassVar[str] = "{path}: {reason}; to fix it, run: {mend}"
    path: Path
    reason: str
    mend: str = PREPARE_WEIGHTS


@define
class AddressUnavailable(StartError):
    text: ClassVar[str] = "cannot listen on {host} port {port}: {reason}"
    host: str
    port: int
    reason: str


# These end the process while it serves.


class EngineFault(KokoroTrioError):
    """The engine cannot continue, so the process must be replaced."""


@define
class InferenceStuck(EngineFault):
    """A step, or grapheme-to-phoneme, does not return."""

    text: ClassVar[str] = "a {step} step has been running for {seconds:.0f} s"
    step: str
    seconds: float


@define
class InferenceBroken(EngineFault):
    """Every call of the model fails."""

    text: ClassVar[str] = "every call of the model fails: {reason}"
    reason: str


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
    text: ClassVar[str] = "a text frame must hold one JSON object: {reason}"
    reason: str


@define
class BadMessage(RequestError):
    code: ClassVar[str] = "bad_message"
    text: ClassVar[str] = "field {field!r} must be {expected}, got {got}"
    field: str
    expected: str
    got: str


@define
class UnknownType(RequestError):
    code: ClassVar[str] = "unknown_type"
    text: ClassVar[str] = "unknown message type {got}; the types are {allowed}"
    got: str
    allowed: list[str]


@define
class UnexpectedBinary(RequestError):
    code: ClassVar[str] = "unexpected_binary"
    text: ClassVar[str] = "clients send text frames only, got a binary frame of {got_bytes} bytes"
    got_bytes: int


@define
class BadText(RequestError):
    code: ClassVar[str] = "bad_text"
    text: ClassVar[str] = "the text cannot be used: {reason}"
    reason: str


@define
class EmptyText(RequestError):
    code: ClassVar[str] = "empty_text"
    text: ClassVar[str] = "the text is empty"


@define
class TooLong(RequestError):
    code: ClassVar[str] = "too_long"
    text: ClassVar[str] = "the text has {got_words} words; the limit is {max_words}"
    max_words: int
    got_words: int


@define
class TooManyCharacters(RequestError):
    code: ClassVar[str] = "too_long"
    text: ClassVar[str] = "the text has {got_characters} characters; the limit is {max_characters}"
    max_characters: int
    got_characters: int


@define
class TooManyPhonemes(RequestError):
    """Found while the text is read, sentence by sentence, so the sentences before are spoken."""

    code: ClassVar[str] = "too_long"
    text: ClassVar[str] = (
        "the text has more than {max_phonemes} phonemes, which is over ten minutes of speech"
    )
    max_phonemes: int


@define
class Unpronounceable(RequestError):
    code: ClassVar[str] = "unpronounceable"
    text: ClassVar[str] = "the text holds nothing that can be pronounced"


@define
class UnknownVoice(RequestError):
    code: ClassVar[str] = "unknown_voice"
    text: ClassVar[str] = "there is no voice {got!r}"
    got: str
    close_matches: list[str]

    def __str__(self) -> str:
        near = f"; did you mean {' or '.join(self.close_matches)}?" if self.close_matches else ""
        return super().__str__() + near


@define
class NotMixable(UnknownVoice):
    """`got` is part of a recipe, but not a voice of the model; it may be the name of another blend."""

    text: ClassVar[str] = "{got!r} is not a voice of the model, and a recipe can mix only those"


@define
class MalformedRecipe(UnknownVoice):
    """`got` looks like a recipe, but its syntax is wrong."""

    text: ClassVar[str] = "{got!r} is not a recipe of voices such as af_bella(2)+af_sky: {reason}"
    reason: str


@define
class BadSpeed(RequestError):
    code: ClassVar[str] = "bad_speed"
    text: ClassVar[str] = "speed must be a number from {minimum} to {maximum}, got {got}"
    got: str
    minimum: float
    maximum: float


@define
class BadLanguage(RequestError):
    """`mend`: the command that adds the language, if there is one."""

    code: ClassVar[str] = "bad_language"
    text: ClassVar[str] = "the language {got!r} is not available; the languages are {allowed}"
    got: str
    allowed: list[str]
    mend: str | None = None

    def __str__(self) -> str:
        return super().__str__() + (f"; to add it, run on the server: {self.mend}" if self.mend else "")


@define
class UnsupportedFormat(RequestError):
    code: ClassVar[str] = "unsupported_format"
    text: ClassVar[str] = "the audio format {got!r} is not supported; use {allowed}"
    got: str
    allowed: list[str]


@define
class UnsupportedSampleRate(RequestError):
    code: ClassVar[str] = "unsupported_sample_rate"
    text: ClassVar[str] = "a sample rate of {got} Hz is not supported; use {allowed}"
    got: int
    allowed: list[str]


@define
class DuplicateRequest(RequestError):
    code: ClassVar[str] = "duplicate_request"
    text: ClassVar[str] = "a request with this id is still outstanding"


@define
class UnknownRequest(RequestError):
    code: ClassVar[str] = "unknown_request"
    text: ClassVar[str] = "this connection has had no request with this id"


@define
class Overloaded(RequestError):
    """If `reason` is `SHUTTING_DOWN`, clients reconnect, because another server can take the request."""

    code: ClassVar[str] = "overloaded"
    text: ClassVar[str] = "the server accepts no new request: {reason}"
    SHUTTING_DOWN: ClassVar[str] = "it is shutting down"
    reason: str


@define
class SessionFull(Overloaded):
    """One connection has reached a limit; `limit` is the knob, `allowed` its value."""

    limit: str
    allowed: int


@define
class SynthesisFailed(RequestError):
    """The model failed on this request. The log has the details; the client does not get them."""

    code: ClassVar[str] = "synthesis_failed"
    text: ClassVar[str] = "speech synthesis failed; the server has logged the error"
