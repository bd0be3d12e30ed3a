"""The state of one connection, without I/O: frames and events in, effects out.

`Protocol` decides what each frame from the client means, which request speaks when, and that every
accepted request gets exactly one of `done`, `canceled`, `error` and nothing after it. The session
carries out the effects, in order. Nothing here waits, sends, or reads a clock.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from kokoro_trio.config import RequestLimits
from kokoro_trio.errors import (
    BadMessage,
    DuplicateRequest,
    Overloaded,
    RequestError,
    SessionFull,
    TooLong,
    TooManyCharacters,
    UnexpectedBinary,
    UnknownRequest,
)
from kokoro_trio.model.voices import Voice, VoiceCatalogue
from kokoro_trio.speech import Utterance, WordTime
from kokoro_trio.text.languages import language_named
from kokoro_trio.text.segmentation import word_count
from kokoro_trio.wire.framing import tag_of
from kokoro_trio.wire.heard import split_at_heard
from kokoro_trio.wire.limits import MAX_GOT_CHARS, REMEMBERED_REQUESTS
from kokoro_trio.wire.messages import (
    CLOSE_NORMAL,
    CLOSE_RESTART,
    Cancel,
    Canceled,
    ClientMessage,
    Done,
    Error,
    Meta,
    Queue,
    Refused,
    ServerMessage,
    Speak,
    SpokenWord,
    Start,
    Started,
    StartedSpeak,
    Stop,
    decode_client,
)
from kokoro_trio.wire.settings import DEFAULT_SPEED, Settings

FRAMES_PER_META = 10


@define(eq=False)
class Request:
    """One accepted `speak`. `end` is the wire word or error code it ended with."""

    request_id: str
    utterance: Utterance
    voice_name: str
    """What people are told of the voice: of a blend its name, not its recipe."""
    settings: Settings
    """Those of the session when the request was made."""
    tag: bytes = b""
    """Goes before each frame of its audio; empty in plain framing."""
    is_queued: bool = False
    """The client was told that it waits."""
    is_speaking: bool = False
    words: list[WordTime] = field(factory=list)
    """As far as they are known, in order."""
    n_samples_sent: int = 0
    n_frames_sent: int = 0
    end: str | None = None

    @property
    def duration_s(self) -> float:
        """Audio sent, in seconds."""
        return self.n_samples_sent / self.settings.sample_rate


# Effects: what the session is to do, in order.


@frozen
class Send:
    message: ServerMessage


@frozen
class Begin:
    """Take this request into the engine."""

    request: Request


@frozen
class GiveTurn:
    """This request may send its audio now: in plain framing one speaks at a time, in tagged all do."""

    request: Request


@frozen
class Silence:
    """Stop whatever is done for this request."""

    request: Request


@frozen
class Close:
    code: int
    reason: str


Effect = Send | Begin | GiveTurn | Silence | Close


@define
class Protocol:
    """`new_request_id` names the requests of clients that do not."""

    session_id: str
    voices: VoiceCatalogue
    limits: RequestLimits
    new_request_id: Callable[[], str]
    _defaults: Settings = field(factory=Settings)
    _outstanding: dict[str, Request] = field(factory=dict)
    _n_characters: int = 0
    """In the texts of what is outstanding."""
    _ended: OrderedDict[str, None] = field(factory=OrderedDict)
    _is_stopping: bool = False
    _is_draining: bool = False

    @property
    def outstanding(self) -> list[Request]:
        return list(self._outstanding.values())

    # From the client.

    def receive(self, frame: str | bytes) -> list[Effect]:
        """What a frame from the client leads to. Bad input is answered, never raised."""
        if isinstance(frame, bytes):
            return [Send(Error.of(UnexpectedBinary(len(frame))))]
        try:
            message = decode_client(frame)
        except Refused as refused:
            return [Send(Error.of(refused.error, refused.request_id))]
        try:
            return self._receive(message)
        except RequestError as error:
            return [Send(Error.of(error, getattr(message, "request_id", None)))]

    def _receive(self, message: ClientMessage) -> list[Effect]:
        match message:
            case Start():
                return self._start(message)
            case Speak():
                return self._speak(message)
            case Cancel():
                return self._cancel(message)
            case Stop():
                self._is_stopping = True
                return self._close_if_idle()

    def _start(self, message: Start) -> list[Effect]:
        chosen = self._defaults.changed_by(message)
        voice = self.voices.resolve(chosen.voice)
        if chosen.framing != self._defaults.framing and self._outstanding:
            expected = f"{self._defaults.framing} as long as requests are outstanding"
            raise BadMessage(field="framing", expected=expected, got=chosen.framing[:MAX_GOT_CHARS])
        if chosen.language is not None:
            language_named(chosen.language)
        self._defaults = chosen
        return [Send(_started(chosen, voice, self.session_id))]

    def _speak(self, message: Speak) -> list[Effect]:
        if self._is_stopping:
            raise BadMessage(field="type", expected="cancel, the only one after stop", got="speak")
        if self._is_draining:
            raise Overloaded(reason=Overloaded.SHUTTING_DOWN)
        if message.request_id in self._outstanding:
            raise DuplicateRequest
        self._check_size_of(message.text)
        voice = self.voices.resolve(self._defaults.voice if message.voice is None else message.voice)
        utterance = Utterance(
            message.text,
            voice=str(voice.recipe),
            speed=message.speed or DEFAULT_SPEED,
            language=self._language(message, voice),
        )
        request_id = message.request_id or self.new_request_id()
        is_tagged = self._defaults.is_tagged
        tag = tag_of(request_id) if is_tagged else b""
        request = Request(request_id, utterance, voice.name, self._defaults, tag)
        self._outstanding[request_id] = request
        self._n_characters += len(message.text)
        may_speak = is_tagged or len(self._outstanding) == 1
        return [Begin(request), *([GiveTurn(request)] if may_speak else [])]

    def _check_size_of(self, text: str) -> None:
        """The cheap questions first: counting words looks at each character."""
        allowed = self.limits.max_utterance_characters
        if len(text) > allowed:
            raise TooManyCharacters(max_characters=allowed, got_characters=len(text))
        allowed = self.limits.max_requests
        if len(self._outstanding) >= allowed:
            raise SessionFull("this connection has too many requests outstanding", "requests", allowed)
        allowed = self.limits.max_characters
        if self._n_characters + len(text) > allowed:
            raise SessionFull("this connection has too much text outstanding", "characters", allowed)
        if (words := word_count(text)) > self.limits.max_words:
            raise TooLong(max_words=self.limits.max_words, got_words=words)

    def _language(self, message: Speak, voice: Voice) -> str:
        named = self._defaults.language if message.language is None else message.language
        return voice.language if named is None else language_named(named)

    def _cancel(self, message: Cancel) -> list[Effect]:
        if message.request_id is None:
            canceled = self.outstanding
        elif message.request_id in self._outstanding:
            canceled = [self._outstanding[message.request_id]]
        elif message.request_id in self._ended:
            return []  # It crossed the request's own end on the way.
        else:
            raise UnknownRequest
        if not canceled:
            return []
        effects: list[Effect] = []
        for request in canceled:
            effects += [Silence(request), Send(_canceled(request, message.played_s))]
        return effects + self._end(canceled, "canceled")

    # From the engine's side. Each is ignored for a request that has already ended.

    def waits_for_slot(self, request: Request) -> list[Effect]:
        """To be called as often as it waits: the client is told once."""
        if request.end or request.is_queued:
            return []
        request.is_queued = True
        return [Send(Queue(request.request_id))]

    def starts_speaking(self, request: Request) -> list[Effect]:
        if request.end:
            return []
        request.is_speaking = True
        return [Send(StartedSpeak(request.request_id)), *_told(request, request.words)]

    def knows_words(self, request: Request, words: Sequence[WordTime]) -> list[Effect]:
        """When the words of the request's next segment will be heard."""
        request.words += words
        if request.end or not request.is_speaking:
            return []
        return _told(request, words)

    def sends_audio(self, request: Request, n_samples: int, segment: int) -> list[Effect]:
        """To be called as a frame of `n_samples` begins to go out."""
        request.n_samples_sent += n_samples
        request.n_frames_sent += 1
        if request.n_frames_sent % FRAMES_PER_META:
            return []
        return [Send(Meta(request.request_id, segment, request.n_samples_sent))]

    def is_done(self, request: Request) -> list[Effect]:
        if request.end:
            return []
        return [Send(Done(request.request_id, request.duration_s)), *self._end([request], "done")]

    def has_failed(self, request: Request, error: RequestError) -> list[Effect]:
        if request.end:
            return []
        return [Send(Error.of(error, request.request_id)), *self._end([request], error.code)]

    def drain(self) -> list[Effect]:
        """The server is shutting down: what is outstanding finishes, nothing new is taken."""
        self._is_draining = True
        return self._close_if_idle()

    def _end(self, requests: list[Request], end: str) -> list[Effect]:
        speaker = next(iter(self._outstanding.values()))
        for request in requests:
            request.end = end
            del self._outstanding[request.request_id]
            self._n_characters -= len(request.utterance.text)
            self._ended[request.request_id] = None
            self._ended.move_to_end(request.request_id)
        while len(self._ended) > REMEMBERED_REQUESTS:
            self._ended.popitem(last=False)
        following = next(iter(self._outstanding.values()), None)
        waits_for_turn = following and following is not speaker and not following.settings.is_tagged
        turn = [GiveTurn(following)] if following and waits_for_turn else []
        return [*turn, *self._close_if_idle()]

    def _close_if_idle(self) -> list[Effect]:
        if self._outstanding:
            return []
        if self._is_stopping:
            return [Close(CLOSE_NORMAL, "all requests are finished")]
        return [Close(CLOSE_RESTART, "the server is shutting down")] if self._is_draining else []


def _started(chosen: Settings, voice: Voice, session_id: str) -> Started:
    return Started(
        voice=voice.name,
        format=chosen.format,
        sample_rate=chosen.sample_rate,
        timestamps=chosen.timestamps,
        framing=chosen.framing,
        session_id=session_id,
    )


def _told(request: Request, words: Sequence[WordTime]) -> list[Effect]:
    if not request.settings.timestamps or not words:
        return []
    text = request.utterance.text
    spoken = [
        SpokenWord(
            text[word.start_char : word.end_char],
            round(word.start_s, 3),
            round(word.end_s, 3),
            word.start_char,
            word.end_char,
        )
        for word in words
    ]
    return [Send(Meta(request.request_id, words[0].segment, request.n_samples_sent, spoken))]


def _canceled(request: Request, played_s: float | None) -> Canceled:
    sent_s = request.duration_s
    heard_s = sent_s if played_s is None else min(played_s, sent_s)
    spoken, remaining = split_at_heard(request.utterance.text, request.words, heard_s)
    return Canceled(request.request_id, sent_s, spoken, remaining)
