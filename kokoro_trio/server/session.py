"""One WebSocket connection: a reader, a sender, and one task with a cancel scope for each request.

The dialect translates frames to messages, the protocol decides their effects, and the session carries these
out. It applies the effects of a message without waiting, so all of them are queued for the sender before any
other task runs. Only the sender writes: it sends messages before audio, takes one
frame in turn from each request that is being spoken, and checks before each write that the request has not
ended.
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
from kokoro_trio.config import StreamConfig
from kokoro_trio.engine.engine import Engine
from kokoro_trio.engine.stream import UtteranceStream
from kokoro_trio.errors import RequestError, SynthesisFailed
from kokoro_trio.server.connection import Connection, ConnectionGone
from kokoro_trio.server.dialects.dialect import Dialect, Frame, Outcome
from kokoro_trio.server.encoding import encode_utterance
from kokoro_trio.server.protocol import Begin, Close, Effect, GiveTurn, Protocol, Request, Send, Silence
from kokoro_trio.telemetry.records import DISCONNECTED
from kokoro_trio.telemetry.telemetry import Telemetry
from kokoro_trio.telemetry.times import RequestTimes
from kokoro_trio.wire.limits import MAX_UNSENT_MESSAGES
from kokoro_trio.wire.messages import CLOSE_NORMAL, CLOSE_RESTART, Canceled, Error

log = structlog.get_logger()


@define(eq=False)
class _Speech:
    """A request while it is outstanding."""

    request: Request
    opening: AbstractAsyncContextManager[UtteranceStream]
    """Its place in the engine, which it holds from the start."""
    times: RequestTimes = field(factory=RequestTimes)
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    turn: trio.Event = field(factory=trio.Event)


@frozen
class _Frames:
    """A message that waits for the sender, as the dialect encodes it."""

    frames: Sequence[Frame]
    cancel_received_at: float | None = None
    """Of a `canceled`: when the client's `cancel` was received."""


@frozen
class _Audio:
    """Frames of one request that wait for the sender."""

    speech: _Speech
    segment: int
    frames: deque[AudioFrame]
    sent: trio.Event = field(factory=trio.Event)


@define(eq=False)
class Session:
    """`run` serves one connection until it ends; `drain` ends it when its requests have ended."""

    _connection: Connection
    _dialect: Dialect
    _protocol: Protocol
    _engine: Engine
    _config: StreamConfig
    _telemetry: Telemetry
    _idle_timeout_s: float = math.inf
    _last_busy_at: float = field(init=False, default=0.0)
    _receiving: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    """Cancelled when the dialect's timeout is over."""
    _times_out_at: float = field(init=False, default=math.inf)
    _speeches: dict[Request, _Speech] = field(init=False, factory=dict)
    _messages: deque[_Frames | Close] = field(init=False, factory=deque)
    _audio: deque[_Audio] = field(init=False, factory=deque)
    _wake_sender: trio.Event = field(init=False, factory=trio.Event)
    _messages_sent: trio.lowlevel.ParkingLot = field(init=False, factory=trio.lowlevel.ParkingLot)
    _nursery: trio.Nursery | None = field(init=False, default=None)
    _has_failed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._messages.append(_Frames(self._dialect.open()))

    async def run(self) -> None:
        """Returns when either side has ended the connection. A fault is raised in an exception group."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._until_gone, self._send_until_closed)
            nursery.start_soon(self._until_gone, self._receive_until_gone)
            nursery.start_soon(self._close_when_idle)

    def drain(self) -> None:
        """Accepts no new request and closes when the outstanding ones have ended."""
        self._apply(self._protocol.drain())

    def hang_up(self, code: int = CLOSE_RESTART, reason: str = "the server is shutting down") -> None:
        """Closes now and drops the outstanding requests."""
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
        self._apply([Close(CLOSE_NORMAL, "no message for a long time")])

    # Receiving.

    async def _receive_until_gone(self) -> None:
        while True:
            for outcome in await self._next_outcomes():
                self._take(outcome)
            self._wake()
            while len(self._messages) > MAX_UNSENT_MESSAGES:
                await self._messages_sent.park()

    async def _next_outcomes(self) -> Sequence[Outcome]:
        with trio.CancelScope(deadline=self._times_out_at) as self._receiving:
            frame = await self._connection.receive()
            self._last_busy_at = trio.current_time()
            return self._dialect.receive(frame)
        self._times_out_at = math.inf
        return self._dialect.time_out()

    def _take(self, outcome: Outcome) -> None:
        match outcome:
            case str() | bytes():
                self._messages.append(_Frames([outcome]))
            case Error():
                self._telemetry.message_refused(outcome.code)
                self._apply([Send(outcome)])
            case _:
                effects = self._protocol.receive(outcome)
                for effect in effects:
                    match effect:
                        case Send(Error(code=code)):
                            self._telemetry.message_refused(code)
                self._apply(effects)

    def _apply(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message):
                    # A `canceled` is the effect of the `cancel` that has just been received.
                    received_at = trio.current_time() if isinstance(message, Canceled) else None
                    self._messages.append(_Frames(self._dialect.encode(message), received_at))
                case Begin(request):
                    self._begin(request)
                case GiveTurn(request) | Silence(request) if request not in self._speeches:
                    pass  # The session is being cancelled, which ends its requests without an event.
                case GiveTurn(request):
                    speech = self._speeches[request]
                    speech.times.turn_at = trio.current_time()
                    speech.turn.set()
                case Silence(request):
                    self._speeches[request].scope.cancel()
                case Close():
                    self._messages.append(effect)
        self._wake()

    def _wake(self) -> None:
        """Wakes the sender, and updates the dialect's timeout."""
        self._wake_sender.set()
        timeout_s = self._dialect.timeout_s
        if timeout_s == math.inf or self._times_out_at == math.inf:
            self._times_out_at = trio.current_time() + timeout_s
        self._receiving.deadline = self._times_out_at

    # Speaking.

    def _begin(self, request: Request) -> None:
        assert self._nursery is not None, "a frame was received before `run`"
        playout = request if request.settings.is_tagged else None
        opening = self._engine.open(request.utterance, self._protocol.session_id, playout)
        speech = self._speeches[request] = _Speech(request, opening)
        self._nursery.start_soon(self._speak, speech)

    async def _speak(self, speech: _Speech) -> None:
        assert self._nursery is not None
        request = speech.request
        try:
            with speech.scope:
                async with speech.opening as stream:
                    self._nursery.start_soon(self._until_gone, partial(self._send_words, stream, request))
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
            self._telemetry.request_ended(
                speech.times.record(
                    request_id=request.request_id,
                    voice=request.voice_name,
                    end=request.end or self._end_of_unfinished(),
                    audio_s=request.duration_s,
                    ended_at=trio.current_time(),
                )
            )

    def _end_of_unfinished(self) -> str:
        is_our_fault = self._has_failed or self._engine.has_failed
        return SynthesisFailed.code if is_our_fault else DISCONNECTED

    async def _send_words(self, stream: UtteranceStream, request: Request) -> None:
        async with stream.words:
            async for words in stream.words:
                self._apply(self._protocol.knows_words(request, words))

    async def _play(self, stream: UtteranceStream, speech: _Speech) -> None:
        if stream.is_waiting:
            self._apply(self._protocol.waits_for_slot(speech.request))
            await stream.wait_for_slot()
        speech.times.slot_at = trio.current_time()
        await speech.turn.wait()
        self._apply(self._protocol.starts_speaking(speech.request))
        settings = speech.request.settings
        with closing(encoder_for(settings.format, settings.sample_rate, self._config)) as encoder:
            await encode_utterance(
                stream, encoder, speech.times.head_silence, partial(self._hand_over, speech)
            )

    async def _hand_over(self, speech: _Speech, segment: int, frames: list[AudioFrame]) -> None:
        """Returns when the sender has sent the frames."""
        if frames:
            audio = _Audio(speech, segment, deque(frames))
            self._audio.append(audio)
            self._wake_sender.set()
            await audio.sent.wait()

    # Sending.

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

    async def _send_message(self, message: _Frames | Close) -> None:
        if isinstance(message, Close):
            await self._connection.close(message.code, message.reason)
            raise ConnectionGone(message.reason)
        if message.frames:
            await self._connection.send(message.frames)
        if message.cancel_received_at is not None:
            self._telemetry.cancel_acknowledged(trio.current_time() - message.cancel_received_at)

    async def _send_audio(self, audio: _Audio) -> None:
        """Sends the next frames of `audio`, unless its request has ended; other requests come next."""
        request = audio.speech.request
        if request.end is None:
            await self._connection.send(self._next_frames(audio))
            audio.speech.times.frame_sent()
        if request.end is None and audio.frames:
            self._audio.append(audio)
        else:
            audio.sent.set()

    def _next_frames(self, audio: _Audio) -> list[Frame]:
        """One frame if other requests wait for their turn, or if more would delay a `canceled`; else the
        frames up to the next `meta`, and that `meta`.
        """
        request, effects, frames = audio.speech.request, list[Effect](), list[Frame]()
        is_first = audio.speech.times.first_frame_at is None
        goes_alone = is_first or self._audio or self._connection.is_congested
        while audio.frames and not effects:
            frame = audio.frames.popleft()
            effects = self._protocol.sends_audio(request, frame.n_samples, audio.segment)
            frames += self._dialect.encode_audio(request, frame.data)
            if goes_alone:
                break
        for effect in effects:
            if isinstance(effect, Send):
                frames += self._dialect.encode(effect.message)
        return frames
