"""The clients of the soak: some keep to the protocol, some disconnect, some read too slowly."""

import argparse
import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

import trio
import trio_websocket
from attrs import define, field, frozen

from kokoro_trio.client import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    RequestFailed,
    Session,
    Speech,
    connect_with,
)
from kokoro_trio.clients.connecting import (
    CONNECT_TIMEOUT_S,
    Stream,
    authorization,
    open_nursery_of_plain_errors,
)
from kokoro_trio.wire.messages import WEBSOCKET_PATH, Speak, Start, encode

from .barge_in import Ends, Request
from .load import CONNECTION_LOST, NEVER_ENDED

NOT_CONNECTED = "not_connected"
VOICES = ("female", "male")
SELDOM = 3
"""Clients with a long text or several requests have turns this many times as far apart."""
MAX_DELAY_S = 1.5
PARALLEL_REQUESTS = 3
END_TIMEOUT_S = 180.0
"""Longer than a saturated server takes: finds requests that hang. TTFA shows the slow ones."""
LISTEN_S = 0.5
"""A connection is held this long after its last request, so that late messages are counted."""
SHARE_UNANSWERED = 0.25
"""The share of disconnects that come before the server has answered."""
SHARE_ANY_LENGTH = 0.2
"""The share of requests for a sentence of any length; the others are short."""
SLOW_READ_S = 2.0
LATE_S = 2.0
"""A turn that is late by more than this is skipped."""
PATIENCE_S = 60.0
"""A slow reader that is still connected after this time counts as not dropped."""
_SMALL_BUFFER_BYTES = 4096
_SMALL_SEGMENT_BYTES = 1400
"""As over a network: on the loopback interface the kernel would buffer half a minute of audio."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


# The plan: when each client has its turns.


@frozen
class Turn:
    """`at_s`: since the start. `chance` belongs to this turn, so a slow turn does not change the next one."""

    at_s: float
    chance: random.Random


@frozen
class Plan:
    """Rounds of equal length with the same turns, so the load at the end is the load at the start."""

    seed: int
    pace_s: float
    """The mean time between two turns of a client with short requests."""
    round_s: float
    n_rounds: int

    @property
    def length_s(self) -> float:
        return self.n_rounds * self.round_s

    def turns(self, caller: str, pace_s: float) -> Iterator[Turn]:
        for number in range(self.n_rounds):
            yield from self._turns_of_round(number * self.round_s, caller, pace_s)

    def _turns_of_round(self, begins_s: float, caller: str, pace_s: float) -> Iterator[Turn]:
        chance = random.Random(f"{self.seed}/{caller}")
        at_s = chance.uniform(0, pace_s)
        while at_s < self.round_s:
            yield Turn(begins_s + at_s, random.Random(chance.random()))
            at_s += chance.uniform(0.5, 1.5) * pace_s


# What the clients saw.


@frozen
class Heard:
    """A request that was alone on its connection. `at_s`: when it was sent, since the start."""

    at_s: float
    ttfa_s: float


@frozen
class Ended:
    """What is kept of an ended speech: audio of hours would fill the memory."""

    request_id: str
    end: str | None


@define
class Seen:
    """Counted over all clients."""

    heard: list[Heard] = field(factory=list)
    ends: Ends = field(factory=Ends)
    """Of requests whose client stayed connected."""
    ends_by_kind: Counter[str] = field(factory=Counter)
    errors: Counter[str] = field(factory=Counter)
    n_disconnected: int = 0
    """Clients that disconnected during a request that the server had answered."""
    n_disconnected_early: int = 0
    """Clients that disconnected before the server had answered; it may not have seen the request."""
    n_dropped: int = 0
    """Slow readers whose connection the server closed."""
    n_not_dropped: int = 0
    n_skipped: int = 0
    """Turns that were due while their client was still busy with the one before."""

    @property
    def n_sure(self) -> int:
        """Requests that the server must have seen."""
        ends = self.ends
        ended = ends.n_once + ends.n_never + ends.n_again
        return ended + self.n_disconnected + self.n_dropped + self.n_not_dropped


@define
class Line:
    """One connection of a client that keeps to the protocol."""

    session: Session
    requests: list[Request] = field(factory=list)

    @asynccontextmanager
    async def speak(self, text: str, voice: str) -> AsyncIterator[Speech]:
        async with self.session.speak(text, voice=voice) as speech:
            try:
                yield speech
            finally:
                is_over = speech.end is not None
                self.requests.append(Ended(speech.request_id, speech.end) if is_over else speech)


# What the clients do.


Call = Callable[[str], Awaitable[None]]
"""Runs all turns of the client with this name."""


@define
class Callers:
    """`began_at` on trio's clock."""

    options: argparse.Namespace
    plan: Plan
    sentences: Sequence[str]
    short: Sequence[str]
    long_text: str
    began_at: float
    seen: Seen = field(factory=Seen)

    @property
    def kinds(self) -> dict[str, Call]:
        often, seldom = self.plan.pace_s, SELDOM * self.plan.pace_s
        mulaw, tagged = {"format": "mulaw", "sample_rate": 8000}, {"framing": "tagged"}
        return {
            "talks": partial(self._on_one_line, often, self._talk, {}),
            "interrupts": partial(self._on_one_line, seldom, self._interrupt, {}),
            "disconnects": partial(self._once_each, seldom, self._disconnect),
            "connects for each sentence": partial(self._once_each, often, self._talk_on_own_line),
            "talks in Opus": partial(self._on_one_line, often, self._talk, {"format": "opus"}),
            "reads slowly": partial(self._once_each, seldom, self._read_slowly),
            "talks in parallel": partial(self._on_one_line, seldom, self._talk_in_parallel, tagged),
            "talks in mu-law": partial(self._on_one_line, often, self._talk, mulaw),
        }

    def mix(self, n: int) -> Iterator[Callable[[], Awaitable[None]]]:
        """`n` clients to be run: one of each kind, then from the first kind on again."""
        for number, (kind, call) in enumerate(islice(cycle(self.kinds.items()), n)):
            yield partial(call, f"{number} {kind}")

    # Connections and turns.

    async def _on_one_line(
        self,
        pace_s: float,
        do: Callable[[Line, Turn], Awaitable[None]],
        start: dict[str, Any],
        caller: str,
    ) -> None:
        """Connects again after the connection was lost."""
        turns = self.plan.turns(caller, pace_s)
        turn = await self._next(turns)
        while turn is not None:
            with self._noting():
                async with self._line(start) as line:
                    while turn is not None:
                        await do(line, turn)
                        turn = await self._next(turns)
                return
            turn = await self._next(turns)

    async def _once_each(self, pace_s: float, do: Callable[[Turn], Awaitable[None]], caller: str) -> None:
        """A connection for each turn."""
        turns = self.plan.turns(caller, pace_s)
        while (turn := await self._next(turns)) is not None:
            with self._noting():
                await do(turn)

    async def _next(self, turns: Iterator[Turn]) -> Turn | None:
        """Waits until the next turn is due. Returns None after the last one."""
        for turn in turns:
            due_at = self.began_at + turn.at_s
            if trio.current_time() <= due_at + LATE_S:
                await trio.sleep_until(due_at)
                return turn
            self.seen.n_skipped += 1
        return None

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Counts an error; the client goes on with its next turn."""
        try:
            yield
        except RequestFailed as error:
            self.seen.errors[error.code] += 1
        except ConnectionLost:
            self.seen.errors[CONNECTION_LOST] += 1
        except ClientError:
            self.seen.errors[NOT_CONNECTED] += 1
        except trio.TooSlowError:
            self.seen.errors[NEVER_ENDED] += 1

    @asynccontextmanager
    async def _line(self, start: dict[str, Any]) -> AsyncIterator[Line]:
        async with connect_with(self.options) as session:
            line = Line(session)
            try:
                if start:
                    await session.start(**start)
                yield line
            finally:
                await trio.sleep(LISTEN_S)
                self.seen.ends += Ends.of(line.requests, [session])
                self.seen.ends_by_kind.update(request.end or NEVER_ENDED for request in line.requests)

    # Clients that keep to the protocol.

    async def _talk(self, line: Line, turn: Turn) -> None:
        is_short = turn.chance.random() >= SHARE_ANY_LENGTH
        text = turn.chance.choice(self.short if is_short else self.sentences)
        await self._hear_out(line, text, turn)

    async def _talk_on_own_line(self, turn: Turn) -> None:
        async with self._line({}) as line:
            await self._talk(line, turn)

    async def _interrupt(self, line: Line, turn: Turn) -> None:
        waits_for_audio, delay_s = turn.chance.random() < 0.5, turn.chance.uniform(0, MAX_DELAY_S)
        with trio.fail_after(END_TIMEOUT_S):
            async with line.speak(self.long_text, turn.chance.choice(VOICES)) as speech:
                if waits_for_audio:
                    await anext(speech, None)
                await trio.sleep(delay_s)
                await speech.cancel()
                await speech.wait_until_over()
        await self._hear_out(line, turn.chance.choice(self.short), turn)

    async def _talk_in_parallel(self, line: Line, turn: Turn) -> None:
        with trio.fail_after(END_TIMEOUT_S):
            async with AsyncExitStack() as stack:
                for text in turn.chance.choices(self.short, k=PARALLEL_REQUESTS):
                    speech = await stack.enter_async_context(line.speak(text, turn.chance.choice(VOICES)))
                    stack.push_async_callback(speech.wait_until_over)

    async def _hear_out(self, line: Line, text: str, turn: Turn) -> None:
        with trio.fail_after(END_TIMEOUT_S):
            async with line.speak(text, turn.chance.choice(VOICES)) as speech:
                await speech.wait_until_over()
        if (ttfa_s := speech.timing.ttfa_s) is not None:
            self.seen.heard.append(Heard(speech.requested_at - self.began_at, ttfa_s))

    # Clients that do not.

    async def _disconnect(self, turn: Turn) -> None:
        is_answered = turn.chance.random() >= SHARE_UNANSWERED
        async with raw_websocket(self.options) as websocket:
            await websocket.send_message(encode(Speak(self.long_text)))
            if is_answered:
                await _until_answered(websocket)
            await trio.sleep(turn.chance.uniform(0, MAX_DELAY_S))
        if is_answered:
            self.seen.n_disconnected += 1
        else:
            self.seen.n_disconnected_early += 1

    async def _read_slowly(self, turn: Turn) -> None:
        async with raw_websocket(self.options, has_small_buffers=True) as websocket:
            await websocket.send_message(encode(Start(sample_rate=48_000)))
            await websocket.send_message(encode(Speak(self.long_text, voice=turn.chance.choice(VOICES))))
            await _until_answered(websocket)
            if await _was_dropped(websocket):
                self.seen.n_dropped += 1
            else:
                self.seen.n_not_dropped += 1


async def _until_answered(websocket: trio_websocket.WebSocketConnection) -> None:
    """Returns when the server has sent a message about the request."""
    with trio.fail_after(END_TIMEOUT_S):
        while isinstance(frame := await websocket.get_message(), bytes) or "request_id" not in frame:
            pass


async def _was_dropped(websocket: trio_websocket.WebSocketConnection) -> bool:
    with trio.move_on_after(PATIENCE_S):
        try:
            while True:
                await trio.sleep(SLOW_READ_S)
                await websocket.get_message()
        except trio_websocket.ConnectionClosed:
            return True
    return False


@asynccontextmanager
async def raw_websocket(
    options: argparse.Namespace, *, has_small_buffers: bool = False
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """A connection that is reset at the end of the block and read only as fast as its messages are taken.

    Raises `ConnectFailed`, `HandshakeRejected`, and, inside the block, `ConnectionLost`."""
    try:
        stream = await _open_stream(options, has_small_buffers)
    except OSError as error:
        raise ConnectFailed(options.host, options.port, str(error)) from error
    try:
        async with open_nursery_of_plain_errors() as nursery:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                websocket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    f"{options.host}:{options.port}",
                    WEBSOCKET_PATH,
                    extra_headers=authorization(options.api_key),
                )
            yield websocket
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def _open_stream(options: argparse.Namespace, has_small_buffers: bool) -> Stream:
    """Closing the stream resets the connection. Raises OSError."""
    [(family, kind, protocol, _, address), *_] = await trio.socket.getaddrinfo(
        options.host, options.port, type=socket.SOCK_STREAM
    )
    tcp_socket = trio.socket.socket(family, kind, protocol)
    tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    if has_small_buffers:
        tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
        tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SMALL_SEGMENT_BYTES)
    try:
        await tcp_socket.connect(address)
    except BaseException:
        tcp_socket.close()
        raise
    stream = trio.SocketStream(tcp_socket)
    if not options.tls:
        return stream
    return trio.SSLStream(stream, ssl.create_default_context(), server_hostname=options.host)
