"""A text-to-speech service for Pipecat that speaks through a kokoro_trio server.

    tts = KokoroTrioTTSService(
        url="ws://127.0.0.1:8000/v1/audio/speech/stream/ws",
        api_key="…",
        settings=KokoroTrioTTSService.Settings(voice="af_heart", speed=1.1),
    )

One connection serves the whole pipeline. The service sends each sentence as one request as soon as Pipecat
has it, so the server synthesises the next sentences while one is spoken. In plain framing the server speaks
the requests in their order, which is the order in which Pipecat plays them.
"""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attrs import evolve
from loguru import logger
from pipecat.frames.frames import EndFrame, ErrorFrame, Frame, TTSAudioRawFrame
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TextAggregationMode, WebsocketTTSService
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.string import match_endofsentence
from pipecat.utils.tracing.service_decorators import traced_tts
from pipecat.utils.types import NOT_GIVEN, NotGiven
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from kokoro_trio.clients.backoff import RETRY_STATUSES, Backoff, parse_retry_after
from kokoro_trio.clients.resuming import MAX_FRUITLESS, NOTHING_LEFT_CODES, ResumableText
from kokoro_trio.config import BYTES_PER_SAMPLE
from kokoro_trio.errors import BadJson, BadMessage, Overloaded, UnknownType
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire.formats import SAMPLE_RATES_HZ
from kokoro_trio.wire.heard import n_words_heard
from kokoro_trio.wire.messages import (
    WEBSOCKET_PATH,
    Cancel,
    Canceled,
    ClientMessage,
    Done,
    Error,
    Meta,
    ServerMessage,
    Speak,
    SpokenWord,
    Start,
    Started,
    StartedSpeak,
    decode_server,
    encode,
)
from kokoro_trio.wire.words import UNSPACED_LETTER, word_count

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

DEFAULT_URL = f"ws://127.0.0.1:8000{WEBSOCKET_PATH}"

MAX_WORDS = 100
"""In one request. A server accepts 150, unless its operator has set less."""

PATIENCE_S = 60.0
"""A server can speak about 15 s after its start."""
CONNECT_TIMEOUT_S = 10.0
"""For the handshake, and again until the server's first message."""
PING_INTERVAL_S = 20.0

_SPACES = re.compile(r"\s+")
_CLAUSE_END = re.compile(r"""[,;:…—–][)\]"'”’»]*\s+|[、，；：。！？…]""")

_CATEGORIES = {
    # Only other settings can help; until they change, Pipecat sends the service no text.
    "unknown_voice": ErrorCategory.INVALID_REQUEST,
    "bad_language": ErrorCategory.INVALID_REQUEST,
    "bad_speed": ErrorCategory.INVALID_REQUEST,
    # Only this text is at fault.
    "bad_text": ErrorCategory.APPLICATION,
    "empty_text": ErrorCategory.APPLICATION,
    "too_long": ErrorCategory.APPLICATION,
    "unpronounceable": ErrorCategory.APPLICATION,
}


@dataclass
class KokoroTrioTTSSettings(TTSSettings):
    """The settings that can change while the pipeline runs; changes hold from the next sentence on.

    `voice`: a name or a recipe like "af_bella(2)+af_sky". `language`: None is the voice's own language.
    `speed`: 0.5 to 2.0.
    """

    speed: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)


@dataclass
class Request:
    """One `speak` that has not ended."""

    message: Speak
    context_id: str
    resumable: ResumableText
    received_s: float = 0.0
    """Audio received, on all connections."""
    n_words_pushed: int = 0
    is_postponed: bool = False
    """The server accepts no new requests on this connection; the next one repeats this request."""

    @property
    def to_send(self) -> Speak:
        return evolve(self.message, text=self.resumable.rest)

    def newly_spoken(self) -> list[SpokenWord]:
        """The words that were received to their end since the last call."""
        return self._words_up_to(n_words_heard(self.resumable.words, self.received_s))

    def remaining_words(self) -> list[SpokenWord]:
        """The words that were not returned yet."""
        return self._words_up_to(len(self.resumable.words))

    def _words_up_to(self, n_words: int) -> list[SpokenWord]:
        first, self.n_words_pushed = self.n_words_pushed, n_words
        return self.resumable.words[first:n_words]


def pieces_of(text: str, language: str) -> list[str]:
    """The text whole, or cut into sentences and shorter pieces if it is too long for one request."""
    if word_count(text) <= MAX_WORDS:
        return [text]
    pieces = []
    while text.strip():
        end = match_endofsentence(text, language=language) or len(text)
        pieces += _halves(text[:end])
        text = text[end:]
    return pieces


def _halves(text: str) -> list[str]:
    """A sentence, halved until it is short enough: after a clause, else after a word, else anywhere."""
    if word_count(text) <= MAX_WORDS:
        return [text]
    middle = len(text) // 2
    around = (len(text) // 4, len(text) - len(text) // 4)
    for gap in (_CLAUSE_END, _SPACES):
        if cuts := [found.end() for found in gap.finditer(text, *around)]:
            break
    cut = min(cuts, key=lambda place: abs(place - middle), default=middle)
    return _halves(text[:cut]) + _halves(text[cut:])


class MalformedMessage(ConnectionError):
    """The server broke the protocol; a new connection may work."""


def decoded(frame: str) -> ServerMessage | None:
    """The server's message; None for a type that this client does not know. Raises `MalformedMessage`."""
    try:
        return decode_server(frame)
    except UnknownType:
        return None
    except (BadJson, BadMessage) as error:
        raise MalformedMessage(f"the server sent a malformed message: {frame[:200]!r}") from error


@dataclass
class Playhead:
    """The end of a context's audio, in seconds after its first sample, if it is played as it arrives.

    Audio that arrives after the audio before it was played leaves a gap, and is heard later.
    """

    end_s: float = 0.0
    _began_at_s: float | None = None

    def place(self, duration_s: float, now_s: float, *, is_playing: bool) -> float:
        """When the next audio, of this length, begins. There are no gaps while the context is not played."""
        if is_playing and self._began_at_s is None:
            self._began_at_s = now_s
        late_s = 0.0 if self._began_at_s is None else now_s - self._began_at_s
        start_s = max(self.end_s, late_s)
        self.end_s = start_s + duration_s
        return start_s


def is_worth_retry(error: Exception | None) -> bool:
    """Whether another connection may succeed where this one failed. None: the server closed it."""
    if isinstance(error, InvalidStatus):
        return error.response.status_code in RETRY_STATUSES
    return not isinstance(error, InvalidURI)


def retry_after_s(error: Exception | None) -> float | None:
    if isinstance(error, InvalidStatus):
        return parse_retry_after(error.response.headers.get("Retry-After", ""))
    return None


class KokoroTrioTTSService(WebsocketTTSService):
    """Speaks through a kokoro_trio server; the module has an example.

    - The service adds each word to the context when it is heard.
    - An interruption cancels the outstanding requests; the connection stays.
    - After a lost connection the service reconnects, for `patience_s` at most, and repeats the
      outstanding requests. A sentence of which a part was received continues with the first word that was
      not received to its end. When this time is over, the service pushes an `ErrorFrame` and ends the turn;
      the next turn tries again.
    - If the server sends no pong to a ping, or no message at all, the connection counts as lost.
    - If the server refuses a request, the service pushes an `ErrorFrame` and ends that sentence. After an
      unknown voice or language, Pipecat does not use the service until its settings change.
    - The sample rate is `sample_rate`, else that of the pipeline, if the server supports it, else 24000.
    """

    Settings = KokoroTrioTTSSettings
    _settings: KokoroTrioTTSSettings

    def __init__(
        self,
        *,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        sample_rate: int | None = None,
        patience_s: float = PATIENCE_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        ping_interval_s: float = PING_INTERVAL_S,
        settings: KokoroTrioTTSSettings | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        chosen = self.Settings(model=None, voice="female", language=None, speed=None)
        if settings is not None:
            chosen.apply_update(settings)
        super().__init__(
            # The model speaks whole sentences best. Words are pushed when they are heard, not with the text.
            text_aggregation_mode=TextAggregationMode.SENTENCE,
            push_text_frames=False,
            push_start_frame=True,
            push_stop_frames=True,
            # A context ends with its last request; this limit is for a server that sends nothing.
            stop_frame_timeout_s=2 * patience_s,
            # The server sends an error when it sends no audio.
            max_consecutive_zero_audio_contexts=0,
            sample_rate=sample_rate,
            settings=chosen,
            **kwargs,
        )
        self._url = url
        self._api_key = api_key
        self._connect_timeout_s = connect_timeout_s
        self._ping_interval_s = ping_interval_s
        self._patience_s = patience_s
        self._backoff: Backoff
        self._connection_task: asyncio.Task[None] | None = None
        self._websocket: ClientConnection | None = None
        self._last_failure: Exception | None = None
        # Held while requests are sent, so that they keep their order on a new connection.
        self._sending = asyncio.Lock()
        self._outstanding: dict[str, Request] = {}
        self._speaking_id: str | None = None
        self._playheads: dict[str, Playhead] = {}
        # The contexts that get no more sentences.
        self._complete: set[str] = set()

    def can_generate_metrics(self) -> bool:
        return True

    # Called by Pipecat.

    # FrameProcessor overrides its own base with this signature.
    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        await super().setup(setup)
        if self._sample_rate not in SAMPLE_RATES_HZ["pcm"]:
            self._sample_rate = SAMPLE_RATE_HZ
        await self._connect()

    async def stop(self, frame: EndFrame) -> None:
        # Pipecat's `stop` waits for the contexts, and no sentence follows it.
        for context_id in self.get_audio_contexts():
            await self._complete_context(context_id)
        await super().stop(frame)

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        if self._disconnecting:
            return  # The pipeline has ended before this text.
        if self._connection_task is None or self._connection_task.done():
            await self._connect()
        if context_id != self._turn_context_id:
            # Text outside of a turn has its own context, for which Pipecat does not call `flush_audio`.
            self._complete.add(context_id)
        settings = self._settings
        options: dict[str, Any] = {
            "voice": settings.voice,
            "speed": settings.speed,
            "language": settings.language,
        }
        async with self._sending:
            for piece in pieces_of(text, self.text_aggregation_language):
                request_id = uuid.uuid4().hex
                message = Speak(piece, request_id, **options)
                request = Request(message, context_id, ResumableText(piece))
                self._outstanding[request_id] = request
                await self._send(request.to_send)
        await self.start_tts_usage_metrics(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """The turn has no more sentences."""
        context_id = context_id or self.get_active_audio_context_id()
        if context_id is not None:
            await self._complete_context(context_id)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Barge-in. Audio of the canceled requests that still arrives is dropped."""
        await self.stop_all_metrics()  # type: ignore[no-untyped-call]
        await self._cancel_requests(context_id)
        await super().on_audio_context_interrupted(context_id)

    async def on_audio_context_completed(self, context_id: str) -> None:
        # Requests are left only if the server has sent nothing until `stop_frame_timeout_s`.
        await self._cancel_requests(context_id)
        await super().on_audio_context_completed(context_id)

    # Requests.

    async def _cancel_requests(self, context_id: str) -> None:
        canceled = [
            request_id
            for request_id, request in self._outstanding.items()
            if request.context_id == context_id
        ]
        for request_id in canceled:
            del self._outstanding[request_id]
        self._complete.discard(context_id)
        self._playheads.pop(context_id, None)
        # Without `played_s`: this service does not know when the transport plays the audio.
        if canceled and not self._outstanding:
            await self._send(Cancel())
            return
        for request_id in canceled:
            await self._send(Cancel(request_id))

    async def _send(self, message: ClientMessage) -> None:
        """Does nothing without a connection: the next one begins with the outstanding requests."""
        if self._websocket is None:
            return
        try:
            await self._websocket.send(encode(message))
        except ConnectionClosed:
            logger.debug(f"{self}: the connection was lost before {message} could be sent")

    async def _end_request(self, request: Request) -> None:
        self._outstanding.pop(request.message.request_id or "", None)
        if request.context_id in self._complete:
            await self._complete_context(request.context_id)

    async def _complete_context(self, context_id: str) -> None:
        """Ends a context if its last request has ended, else when that ends."""
        self._complete.add(context_id)
        is_over = all(request.context_id != context_id for request in self._outstanding.values())
        if is_over and self.audio_context_available(context_id):
            await self.remove_audio_context(context_id)

    # The connection.

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[no-untyped-call]
        self._backoff = Backoff(self._patience_s, time.monotonic())
        self._connection_task = self.create_task(self._stay_connected(), name="connection")

    async def _disconnect(self) -> None:
        await super()._disconnect()  # type: ignore[no-untyped-call]
        if self._connection_task is not None:
            await self.cancel_task(self._connection_task)
            self._connection_task = None
        self._outstanding.clear()
        await self._disconnect_websocket()

    async def _stay_connected(self) -> None:
        pause_s: float | None = 0.0
        while pause_s is not None:
            await asyncio.sleep(pause_s)
            error: Exception | None = None
            try:
                await self._connect_websocket()
                await self._receive_messages()
            except (OSError, WebSocketException) as failure:
                error = failure
            await self._disconnect_websocket()
            self._last_failure = error or ConnectionError("the server closed the connection")
            reason = str(self._last_failure)
            pause_s = None
            if self._reconnect_on_error and is_worth_retry(error):
                pause_s = self._backoff.pause_s(time.monotonic(), retry_after_s(error))
            if pause_s is not None:
                level = "WARNING" if self._backoff.n_failures == 1 else "DEBUG"
                logger.log(level, f"{self}: no connection ({reason}); trying again in {pause_s:g} s")
        # The query may hold the key.
        address = self._url.partition("?")[0]
        await self._report_error(ErrorFrame(f"no connection to {address}: {reason}", exception=error))
        for request in tuple(self._outstanding.values()):
            await self._end_request(request)

    async def _connect_websocket(self) -> None:
        headers = {} if self._api_key is None else {"X-API-Key": self._api_key}
        websocket = await self._websocket_connect(
            self._url,
            additional_headers=headers,
            open_timeout=self._connect_timeout_s,
            ping_interval=self._ping_interval_s,
            ping_timeout=self._ping_interval_s,
        )
        async with self._sending:
            self._websocket = websocket
            self._speaking_id = None
            await self._send(Start(format="pcm", sample_rate=self._sample_rate, timestamps=True))
            await self._repeat_outstanding()
        await self._call_event_handler("on_connected")

    async def _repeat_outstanding(self) -> None:
        for position, request in enumerate(tuple(self._outstanding.values())):
            if request.message.request_id not in self._outstanding:
                continue  # An interruption has canceled it while others were sent.
            text = request.resumable
            text.resume(request.received_s, is_first=position == 0)
            request.is_postponed = False
            if text.n_fruitless == MAX_FRUITLESS:
                error = self._last_failure
                reason = f"{MAX_FRUITLESS} connections were lost over it ({error})"
                await self.push_error(f"gave up {text.rest!r}: {reason}", exception=error)
                await self._end_request(request)
            elif not text.rest.strip():
                await self._end_request(request)
            else:
                await self._send(request.to_send)

    async def _disconnect_websocket(self) -> None:
        websocket, self._websocket = self._websocket, None
        if websocket is not None:
            await websocket.close()
            await self._call_event_handler("on_disconnected")

    async def _receive_messages(self) -> None:
        """Receives until the connection is closed. Raises OSError or ConnectionClosed if it is lost."""
        websocket = self._websocket
        assert websocket is not None
        messages = aiter(websocket)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                first = await anext(messages, None)
        except TimeoutError as error:
            raise ConnectionError(f"the server sent nothing within {self._connect_timeout_s:g} s") from error
        if first is not None:
            await self._receive(first)
        async for message in messages:
            await self._receive(message)

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._receive_audio(message)
            return
        try:
            received = decoded(message)
        except MalformedMessage as error:
            await self.push_error(str(error), exception=error, category=ErrorCategory.SERVER)
            raise
        if received is not None:
            await self._receive_message(received)
        outstanding = self._outstanding.values()
        if outstanding and all(request.is_postponed for request in outstanding):
            raise ConnectionError("the server accepts no new requests on this connection")

    async def _receive_audio(self, audio: bytes) -> None:
        request = self._outstanding.get(self._speaking_id or "")
        if request is None:
            return  # Audio of a canceled request, or the primer.
        context_id = request.context_id
        duration_s = len(audio) / BYTES_PER_SAMPLE / self._sample_rate
        start_s = self._playhead(context_id).place(
            duration_s, time.monotonic(), is_playing=context_id == self.get_active_audio_context_id()
        )
        shift_s = start_s - request.received_s
        request.received_s += duration_s
        await self.append_to_audio_context(
            context_id, TTSAudioRawFrame(audio, self._sample_rate, 1, context_id=context_id)
        )
        await self._push_words(request, request.newly_spoken(), shift_s)

    def _playhead(self, context_id: str) -> Playhead:
        return self._playheads.setdefault(context_id, Playhead())

    async def _push_words(self, request: Request, words: Sequence[SpokenWord], shift_s: float) -> None:
        if words:
            await self.add_word_timestamps(
                [(word.text, shift_s + word.start_s) for word in words],
                request.context_id,
                includes_inter_frame_spaces=bool(UNSPACED_LETTER.search(request.message.text)),
            )

    async def _receive_message(self, message: ServerMessage) -> None:
        if isinstance(message, Started):
            self._backoff.connected(time.monotonic())
            return
        request = self._outstanding.get(message.request_id or "")
        match message:
            case StartedSpeak():
                self._speaking_id = message.request_id
            case Meta(words=words) if request is not None:
                request.resumable.add_words(words or ())
            case Done() if request is not None:
                # Rounding may put the end of the last word after the last sample.
                shift_s = self._playhead(request.context_id).end_s - request.received_s
                await self._push_words(request, request.remaining_words(), shift_s)
                await self._end_request(request)
            case Canceled() if request is not None:
                await self._end_request(request)
            case Error():
                await self._receive_error(message, request)

    async def _receive_error(self, error: Error, request: Request | None) -> None:
        explanation = f"{error.code}: {error.message}"
        if request is None:
            logger.warning(f"{self}: {explanation}")
            return
        if error.code == Overloaded.code:
            request.is_postponed = True
            return
        text = request.resumable
        if not (text.resumed_at_char and error.code in NOTHING_LEFT_CODES):
            category = _CATEGORIES.get(error.code, ErrorCategory.SERVER)
            await self.push_error(f"{explanation} ({text.rest!r})", category=category)
        await self._end_request(request)
