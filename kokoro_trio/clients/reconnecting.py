"""The client, for servers that are restarted, or that die: it connects again and speaks on.

    async with connect("127.0.0.1", 8000, api_key="…") as session:
        async with session.speak("Hello there.", voice="female") as speech:
            async for samples in speech:
                play(samples)

What was outstanding when a connection ended is said again on the next one, in its order: of an utterance
that was being heard, the text behind the last word that was heard to its end. So nothing is lost, and at
most the word in which the connection ended is begun twice. `Speech.seams` tells where.
"""

import math
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TypedDict, Unpack

import numpy as np
import structlog
import trio
from numpy.typing import NDArray

from kokoro_trio.clients import session as client
from kokoro_trio.clients.session import (
    CONNECT_TIMEOUT_S,
    PING_INTERVAL_S,
    ClientError,
    ConnectFailed,
    ConnectionLost,
    HandshakeRejected,
    RequestFailed,
)
from kokoro_trio.errors import EmptyText, Overloaded, Unpronounceable
from kokoro_trio.wire.messages import WEBSOCKET_PATH, SpokenWord

logger = structlog.get_logger()

GIVE_UP_AFTER_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
SETTLED_S = 5.0
"""A connection that lasted so long did not end because it was opened: the next attempt need not wait."""
MAX_FRUITLESS = 8
"""Connections in a row that end before they brought any audio of an utterance: it may be its fault."""
ROUNDING_S = 0.001
"""The times of words come in whole milliseconds."""
TRY_AGAIN_CODES = frozenset((1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014))
"""Close codes of servers and proxies after which the client connects again. A server closes an idle
connection with 1000, and some proxies close it without a code, which counts as 1005."""
TRY_AGAIN_STATUS = frozenset((429, 502, 503, 504))


class Settings(TypedDict, total=False):
    """As `client.Session.start` takes them. Words are always timed: they say where to go on."""

    voice: str
    language: str
    format: str
    sample_rate: int
    framing: str


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
    **settings: Unpack[Settings],
) -> AsyncIterator["Session"]:
    """As `client.connect`, and connected again as often as it takes for as long as the block runs.

    Without a connection for `give_up_after_s` it gives up. Raises `ConnectFailed`, `HandshakeRejected`,
    `ConnectionLost`, and `RequestFailed` where the server does not take the `settings`; later they come
    from `speak` and from the speeches.
    """
    open_connection = partial(
        client.connect,
        host,
        port,
        api_key=api_key,
        tls=tls,
        path=path,
        timeout_s=timeout_s,
        ping_interval_s=ping_interval_s,
    )
    session = Session(open_connection, settings, give_up_after_s)
    async with client.open_nursery_of_plain_errors() as nursery:
        nursery.start_soon(session._stay_connected)
        await session._is_settled.wait()
        if session._error is not None:
            raise session._error
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()


class Session:
    """One connection after the other; `connect` makes it. Any number of tasks may use it at once.

    `n_connections` counts those that were made.
    """

    def __init__(
        self,
        open_connection: Callable[[], AbstractAsyncContextManager[client.Session]],
        settings: Settings,
        give_up_after_s: float,
    ) -> None:
        self.n_connections = 0
        self._open_connection = open_connection
        self._settings = settings
        self._give_up_after_s = give_up_after_s
        self._outstanding: list[Speech] = []
        # Held by whoever sends a `speak`, so that they are in the order of `_outstanding`.
        self._sending = trio.Lock()
        self._connection: client.Session | None = None
        self._is_settled = trio.Event()
        self._error: ClientError | None = None

    @asynccontextmanager
    async def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        speed: float | None = None,
        language: str | None = None,
    ) -> AsyncIterator["Speech"]:
        """As `client.Session.speak`. Raises only what made it give up."""
        if self._error is not None:
            raise self._error
        speech = Speech(text, partial(_ask, voice=voice, speed=speed, language=language))
        self._outstanding.append(speech)
        try:
            async with self._sending:
                # Where that connection is lost meanwhile, the next one is in time for it.
                if self._connection is not None:
                    with suppress(ConnectionLost):
                        await speech._say_rest(self._connection)
            yield speech
        finally:
            self._outstanding.remove(speech)
            await speech._leave()

    async def _stay_connected(self) -> None:
        give_up_at, pause_s = trio.current_time() + self._give_up_after_s, FIRST_PAUSE_S
        while True:
            n_before, began_at = self.n_connections, trio.current_time()
            error = await self._connect_once()
            if self.n_connections > n_before:
                give_up_at = trio.current_time() + self._give_up_after_s
            if trio.current_time() - began_at >= SETTLED_S:
                pause_s = FIRST_PAUSE_S
            if isinstance(error, HandshakeRejected) and error.retry_after_s is not None:
                pause_s = max(pause_s, error.retry_after_s)
            if not _is_worth_another_try(error) or trio.current_time() + pause_s > give_up_at:
                self._give_up(error)
                return
            logger.info("reconnecting", reason=str(error), in_s=pause_s)
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _connect_once(self) -> ClientError:
        """Serves with one connection until it is lost, or was not to be had."""
        try:
            async with self._open_connection() as connection:
                await connection.start(timestamps=True, **self._settings)
                self.n_connections += 1
                async with self._sending:
                    for speech in self._outstanding.copy():
                        if speech in self._outstanding:  # Nobody left it while others were sent.
                            await speech._say_rest(connection)
                    self._connection = connection
                self._is_settled.set()
                return await connection.wait_until_lost()
        except ClientError as error:
            return error
        finally:
            self._connection = None

    def _give_up(self, error: ClientError) -> None:
        self._error = error
        for speech in self._outstanding:
            speech._end(error)
        self._is_settled.set()


def _ask(
    connection: client.Session, text: str, voice: str | None, speed: float | None, language: str | None
) -> AbstractAsyncContextManager[client.Speech]:
    return connection.speak(text, voice=voice, speed=speed, language=language)


class Speech:
    """One utterance, over as many connections as it takes. `Session.speak` makes it.

    Iterate it once: int16 arrays of shape (n,), as those of `client.Speech`. The iteration raises
    `RequestFailed` where the server answers with an error, and what made the session give up. `seams` are
    the positions, in samples, at which it went on after a connection was lost.
    """

    def __init__(
        self, text: str, ask: Callable[[client.Session, str], AbstractAsyncContextManager[client.Speech]]
    ) -> None:
        self.text = text
        self.seams: list[int] = []
        self._ask = ask
        self._requests = AsyncExitStack()
        self._is_left = self._is_ended = False
        self._error: ClientError | None = None
        # Of the request that was made last, on which connection, and for which text.
        self._latest: client.Speech | None = None
        self._connection: client.Session | None = None
        self._rest = text
        self._n_fruitless = 0
        # What came on one connection is read to its end before that of the next.
        self._n_samples = 0
        self._reading: client.Speech | None = None
        self._parts_in, self._parts_out = trio.open_memory_channel[client.Speech](math.inf)

    def __aiter__(self) -> "Speech":
        return self

    async def __anext__(self) -> NDArray[np.int16]:
        while True:
            self._reading = self._reading or await self._next_part()
            try:
                samples = await anext(self._reading)
            except ClientError as error:
                if _says_nothing_is_left(error) and self._n_samples:
                    raise StopAsyncIteration from error
                if not _is_worth_another_try(error):
                    raise
                self._reading = None
            else:
                self._n_samples += len(samples)
                return samples

    async def read_all(self) -> NDArray[np.int16]:
        """The samples that are still to come, in one array. Raises as the iteration does."""
        pieces = [samples async for samples in self]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    async def _next_part(self) -> client.Speech:
        try:
            part = await self._parts_out.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None
        if self._n_samples:
            self.seams.append(self._n_samples)
        return part

    # For the session.

    async def _say_rest(self, connection: client.Session) -> None:
        """Asks for what is not heard yet, unless it is asked for there. Raises `ConnectionLost`."""
        if connection is self._connection:
            return
        if (latest := self._latest) is not None:
            if latest.error is None or not _is_worth_another_try(latest.error):
                return
            self._n_fruitless = 0 if latest.arrivals else self._n_fruitless + 1
            self._rest = text_behind(self._rest, latest.words, latest.audio_s)
            self._latest = None
            if self._n_fruitless == MAX_FRUITLESS or not self._rest.strip():
                self._end(latest.error if self._rest.strip() else None)
        if self._is_ended:
            return
        self._connection = connection
        self._latest = await self._requests.enter_async_context(self._ask(connection, self._rest))
        self._parts_in.send_nowait(self._latest)
        if self._is_left:
            await self._requests.aclose()

    async def _leave(self) -> None:
        self._is_left = True
        await self._requests.aclose()

    def _end(self, error: ClientError | None) -> None:
        """There will be no further part."""
        self._error, self._is_ended = error, True
        self._parts_in.close()


def text_behind(text: str, words: Sequence[SpokenWord], heard_s: float) -> str:
    """What is left of `text` when the words that ended within `heard_s` have been heard."""
    ends = (word.end_char for word in words if word.end_s <= heard_s + ROUNDING_S)
    return text[max(ends, default=0) :]


def _is_worth_another_try(error: ClientError) -> bool:
    match error:
        case ConnectFailed():
            return True
        case ConnectionLost(code=code):
            return code in TRY_AGAIN_CODES
        case HandshakeRejected(status=status):
            return status in TRY_AGAIN_STATUS
        case RequestFailed(code=Overloaded.code, facts=facts):
            return facts.get("reason") == Overloaded.SHUTTING_DOWN
    return False


def _says_nothing_is_left(error: ClientError) -> bool:
    return isinstance(error, RequestFailed) and error.code in (EmptyText.code, Unpronounceable.code)
