"""Together's WebSocket dialect.

A client appends text to the buffer of a context and commits it. The texts that a context speaks without a
break form one item: it begins with the first text and ends with one `done` when all committed text has been
spoken. Commits in quick succession therefore share a `done`. Clients take a `done` for the end of a turn
(Pipecat drops the audio after it), and no field of a commit tells whether it is the last of a turn.

Some clients mark the end of a turn: Pipecat sends one more commit with nothing to speak. For these clients
`done` waits for that commit, so that it cannot cross the next sentence on the way. If the commit does not
come within `TURN_END_TIMEOUT_S`, the client gets `done` without it.
"""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from kokoro_trio.audio.files import wav_head
from kokoro_trio.errors import (
    BadMessage,
    BadSpeed,
    BadText,
    Overloaded,
    RequestError,
    SynthesisFailed,
    UnexpectedBinary,
    UnknownType,
    Unpronounceable,
    UnsupportedFormat,
    UnsupportedSampleRate,
)
from kokoro_trio.model.voices import Voice, VoiceCatalogue
from kokoro_trio.server.dialects.buffered_text import append_text, complete_chars, pieces_of
from kokoro_trio.server.dialects.dialect import Dialect, Frame, Opening, Outcome
from kokoro_trio.server.protocol import Request
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.text.languages import language_named, tag_of
from kokoro_trio.wire.formats import SAMPLE_RATES_HZ
from kokoro_trio.wire.limits import (
    DEFAULT_PARTIAL_CHARS,
    MAX_BUFFERED_CHARS,
    MAX_CONTEXTS,
    MAX_GOT_CHARS,
    MAX_PARAMETER_CHARS,
    MAX_PARTIAL_CHARS,
    MAX_PRONUNCIATION_CHARS,
    MAX_PRONUNCIATION_SOURCES_CHARS,
    MAX_PRONUNCIATIONS,
    MAX_REQUEST_ID_CHARS,
    MAX_SPEED,
    MAX_WHOLE,
    MIN_SPEED,
)
from kokoro_trio.wire.messages import (
    Cancel,
    Done,
    Error,
    Meta,
    ServerMessage,
    Speak,
    SpokenWord,
    Start,
    decode_object,
    number_within,
    optional,
    shown,
)
from kokoro_trio.wire.settings import DEFAULT_VOICE

MODEL = "hexgrad/Kokoro-82M"
DEFAULT_CONTEXT = "default"
PARAMETERS = frozenset(
    (
        *("model", "voice", "language", "speed", "response_format", "response_encoding", "sample_rate"),
        *("alignment", "segment", "max_partial_length", "extra_params"),
    )
)
"""The parameters of an address and of an update that are used; others are ignored."""
TURN_END_TIMEOUT_S = 2.5
"""Pipecat ends a turn by itself after three seconds of silence."""

CLIENT_TYPES = [
    "input_text_buffer.append",
    "input_text_buffer.commit",
    "input_text_buffer.clear",
    "tts_session.updated",
    "context.cancel",
]
CREATED, UPDATED = "session.created", "session.updated"
RECEIVED, CANCELLED = "conversation.item.input_text.received", "context.cancelled"
DELTA, DONE = "conversation.item.audio_output.delta", "conversation.item.audio_output.done"
WORDS, FAILED = "conversation.item.word_timestamps", "conversation.item.tts.failed"

SENTENCE, IMMEDIATE, NEVER = "sentence", "immediate", "never"
"""When text is spoken before its commit: when its sentence is complete, at once, or never."""

_FORMATS = {"pcm": "pcm", "raw": "pcm", "wav": "pcm", "opus": "opus", "mulaw": "mulaw"}
"""Together's name of a format → ours. WAV is PCM after a header."""
_ENCODINGS = {"pcm_s16le": "pcm", "pcm_mulaw": "mulaw"}


@frozen
class Pronunciations:
    """A client's replacements of words."""

    replacements: Mapping[str, str]
    _words: re.Pattern[str]

    @classmethod
    def of(cls, replacements: Mapping[str, str]) -> "Pronunciations":
        words = "|".join(map(re.escape, sorted(replacements, key=len, reverse=True)))
        return cls(replacements, re.compile(rf"(?<!\w)(?:{words})(?!\w)"))

    def replaced_in(self, text: str) -> str:
        """Raises `BadText` if the result is longer than `MAX_BUFFERED_CHARS`."""
        if not self.replacements:
            return text
        replaced = self._words.sub(lambda found: self.replacements[found[0]], text)
        if len(replaced) > MAX_BUFFERED_CHARS:
            raise BadText(reason=f"the pronunciations make it longer than {MAX_BUFFERED_CHARS} characters")
        return replaced


NO_PRONUNCIATIONS = Pronunciations.of({})


@frozen
class ContextSettings:
    """The settings of a context, from the client's parameters."""

    voice: str
    language: str | None
    """None: that of the voice."""
    text_language: str
    """The letter of the text's language."""
    speed: float | None
    format: str
    sample_rate: int
    is_wav: bool
    timestamps: bool
    segment: str
    max_partial_chars: int
    pronunciations: Pronunciations

    @classmethod
    def of(cls, asked: Mapping[str, object], voices: VoiceCatalogue) -> "ContextSettings":
        """From parameters as `_bounded` returns them. Raises `RequestError`."""
        model = optional(asked, "model", str) or MODEL
        if model.lower() not in (MODEL.lower(), "kokoro-82m", "kokoro"):
            raise BadMessage(field="model", expected=MODEL, got=model[:MAX_GOT_CHARS])
        # In an unescaped address the plus of a blend arrives as a space.
        voice_name = (optional(asked, "voice", str) or DEFAULT_VOICE).replace(" ", "+")
        voice = voices.resolve(voice_name)
        language = _language(optional(asked, "language", str), voice)
        audio_format, sample_rate = _format(asked)
        rules = asked.get("extra_params")
        return cls(
            voice=voice_name,
            language=language,
            text_language=language or voice.language,
            speed=_speed(asked),
            format=audio_format,
            sample_rate=sample_rate,
            is_wav=asked.get("response_format") == "wav",
            timestamps=_one_of(asked, "alignment", "none", "word") == "word",
            segment=_one_of(asked, "segment", SENTENCE, IMMEDIATE, NEVER),
            max_partial_chars=min(
                _whole_number(asked, "max_partial_length") or DEFAULT_PARTIAL_CHARS, MAX_PARTIAL_CHARS
            ),
            pronunciations=rules if isinstance(rules, Pronunciations) else NO_PRONUNCIATIONS,
        )

    @property
    def start(self) -> Start:
        return Start(format=self.format, sample_rate=self.sample_rate, timestamps=self.timestamps)


@define
class _Item:
    """The texts that a context speaks until its `done`."""

    item_id: str
    outstanding: set[str] = field(factory=set)
    """Request ids."""
    spoken_s: float = 0.0
    """Seconds of audio of the requests that have ended."""
    has_audio: bool = False
    failure: RequestError | Error | None = None
    """Why a text was skipped. The client gets it if the item has no audio at all."""


@define
class _Context:
    context_id: str
    parameters: dict[str, object]
    refused: dict[str, RequestError]
    """Unusable parameters of the address, which are not in `parameters`, until an update replaces them."""
    settings: ContextSettings | None = None
    refusal: RequestError | None = None
    """Why `settings` is None. The context then speaks nothing, instead of another voice or format."""
    buffer: str = ""
    item: _Item | None = None
    has_uncommitted: bool = False
    marks_turns: bool = False
    """The client ends its turns with a commit of an empty buffer."""
    is_turn_over: bool = False

    @property
    def is_spoken(self) -> bool:
        """All text of the item is committed and spoken."""
        return self.item is not None and not self.item.outstanding and not self.has_uncommitted

    @property
    def waits_for_end(self) -> bool:
        return self.is_spoken and self.marks_turns and not self.is_turn_over

    @property
    def name(self) -> dict[str, object]:
        """The field that names a context in its events; the default context has none."""
        return {} if self.context_id == DEFAULT_CONTEXT else {"context_id": self.context_id}


@define
class Together(Dialect):
    _opening: Opening
    _contexts: dict[str, _Context] = field(factory=dict)
    _contexts_by_request: dict[str, _Context] = field(factory=dict)
    _n_items: int = 0
    _started: Start | None = None

    def open(self) -> list[Frame]:
        """The greeting, and the error of an unusable parameter, which each text then gets again."""
        context = self._contexts[DEFAULT_CONTEXT] = _Context(DEFAULT_CONTEXT, *_checked(self._opening.query))
        try:
            context.settings = self._settings(context, {})
        except RequestError as error:
            context.refusal = error
        created = _event(CREATED, event_id=self._opening.new_id(), session=self._described(context))
        return [created] if context.refusal is None else [created, _failed(context.refusal)]

    # From the client.

    def receive(self, frame: Frame) -> list[Outcome]:
        try:
            if isinstance(frame, bytes):
                raise UnexpectedBinary(len(frame))
            return self._receive(decode_object(frame))
        except RequestError as error:
            return [Error.of(error)]

    def _receive(self, values: Mapping[str, object]) -> list[Outcome]:
        match values.get("type"):
            case "input_text_buffer.append":
                return self._append(self._context(values), values)
            case "input_text_buffer.commit":
                return self._commit(self._context(values))
            case "input_text_buffer.clear":
                return self._clear(self._context(values))
            case "context.cancel":
                return self._cancel(self._context(values))
            # Together's reference has the past tense, although the client sends it.
            case "tts_session.updated" | "tts_session.update":
                return self._update(values)
            case kind:
                raise UnknownType(got=shown(kind), allowed=CLIENT_TYPES)

    def _append(self, context: _Context, values: Mapping[str, object]) -> list[Outcome]:
        text = values.get("text")
        if not isinstance(text, str):
            raise BadText(reason="field 'text' must be a string")
        if len(context.buffer) + len(text) > MAX_BUFFERED_CHARS:
            raise BadText(reason=f"more than {MAX_BUFFERED_CHARS} characters wait for a commit")
        context.buffer = append_text(context.buffer, text)
        if text.strip():
            context.has_uncommitted, context.is_turn_over = True, False
        return [_event(RECEIVED, text=text, **context.name), *self._speak_ahead(context, text)]

    def _speak_ahead(self, context: _Context, appended: str) -> list[Outcome]:
        """Speaks text before its commit, as the settings say."""
        settings = context.settings
        if settings is None or settings.segment == NEVER:
            return []
        length = len(context.buffer)
        if settings.segment == SENTENCE:
            length = complete_chars(
                context.buffer, appended, settings.text_language, settings.max_partial_chars
            )
        ahead, context.buffer = context.buffer[:length], context.buffer[length:]
        return self._speak(context, ahead)

    def _commit(self, context: _Context) -> list[Outcome]:
        if not context.has_uncommitted:
            context.marks_turns |= context.item is not None
            context.is_turn_over = True
            return [*self._finished(context)]
        rest, context.buffer, context.has_uncommitted = context.buffer, "", False
        spoken = self._speak(context, rest)
        return [*spoken, *self._finished(context)]

    def _clear(self, context: _Context) -> list[Outcome]:
        """The client gets neither audio nor `done` of the context from here on."""
        request_ids = context.item.outstanding if context.item else set[str]()
        for request_id in request_ids:
            del self._contexts_by_request[request_id]
        context.buffer, context.item, context.has_uncommitted = "", None, False
        return [Cancel(request_id) for request_id in sorted(request_ids)]

    def _cancel(self, context: _Context) -> list[Outcome]:
        canceled = self._clear(context)
        if context.context_id != DEFAULT_CONTEXT:
            del self._contexts[context.context_id]
        return [*canceled, _event(CANCELLED, context_id=context.context_id)]

    def _update(self, values: Mapping[str, object]) -> list[Outcome]:
        """Changes the named context, else all of them. An unusable parameter changes nothing."""
        session = values.get("session")
        if not isinstance(session, dict):
            raise BadMessage(field="session", expected="an object", got=shown(session))
        changes, refused = _checked(session)
        for error in refused.values():
            raise error
        named = values.get("context_id") is not None
        contexts = [self._context(values)] if named else [*self._contexts.values()]
        settings = [self._settings(each, changes) for each in contexts]
        for context, chosen in zip(contexts, settings, strict=True):
            # Pipecat's first message repeats the voice of its address.
            is_pipecat = not self._n_items and changes.get("voice") == context.parameters.get("voice")
            context.marks_turns |= is_pipecat and "voice" in changes
            context.parameters.update(changes)
            context.refused = {}
            context.settings, context.refusal = chosen, None
        return [_event(UPDATED, session=self._described(contexts[0]), **contexts[0].name)]

    # From the protocol.

    @property
    def timeout_s(self) -> float:
        """Finite while a context waits only for the commit that ends its turn."""
        waits = any(context.waits_for_end for context in self._contexts.values())
        return TURN_END_TIMEOUT_S if waits else math.inf

    def time_out(self) -> list[Frame]:
        """Ends the items whose commit has not come. These contexts no longer expect one."""
        frames: list[Frame] = []
        for context in self._contexts.values():
            if context.waits_for_end:
                context.marks_turns = False
                frames += self._finished(context)
        return frames

    def encode(self, message: ServerMessage) -> list[Frame]:
        """No frames for a request whose context was cleared."""
        request_id = getattr(message, "request_id", None)
        if isinstance(message, Error) and request_id is None:
            return [_failed(message)]
        context = self._contexts_by_request.get(request_id or "")
        if context is None or context.item is None:
            return []
        match message:
            case Meta(words=words) if words:
                return [_timestamps(context, context.item, words)]
            case Done():
                context.item.spoken_s += message.duration_s
                return self._ended(context, message.request_id)
            case Error(code=Unpronounceable.code):
                context.item.failure = message
                return self._ended(context, request_id or "")
            case Error():
                return [_failed(message, context), *self._ended(context, request_id or "")]
        return []

    def encode_audio(self, request: Request, data: bytes) -> list[Frame]:
        context = self._contexts_by_request.get(request.request_id)
        if context is None or context.item is None:
            return []
        settings, item = context.settings, context.item
        if settings and settings.is_wav and not item.has_audio:
            data = wav_head(settings.sample_rate) + data
        item.has_audio = True
        return [_event(DELTA, item_id=item.item_id, delta=base64.b64encode(data).decode(), **context.name)]

    def _ended(self, context: _Context, request_id: str) -> list[Frame]:
        assert context.item is not None
        context.item.outstanding.remove(request_id)
        del self._contexts_by_request[request_id]
        return self._finished(context)

    def _finished(self, context: _Context) -> list[Frame]:
        """Ends the item if all of it is spoken."""
        item = context.item
        if item is None or not context.is_spoken or context.waits_for_end:
            return []
        failed = [] if item.has_audio or item.failure is None else [_failed(item.failure, context)]
        context.item = None
        return [*failed, _event(DONE, item_id=item.item_id, **context.name)]

    # Speaking.

    def _speak(self, context: _Context, text: str) -> list[Outcome]:
        if not text.strip():
            return []
        if context.item is None:
            self._n_items += 1
            context.item = _Item(f"tts_{self._n_items}")
        settings = context.settings
        if settings is None:
            context.item.failure = context.refusal
            return []
        spoken: list[Outcome] = []
        if settings.start != self._started:
            spoken.append(self._start(settings))
        try:
            pronounced = settings.pronunciations.replaced_in(text)
        except BadText as error:
            return [*spoken, _failed(error, context)]
        pieces = pieces_of(pronounced, settings.text_language, self._opening.limits)
        return spoken + [self._request(context, context.item, settings, piece) for piece in pieces]

    def _start(self, settings: ContextSettings) -> Start:
        self._started = settings.start
        return settings.start

    def _request(self, context: _Context, item: _Item, settings: ContextSettings, text: str) -> Speak:
        request_id = self._opening.new_id()
        item.outstanding.add(request_id)
        self._contexts_by_request[request_id] = context
        return Speak(
            text,
            request_id=request_id,
            voice=settings.voice,
            speed=settings.speed,
            language=settings.language,
        )

    # Contexts.

    def _context(self, values: Mapping[str, object]) -> _Context:
        """The context that a message names. A new one starts as a copy of the default context."""
        context_id = optional(values, "context_id", str) or DEFAULT_CONTEXT
        context = self._contexts.get(context_id)
        if context is not None:
            return context
        if len(context_id) > MAX_REQUEST_ID_CHARS:
            expected = f"at most {MAX_REQUEST_ID_CHARS} characters"
            raise BadMessage(field="context_id", expected=expected, got=shown(context_id))
        if len(self._contexts) >= MAX_CONTEXTS:
            expected = f"one of at most {MAX_CONTEXTS} contexts"
            raise BadMessage(field="context_id", expected=expected, got=context_id[:MAX_GOT_CHARS])
        default = self._contexts[DEFAULT_CONTEXT]
        context = self._contexts[context_id] = _Context(
            context_id, {**default.parameters}, {**default.refused}, default.settings, default.refusal
        )
        return context

    def _settings(self, context: _Context, changes: Mapping[str, object]) -> ContextSettings:
        """The settings of a context after these changes. Raises `RequestError`."""
        if not changes and context.settings is not None:
            return context.settings
        for name, error in context.refused.items():
            if name not in changes:
                raise error.with_traceback(None)  # Each raise would extend the traceback.
        return ContextSettings.of({**context.parameters, **changes}, self._opening.voices)

    def _described(self, context: _Context) -> dict[str, object]:
        return {
            "id": self._opening.session_id,
            "object": "realtime.tts.session",
            "modalities": ["text", "audio"],
            "model": MODEL,
            "voice": context.parameters.get("voice") or DEFAULT_VOICE,
        }


def _event(kind: str, **fields: object) -> str:
    """A text frame. ASCII escapes: a refused value may hold a lone surrogate, which has no UTF-8."""
    return json.dumps({"type": kind, **fields})


def _failed(error: RequestError | Error, context: _Context | None = None) -> str:
    """The event names the context's item if there is one. Errors never end the connection."""
    error = error if isinstance(error, Error) else Error.of(error)
    is_model = error.code == BadMessage.code and error.facts.get("field") == "model"
    is_server_fault = error.code in (SynthesisFailed.code, Overloaded.code)
    described = {
        **error.facts,
        "message": error.message,
        "type": "server_error" if is_server_fault else "invalid_request_error",
        "param": error.facts.get("field"),
        "code": "model_not_available" if is_model else error.code,
    }
    item = {"item_id": context.item.item_id} if context and context.item else {}
    return _event(FAILED, error=described, **item, **(context.name if context else {}))


def _timestamps(context: _Context, item: _Item, words: Sequence[SpokenWord]) -> str:
    """In seconds from the first sample of the item."""
    return _event(
        WORDS,
        item_id=item.item_id,
        words=[word.text for word in words],
        start_seconds=[round(item.spoken_s + word.start_s, 3) for word in words],
        end_seconds=[round(item.spoken_s + word.end_s, 3) for word in words],
        **context.name,
    )


# Parameters.


def _checked(asked: Mapping[str, object]) -> tuple[dict[str, object], dict[str, RequestError]]:
    """The usable parameters as a context keeps them, and the errors of the unusable ones."""
    kept: dict[str, object] = {}
    refused: dict[str, RequestError] = {}
    for name in asked:
        if name in PARAMETERS:
            try:
                kept[name] = _bounded(name, asked[name])
            except RequestError as error:
                refused[name] = error
    return kept, refused


def _bounded(name: str, value: object) -> object:
    """The parameter, if its size is allowed. Raises `RequestError`."""
    if name == "extra_params":
        return _pronunciations(value)
    is_short = len(value) <= MAX_PARAMETER_CHARS if isinstance(value, str) else True
    if isinstance(value, list | dict) or not is_short:
        expected = f"a number, or a string of at most {MAX_PARAMETER_CHARS} characters"
        raise BadMessage(field=name, expected=expected, got=shown(value))
    return value


def _one_of(asked: Mapping[str, object], name: str, *allowed: str) -> str:
    """The first of `allowed` is the default."""
    value = optional(asked, name, str) or allowed[0]
    if value not in allowed:
        raise BadMessage(field=name, expected=" or ".join(allowed), got=value[:MAX_GOT_CHARS])
    return value


def _whole_number(asked: Mapping[str, object], name: str) -> int | None:
    value = asked.get(name)
    if value is None:
        return None
    if type(value) is int and number_within(value, 1, MAX_WHOLE) is not None:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 and int(value):
        return int(value)
    raise BadMessage(field=name, expected="a whole number", got=shown(value))


def _speed(asked: Mapping[str, object]) -> float | None:
    value = asked.get("speed")
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    speed = number_within(number, MIN_SPEED, MAX_SPEED)
    if speed is None:
        raise BadSpeed(got=shown(value), minimum=MIN_SPEED, maximum=MAX_SPEED)
    return speed


def _language(tag: str | None, voice: Voice) -> str | None:
    """The letter of the language; None if the voice speaks it already ("en" and a British voice)."""
    if not tag or tag_of(voice.language).partition("-")[0] == tag.lower():
        return None
    return language_named(tag)


def _format(asked: Mapping[str, object]) -> tuple[str, int]:
    name = optional(asked, "response_format", str) or "pcm"
    encoding = optional(asked, "response_encoding", str)
    ours = _FORMATS.get(name)
    if ours is None:
        raise UnsupportedFormat(got=name[:MAX_GOT_CHARS], allowed=[*_FORMATS])
    if ours == "pcm" and encoding is not None:
        if encoding not in _ENCODINGS or (name == "wav" and encoding != "pcm_s16le"):
            raise UnsupportedFormat(got=encoding[:MAX_GOT_CHARS], allowed=[*_ENCODINGS])
        ours = _ENCODINGS[encoding]
    default = SAMPLE_RATE_HZ if SAMPLE_RATE_HZ in SAMPLE_RATES_HZ[ours] else SAMPLE_RATES_HZ[ours][0]
    rate_hz = _whole_number(asked, "sample_rate") or default
    if rate_hz not in SAMPLE_RATES_HZ[ours]:
        raise UnsupportedSampleRate(got=rate_hz, allowed=[str(rate) for rate in SAMPLE_RATES_HZ[ours]])
    return ours, rate_hz


def _pronunciations(extra: object) -> Pronunciations:
    if isinstance(extra, str):
        extra = decode_object(extra)
    rules = extra.get("pronunciation_dict") if isinstance(extra, dict) else None
    if rules is None:
        return NO_PRONUNCIATIONS
    expected = 'a list of "<source>/<replacement>"'
    if not isinstance(rules, list) or not all(isinstance(rule, str) and "/" in rule[1:] for rule in rules):
        raise BadMessage(field="pronunciation_dict", expected=expected, got=shown(rules))
    if len(rules) > MAX_PRONUNCIATIONS:
        expected = f"at most {MAX_PRONUNCIATIONS} rules"
        raise BadMessage(field="pronunciation_dict", expected=expected, got=f"{len(rules)} rules")
    rule_parts = [rule.partition("/") for rule in rules]
    for source, _, replacement in rule_parts:
        if (longer := max(len(source), len(replacement))) > MAX_PRONUNCIATION_CHARS:
            expected = f"at most {MAX_PRONUNCIATION_CHARS} characters on each side of a rule"
            raise BadMessage(field="pronunciation_dict", expected=expected, got=f"{longer} characters")
    if (n_chars := sum(len(source) for source, _, _ in rule_parts)) > MAX_PRONUNCIATION_SOURCES_CHARS:
        expected = f"at most {MAX_PRONUNCIATION_SOURCES_CHARS} characters before the slashes of all rules"
        raise BadMessage(field="pronunciation_dict", expected=expected, got=f"{n_chars} characters")
    return Pronunciations.of({source: replacement for source, _, replacement in rule_parts if source})
