"""Together's WebSocket dialect, without I/O: its events in, our messages out, and the other way round.

A client appends text to the buffer of a context and commits it. What is spoken of a context without a
break is one item: it begins with the first text and ends with one `done`, as soon as all that was
committed has been spoken. Several commits in quick succession therefore share a `done`. Clients take a
`done` for the end of a turn (Pipecat throws away what comes after it), and nothing in the dialect says
which commit is the last of a turn.

Some clients do say it: Pipecat commits once more at the end, with nothing to be spoken. There, `done`
waits for that commit, so that it cannot cross the next sentence on its way. It does not wait for long
(`give_up_waiting`). A client that then does not send this commit still gets `done`, after
`TURN_END_TIMEOUT_S`.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, field, frozen

from kokoro_trio.audio.files import wav_head
from kokoro_trio.config import RequestLimits
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
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.text.languages import language_named, tag_of
from kokoro_trio.text.segmentation import sentence_spans, word_count
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
    ClientMessage,
    Done,
    Error,
    Meta,
    ServerMessage,
    Speak,
    SpokenWord,
    Start,
    StartedSpeak,
    decode_object,
    number_within,
    shown,
)
from kokoro_trio.wire.settings import DEFAULT_VOICE

TOGETHER_PATH = "/v1/audio/speech/websocket"
MODEL = "hexgrad/Kokoro-82M"
DEFAULT_CONTEXT = "default"
PARAMETERS = frozenset(
    (
        *("model", "voice", "language", "speed", "response_format", "response_encoding", "sample_rate"),
        *("alignment", "segment", "max_partial_length", "extra_params"),
    )
)
"""Of a session and of the address; others are ignored."""

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
"""When text is spoken that is not committed yet: once its sentence is whole, at once, not at all."""

_FORMATS = {"pcm": "pcm", "raw": "pcm", "wav": "pcm", "opus": "opus", "mulaw": "mulaw"}
"""Together's name of a format → ours. WAV is PCM behind a header."""
_ENCODINGS = {"pcm_s16le": "pcm", "pcm_mulaw": "mulaw"}

_STOPS, _CLOSERS = ".!?…。！？", ")]\"'”’»"
_ANOTHER_SENTENCE = " Then"
_WORD_GAP = re.compile(r"\s+")
_CLAUSE_GAP = re.compile(r"""(?<=[,;:.!?—…])\s+""")

Event = dict[str, object]
Outcome = ClientMessage | Event
"""What an event of the client leads to: a message for our own protocol, or an event for the client."""


@frozen
class Pronunciations:
    """The replacements that a client wants for some words."""

    replacements: Mapping[str, str]
    _words: re.Pattern[str]

    @classmethod
    def of(cls, replacements: Mapping[str, str]) -> "Pronunciations":
        words = "|".join(map(re.escape, sorted(replacements, key=len, reverse=True)))
        return cls(replacements, re.compile(rf"(?<!\w)(?:{words})(?!\w)"))

    def replaced_in(self, text: str) -> str:
        """Raises `BadText` where that makes it longer than a text may be."""
        if not self.replacements:
            return text
        replaced = self._words.sub(lambda found: self.replacements[found[0]], text)
        if len(replaced) > MAX_BUFFERED_CHARS:
            raise BadText(reason=f"the pronunciations make it longer than {MAX_BUFFERED_CHARS} characters")
        return replaced


NO_PRONUNCIATIONS = Pronunciations.of({})


@frozen
class Settings:
    """Of a context, as a client's parameters say."""

    voice: str
    language: str | None
    """None: that of the voice."""
    text_language: str
    """The letter of the language that the text is in."""
    speed: float | None
    format: str
    sample_rate: int
    is_wav: bool
    timestamps: bool
    segment: str
    max_partial_chars: int
    pronunciations: Pronunciations

    @classmethod
    def of(cls, asked: Mapping[str, object], voices: VoiceCatalogue) -> "Settings":
        """Of parameters as `_kept` returns them. Raises `RequestError`."""
        model = _string(asked, "model") or MODEL
        if model.lower() not in (MODEL.lower(), "kokoro-82m", "kokoro"):
            raise BadMessage(field="model", expected=MODEL, got=model[:MAX_GOT_CHARS])
        # In an address that was not escaped, the plus of a blend arrives as a space.
        voice_name = (_string(asked, "voice") or DEFAULT_VOICE).replace(" ", "+")
        voice = voices.resolve(voice_name)
        language = _language(_string(asked, "language"), voice)
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
    """What is spoken of a context until its `done`."""

    item_id: str
    outstanding: set[str] = field(factory=set)
    """Request ids."""
    spoken_s: float = 0.0
    """By the requests that have ended."""
    is_heard: bool = False
    silent_because: RequestError | Error | None = None
    """Why something of it was not spoken. It counts where nothing was."""


@define
class _Context:
    context_id: str
    asked: dict[str, object]
    refused: dict[str, RequestError]
    """Why parameters of the address are not among `asked`, until an update replaces them."""
    settings: Settings | None = None
    refusal: RequestError | None = None
    """Why there are no settings. Then nothing is spoken: not in another voice, not in another format."""
    buffer: str = ""
    item: _Item | None = None
    has_uncommitted: bool = False
    marks_turns: bool = False
    """The client commits an empty buffer at the end of what it has to say."""
    is_turn_over: bool = False

    @property
    def is_spoken(self) -> bool:
        """All of the item that was committed, and nothing waits for a commit."""
        return self.item is not None and not self.item.outstanding and not self.has_uncommitted

    @property
    def waits_for_end(self) -> bool:
        return self.is_spoken and self.marks_turns and not self.is_turn_over

    @property
    def name(self) -> Event:
        """Stands in the events of a context that the client has named."""
        return {} if self.context_id == DEFAULT_CONTEXT else {"context_id": self.context_id}


@define
class Together:
    """One connection. `query`: the parameters in its address, each as it was given first."""

    session_id: str
    query: Mapping[str, str]
    voices: VoiceCatalogue
    limits: RequestLimits
    """Longer texts are cut into several requests."""
    new_id: Callable[[], str]
    _contexts: dict[str, _Context] = field(factory=dict)
    _contexts_by_request: dict[str, _Context] = field(factory=dict)
    _n_items: int = 0
    _speaking: str | None = None
    """The request whose audio is coming, or came last."""
    _started: Start | None = None

    def open(self) -> list[Event]:
        """What is said first. A parameter that cannot be used is told, and again with each text."""
        context = self._contexts[DEFAULT_CONTEXT] = _Context(DEFAULT_CONTEXT, *_known(self.query))
        try:
            context.settings = self._settings(context, {})
        except RequestError as error:
            context.refusal = error
        told = [] if context.refusal is None else [_failed(context.refusal)]
        return [{"event_id": self.new_id(), "type": CREATED, "session": self._described(context)}, *told]

    # From the client.

    def receive(self, frame: str | bytes) -> list[Outcome]:
        """Bad input is answered, never raised."""
        try:
            if isinstance(frame, bytes):
                raise UnexpectedBinary(len(frame))
            return self._receive(decode_object(frame))
        except RequestError as error:
            return [_failed(error)]

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
            # What Together's reference calls it, though it is the client that says it.
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
        buffer = _joined(context.buffer, text)
        context.buffer = buffer
        if text.strip():
            context.has_uncommitted, context.is_turn_over = True, False
        received: Event = {"type": RECEIVED, "text": text, **context.name}
        return [received, *self._speak_ahead(context, text)]

    def _speak_ahead(self, context: _Context, appended: str) -> list[Outcome]:
        """Of text that is not committed."""
        settings = context.settings
        if settings is None or settings.segment == NEVER:
            return []
        length = len(context.buffer)
        if settings.segment == SENTENCE:
            length = _whole_chars(context.buffer, appended, settings)
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
        """Nothing of the context is heard from here on, and no `done` either."""
        request_ids = context.item.outstanding if context.item else set[str]()
        for request_id in request_ids:
            del self._contexts_by_request[request_id]
        context.buffer, context.item, context.has_uncommitted = "", None, False
        return [Cancel(request_id) for request_id in sorted(request_ids)]

    def _cancel(self, context: _Context) -> list[Outcome]:
        canceled = self._clear(context)
        if context.context_id != DEFAULT_CONTEXT:
            del self._contexts[context.context_id]
        return [*canceled, {"type": CANCELLED, "context_id": context.context_id}]

    def _update(self, values: Mapping[str, object]) -> list[Outcome]:
        """Without a `context_id`, of all contexts. What cannot be used leaves a session as it was."""
        session = values.get("session")
        if not isinstance(session, dict):
            raise BadMessage(field="session", expected="an object", got=shown(session))
        known, refused = _known(session)
        for error in refused.values():
            raise error
        named = values.get("context_id") is not None
        contexts = [self._context(values)] if named else [*self._contexts.values()]
        settings = [self._settings(each, known) for each in contexts]
        for context, chosen in zip(contexts, settings, strict=True):
            # Pipecat's first words are the voice once more that stands in its address.
            is_pipecat = not self._n_items and known.get("voice") == context.asked.get("voice")
            context.marks_turns |= is_pipecat and "voice" in known
            context.asked.update(known)
            context.refused = {}
            context.settings, context.refusal = chosen, None
        return [{"type": UPDATED, "session": self._described(contexts[0]), **contexts[0].name}]

    # From our own side.

    @property
    def waits_for_end(self) -> bool:
        """All is spoken, and only the commit is missing that ends a turn."""
        return any(context.waits_for_end for context in self._contexts.values())

    def give_up_waiting(self) -> list[Event]:
        """It has not come in time, and is not expected from here on."""
        told: list[Event] = []
        for context in self._contexts.values():
            if context.waits_for_end:
                context.marks_turns = False
                told += self._finished(context)
        return told

    def tell(self, message: ServerMessage) -> list[Event]:
        """What a message of our protocol is to this client. Of a request that was cleared, nothing."""
        request_id = getattr(message, "request_id", None)
        if isinstance(message, Error) and request_id is None:
            return [_failed(message)]
        context = self._contexts_by_request.get(request_id or "")
        if context is None or context.item is None:
            return []
        match message:
            case StartedSpeak():
                self._speaking = request_id
                return []
            case Meta(words=words) if words:
                return [_timestamps(context, context.item, words)]
            case Done():
                context.item.spoken_s += message.duration_s
                return self._ended(context, message.request_id)
            case Error(code=code):
                is_skipped = code == Unpronounceable.code
                if is_skipped:
                    context.item.silent_because = message
                told = [] if is_skipped else [_failed(message, context)]
                return [*told, *self._ended(context, request_id or "")]
        return []

    def tell_audio(self, data: bytes) -> list[Event]:
        """The same for audio; what comes while nobody speaks is none."""
        context = self._contexts_by_request.get(self._speaking or "")
        if context is None or context.item is None:
            return []
        settings, item = context.settings, context.item
        if settings and settings.is_wav and not item.is_heard:
            data = wav_head(settings.sample_rate) + data
        item.is_heard = True
        delta = base64.b64encode(data).decode()
        return [{"type": DELTA, "item_id": item.item_id, "delta": delta, **context.name}]

    def _ended(self, context: _Context, request_id: str) -> list[Event]:
        assert context.item is not None
        context.item.outstanding.remove(request_id)
        del self._contexts_by_request[request_id]
        return self._finished(context)

    def _finished(self, context: _Context) -> list[Event]:
        """The end of the item, where it has come."""
        item = context.item
        if item is None or not context.is_spoken or context.waits_for_end:
            return []
        because = None if item.is_heard else item.silent_because
        told = [] if because is None else [_failed(because, context)]
        context.item = None
        return [*told, {"type": DONE, "item_id": item.item_id, **context.name}]

    # Speaking.

    def _speak(self, context: _Context, text: str) -> list[Outcome]:
        if not text.strip():
            return []
        if context.item is None:
            self._n_items += 1
            context.item = _Item(f"tts_{self._n_items}")
        settings = context.settings
        if settings is None:
            context.item.silent_because = context.refusal
            return []
        spoken: list[Outcome] = []
        if settings.start != self._started:
            spoken.append(self._start(settings))
        try:
            pronounced = settings.pronunciations.replaced_in(text)
        except BadText as error:
            return [*spoken, _failed(error, context)]
        pieces = _pieces(pronounced, settings.text_language, self.limits)
        return spoken + [self._request(context, context.item, settings, piece) for piece in pieces]

    def _start(self, settings: Settings) -> Start:
        self._started = settings.start
        return settings.start

    def _request(self, context: _Context, item: _Item, settings: Settings, text: str) -> Speak:
        request_id = self.new_id()
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
        """The one that is meant; the first time, made like the default one."""
        context_id = _string(values, "context_id") or DEFAULT_CONTEXT
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
            context_id, {**default.asked}, {**default.refused}, default.settings, default.refusal
        )
        return context

    def _settings(self, context: _Context, changes: Mapping[str, object]) -> Settings:
        """Of a context once these parameters are changed. Raises `RequestError`."""
        if not changes and context.settings is not None:
            return context.settings
        for name, error in context.refused.items():
            if name not in changes:
                raise error.with_traceback(None)  # Each raise would make the traceback longer.
        return Settings.of({**context.asked, **changes}, self.voices)

    def _described(self, context: _Context) -> Event:
        return {
            "id": self.session_id,
            "object": "realtime.tts.session",
            "modalities": ["text", "audio"],
            "model": MODEL,
            "voice": context.asked.get("voice") or DEFAULT_VOICE,
        }


def _failed(error: RequestError | Error, context: _Context | None = None) -> Event:
    """Of an item where there is one; errors never end the connection."""
    told = error if isinstance(error, Error) else Error.of(error)
    facts = dict(told.facts)
    is_model = told.code == BadMessage.code and facts.get("field") == "model"
    is_ours = told.code in (SynthesisFailed.code, Overloaded.code)
    described: Event = {
        **facts,
        "message": told.message,
        "type": "server_error" if is_ours else "invalid_request_error",
        "param": facts.get("field"),
        "code": "model_not_available" if is_model else told.code,
    }
    item: Event = {"item_id": context.item.item_id} if context and context.item else {}
    return {"type": FAILED, "error": described, **item, **(context.name if context else {})}


def _timestamps(context: _Context, item: _Item, words: Sequence[SpokenWord]) -> Event:
    """In seconds from the first sample of the item."""
    return {
        "type": WORDS,
        "item_id": item.item_id,
        "words": [word.text for word in words],
        "start_seconds": [round(item.spoken_s + word.start_s, 3) for word in words],
        "end_seconds": [round(item.spoken_s + word.end_s, 3) for word in words],
        **context.name,
    }


# The text buffer.


def _joined(buffer: str, appended: str) -> str:
    """Sentences that are appended one by one mostly come without the space between them.

    What is appended word by word, or token by token, has its own.
    """
    is_next = _ends_sentence(buffer) and word_count(appended) > 1 and appended[:1].isupper()
    return f"{buffer} {appended}" if is_next and not buffer[-1:].isspace() else buffer + appended


def _ends_sentence(text: str) -> bool:
    """Whether the last marks of `text` are those of a sentence's end. Looks at the end only.

    A single stop behind a digit does not count: more of the number may follow.
    """
    stopped = text.rstrip().rstrip(_CLOSERS)
    before = stopped.rstrip(_STOPS)
    n_stops = len(stopped) - len(before)
    return n_stops > 1 or (n_stops == 1 and not before[-1:].isdecimal())


def _whole_chars(buffer: str, appended: str, settings: Settings) -> int:
    """How much of the buffer is whole sentences, or more than may wait for the end of one.

    The last sentence is whole if it ends where something longer than a word ends that was appended: of
    a single one nobody knows what it goes on with ("Dr.", "e.g.", "3.").
    """
    may_end = word_count(appended) > 1 and _ends_sentence(buffer)
    spans = sentence_spans(buffer + (_ANOTHER_SENTENCE if may_end else ""), settings.text_language)
    whole = spans[-2][1] if len(spans) > 1 else 0
    # To the end: what stays in the buffer is read again with each append.
    while len(buffer) - whole > (limit := settings.max_partial_chars):
        partial = buffer[whole : whole + limit]
        whole += _last_gap(_CLAUSE_GAP, partial) or _last_gap(_WORD_GAP, partial) or limit
    return whole


def _last_gap(gap: re.Pattern[str], text: str) -> int:
    return max((found.end() for found in gap.finditer(text, 1)), default=0)


def _pieces(text: str, language: str, limits: RequestLimits) -> Iterator[str]:
    """The text in as few requests as it takes, cut between sentences, and inside those that are too long."""
    if _fits(text, limits):
        yield text.strip()
        return
    start, end, n_words = 0, 0, 0
    for first, last in sentence_spans(text, language):
        more = word_count(text[first:last])
        if n_words + more > limits.max_words or last - start > limits.max_utterance_characters:
            yield from _halves(text[start:end], limits)
            start, n_words = first, 0
        end, n_words = last, n_words + more
    yield from _halves(text[start:end], limits)


def _fits(text: str, limits: RequestLimits) -> bool:
    return len(text) <= limits.max_utterance_characters and word_count(text) <= limits.max_words


def _halves(text: str, limits: RequestLimits) -> Iterator[str]:
    """As often as it takes, where a word ends; in scripts without spaces anywhere."""
    text = text.strip()
    if not text:
        return
    if _fits(text, limits):
        yield text
        return
    middle = len(text) // 2
    gaps = [found.end() for found in _WORD_GAP.finditer(text)]
    cut = min(gaps, key=lambda place: abs(place - middle), default=middle)
    yield from _halves(text[:cut], limits)
    yield from _halves(text[cut:], limits)


# Parameters.


def _known(asked: Mapping[str, object]) -> tuple[dict[str, object], dict[str, RequestError]]:
    """The parameters among these, as a context keeps them, and why the rest of them is refused."""
    kept: dict[str, object] = {}
    refused: dict[str, RequestError] = {}
    for name in asked:
        if name in PARAMETERS:
            try:
                kept[name] = _kept(name, asked[name])
            except RequestError as error:
                refused[name] = error
    return kept, refused


def _kept(name: str, value: object) -> object:
    """Of bounded size. Raises `RequestError`."""
    if name == "extra_params":
        return _pronunciations(value)
    is_short = len(value) <= MAX_PARAMETER_CHARS if isinstance(value, str) else True
    if isinstance(value, list | dict) or not is_short:
        expected = f"a number, or a string of at most {MAX_PARAMETER_CHARS} characters"
        raise BadMessage(field=name, expected=expected, got=shown(value))
    return value


def _string(asked: Mapping[str, object], name: str) -> str | None:
    value = asked.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadMessage(field=name, expected="a string", got=shown(value))


def _one_of(asked: Mapping[str, object], name: str, *allowed: str) -> str:
    """The first is what holds without it."""
    value = _string(asked, name) or allowed[0]
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
    """The letter; None where it says no more than the voice does ("en", and a British voice)."""
    if not tag or tag_of(voice.language).partition("-")[0] == tag.lower():
        return None
    return language_named(tag)


def _format(asked: Mapping[str, object]) -> tuple[str, int]:
    name = _string(asked, "response_format") or "pcm"
    encoding = _string(asked, "response_encoding")
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
    parted = [rule.partition("/") for rule in rules]
    for source, _, replacement in parted:
        if (longer := max(len(source), len(replacement))) > MAX_PRONUNCIATION_CHARS:
            expected = f"at most {MAX_PRONUNCIATION_CHARS} characters on each side of a rule"
            raise BadMessage(field="pronunciation_dict", expected=expected, got=f"{longer} characters")
    if (n_chars := sum(len(source) for source, _, _ in parted)) > MAX_PRONUNCIATION_SOURCES_CHARS:
        expected = f"at most {MAX_PRONUNCIATION_SOURCES_CHARS} characters before the slashes of all rules"
        raise BadMessage(field="pronunciation_dict", expected=expected, got=f"{n_chars} characters")
    return Pronunciations.of({source: replacement for source, _, replacement in parted if source})
