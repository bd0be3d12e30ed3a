"""A connection to a server: speak, listen, interrupt.

    async with connect("127.0.0.1", 8000, api_key="…") as session:
        async with session.speak("Hello there.", voice="female") as speech:
            async for samples in speech:  # int16, mono, 24 kHz, as they arrive
                play(samples)
        print(speech.timing)

One task of each connection reads all the time and passes every message to its speech. Several speeches may be
outstanding, and the caller may read them in any order. Their audio arrives in the order of their `speak`, or
side by side in tagged framing.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Unpack

import trio
import trio_websocket
from attrs import define, field

from kokoro_trio.clients.errors import ClientError, ConnectionLost, RequestFailed
from kokoro_trio.clients.speech import Speech, SpeechMessage, new_decoder
from kokoro_trio.errors import BadJson, BadMessage, UnknownType
from kokoro_trio.wire.framing import TAGGED, untag
from kokoro_trio.wire.messages import (
    CLOSE_ABNORMAL,
    CLOSE_PROTOCOL_ERROR,
    Cancel,
    ClientMessage,
    Error,
    ServerMessage,
    Speak,
    Start,
    Started,
    StartedSpeak,
    decode_server,
    encode,
)
from kokoro_trio.wire.peer import Readable, send_ping, wait_until_silent
from kokoro_trio.wire.settings import Settings, StartOptions

SEND_TIMEOUT_S = 5.0
KEPT_STRAYS = 100


class ClientSession:
    """One connection; `connect` makes it. Any number of tasks may use it at once.

    `strays` holds the latest hundred messages about requests that were not outstanding; a server that keeps
    to the protocol sends none. `n_stray_frames` counts the binary frames outside of any request's audio: 1 at
    most, the primer.
    """

    def __init__(self, websocket: trio_websocket.WebSocketConnection, start_timeout_s: float) -> None:
        self.strays: deque[SpeechMessage] = deque(maxlen=KEPT_STRAYS)
        self.n_stray_frames = 0
        self._websocket = websocket
        self._start_timeout_s = start_timeout_s
        self._outstanding: dict[str, Speech] = {}
        self._speaking: Speech | None = None
        self._starts: deque[_PendingStart] = deque()
        self._settings: Settings | Started = Settings()
        self._lost: ConnectionLost | None = None
        self._is_lost = trio.Event()

    async def start(self, **options: Unpack[StartOptions]) -> Started:
        """Sets the defaults of the following requests; options that are left out keep their values.

        `voice` and `language` apply to each `speak` that names none. `format` is "pcm", "mulaw" or "opus".
        `timestamps` requests the times of words. With `framing` "plain" the requests are spoken one after the
        other, with "tagged" side by side. Call `speak` after this has returned, because the format of the
        audio is unknown before. Raises `RequestFailed` (for an unknown voice, or a rate that the format does
        not have), `DecoderMissing` and `ConnectionLost`.
        """
        if options.get("format") == "opus":
            new_decoder("opus")
        send, receive = trio.open_memory_channel[Started | ClientError](1)
        pending = _PendingStart(send)
        self._starts.append(pending)
        await self._send(Start(**options))
        pending.timeout.deadline = trio.current_time() + self._start_timeout_s
        with pending.timeout:
            answer = await receive.receive()
            if isinstance(answer, ClientError):
                raise answer
            return answer
        raise await self._drop(f"the server sent nothing for {self._start_timeout_s:g} s after `start`")

    @asynccontextmanager
    async def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        speed: float | None = None,
        request_id: str | None = None,
        language: str | None = None,
    ) -> AsyncIterator[Speech]:
        """Requests an utterance; leaving the block before its end cancels it.

        `voice` is "female", "male", the name of a voice or a recipe like "af_bella(2)+af_sky", `speed` 0.5 to
        2.0, `language` a tag like "en-GB". Raises `ConnectionLost`, and ValueError for a `request_id` that is
        still outstanding. If the server refuses the request, the speech raises its error.
        """
        request = Speak(text, request_id, voice, speed, language)
        speech = Speech(request, self._settings.format, self._settings.sample_rate)
        await self._request(speech)
        try:
            yield speech
        finally:
            with suppress(ConnectionLost):
                await speech.cancel()

    async def cancel(self, played_s: float | None = None) -> None:
        """Cancels everything outstanding. Raises `ConnectionLost`.

        `played_s`: the seconds that the listener heard of the request that is being spoken.
        """
        for speech in tuple(self._outstanding.values()):
            speech._silence(played_s)
        await self._send(Cancel(played_s=played_s))

    async def wait_until_lost(self) -> ConnectionLost:
        """Waits for the end of the connection, and returns its cause."""
        await self._is_lost.wait()
        assert self._lost is not None
        return self._lost

    async def _request(self, speech: Speech) -> None:
        if self._lost is not None:
            raise self._lost
        if speech.request_id in self._outstanding:
            raise ValueError(f"request {speech.request_id!r} is still outstanding")
        self._outstanding[speech.request_id] = speech
        await self._send(speech._begin(self._send))

    async def _send(self, message: ClientMessage) -> None:
        if self._lost is not None:
            raise self._lost
        await self._write(partial(self._websocket.send_message, encode(message)))

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        # Half a frame would break the framing of all frames after it, so a write goes on when its task is
        # cancelled; if it takes too long, the connection is useless anyway.
        with trio.move_on_after(SEND_TIMEOUT_S, shield=True):
            try:
                await write()
            except trio_websocket.ConnectionClosed as closed:
                raise loss_of(closed) from closed
            return
        raise await self._drop("the server does not read")

    async def _watch(self, stream: Readable, ping_interval_s: float) -> None:
        """Drops the connection when the server stays silent after a ping."""
        ping = partial(self._write, partial(send_ping, self._websocket))
        with suppress(ConnectionLost):
            await wait_until_silent(stream, ping, ping_interval_s, ping_interval_s)
            await self._drop(f"the server has been silent for {ping_interval_s:g} s after a ping")

    # From the server.

    async def _receive_until_lost(self) -> None:
        try:
            while True:
                frame = await self._websocket.get_message()
                self._take(frame, trio.current_time())
        except trio_websocket.ConnectionClosed as closed:
            self._lose(loss_of(closed))
        except (BadJson, BadMessage) as error:
            await self._drop(f"the server broke the protocol: {error}", CLOSE_PROTOCOL_ERROR)

    def _take(self, frame: str | bytes, at: float) -> None:
        for pending in self._starts:
            pending.timeout.deadline = at + self._start_timeout_s
        if isinstance(frame, str):
            with suppress(UnknownType):  # A newer server may send further types.
                self._take_message(decode_server(frame), at)
        else:
            self._take_audio(frame, at)

    def _take_audio(self, frame: bytes, at: float) -> None:
        speech, audio = self._speaking, frame
        if self._settings.framing == TAGGED:
            request_id, audio = untag(frame)
            speech = self._outstanding.get(request_id)
        if speech is not None:
            speech._take_audio(audio, at)
        else:
            self.n_stray_frames += 1  # The primer, which belongs to no request.

    def _take_message(self, message: ServerMessage, at: float) -> None:
        if isinstance(message, Started):
            self._settings = message
            self._answer_start(message)
        elif message.request_id is None:
            self._take_error_without_id(message, at)
        elif (speech := self._outstanding.get(message.request_id)) is not None:
            self._take_for_speech(speech, message, at)
        else:
            self.strays.append(message)

    def _take_for_speech(self, speech: Speech, message: SpeechMessage, at: float) -> None:
        speech._take(message, at)
        if isinstance(message, StartedSpeak):
            self._speaking = speech
        if speech.end is not None:
            del self._outstanding[speech.request_id]
            if self._speaking is speech:
                self._speaking = None

    def _answer_start(self, answer: Started | ClientError) -> None:
        if self._starts:
            self._starts.popleft().answer.send_nowait(answer)

    def _take_error_without_id(self, message: Error, at: float) -> None:
        """It answers a `start`, or a request whose id the server could not read.

        The client cannot know which request, so all of them fail: otherwise one would wait forever.
        """
        if self._starts:
            self._answer_start(RequestFailed.of(message))
        else:
            self._fail_outstanding(RequestFailed.of(message), at)

    def _lose(self, error: ConnectionLost) -> None:
        self._lost = self._lost or error  # The first one is the cause.
        self._is_lost.set()
        while self._starts:
            self._answer_start(error)
        self._fail_outstanding(error, trio.current_time())

    def _fail_outstanding(self, error: ClientError, at: float) -> None:
        for speech in self._outstanding.values():
            speech._fail(error, at)
        self._outstanding.clear()
        self._speaking = None

    async def _drop(self, reason: str, code: int = CLOSE_ABNORMAL) -> ConnectionLost:
        """Closes the connection. Returns how it ended, which may have been earlier."""
        self._lose(ConnectionLost(code, reason))
        await trio.aclose_forcefully(self._websocket)
        assert self._lost is not None
        return self._lost


@define(eq=False)
class _PendingStart:
    answer: trio.MemorySendChannel[Started | ClientError]
    timeout: trio.CancelScope = field(factory=trio.CancelScope)
    """Each received frame moves its deadline: on a slow line, queued audio arrives before the answer."""


def loss_of(closed: trio_websocket.ConnectionClosed) -> ConnectionLost:
    if closed.reason is None:
        return ConnectionLost(CLOSE_ABNORMAL)
    return ConnectionLost(int(closed.reason.code), closed.reason.reason or "")
