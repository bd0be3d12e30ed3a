"""OpenAI's speech interface without I/O: requests, answers and errors as OpenAI's clients expect them.

It covers `POST /v1/audio/speech` and `GET /v1/models`. Unknown fields (`instructions` …) are ignored.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from attrs import define, evolve, frozen

from kokoro_trio.audio.files import CONTENT_TYPES
from kokoro_trio.errors import (
    BadJson,
    BadMessage,
    Overloaded,
    RequestError,
    SynthesisFailed,
    TooManyCharacters,
    UnknownVoice,
    UnsupportedFormat,
)
from kokoro_trio.model.recipes import near_names
from kokoro_trio.model.voices import Voice, VoiceCatalogue
from kokoro_trio.speech import Utterance
from kokoro_trio.text.languages import language_named
from kokoro_trio.wire.limits import MAX_GOT_CHARS
from kokoro_trio.wire.messages import decode_object, optional, optional_speed, shown, spoken_text
from kokoro_trio.wire.settings import DEFAULT_SPEED, DEFAULT_VOICE

SPEECH_PATH = "/v1/audio/speech"
MODELS_PATH = "/v1/models"
SSE_CONTENT_TYPE = "text/event-stream; charset=utf-8"

MODELS = ("kokoro", "hexgrad/Kokoro-82M", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Names of our one model. A request may name any other model too, because clients have their own defaults."""
MODELS_CREATED = 1_735_257_600
"""27 December 2024, when Kokoro-82M was published."""

DEFAULT_FORMAT = "mp3"
STREAM_FORMATS = ("audio", "sse")

VOICES = {
    "alloy": "af_alloy",
    "ash": "am_michael",
    "ballad": "bm_george",
    "cedar": "am_fenrir",
    "coral": "af_heart",
    "echo": "am_echo",
    "fable": "bm_fable",
    "marin": "af_aoede",
    "nova": "af_nova",
    "onyx": "am_onyx",
    "sage": "af_sarah",
    "shimmer": "af_bella",
    "verse": "am_puck",
}
"""OpenAI's voices and ours: the voice of the same name if there is one, else a good one of the same gender. A
blend that has one of these names takes precedence."""

_PARAMETERS = {
    "bad_text": "input",
    "empty_text": "input",
    "too_long": "input",
    "unpronounceable": "input",
    "unknown_voice": "voice",
    "bad_speed": "speed",
    "unsupported_format": "response_format",
    "bad_language": "language",
}
"""The request field of an error, by its code."""

INVALID_REQUEST = "invalid_request_error"


@frozen
class SpeechRequest:
    """The checked content of a request body."""

    utterance: Utterance
    voice_name: str
    format: str
    is_sse: bool

    @property
    def content_type(self) -> str:
        return SSE_CONTENT_TYPE if self.is_sse else CONTENT_TYPES[self.format]


def speech_request(body: bytes, voices: VoiceCatalogue, max_characters: int) -> SpeechRequest:
    """Raises `RequestError`."""
    values = decode_object(body)
    optional(values, "model", str)
    voice = resolve(_voice_named(values), voices)
    language: str | None = optional(values, "language", str)
    return SpeechRequest(
        Utterance(
            _input(values, max_characters),
            voice=str(voice.recipe),
            speed=optional_speed(values) or DEFAULT_SPEED,
            language=voice.language if language is None else language_named(language),
        ),
        voice.name,
        _format(values),
        _is_sse(values),
    )


def resolve(name: str, voices: VoiceCatalogue) -> Voice:
    """Our voice for our name or OpenAI's. Raises `UnknownVoice` with the closest of all names."""
    try:
        return voices.resolve(name)
    except UnknownVoice as unknown:
        if type(unknown) is not UnknownVoice:
            raise  # A recipe is wrong, and recipes mix only voices of the model.
        if name in VOICES:
            return voices.resolve(VOICES[name])
        near = near_names(name, [*unknown.close_matches, *VOICES])
        raise evolve(unknown, close_matches=near or unknown.close_matches) from None


def _voice_named(values: Mapping[str, Any]) -> str:
    """The name of the voice, or the `id` if it is one of OpenAI's voice objects; else the default."""
    voice = values.get("voice")
    if voice is None:
        return DEFAULT_VOICE
    if isinstance(voice, dict):
        voice = voice.get("id")
    if not isinstance(voice, str):
        raise BadMessage(field="voice", expected="the name of a voice", got=shown(values.get("voice")))
    return voice


def _input(values: Mapping[str, Any], max_characters: int) -> str:
    text = values.get("input")
    if not isinstance(text, str):
        raise BadMessage(field="input", expected="a string", got=shown(text))
    if len(text) > max_characters:
        raise TooManyCharacters(max_characters=max_characters, got_characters=len(text))
    return spoken_text(text)


def _format(values: Mapping[str, Any]) -> str:
    audio_format: str = optional(values, "response_format", str) or DEFAULT_FORMAT
    if audio_format not in CONTENT_TYPES:
        raise UnsupportedFormat(got=audio_format[:MAX_GOT_CHARS], allowed=list(CONTENT_TYPES))
    return audio_format


def _is_sse(values: Mapping[str, Any]) -> bool:
    stream_format: str = optional(values, "stream_format", str) or "audio"
    if stream_format not in STREAM_FORMATS:
        expected = " or ".join(STREAM_FORMATS)
        raise BadMessage(field="stream_format", expected=expected, got=shown(stream_format))
    return stream_format == "sse"


# Errors.


@define
class Refusal(Exception):
    """An error response."""

    status: HTTPStatus
    message: str
    type: str = INVALID_REQUEST
    param: str | None = None
    code: str | None = None
    headers: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, error: RequestError, retry_after_s: int) -> "Refusal":
        match error:
            case Overloaded():
                status, kind = HTTPStatus.SERVICE_UNAVAILABLE, "server_error"
            case SynthesisFailed():
                status, kind = HTTPStatus.INTERNAL_SERVER_ERROR, "server_error"
            case _:
                status, kind = HTTPStatus.BAD_REQUEST, INVALID_REQUEST
        headers = [("Retry-After", str(retry_after_s))] if isinstance(error, Overloaded) else []
        return cls(status, _message(error), kind, _parameter(error), error.code, headers)

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


def wrong_key() -> Refusal:
    return Refusal(
        HTTPStatus.UNAUTHORIZED,
        "the API key is wrong or missing",
        code="invalid_api_key",
        headers=[("WWW-Authenticate", "Bearer")],
    )


def foreign_origin() -> Refusal:
    message = "pages of this origin may not use the server; see its knob ALLOWED_ORIGINS"
    return Refusal(HTTPStatus.FORBIDDEN, message, code="foreign_origin")


def fault() -> Refusal:
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal server error", "server_error")


def websocket_only(path: str) -> Refusal:
    return Refusal(
        HTTPStatus.UPGRADE_REQUIRED,
        f"{path} is for WebSockets",
        headers=[("Upgrade", "websocket"), ("Connection", "Upgrade")],
    )


def wrong_method(allowed: str) -> Refusal:
    message = f"this address accepts only {allowed} requests"
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, message, headers=[("Allow", allowed)])


def too_large(max_bytes: int) -> Refusal:
    message = f"the body is larger than {max_bytes} bytes"
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)


def _message(error: RequestError) -> str:
    return f"the body must be a JSON object: {error.reason}" if isinstance(error, BadJson) else str(error)


def _parameter(error: RequestError) -> str | None:
    return error.field if isinstance(error, BadMessage) else _PARAMETERS.get(error.code)


def too_slow(timeout_s: float) -> Refusal:
    return Refusal(HTTPStatus.REQUEST_TIMEOUT, f"the body was not received within {timeout_s:g} s")


def not_found(path: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, f"unknown address {path[:MAX_GOT_CHARS]}", code="unknown_url")


def unknown_model(name: str) -> Refusal:
    message = f"there is no model {name[:MAX_GOT_CHARS]!r}; there are {', '.join(MODELS)}"
    return Refusal(HTTPStatus.NOT_FOUND, message, param="model", code="model_not_found")


# Answers.


def model_entry(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": MODELS_CREATED, "owned_by": "hexgrad"}


def model_list() -> dict[str, object]:
    return {"object": "list", "data": [model_entry(name) for name in MODELS]}


def delta_event(data: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})


def done_event() -> bytes:
    """OpenAI counts tokens for billing; we do not."""
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    return _event({"type": "speech.audio.done", "usage": usage})


def error_event(refusal: Refusal) -> bytes:
    return _event({"type": "error", **refusal.body})


def _event(values: Mapping[str, object]) -> bytes:
    return f"data: {json.dumps(values)}\n\n".encode()
