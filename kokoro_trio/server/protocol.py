"""The state of one session, without I/O: messages and events in, effects out.

`Protocol` decides the effects of each message of the client, and when each request speaks. Every accepted
request gets exactly one of `done`, `canceled` and `error`, and nothing after it. The session carries out the
effects in order. Nothing here waits, sends, or reads a clock.
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
    UnknownRequest,
)
from kokoro_trio.model.voices import Voice, VoiceCatalogue
from kokoro_trio.speech import Utterance, WordTime
from kokoro_trio.text.languages import language_named
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
    ServerMessage,
    Speak,
    SpokenWord,
    Start,
    Started,
    StartedSpeak,
    Stop,
)
from kokoro_trio.wire.settings import DEFAULT_SPEED, Settings
from kokoro_trio.wire.words import word_count

FRAMES_PER_META = 10


@define(eq=False)
class Request:
    """One accepted `speak`."""

    request_id: str
    utterance: Utterance
    voice_name: str
    """The name that clients and metrics get; a blend has its own instead of its recipe."""
    settings: Settings
    """The settings of the session when the request was received."""
    tag: bytes = b""
    """The prefix of each audio frame in tagged framing; empty in plain framing."""
    is_speaking: bool = False
    words: list[WordTime] = field(factory=list)
    """The words whose times are known, in order."""
    n_samples_sent: int = 0
    n_frames_sent: int = 0
    end: str | None = None
    """None while the request is outstanding, then "done", "canceled" or an error code."""

    @property
    def duration_s(self) -> float:
        """Seconds of audio sent."""
        return self.n_samples_sent / self.settings.sample_rate


# Effects: the session carries them out in order.


@frozen
class Send:
    message: ServerMessage


@frozen
class Begin:
    """Open the request in the engine."""

    request: Request


@frozen
class GiveTurn:
    """The request may send its audio now. In plain framing one request has the turn, in tagged framing all
    have it.
    """

    request: Request


@frozen
class Silence:
    """Stop the work for the request."""

    request: Request


@frozen
class Close:
    code: int
    reason: str


Effect = Send | Begin | GiveTurn | Silence | Close


@define
class Protocol:
    """`new_request_id` makes an id for a request that has none."""

    session_id: str
    voices: VoiceCatalogue
    limits: RequestLimits
    new_request_id: Callable[[], str]
    _settings: Settings = field(factory=Settings)
    _outstanding: dict[str, Request] = field(factory=dict)
    _n_characters: int = 0
    """In the texts of the outstanding requests."""
    _ended: OrderedDict[str, None] = field(factory=OrderedDict)
    _is_stopping: bool = False
    _is_draining: bool = False

    @property
    def outstanding(self) -> list[Request]:
        return list(self._outstanding.values())

    # From the client.

    def receive(self, message: ClientMessage) -> list[Effect]:
        """The effects of a message from the client. A refused message is answered with an error."""
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
        chosen = self._settings.changed_by(message)
        voice = self.voices.resolve(chosen.voice)
        if chosen.framing != self._settings.framing and self._outstanding:
            expected = f"{self._settings.framing} as long as requests are outstanding"
            raise BadMessage(field="framing", expected=expected, got=chosen.framing[:MAX_GOT_CHARS])
        if chosen.language is not None:
            language_named(chosen.language)
        self._settings = chosen
        return [Send(_started(chosen, voice, self.session_id))]

    def _speak(self, message: Speak) -> list[Effect]:
        if self._is_stopping:
            raise BadMessage(field="type", expected="only cancel after stop", got="speak")
        if self._is_draining:
            raise Overloaded(reason=Overloaded.SHUTTING_DOWN)
        if message.request_id in self._outstanding:
            raise DuplicateRequest
        self._check_size_of(message.text)
        voice = self.voices.resolve(self._settings.voice if message.voice is None else message.voice)
        utterance = Utterance(
            message.text,
            voice=str(voice.recipe),
            speed=message.speed or DEFAULT_SPEED,
            language=self._language(message, voice),
        )
        request_id = message.request_id or self.new_request_id()
        is_tagged = self._settings.is_tagged
        tag = tag_of(request_id) if is_tagged else b""
        request = Request(request_id, utterance, voice.name, self._settings, tag)
        self._outstanding[request_id] = request
        self._n_characters += len(message.text)
        may_speak = is_tagged or len(self._outstanding) == 1
        return [Begin(request), *([GiveTurn(request)] if may_speak else [])]

    def _check_size_of(self, text: str) -> None:
        """Checks the cheap limits first: counting words reads every character."""
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
        named = self._settings.language if message.language is None else message.language
        return voice.language if named is None else language_named(named)

    def _cancel(self, message: Cancel) -> list[Effect]:
        if message.request_id is None:
            canceled = self.outstanding
        elif message.request_id in self._outstanding:
            canceled = [self._outstanding[message.request_id]]
        elif message.request_id in self._ended:
            return []  # The cancel crossed the end of the request on the way.
        else:
            raise UnknownRequest
        if not canceled:
            return []
        effects: list[Effect] = []
        for request in canceled:
            effects += [Silence(request), Send(_canceled(request, message.played_s))]
        return effects + self._end(canceled, "canceled")

    # From the engine. Events of a request that has ended are ignored.

    def waits_for_slot(self, request: Request) -> list[Effect]:
        return [] if request.end else [Send(Queue(request.request_id))]

    def starts_speaking(self, request: Request) -> list[Effect]:
        if request.end:
            return []
        request.is_speaking = True
        return [Send(StartedSpeak(request.request_id)), *_word_meta(request, request.words)]

    def knows_words(self, request: Request, words: Sequence[WordTime]) -> list[Effect]:
        """`words` are the timed words of the request's next segment."""
        request.words += words
        if request.end or not request.is_speaking:
            return []
        return _word_meta(request, words)

    def sends_audio(self, request: Request, n_samples: int, segment: int) -> list[Effect]:
        """To be called just before a frame of `n_samples` is written."""
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
        """The server is shutting down: outstanding requests finish, new ones are refused."""
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


def _word_meta(request: Request, words: Sequence[WordTime]) -> list[Effect]:
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
