"""A client that reconnects when a server restarts or dies, and resumes its utterances.

    async with connect("127.0.0.1", 8000, api_key="…") as session:
        async with session.speak("Hello there.", voice="female") as speech:
            async for samples in speech:
                play(samples)

When a connection is lost, the next one repeats the requests that were outstanding, in their order. If a part
of an utterance was received, it continues after the last word that was received to its end. So nothing is
lost, and at most the beginning of one word is heard twice. `Speech.seams` has these positions.
"""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Unpack

import structlog
import trio
from attrs import asdict, evolve

from kokoro_trio.clients import connecting
from kokoro_trio.clients.backoff import RETRY_CLOSE_CODES, RETRY_STATUSES, Backoff
from kokoro_trio.clients.connecting import CONNECT_TIMEOUT_S, PING_INTERVAL_S, open_nursery_of_plain_errors
from kokoro_trio.clients.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    HandshakeRejected,
    RequestFailed,
)
from kokoro_trio.clients.resuming import MAX_FRUITLESS, NOTHING_LEFT_CODES, ResumableText
from kokoro_trio.clients.session import ClientSession
from kokoro_trio.clients.speech import Send, SpeechMessage
from kokoro_trio.clients.speech import Speech as PlainSpeech
from kokoro_trio.errors import Overloaded
from kokoro_trio.wire.messages import WEBSOCKET_PATH, Cancel, Canceled, Done, Meta, Speak, Start, Started
from kokoro_trio.wire.settings import Settings, StartOptions

logger = structlog.get_logger()

GIVE_UP_AFTER_S = 30.0


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
    give_up_after_s: float = GIVE_UP_AFTER_S,
    **settings: Unpack[StartOptions],
) -> AsyncIterator["Session"]:
    """Stays connected while the block runs, with the arguments of the plain client's `connect`.

    `settings` are those of `Session.start`, for the first connection. After `give_up_after_s` without a
    connection the client gives up. Raises `ConnectFailed`, `HandshakeRejected`, `ConnectionLost`, and
    `RequestFailed` if the server refuses the `settings`; after the first connection, `speak` and the speeches
    raise these.
    """
    open_connection = partial(
        connecting.connect,
        host,
        port,
        api_key=api_key,
        tls=tls,
        path=path,
        timeout_s=timeout_s,
        ping_interval_s=ping_interval_s,
    )
    session = Session(open_connection, settings, give_up_after_s)
    first_change = session._change
    async with open_nursery_of_plain_errors() as nursery:
        nursery.start_soon(session._stay_connected)
        await first_change.wait()
        if session._error is not None:
            raise session._error
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()


class Session:
    """One connection after the other, with the interface of `ClientSession`; `connect` makes it.

    `n_connections` counts the connections that were made; `strays` and `n_stray_frames` are those of the
    latest one. Words are always timed, because a lost utterance continues after the last word received.
    """

    def __init__(
        self,
        open_connection: Callable[[], AbstractAsyncContextManager[ClientSession]],
        settings: StartOptions,
        give_up_after_s: float,
    ) -> None:
        self.n_connections = 0
        self._open_connection = open_connection
        self._settings = evolve(Start(**settings), timestamps=True)
        self._give_up_after_s = give_up_after_s
        self._outstanding: list[Speech] = []
        # Held while requests are sent, so that they go out in the order of `_outstanding`.
        self._sending = trio.Lock()
        # The latest one, which may be lost. Set before `connect` returns.
        self._connection: ClientSession
        # Set and replaced when a connection was made, or when the session has given up.
        self._change = trio.Event()
        self._error: ClientError | None = None

    @property
    def strays(self) -> deque[SpeechMessage]:
        return self._connection.strays

    @property
    def n_stray_frames(self) -> int:
        return self._connection.n_stray_frames

    async def start(self, **options: Unpack[StartOptions]) -> Started:
        """As `ClientSession.start`; the settings apply to later connections, too.

        Raises `RequestFailed`, `DecoderMissing`, and the error after which the session gave up.
        """
        given = {name: value for name, value in asdict(Start(**options)).items() if value is not None}
        while self._error is None:
            change = self._change
            with suppress(ConnectionLost):
                async with self._sending:
                    settings = evolve(self._settings, **given | {"timestamps": True})
                    started = await self._connection.start(**asdict(settings))
                    self._settings = settings
                    return started
            await change.wait()
        raise self._error

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
        """As `ClientSession.speak`. Raises ValueError and the error after which the session gave up."""
        if self._error is not None:
            raise self._error
        if any(each.request_id == request_id and each.end is None for each in self._outstanding):
            raise ValueError(f"request {request_id!r} is still outstanding")
        request = Speak(text, request_id, voice, speed, language)
        speech = Speech(request, self._settings, self._connection._settings)
        self._outstanding.append(speech)
        try:
            async with self._sending:
                # If the connection is lost, the next one sends the request, or has sent it meanwhile.
                if speech._is_waiting and speech.end is None:
                    with suppress(ConnectionLost):
                        await self._connection._request(speech)
            yield speech
        finally:
            self._outstanding.remove(speech)
            await speech.cancel()

    async def cancel(self, played_s: float | None = None) -> None:
        """As `ClientSession.cancel`, also without a connection."""
        audible = [each for each in self._outstanding if each.end is None and not each._is_silenced]
        for speech in audible:
            speech._silence(played_s)
        # One by one, because a new connection may have been asked for some of them only.
        for speech in audible:
            if speech.end is None:
                with suppress(ConnectionLost):
                    await speech._send(Cancel(speech.request_id, played_s))

    async def wait_until_lost(self) -> ClientError:
        """Waits until the session has given up, and returns the error after which it did."""
        while self._error is None:
            await self._change.wait()
        return self._error

    async def _stay_connected(self) -> None:
        backoff = Backoff(self._give_up_after_s, trio.current_time())
        while True:
            error = await self._connect_once(backoff)
            retry_after_s = error.retry_after_s if isinstance(error, HandshakeRejected) else None
            pause_s = backoff.pause_s(trio.current_time(), retry_after_s)
            if pause_s is None or not _is_worth_retry(error):
                self._give_up(error)
                return
            logger.info("reconnecting", reason=str(error), in_s=pause_s)
            await trio.sleep(pause_s)

    async def _connect_once(self, backoff: Backoff) -> ClientError:
        """Returns the error that prevented or ended the connection."""
        try:
            async with self._open_connection() as connection:
                oldest = next((each.settings for each in self._outstanding if each.end is None), None)
                await connection.start(**asdict(oldest or self._settings))
                self.n_connections += 1
                backoff.connected(trio.current_time())
                async with self._sending:
                    await self._resume(connection, oldest or self._settings)
                    self._connection = connection
                self._announce_change()
                return await connection.wait_until_lost()
        except ClientError as error:
            return error

    async def _resume(self, connection: ClientSession, settings: Start) -> None:
        """Repeats the outstanding requests, each with the settings of its time."""
        is_first = True
        for speech in self._outstanding.copy():
            if speech.end is None and speech.settings != settings:
                settings = speech.settings
                await connection.start(**asdict(settings))
            if speech._resume(is_first=is_first):
                is_first = False
                await connection._request(speech)
        if settings != self._settings:
            await connection.start(**asdict(self._settings))

    def _give_up(self, error: ClientError) -> None:
        self._error = error
        for speech in self._outstanding:
            if speech.end is None:
                speech._give_up(error, trio.current_time())
        self._announce_change()

    def _announce_change(self) -> None:
        self._change.set()
        self._change = trio.Event()


class Speech(PlainSpeech):
    """One utterance over one or more connections; `Session.speak` makes it.

    `seams` are the positions, in samples, at which it continued after a lost connection. There, `segment`
    counts from 0 again, and `encoded` holds the beginning of another Ogg file if the format is Opus.
    """

    def __init__(self, request: Speak, settings: Start, audio: Settings | Started) -> None:
        super().__init__(request, audio.format, audio.sample_rate)
        self.settings = settings
        self.seams: list[int] = []
        self._resumable = ResumableText(self.text, self.words)
        # The request is not sent: there is no connection, or the server accepts no new requests on it.
        self._is_waiting = True
        self._interruption: ClientError | None = None
        self._played_s: float | None = None

    async def cancel(self, played_s: float | None = None) -> None:
        """As the plain client's, also without a connection."""
        with suppress(ConnectionLost):
            await super().cancel(played_s)

    # For the session.

    def _resume(self, *, is_first: bool) -> bool:
        """Returns whether the next connection has to repeat the request."""
        interruption, self._interruption = self._interruption, None
        if self.end is None and interruption is not None:
            has_brought_audio = self._resumable.resume(self.audio_s, is_first=is_first)
            if not self._resumable.rest.strip():
                self._finish_whole(trio.current_time())
            elif self._resumable.n_fruitless == MAX_FRUITLESS:
                super()._fail(interruption, trio.current_time())
            elif has_brought_audio:
                self.seams.append(self.n_samples)
        return self.end is None

    def _begin(self, send: Send) -> Speak:
        self._is_waiting = False
        return evolve(super()._begin(send), text=self._resumable.rest)

    def _take(self, message: SpeechMessage, at: float) -> None:
        match message:
            case Meta(words=words) if words:
                self._resumable.add_words(words)
            case Done(duration_s=duration_s):
                whole_s = self._resumable.resumed_at_s + duration_s
                super()._take(evolve(message, duration_s=whole_s), at)
            case Canceled():
                self._finish_canceled(at)
            case _:
                super()._take(message, at)

    def _silence(self, played_s: float | None) -> None:
        super()._silence(played_s)
        self._played_s = played_s
        if self._is_waiting:
            self._finish_canceled(trio.current_time())

    def _fail(self, error: ClientError, at: float) -> None:
        if not _is_worth_retry(error) or self._is_silenced:
            self._give_up(error, at)
        elif not self._is_waiting:
            self._interruption, self._is_waiting = error, True

    def _give_up(self, error: ClientError, at: float) -> None:
        if self._is_silenced:
            self._finish_canceled(at)
        elif self._resumable.resumed_at_char and _is_nothing_left(error):
            self._finish_whole(at)
        else:
            super()._fail(error, at)

    def _finish_canceled(self, at: float) -> None:
        if self.end is None:
            heard_s = self.audio_s if self._played_s is None else min(self._played_s, self.audio_s)
            self.duration_s = self.audio_s
            self.text_spoken, self.text_remaining = self._resumable.split_at(heard_s)
            self._finish("canceled", at)

    def _finish_whole(self, at: float) -> None:
        """All audio was received; only the `done` was lost."""
        self.duration_s = self.audio_s
        self._finish("done", at)


def _is_worth_retry(error: ClientError) -> bool:
    match error:
        case ConnectFailed():
            return True
        case ConnectionLost(code=code):
            return code in RETRY_CLOSE_CODES
        case HandshakeRejected(status=status):
            return status in RETRY_STATUSES
        case RequestFailed(code=Overloaded.code, facts=facts):
            return facts.get("reason") == Overloaded.SHUTTING_DOWN
    return False


def _is_nothing_left(error: ClientError) -> bool:
    return isinstance(error, RequestFailed) and error.code in NOTHING_LEFT_CODES
