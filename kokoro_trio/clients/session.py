"""A client for the wire protocol: connect, speak, listen, interrupt.

    async with connect("127.0.0.1", 8000, api_key="…") as session:
        async with session.speak("Hello there.", voice="female") as speech:
            async for samples in speech:  # int16, mono, 24 kHz, as they arrive
                play(samples)
        print(speech.timing)

One task a connection reads all the time and hands every message to the speech it belongs to, so several
speeches may be outstanding: their audio comes in the order of their `speak` (in tagged framing side by
side), whatever order it is read in.
"""

import argparse
import math
import ssl
import uuid
import wave
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import trio
import trio_websocket
import wsproto
from attrs import define, field, frozen
from numpy.typing import NDArray

from kokoro_trio.audio.decoders import decoder_for
from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.config import BYTES_PER_SAMPLE, ClientConfig
from kokoro_trio.errors import BadJson, BadMessage, Fact, KokoroTrioError, UnknownType
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire.formats import decoded_rate_hz
from kokoro_trio.wire.framing import PLAIN, TAGGED, untag
from kokoro_trio.wire.messages import (
    CLOSE_ABNORMAL,
    CLOSE_PROTOCOL_ERROR,
    WEBSOCKET_PATH,
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
    decode_server,
    encode,
)
from kokoro_trio.wire.peer import drop_late_replies, send_ping, wait_until_silent

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
SEND_TIMEOUT_S = 5.0
PING_INTERVAL_S = 20.0
"""A dead server is noticed within twice that. Routers forget a silent connection after a minute or more."""
MAX_MESSAGE_BYTES = 2**24
"""Above the largest binary frame that a server can be set to send (`WS_BUFFER_BYTES`, 10 MB)."""
RECEIVE_BYTES = 2**16
"""A second and more of audio for each read; trio-websocket's 4 KiB would be 80 ms."""
URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~"
"""Those of a path and its query that stay as they are; letters and digits do anyhow."""
KEPT_STRAYS = 100

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
SpeechMessage = StartedSpeak | Queue | Meta | Done | Canceled | Error
"""What the server says about one request."""


class ClientError(KokoroTrioError):
    """What the server, or the way to it, can do to a client; `str(error)` is one line."""


@define
class ConnectFailed(ClientError):
    """Nobody there, or nobody who speaks WebSocket (or TLS, where that was asked for)."""

    host: str
    port: int
    reason: str

    def __str__(self) -> str:
        return f"cannot connect to {self.host} port {self.port}: {self.reason}"


@define
class HandshakeRejected(ClientError):
    """The server answered, with an HTTP status that opens no WebSocket."""

    status: int
    retry_after_s: float | None = None

    def __str__(self) -> str:
        wait = "" if self.retry_after_s is None else f"; try again in {self.retry_after_s:g} s"
        meaning = _REJECTIONS.get(self.status, "it does not serve this address")
        return f"the server refused the connection (HTTP {self.status}): {meaning}{wait}"


_PROXY_ALONE = "the server behind the proxy is away"
_REJECTIONS = {
    401: "the API key is wrong or missing",
    403: "it does not take this client",
    429: "the API key is over a limit",
    502: _PROXY_ALONE,
    503: "it is loading, full or shutting down",
    504: _PROXY_ALONE,
}


@define
class ConnectionLost(ClientError):
    """The connection ended; `code` is the WebSocket close code, 1006 where the server gave none."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        return f"the connection was lost (close code {self.code})" + (
            f": {self.reason}" if self.reason else ""
        )


@define
class RequestFailed(ClientError):
    """The server answered a request with an error; `facts` are the fields beside code and message."""

    code: str
    message: str
    request_id: str | None
    facts: Mapping[str, Fact]

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    api_key: str | None = None,
    tls: bool | ssl.SSLContext = False,
    path: str = WEBSOCKET_PATH,
    timeout_s: float = CONNECT_TIMEOUT_S,
    ping_interval_s: float = PING_INTERVAL_S,
) -> AsyncIterator["Session"]:
    """A connection for as long as the block runs; what is outstanding at its end is dropped.

    `timeout_s` holds for reaching the server, again for the handshake, and for the answer to `start`, where
    each received frame restarts it.
    The client pings every `ping_interval_s`; a server that sends nothing for as long after a ping is
    taken for dead, and the connection for lost. `tls` may be a context for certificates that the system
    does not know. Raises `ConnectFailed` and `HandshakeRejected`, and ValueError for an `api_key` that no
    header can hold; `ConnectionLost` comes later, from whatever then waits for the server.
    """
    headers = authorization(api_key)
    tcp_stream = await _open_stream(host, port, tls, timeout_s)
    async with tcp_stream, open_nursery_of_plain_errors() as nursery:
        stream = _WatchedStream(tcp_stream)
        websocket = await _shake_hands(nursery, stream, (host, port), path, headers, timeout_s)
        session = Session(websocket, timeout_s)
        nursery.start_soon(session._receive_until_lost)
        nursery.start_soon(session._watch, stream, ping_interval_s)
        try:
            yield session
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT_S):
                await websocket.aclose()
            nursery.cancel_scope.cancel()


async def _open_stream(host: str, port: int, tls: bool | ssl.SSLContext, timeout_s: float) -> Stream:
    try:
        with trio.fail_after(timeout_s):
            tcp_stream = await trio.open_tcp_stream(host, port)
            return await _secure(tcp_stream, host, tls) if tls else tcp_stream
    except trio.TooSlowError:
        over = " over TLS" if tls else ""
        raise ConnectFailed(host, port, f"no answer{over} within {timeout_s:g} s") from None
    except OSError as error:
        raise ConnectFailed(host, port, "nobody listens there, or it cannot be reached") from error
    except UnicodeError as error:
        raise ConnectFailed(host, port, f"this is no host name: {error}") from error
    except trio.BrokenResourceError as error:
        raise ConnectFailed(host, port, f"no TLS: {error.__cause__ or 'it hung up'}") from error


async def _secure(
    stream: trio.SocketStream, host: str, tls: bool | ssl.SSLContext
) -> trio.SSLStream[trio.SocketStream]:
    context = tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context()
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except (trio.BrokenResourceError, trio.Cancelled):
        await trio.aclose_forcefully(stream)
        raise
    return secured


def authorization(api_key: str | None) -> list[tuple[bytes, bytes]]:
    """The header that carries the key; a URL would end up in the logs of proxies. Raises ValueError."""
    key = (api_key or "").strip()
    if not key.isprintable():
        raise ValueError("the API key holds control characters")
    return [(b"Authorization", b"Bearer " + key.encode())] if key else []


async def _shake_hands(
    nursery: trio.Nursery,
    stream: "_WatchedStream",
    address: tuple[str, int],
    path: str,
    headers: list[tuple[bytes, bytes]],
    timeout_s: float,
) -> trio_websocket.WebSocketConnection:
    host, port = address
    websocket = trio_websocket.WebSocketConnection(
        stream,
        wsproto.WSConnection(wsproto.ConnectionType.CLIENT),
        host=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        path=quote(path, safe=URL_CHARACTERS),
        client_extra_headers=headers,
        max_message_size=MAX_MESSAGE_BYTES,
        receive_buffer_size=RECEIVE_BYTES,
    )
    drop_late_replies(websocket)
    with trio.move_on_after(timeout_s) as scope:
        stream.on_end = scope.cancel
        nursery.start_soon(websocket._reader_task)
        await websocket._open_handshake.wait()
        return websocket
    if stream.has_ended:
        raise ConnectFailed(host, port, "it hung up before it had answered as a WebSocket server")
    raise ConnectFailed(host, port, f"it did not answer as a WebSocket server within {timeout_s:g} s")


class _WatchedStream(trio.abc.Stream):
    """Tells when nothing more can come: in its handshake trio-websocket would go on waiting for it.

    It also tells which read is pending, for `wait_until_silent`.
    """

    def __init__(self, stream: Stream) -> None:
        self.has_ended = False
        self.on_end: Callable[[], None] = lambda: None
        self.pending_read: object | None = None
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.pending_read = object()
        try:
            with self._watched():
                data = bytes(await self._stream.receive_some(max_bytes))
        finally:
            self.pending_read = None
        if not data:
            self._end()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._watched():
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end()
            raise

    def _end(self) -> None:
        self.has_ended = True
        self.on_end()


@asynccontextmanager
async def open_nursery_of_plain_errors() -> AsyncIterator[trio.Nursery]:
    """A nursery whose block's exception leaves as it is, not in a group of one.

    Its tasks belong to trio-websocket and to the session; what trio-websocket's raise is translated.
    """
    error = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        _, rest = group.split(trio.Cancelled)
        if rest is None or len(rest.exceptions) > 1:
            raise
        error = rest.exceptions[0]
    if isinstance(error, trio_websocket.ConnectionRejected):
        raise _rejection(error) from error
    if isinstance(error, trio_websocket.ConnectionClosed):
        raise _loss(error) from error
    if error is not None:
        raise error


def _rejection(rejected: trio_websocket.ConnectionRejected) -> HandshakeRejected:
    headers = {name.lower(): value for name, value in rejected.headers}
    retry_after = headers.get(b"retry-after", b"")
    # It may also be a date, which no server of this protocol sends.
    return HandshakeRejected(
        rejected.status_code, float(retry_after) if retry_after.strip().isdigit() else None
    )


def _loss(closed: trio_websocket.ConnectionClosed) -> ConnectionLost:
    if closed.reason is None:
        return ConnectionLost(CLOSE_ABNORMAL)
    return ConnectionLost(int(closed.reason.code), closed.reason.reason or "")


class Session:
    """One connection; `connect` makes it. Any number of tasks may use it at once.

    A server that keeps to the protocol leaves `strays` empty: what it said about requests that were not
    outstanding, the latest hundred. `n_stray_frames` counts the binary frames outside of any request's
    audio: 1 at most, the primer.
    """

    def __init__(self, websocket: trio_websocket.WebSocketConnection, start_timeout_s: float) -> None:
        self.strays: deque[SpeechMessage] = deque(maxlen=KEPT_STRAYS)
        self.n_stray_frames = 0
        self._websocket = websocket
        self._start_timeout_s = start_timeout_s
        self._outstanding: dict[str, Speech] = {}
        self._speaking: Speech | None = None
        self._starts: deque[_PendingStart] = deque()
        self._format, self._sample_rate_hz, self._framing = "pcm", SAMPLE_RATE_HZ, PLAIN
        self._lost: ConnectionLost | None = None
        self._is_lost = trio.Event()

    async def start(
        self,
        *,
        voice: str | None = None,
        timestamps: bool | None = None,
        language: str | None = None,
        format: str | None = None,
        sample_rate: int | None = None,
        framing: str | None = None,
    ) -> Started:
        """Sets the voice and the language of what is spoken from here on without naming them, whether words
        are timed, and how the audio comes: as "pcm", "mulaw" or "opus", made at `sample_rate`, with the
        requests one after the other ("plain") or side by side ("tagged").

        What is left out stays as it is. Speak when it has returned: before, it is not known how the audio
        will come. Raises `RequestFailed` (for an unknown voice, or a rate that the format does not have)
        and `ConnectionLost`.
        """
        send, receive = trio.open_memory_channel[Started | ClientError](1)
        pending = _PendingStart(send)
        self._starts.append(pending)
        await self._send(
            Start(
                voice=voice,
                timestamps=timestamps,
                language=language,
                format=format,
                sample_rate=sample_rate,
                framing=framing,
            )
        )
        pending.patience.deadline = trio.current_time() + self._start_timeout_s
        with pending.patience:
            answer = await receive.receive()
            if isinstance(answer, ClientError):
                raise answer
            return answer
        raise await self._drop(f"the server said nothing for {self._start_timeout_s:g} s after `start`")

    @asynccontextmanager
    async def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        speed: float | None = None,
        request_id: str | None = None,
        language: str | None = None,
    ) -> AsyncIterator["Speech"]:
        """Asks for an utterance; leaving the block before its end cancels it.

        `voice` is "female", "male", the name of a voice or a recipe like "af_bella(2)+af_sky", `speed` 0.5
        to 2.0, `language` a tag like "en-GB". Raises `ConnectionLost`, and ValueError for a `request_id`
        that is still outstanding; that the server refuses the request is learnt from the speech.
        """
        if self._lost is not None:
            raise self._lost
        request_id = request_id or uuid.uuid4().hex
        if request_id in self._outstanding:
            raise ValueError(f"request {request_id!r} is still outstanding")
        speech = Speech(request_id, trio.current_time(), self._send, self._format, self._sample_rate_hz)
        self._outstanding[request_id] = speech
        await self._send(Speak(text, request_id, voice, speed, language))
        try:
            yield speech
        finally:
            with suppress(ConnectionLost):
                await speech.cancel()

    async def cancel(self) -> None:
        """Silences everything outstanding. Raises `ConnectionLost`."""
        for speech in self._outstanding.values():
            speech._silence()
        await self._send(Cancel())

    async def wait_until_lost(self) -> ConnectionLost:
        """Returns how the connection ended, when it has."""
        await self._is_lost.wait()
        assert self._lost is not None
        return self._lost

    async def _send(self, message: ClientMessage) -> None:
        if self._lost is not None:
            raise self._lost
        await self._write(partial(self._websocket.send_message, encode(message)))

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        # Half a frame would break the framing of all that follow, so a write is finished even where
        # its task was cancelled; where that takes too long, there is nothing left to save.
        with trio.move_on_after(SEND_TIMEOUT_S, shield=True):
            try:
                await write()
            except trio_websocket.ConnectionClosed as closed:
                raise _loss(closed) from closed
            return
        raise await self._drop("the server does not read")

    async def _watch(self, stream: _WatchedStream, ping_interval_s: float) -> None:
        """Drops the connection when the server stays silent after a ping."""
        ping = partial(self._write, partial(send_ping, self._websocket))
        with suppress(ConnectionLost):
            await wait_until_silent(stream, ping, ping_interval_s, ping_interval_s)
            await self._drop(f"the server has been silent for {ping_interval_s:g} s after a ping")

    # What the server says.

    async def _receive_until_lost(self) -> None:
        try:
            while True:
                frame = await self._websocket.get_message()
                self._take(frame, trio.current_time())
        except trio_websocket.ConnectionClosed as closed:
            self._lose(_loss(closed))
        except (BadJson, BadMessage) as error:
            await self._drop(f"the server broke the protocol: {error}", CLOSE_PROTOCOL_ERROR)

    def _take(self, frame: str | bytes, at: float) -> None:
        for pending in self._starts:
            pending.patience.deadline = at + self._start_timeout_s
        if isinstance(frame, str):
            with suppress(UnknownType):  # A newer server may have more to say.
                self._take_message(decode_server(frame), at)
        else:
            self._take_audio(frame, at)

    def _take_audio(self, frame: bytes, at: float) -> None:
        speech, audio = self._speaking, frame
        if self._framing == TAGGED:
            request_id, audio = untag(frame)
            speech = self._outstanding.get(request_id)
        if speech is not None:
            speech._hear(audio, at)
        else:
            self.n_stray_frames += 1  # The primer, which is not for ears.

    def _take_message(self, message: ServerMessage, at: float) -> None:
        if isinstance(message, Started):
            self._format, self._sample_rate_hz = message.format, message.sample_rate
            self._framing = message.framing
            self._answer_start(message)
        elif message.request_id is None:
            self._take_error_of_nobody(message, at)
        elif (speech := self._outstanding.get(message.request_id)) is not None:
            self._take_for_speech(speech, message, at)
        else:
            self.strays.append(message)

    def _take_for_speech(self, speech: "Speech", message: SpeechMessage, at: float) -> None:
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

    def _take_error_of_nobody(self, message: Error, at: float) -> None:
        """Without an id it answers a `start`, or a request whose id the server could not read.

        Which one cannot be told then, and that all fail is better than that one waits for ever.
        """
        if self._starts:
            self._answer_start(_failure(message))
        else:
            self._fail_outstanding(_failure(message), at)

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
        """Returns how the connection ended, which may have been before."""
        self._lose(ConnectionLost(code, reason))
        await trio.aclose_forcefully(self._websocket)
        assert self._lost is not None
        return self._lost


@define(eq=False)
class _PendingStart:
    answer: trio.MemorySendChannel[Started | ClientError]
    patience: trio.CancelScope = field(factory=trio.CancelScope)
    """Each received frame moves its deadline: on a slow line, queued audio comes before the answer."""


def _failure(error: Error) -> RequestFailed:
    return RequestFailed(error.code, error.message, error.request_id, error.facts)


class Speech:
    """One request and the audio that comes for it. `Session.speak` makes it.

    Iterate it once: int16 arrays of shape (n,), mono at `sample_rate_hz`, as the frames come (of PCM
    read-only); μ-law and Opus are decoded, Opus to 48 kHz. `encoded` is all that came, as it came: of Opus,
    an Ogg file. The iteration ends with `done` or `canceled`; it raises `RequestFailed` where the server
    answers with an error, after the audio that came before, and `ConnectionLost`.

    Times are those of `trio.current_time()`, in seconds, taken as frames arrive and not as they are
    read. `end` is None, then "done", "canceled", "connection_lost" or the server's error code;
    `duration_s` is the audio as the server counts it; `segment` the sentence that `meta` told of last;
    `words` those whose times are known, where the session was started with `timestamps`. `text_spoken`
    and `text_remaining` come with "canceled".
    """

    def __init__(
        self,
        request_id: str,
        requested_at: float,
        send: Callable[[ClientMessage], Awaitable[None]],
        audio_format: str,
        sample_rate_hz: int,
    ) -> None:
        self.request_id = request_id
        self.sample_rate_hz = decoded_rate_hz(audio_format, sample_rate_hz)
        self.encoded = bytearray()
        self.requested_at = requested_at
        self.was_queued = False
        self.started_at: float | None = None
        self.arrivals: list[Arrival] = []
        self.segment: int | None = None
        self.words: list[SpokenWord] = []
        self.text_spoken: str | None = None
        self.text_remaining: str | None = None
        self.ended_at: float | None = None
        self.end: str | None = None
        self.duration_s: float | None = None
        self._send = send
        self._error: ClientError | None = None
        self._decode = decoder_for(audio_format)
        self._head_silence = HeadSilence(self.sample_rate_hz)
        self._is_silenced = False
        self._is_over = trio.Event()
        # Unbounded: a player takes a minute for a minute of audio, and a reader that waited for it would
        # look dead to the server after WS_SEND_TIMEOUT, and keep the other speeches of the connection
        # waiting. What can pile up is one utterance: three minutes at most, 10 MB.
        self._audio_in, self._audio_out = trio.open_memory_channel[NDArray[np.int16]](math.inf)

    def __aiter__(self) -> "Speech":
        return self

    async def __anext__(self) -> NDArray[np.int16]:
        # Closed is what `cancel` makes it, an end of the channel is the end of the request.
        with suppress(trio.EndOfChannel, trio.ClosedResourceError):
            return await self._audio_out.receive()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def read_all(self) -> NDArray[np.int16]:
        """The samples that are still to come, in one array. Raises as the iteration does."""
        pieces = [samples async for samples in self]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    async def cancel(self) -> None:
        """Barge-in: the iteration ends at once, and the server is told. Raises `ConnectionLost`.

        `wait_until_over` tells when the server has answered. Does nothing where all is over.
        """
        if self.end is None and not self._is_silenced:
            self._silence()
            await self._send(Cancel(self.request_id))

    async def wait_until_over(self) -> None:
        """Until `done` or `canceled`, read or not. Raises `RequestFailed` and `ConnectionLost`."""
        await self._is_over.wait()
        if self._error is not None:
            raise self._error

    @property
    def error(self) -> ClientError | None:
        """What the iteration raises at its end."""
        return self._error

    @property
    def audio_s(self) -> float:
        """Seconds of audio received."""
        return sum(arrival.n_samples for arrival in self.arrivals) / self.sample_rate_hz

    @property
    def timing(self) -> "Timing":
        """What was measured so far; it does not change any more when the speech has ended."""
        ended_at = trio.current_time() if self.ended_at is None else self.ended_at
        return Timing.of(
            self.requested_at,
            self.arrivals,
            self._head_silence.seconds,
            ended_at,
            sample_rate_hz=self.sample_rate_hz,
        )

    # For the session.

    def _take(self, message: SpeechMessage, at: float) -> None:
        match message:
            case Queue():
                self.was_queued = True
            case StartedSpeak():
                self.started_at = at
            case Meta(segment=segment, words=words):
                self.words += words or ()
                # Words are of a segment that is still to come.
                self.segment = self.segment if words else segment
            case Done(duration_s=duration_s):
                self.duration_s = duration_s
                self._finish("done", at)
            case Canceled(duration_s=duration_s):
                self.duration_s = duration_s
                self.text_spoken, self.text_remaining = message.text_spoken, message.text_remaining
                self._finish("canceled", at)
            case Error():
                self._fail(_failure(message), at)

    def _hear(self, audio: bytes, at: float) -> None:
        self.encoded += audio
        samples = self._decode(audio)
        self.arrivals.append(Arrival(at, len(samples)))
        self._head_silence.feed(samples)
        if not self._is_silenced:
            self._audio_in.send_nowait(samples)

    def _silence(self) -> None:
        self._is_silenced = True
        self._audio_out.close()

    def _fail(self, error: ClientError, at: float) -> None:
        self._error = error
        self._finish(error.code if isinstance(error, RequestFailed) else "connection_lost", at)

    def _finish(self, end: str, at: float) -> None:
        self.end = end
        self.ended_at = at
        self._audio_in.close()
        self._is_over.set()


@frozen
class Arrival:
    """A frame of audio: when it came, and how much it was."""

    at: float
    n_samples: int


@frozen
class Timing:
    """One request as its client saw it, in seconds. None where nothing came to be measured.

    `ttfb_s`: from `speak` sent to the first frame of audio received. `ttfa_s`: that and the silence at
    the head of the audio, so when a listener hears something. `audio_s`: audio received.
    """

    ttfb_s: float | None
    ttfa_s: float | None
    wall_s: float
    audio_s: float

    @classmethod
    def of(
        cls,
        requested_at: float,
        arrivals: Sequence[Arrival],
        head_silence_s: float | None,
        ended_at: float,
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
    ) -> "Timing":
        ttfb_s = arrivals[0].at - requested_at if arrivals else None
        return cls(
            ttfb_s=ttfb_s,
            ttfa_s=None if ttfb_s is None or head_silence_s is None else ttfb_s + head_silence_s,
            wall_s=ended_at - requested_at,
            audio_s=sum(arrival.n_samples for arrival in arrivals) / sample_rate_hz,
        )

    @property
    def rtf(self) -> float | None:
        return self.wall_s / self.audio_s if self.audio_s else None

    @property
    def xrt(self) -> float | None:
        return self.audio_s / self.wall_s if self.audio_s and self.wall_s else None

    def __str__(self) -> str:
        return (
            f"TTFB {_shown(self.ttfb_s, 1000, '.0f')} ms, TTFA {_shown(self.ttfa_s, 1000, '.0f')} ms, "
            f"time {self.wall_s:.2f} s, audio {self.audio_s:.2f} s, "
            f"RTF {_shown(self.rtf, 1, '.3f')}, xRT {_shown(self.xrt, 1, '.2f')}"
        )


def _shown(value: float | None, scale: float, form: str) -> str:
    return "-" if value is None else format(value * scale, form)


def save_wav(path: str | Path, samples: NDArray[np.int16], sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """`samples`: int16, mono. Raises OSError."""
    # Opened here: where `wave` cannot open a file itself, its finalizer complains on standard error.
    with Path(path).open("wb") as file, wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(BYTES_PER_SAMPLE)
        wav.setframerate(sample_rate_hz)
        wav.writeframes(samples.astype("<i2").tobytes())


# What the command lines of the scripts and of the bench have in common.


def connection_options() -> argparse.ArgumentParser:
    """A parent parser of the options that `connect_with` reads. Raises `BadKnob` and `SettingsUnreadable`."""
    config = ClientConfig.load()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--host", default=config.host, help="where the server is (default: %(default)s)")
    parser.add_argument("--port", type=int, default=config.port, help="default: %(default)s")
    parser.add_argument("--api-key", default=config.api_key, help="default: the first one of API_KEY")
    parser.add_argument("--tls", action="store_true", help="connect with wss instead of ws")
    return parser


def connect_with(options: argparse.Namespace) -> AbstractAsyncContextManager[Session]:
    """Connects as the command line says; see `connect`."""
    return connect(options.host, options.port, api_key=options.api_key, tls=options.tls)
