"""One connection: a reader, a sender, and a task with a cancel scope for every request.

The protocol decides, the session carries out. Effects are applied without waiting, so what the
protocol decided is in the outbox before anything else can happen. The sender is the only writer: it
lets messages go before audio, gives the requests that speak at once a frame each in turn, and looks
before each write whether its request still speaks.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from functools import partial

import structlog
import trio
from attrs import define, field, frozen

from kokoro_trio.audio.codecs import encoder_for
from kokoro_trio.audio.frames import AudioFrame
from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.config import StreamConfig
from kokoro_trio.engine.engine import Engine
from kokoro_trio.engine.stream import UtteranceStream
from kokoro_trio.errors import RequestError, SynthesisFailed
from kokoro_trio.server.connection import Connection, ConnectionGone
from kokoro_trio.server.encoding import encode_utterance
from kokoro_trio.server.protocol import (
    Begin,
    Close,
    Effect,
    GiveTurn,
    Protocol,
    Request,
    Send,
    Silence,
)
from kokoro_trio.telemetry.records import DISCONNECTED, RequestRecord
from kokoro_trio.telemetry.telemetry import Telemetry
from kokoro_trio.wire.limits import MAX_UNSENT_MESSAGES
from kokoro_trio.wire.messages import (
    CLOSE_NORMAL,
    CLOSE_RESTART,
    Canceled,
    Error,
    ServerMessage,
    StartedSpeak,
    encode,
)

log = structlog.get_logger()


@define(eq=False)
class _Speech:
    """A request with all that belongs to speaking it."""

    request: Request
    received_at: float
    opening: AbstractAsyncContextManager[UtteranceStream]
    """Its place in the engine, which it has from the start."""
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    turn: trio.Event = field(factory=trio.Event)
    turn_at: float | None = None
    head_silence: HeadSilence = field(factory=HeadSilence)
    slot_at: float | None = None
    first_frame_at: float | None = None


@frozen
class _Audio:
    """Frames of one request that wait for the sender."""

    speech: _Speech
    segment: int
    frames: deque[AudioFrame]
    sent: trio.Event = field(factory=trio.Event)


class Session:
    """`run` serves one connection until it ends; `drain` makes it end when its requests have."""

    def __init__(
        self,
        connection: Connection,
        protocol: Protocol,
        engine: Engine,
        config: StreamConfig,
        telemetry: Telemetry,
        idle_timeout_s: float = math.inf,
    ) -> None:
        self._connection = connection
        self._protocol = protocol
        self._engine = engine
        self._config = config
        self._telemetry = telemetry
        self._idle_timeout_s = idle_timeout_s
        self._last_busy_at = 0.0
        self._cancels_received_at: deque[float] = deque()
        """One for each `canceled` that is not sent yet, in the same order."""
        self._speeches: dict[Request, _Speech] = {}
        self._messages: deque[ServerMessage | Close] = deque()
        self._audio: deque[_Audio] = deque()
        self._wake_sender = trio.Event()
        self._messages_sent = trio.lowlevel.ParkingLot()
        self._primer = bytes(config.prime_bytes)
        self._nursery: trio.Nursery | None = None
        self._has_failed = False

    async def run(self) -> None:
        """Returns when the connection has ended, from whichever side. A fault is raised in a group."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._until_gone, self._send_until_closed)
            nursery.start_soon(self._until_gone, self._receive_until_gone)
            nursery.start_soon(self._close_when_idle)

    def drain(self) -> None:
        """Takes no new request; closes when the outstanding ones are finished."""
        self._apply(self._protocol.drain())

    def hang_up(self, code: int = CLOSE_RESTART, reason: str = "the server is shutting down") -> None:
        """Closes now, whatever is outstanding."""
        self._apply([Close(code, reason)])

    async def _until_gone(self, work: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        try:
            await work()
        except ConnectionGone:
            self._nursery.cancel_scope.cancel()
        except Exception:
            self._has_failed = True
            raise

    async def _close_when_idle(self) -> None:
        self._last_busy_at = trio.current_time()
        while True:
            await trio.sleep_until(self._last_busy_at + self._idle_timeout_s)
            if self._speeches:
                self._last_busy_at = trio.current_time()
            elif trio.current_time() >= self._last_busy_at + self._idle_timeout_s:
                break
        self._apply([Close(CLOSE_NORMAL, "nothing was asked for in a long time")])

    # In.

    async def _receive_until_gone(self) -> None:
        while True:
            effects = self._protocol.receive(await self._connection.receive())
            self._last_busy_at = trio.current_time()
            for message in (effect.message for effect in effects if isinstance(effect, Send)):
                if isinstance(message, Canceled):
                    self._cancels_received_at.append(trio.current_time())
                elif isinstance(message, Error):
                    self._telemetry.message_refused(message.code)
            for request in (effect.request for effect in effects if isinstance(effect, Begin)):
                # Before anything is awaited: its turn, or its end, may come at any time.
                self._speeches[request] = _Speech(request, trio.current_time(), self._opening(request))
            self._apply(effects)
            while len(self._messages) > MAX_UNSENT_MESSAGES:
                await self._messages_sent.park()

    def _apply(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message):
                    self._messages.append(message)
                case Begin(request):
                    self._begin(self._speeches[request])
                case GiveTurn(request) | Silence(request) if request not in self._speeches:
                    pass  # The session is being cancelled: this request ended, and the protocol was not told.
                case GiveTurn(request):
                    speech = self._speeches[request]
                    speech.turn_at = trio.current_time()
                    speech.turn.set()
                case Silence(request):
                    self._speeches[request].scope.cancel()
                case Close():
                    self._messages.append(effect)
        self._wake_sender.set()

    # Speaking.

    def _begin(self, speech: _Speech) -> None:
        assert self._nursery is not None, "a frame was received before `run`"
        self._nursery.start_soon(self._speak, speech)

    def _opening(self, request: Request) -> AbstractAsyncContextManager[UtteranceStream]:
        playout = request if request.settings.is_tagged else None
        return self._engine.open(request.utterance, self._protocol.session_id, playout)

    async def _speak(self, speech: _Speech) -> None:
        assert self._nursery is not None
        request = speech.request
        try:
            with speech.scope:
                async with speech.opening as stream:
                    self._nursery.start_soon(self._until_gone, partial(self._tell_words, stream, request))
                    await self._play(stream, speech)
                self._apply(self._protocol.is_done(request))
        except RequestError as error:
            self._apply(self._protocol.has_failed(request, error))
        except Exception:
            log.exception("speak_failed", request_id=request.request_id)
            self._apply(self._protocol.has_failed(request, SynthesisFailed()))
        finally:
            del self._speeches[request]
            self._last_busy_at = trio.current_time()
            self._telemetry.request_ended(_record(speech, trio.current_time(), self._end_if_cut_off()))

    def _end_if_cut_off(self) -> str:
        is_our_fault = self._has_failed or self._engine.has_failed
        return SynthesisFailed.code if is_our_fault else DISCONNECTED

    async def _tell_words(self, stream: UtteranceStream, request: Request) -> None:
        async with stream.words:
            async for words in stream.words:
                self._apply(self._protocol.knows_words(request, words))

    async def _play(self, stream: UtteranceStream, speech: _Speech) -> None:
        if stream.is_waiting:
            self._apply(self._protocol.waits_for_slot(speech.request))
            await stream.wait_for_slot()
        speech.slot_at = trio.current_time()
        await speech.turn.wait()
        self._apply(self._protocol.starts_speaking(speech.request))
        settings = speech.request.settings
        with closing(encoder_for(settings.format, settings.sample_rate, self._config)) as encoder:
            await encode_utterance(stream, encoder, speech.head_silence, partial(self._hand_over, speech))

    async def _hand_over(self, speech: _Speech, segment: int, frames: list[AudioFrame]) -> None:
        """Returns when the sender has sent the frames."""
        if frames:
            audio = _Audio(speech, segment, deque(frames))
            self._audio.append(audio)
            self._wake_sender.set()
            await audio.sent.wait()

    # Out.

    async def _send_until_closed(self) -> None:
        while True:
            if self._messages:
                await self._send_message(self._messages.popleft())
                self._messages_sent.unpark_all()
            elif self._audio:
                await self._send_audio(self._audio.popleft())
            else:
                self._wake_sender = trio.Event()
                await self._wake_sender.wait()

    async def _send_message(self, message: ServerMessage | Close) -> None:
        if isinstance(message, Close):
            await self._connection.close(message.code, message.reason)
            raise ConnectionGone(message.reason)
        if isinstance(message, StartedSpeak) and self._primer:
            # Outside of any request's audio, so that nobody takes it for speech.
            primer, self._primer = self._primer, b""
            await self._connection.send(primer)
        await self._connection.send(encode(message))
        if isinstance(message, Canceled):
            self._telemetry.cancel_acknowledged(trio.current_time() - self._cancels_received_at.popleft())

    async def _send_audio(self, audio: _Audio) -> None:
        """Sends what is next of `audio`, unless its request has ended meanwhile; the others' come next."""
        request = audio.speech.request
        if request.end is None:
            await self._connection.send_many(self._next_frames(audio))
            if audio.speech.first_frame_at is None:
                audio.speech.first_frame_at = trio.current_time()
        if request.end is None and audio.frames:
            self._audio.append(audio)
        else:
            audio.sent.set()

    def _next_frames(self, audio: _Audio) -> list[str | bytes]:
        """One where others wait for their turn, or where a cancel would have to wait for more; else up to
        the next `meta`, with that."""
        request, effects, frames = audio.speech.request, list[Effect](), list[str | bytes]()
        goes_alone = audio.speech.first_frame_at is None or self._audio or self._connection.is_congested
        while audio.frames and not effects:
            frame = audio.frames.popleft()
            effects = self._protocol.sends_audio(request, frame.n_samples, audio.segment)
            frames.append(request.tag + frame.data)
            if goes_alone:
                break
        return frames + [encode(effect.message) for effect in effects if isinstance(effect, Send)]


def _record(speech: _Speech, ended_at: float, end_if_cut_off: str) -> RequestRecord:
    request = speech.request
    return RequestRecord.of(
        request_id=request.request_id,
        voice=request.voice_name,
        end=request.end or end_if_cut_off,
        received_at=speech.received_at,
        turn_at=speech.turn_at,
        slot_at=speech.slot_at,
        first_frame_at=speech.first_frame_at,
        ended_at=ended_at,
        head_silence_s=speech.head_silence.seconds,
        audio_s=request.duration_s,
    )
