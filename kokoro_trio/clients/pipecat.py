"""A text-to-speech service for Pipecat that speaks through a kokoro_trio server.

    tts = KokoroTrioTTSService(
        url="ws://127.0.0.1:8000/v1/audio/speech/stream/ws",
        api_key="…",
        settings=KokoroTrioTTSService.Settings(voice="af_heart", speed=1.1),
    )

One connection serves the whole pipeline. Every sentence goes out as a request of its own as soon as it is
there, so the server synthesises the next ones while one is spoken. The framing is the plain one: requests
are then spoken one after the other in their order, which is the order in which Pipecat plays them.

Needs Pipecat and websockets, and nothing of the server: this file can be copied to where the bot runs.
"""

import asyncio
import json
import math
import re
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

DEFAULT_URL = "ws://127.0.0.1:8000/v1/audio/speech/stream/ws"
SAMPLE_RATES_HZ = (8000, 16000, 22050, 24000, 44100, 48000)
"""What the server can send PCM at."""
MODEL_RATE_HZ = 24000
BYTES_PER_SAMPLE = 2

MAX_WORDS = 100
"""Of a request; a server takes 150 if it is not set to take less."""
LETTERS_PER_WORD, LETTERS_PER_UNSPACED_WORD = 50, 2
"""As the server counts words that are very long, and those of scripts without spaces."""

PATIENCE_S = 60.0
"""A server takes some 15 s from its start until it speaks."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 2.0
PASSING_STATUSES = (429, 502, 503, 504)
"""Of a server that loads, drains or is full, and of proxies whose server is away."""
SETTLED_S = 5.0
"""A connection that lasted so long did not end because it was opened: the next attempt need not wait."""
CONNECT_TIMEOUT_S = 10.0
"""For the handshake, and again until the server's first message."""
PING_INTERVAL_S = 20.0
MAX_TRIES = 3
"""Connections that may be lost over one request without a sound of it."""

TIME_TOLERANCE_S = 1e-3
"""Times of words come rounded to milliseconds."""

_SPACES = re.compile(r"\s+")
_CLAUSE_END = re.compile(r"""[,;:…—–][)\]"'”’»]*\s+|[、，；：。！？…]""")
_NOT_SPACE = re.compile(r"\S*")
_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Kana and Han: words of these follow each other without spaces."""
_UNSPACED_LETTER = re.compile(
    r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    r"\u0e01-\u0eff\u1000-\u109f\u1780-\u17b3]"
)
"""The same with the scripts of South-East Asia, as the server counts them."""

_CATEGORIES = {
    # Only other settings can help, and Pipecat stops asking until there are some.
    "unknown_voice": ErrorCategory.INVALID_REQUEST,
    "bad_language": ErrorCategory.INVALID_REQUEST,
    "bad_speed": ErrorCategory.INVALID_REQUEST,
    # These lie in the one text.
    "bad_text": ErrorCategory.APPLICATION,
    "empty_text": ErrorCategory.APPLICATION,
    "too_long": ErrorCategory.APPLICATION,
    "unpronounceable": ErrorCategory.APPLICATION,
}


@dataclass
class KokoroTrioTTSSettings(TTSSettings):
    """What can be changed while the pipeline runs; it holds from the next sentence on.

    `voice`: a name or a recipe like "af_bella(2)+af_sky". `language`: None is that of the voice. `speed`:
    0.5 to 2.0.
    """

    speed: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)


@dataclass(frozen=True)
class Word:
    """As the server times it: seconds from the request's first sample, characters into the request's text."""

    text: str
    start_s: float
    end_s: float
    start_char: int
    end_char: int


@dataclass
class Request:
    """One `speak` that has not ended.

    `text` is the part that is still to be said on the current connection.
    """

    request_id: str
    context_id: str
    text: str
    options: dict[str, Any]
    """The other fields of the message."""
    words: list[Word] = field(default_factory=list)
    received_s: float = 0.0
    n_words_told: int = 0
    is_rest: bool = False
    """Of a text whose beginning was spoken on another connection."""
    n_tries: int = 0
    is_put_off: bool = False
    """The connection takes nothing new; the next one may."""

    def newly_spoken(self) -> list[Word]:
        """The words whose whole sound has been received since the last call."""
        ends_by = self.received_s + TIME_TOLERANCE_S
        first = self.n_words_told
        while self.n_words_told < len(self.words) and self.words[self.n_words_told].end_s <= ends_by:
            self.n_words_told += 1
        return self.words[first : self.n_words_told]

    def go_on(self) -> None:
        """Asks for what remains only, as the connection is lost."""
        self.text = remaining_text(self.text, self.words, self.n_words_told)
        self.is_rest |= self.n_words_told > 0
        self.words, self.received_s, self.n_words_told = [], 0.0, 0
        self.is_put_off = False


def remaining_text(text: str, words: Sequence[Word], n_spoken: int) -> str:
    """What follows the last word that was spoken, with the marks that stand right behind it."""
    if n_spoken == 0:
        return text
    behind = _NOT_SPACE.match(text, words[n_spoken - 1].end_char)
    end = behind.end() if behind else len(text)
    return text[min(end, words[n_spoken].start_char) if n_spoken < len(words) else end :]


def pieces_of(text: str, language: str) -> list[str]:
    """A text as it can be sent: whole, or sentence by sentence where it is too long for that."""
    if word_count(text) <= MAX_WORDS:
        return [text]
    pieces = []
    while text.strip():
        end = match_endofsentence(text, language=language) or len(text)
        pieces += _halves(text[:end])
        text = text[end:]
    return pieces


def _halves(text: str) -> list[str]:
    """A sentence, cut as often as it takes: behind a clause, else behind a word, else anywhere."""
    if word_count(text) <= MAX_WORDS:
        return [text]
    middle = len(text) // 2
    around = (len(text) // 4, len(text) - len(text) // 4)
    for gap in (_CLAUSE_END, _SPACES):
        if cuts := [found.end() for found in gap.finditer(text, *around)]:
            break
    cut = min(cuts, key=lambda place: abs(place - middle), default=middle)
    return _halves(text[:cut]) + _halves(text[cut:])


def word_count(text: str) -> int:
    """As the server counts, or a little more."""
    n_words = 0
    for piece in text.split():
        n_unspaced = len(_UNSPACED_LETTER.findall(piece))
        n_words += math.ceil(n_unspaced / LETTERS_PER_UNSPACED_WORD)
        n_words += math.ceil((len(piece) - n_unspaced) / LETTERS_PER_WORD)
    return n_words


class BadMessage(ConnectionError):
    """The server broke the protocol; on the next connection it may keep to it."""


_NEEDED_TEXTS = {"started_speak": ("request_id",), "error": ("code", "message")}


def parsed_message(frame: str) -> dict[str, Any]:
    """A message of the server, with its `words` as `Word`s. Raises `BadMessage`."""
    try:
        message: dict[str, Any] = json.loads(frame)
        texts = [message[name] for name in ("type", *_NEEDED_TEXTS.get(message["type"], ()))]
        if not all(isinstance(text, str) for text in (*texts, message.get("request_id") or "")):
            raise TypeError
        message["words"] = [_word(told) for told in message.get("words") or ()]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadMessage(f"the server sent a malformed message: {frame[:200]!r}") from error
    return message


def _word(told: dict[str, Any]) -> Word:
    return Word(
        str(told["text"]),
        float(told["start_s"]),
        float(told["end_s"]),
        int(told["start_char"]),
        int(told["end_char"]),
    )


@dataclass
class Playhead:
    """Where the audio of a context lies, in seconds from its first sample, if it is played as it comes.

    Audio that comes later than what was before it lasts is heard later; the times of its words move along.
    """

    end_s: float = 0.0
    _began_at_s: float | None = None

    def place(self, duration_s: float, now_s: float, *, is_playing: bool) -> float:
        """Where audio of this length begins. What waits behind another context is played without a gap."""
        if is_playing and self._began_at_s is None:
            self._began_at_s = now_s
        late_s = 0.0 if self._began_at_s is None else now_s - self._began_at_s
        start_s = max(self.end_s, late_s)
        self.end_s = start_s + duration_s
        return start_s


@dataclass
class Backoff:
    """How long to wait before the next try to connect, and when to stop."""

    patience_s: float
    n_failures: int = 0
    """In a row."""
    _since_s: float = 0.0
    _connected_at_s: float = math.inf

    def delay_s(self, error: Exception | None, now_s: float) -> float | None:
        """None: another try will not help, or the patience is over. `error` None: closed in good order."""
        if now_s - self._connected_at_s >= SETTLED_S:
            self.n_failures = 0
        self._connected_at_s = math.inf
        if self.n_failures == 0:
            self._since_s = now_s
        delay_s = min(FIRST_BACKOFF_S * 2**self.n_failures, MAX_BACKOFF_S)
        self.n_failures += 1
        if isinstance(error, InvalidStatus):
            if error.response.status_code not in PASSING_STATUSES:
                return None
            delay_s = _retry_after_s(error) or delay_s
        is_hopeless = isinstance(error, InvalidURI) or now_s + delay_s > self._since_s + self.patience_s
        return None if is_hopeless else delay_s

    def connected(self, now_s: float) -> None:
        """The failures before count no more once this connection has lasted for `SETTLED_S`."""
        self._connected_at_s = now_s

    def reset(self) -> None:
        self.n_failures = 0


def _retry_after_s(refused: InvalidStatus) -> float | None:
    value = refused.response.headers.get("Retry-After", "")
    # It may also be a date, which this server does not send.
    return float(value) if value.isdecimal() else None


class KokoroTrioTTSService(WebsocketTTSService):
    """Speaks through a kokoro_trio server; see the module.

    - The context gets the words one by one, at the times when they are heard.
    - An interruption cancels what is outstanding; the connection stays.
    - A connection that is lost is made again, for `patience_s` at most, and what was not yet spoken is said
      on it: a sentence of which a part was received goes on with the first word that was not received
      whole. When the patience is over, an `ErrorFrame` says so, the turn ends, and the next one tries again.
    - A server that sends no pong to a ping, or no message at all, is taken for dead: its connection is lost.
    - What the server refuses ends its own sentence with an `ErrorFrame`. An unknown voice or language makes
      the service unusable, in Pipecat's sense, until the settings change.
    - The sample rate is `sample_rate`, or that of the pipeline, where the server has it, else 24000.
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
            # Sentences are what the model speaks well; words come by their times, and not with the text.
            text_aggregation_mode=TextAggregationMode.SENTENCE,
            push_text_frames=False,
            push_start_frame=True,
            push_stop_frames=True,
            # A context ends when its requests have; this is for a server that says nothing any more.
            stop_frame_timeout_s=2 * patience_s,
            # This server is not silent without saying why.
            max_consecutive_zero_audio_contexts=0,
            sample_rate=sample_rate,
            settings=chosen,
            **kwargs,
        )
        self._url = url
        self._api_key = api_key
        self._connect_timeout_s = connect_timeout_s
        self._ping_interval_s = ping_interval_s
        self._backoff = Backoff(patience_s)
        self._connection_task: asyncio.Task[None] | None = None
        self._websocket: ClientConnection | None = None
        self._last_failure: Exception | None = None
        # Held while requests are sent, so that they keep their order when a connection is made again.
        self._sending = asyncio.Lock()
        self._outstanding: dict[str, Request] = {}
        self._speaking_id: str | None = None
        self._playheads: dict[str, Playhead] = {}
        # Contexts that get no more sentences.
        self._complete: set[str] = set()

    def can_generate_metrics(self) -> bool:
        return True

    # What Pipecat asks for.

    # As FrameProcessor itself does against its base.
    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        await super().setup(setup)
        if self._sample_rate not in SAMPLE_RATES_HZ:
            self._sample_rate = MODEL_RATE_HZ
        await self._connect()

    async def stop(self, frame: EndFrame) -> None:
        # The end waits for the contexts, and no sentence comes after it.
        for context_id in self.get_audio_contexts():
            await self._complete_context(context_id)
        await super().stop(frame)

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        if self._disconnecting:
            return  # Text that was left over when the pipeline ended.
        if self._connection_task is None or self._connection_task.done():
            await self._connect()
        if context_id != self._turn_context_id:
            # Text outside of a turn: a context of its own, whose end nobody announces.
            self._complete.add(context_id)
        async with self._sending:
            for piece in pieces_of(text, self.text_aggregation_language):
                request = Request(uuid.uuid4().hex, context_id, piece, self._options())
                self._outstanding[request.request_id] = request
                await self._send_speak(request)
        await self.start_tts_usage_metrics(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """The turn has no more sentences."""
        context_id = context_id or self.get_active_audio_context_id()
        if context_id is not None:
            await self._complete_context(context_id)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Barge-in. What still comes of the canceled requests belongs to none, and is dropped."""
        await self.stop_all_metrics()  # type: ignore[no-untyped-call]
        await self._cancel_requests(context_id)
        await super().on_audio_context_interrupted(context_id)

    async def on_audio_context_completed(self, context_id: str) -> None:
        # There are requests left only if the server has said nothing for too long.
        await self._cancel_requests(context_id)
        await super().on_audio_context_completed(context_id)

    # Requests.

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        options = {"voice": settings.voice, "language": settings.language, "speed": settings.speed}
        return {name: value for name, value in options.items() if value is not None}

    async def _send_speak(self, request: Request) -> None:
        await self._send(
            {"type": "speak", "request_id": request.request_id, "text": request.text, **request.options}
        )

    async def _cancel_requests(self, context_id: str) -> None:
        canceled = [request for request in self._outstanding.values() if request.context_id == context_id]
        for request in canceled:
            del self._outstanding[request.request_id]
        self._complete.discard(context_id)
        self._playheads.pop(context_id, None)
        # Without `played_s`: when the transport plays what it was given is not known here.
        if canceled and not self._outstanding:
            await self._send({"type": "cancel"})
        elif canceled:
            for request in canceled:
                await self._send({"type": "cancel", "request_id": request.request_id})

    async def _send(self, message: dict[str, Any]) -> None:
        """Into the void where there is no connection: the next one begins with what is outstanding."""
        if self._websocket is None:
            return
        try:
            await self._websocket.send(json.dumps(message))
        except ConnectionClosed:
            logger.debug(f"{self}: the connection was lost before {message['type']!r} could be sent")

    async def _end_request(self, request: Request) -> None:
        self._outstanding.pop(request.request_id, None)
        if request.context_id in self._complete:
            await self._complete_context(request.context_id)

    async def _complete_context(self, context_id: str) -> None:
        """Lets a context end when its last request has."""
        self._complete.add(context_id)
        is_over = all(request.context_id != context_id for request in self._outstanding.values())
        if is_over and self.audio_context_available(context_id):
            await self.remove_audio_context(context_id)

    # The connection.

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[no-untyped-call]
        self._backoff.reset()
        self._connection_task = self.create_task(self._stay_connected(), name="connection")

    async def _disconnect(self) -> None:
        await super()._disconnect()  # type: ignore[no-untyped-call]
        if self._connection_task is not None:
            await self.cancel_task(self._connection_task)
            self._connection_task = None
        self._outstanding.clear()
        await self._disconnect_websocket()

    async def _stay_connected(self) -> None:
        delay_s: float | None = 0.0
        while delay_s is not None:
            await asyncio.sleep(delay_s)
            error: Exception | None = None
            try:
                await self._connect_websocket()
                await self._receive_messages()
            except (OSError, WebSocketException) as failure:
                error = failure
            await self._disconnect_websocket()
            self._last_failure = error or ConnectionError("the server closed the connection")
            reason = str(self._last_failure)
            delay_s = self._backoff.delay_s(error, time.monotonic()) if self._reconnect_on_error else None
            if delay_s is not None:
                level = "WARNING" if self._backoff.n_failures == 1 else "DEBUG"
                logger.log(level, f"{self}: no connection ({reason}); trying again in {delay_s:g} s")
        # The key may stand in the query.
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
            await self._send(
                {"type": "start", "format": "pcm", "sample_rate": self._sample_rate, "timestamps": True}
            )
            await self._repeat_outstanding()
        await self._call_event_handler("on_connected")

    async def _repeat_outstanding(self) -> None:
        for position, request in enumerate(tuple(self._outstanding.values())):
            request.go_on()
            # The first is the one that may have brought the server down.
            request.n_tries += position == 0
            if request.n_tries > MAX_TRIES:
                error = self._last_failure
                explanation = f"gave up {request.text!r}: {MAX_TRIES} connections were lost over it ({error})"
                await self.push_error(explanation, exception=error)
                await self._end_request(request)
            elif request.request_id in self._outstanding:
                await self._send_speak(request)

    async def _disconnect_websocket(self) -> None:
        websocket, self._websocket = self._websocket, None
        if websocket is not None:
            await websocket.close()
            await self._call_event_handler("on_disconnected")

    async def _receive_messages(self) -> None:
        """Until the connection ends. Raises OSError or ConnectionClosed where that is not in good order."""
        websocket = self._websocket
        assert websocket is not None
        messages = aiter(websocket)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                first = await anext(messages, None)
        except TimeoutError as error:
            raise ConnectionError(f"the server said nothing within {self._connect_timeout_s:g} s") from error
        if first is not None:
            await self._receive(first)
        async for message in messages:
            await self._receive(message)

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._receive_audio(message)
            return
        try:
            parsed = parsed_message(message)
        except BadMessage as error:
            await self.push_error(str(error), exception=error, category=ErrorCategory.SERVER)
            raise
        await self._receive_message(parsed)
        outstanding = self._outstanding.values()
        if outstanding and all(request.is_put_off for request in outstanding):
            raise ConnectionError("the server takes nothing new on this connection")

    async def _receive_audio(self, audio: bytes) -> None:
        request = self._outstanding.get(self._speaking_id or "")
        if request is None:
            return  # Canceled, or the primer.
        request.n_tries = 0
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
        await self._tell_words(request, request.newly_spoken(), shift_s)

    def _playhead(self, context_id: str) -> Playhead:
        return self._playheads.setdefault(context_id, Playhead())

    async def _tell_words(self, request: Request, words: Sequence[Word], shift_s: float) -> None:
        if words:
            await self.add_word_timestamps(
                [(word.text, shift_s + word.start_s) for word in words],
                request.context_id,
                includes_inter_frame_spaces=bool(_WITHOUT_SPACES.search(request.text)),
            )

    async def _receive_message(self, message: dict[str, Any]) -> None:
        request = self._outstanding.get(message.get("request_id") or "")
        match message["type"]:
            case "started":
                self._backoff.connected(time.monotonic())
            case "started_speak":
                self._speaking_id = message["request_id"]
            case "meta" if request is not None:
                request.words += message["words"]
            case "done" if request is not None:
                # Rounding may put the end of the last one behind the last sample.
                words = request.words[request.n_words_told :]
                shift_s = self._playhead(request.context_id).end_s - request.received_s
                await self._tell_words(request, words, shift_s)
                await self._end_request(request)
            case "canceled" if request is not None:
                await self._end_request(request)
            case "error":
                await self._receive_error(message, request)

    async def _receive_error(self, message: dict[str, Any], request: Request | None) -> None:
        code, explanation = message["code"], message["message"]
        if request is None:
            logger.warning(f"{self}: {code}: {explanation}")
            return
        if code == "overloaded":
            request.is_put_off = True
            return
        if not (request.is_rest and code in ("empty_text", "unpronounceable")):
            category = _CATEGORIES.get(code, ErrorCategory.SERVER)
            await self.push_error(f"{code}: {explanation} ({request.text!r})", category=category)
        await self._end_request(request)
