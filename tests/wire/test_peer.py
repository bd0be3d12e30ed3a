"""Parts: silent peers, and control frames while a connection closes, on real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
import wsproto.events
from wsproto.utilities import LocalProtocolError

from kokoro_trio.server.connection import ConnectionGone, DeadlineStream, WebSocket
from kokoro_trio.wire.peer import drop_late_replies, wait_until_silent


@attrs.define
class Line:
    """Stands for a stream; its peer answers the pings with these numbers."""

    pending_read: object | None = attrs.field(factory=object)
    pinged_at: list[float] = attrs.field(factory=list)
    answers: frozenset[int] = frozenset()

    async def ping(self) -> None:
        self.pinged_at.append(trio.current_time())
        if len(self.pinged_at) in self.answers:
            self.pending_read = object()  # What was being read has come, and the next read is pending.


async def silent_after(line: Line, interval_s: float, timeout_s: float) -> float:
    began_at = trio.current_time()
    await wait_until_silent(line, line.ping, interval_s, timeout_s)
    return trio.current_time() - began_at


class TestSilence:
    async def test_silence_after_a_ping(self, autojump_clock: trio.testing.MockClock) -> None:
        assert await silent_after(Line(), 20.0, 5.0) == pytest.approx(25.0)

    async def test_silence_begins_with_the_first_unanswered_ping(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        line = Line(answers=frozenset({1, 2}))
        assert await silent_after(line, 20.0, 5.0) == pytest.approx(65.0)
        assert len(line.pinged_at) == 3

    async def test_timeout_above_the_interval(self, autojump_clock: trio.testing.MockClock) -> None:
        line = Line(answers=frozenset({1}))
        assert await silent_after(line, 10.0, 30.0) == pytest.approx(70.0)

    async def test_silence_does_not_count_while_no_read_is_pending(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        line = Line(pending_read=None)
        with trio.move_on_after(1000.0) as scope:
            await silent_after(line, 20.0, 20.0)
        assert scope.cancelled_caught

    async def test_bytes_that_arrived_while_the_event_loop_was_blocked_are_read_first(
        self, mock_clock: trio.testing.MockClock
    ) -> None:
        """Reader and timer wake in the same turn of the event loop, in any order."""
        line = Line()

        async def read_late() -> None:
            await trio.sleep(25.0)
            line.pending_read = object()

        for _ in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read_late)
                    nursery.start_soon(silent_after, line, 20.0, 5.0)
                    await trio.testing.wait_all_tasks_blocked()
                    mock_clock.jump(20.0)
                    await trio.testing.wait_all_tasks_blocked()
                    mock_clock.jump(5.0)
                    await trio.testing.wait_all_tasks_blocked()
                    assert len(nursery.child_tasks) == 1, "the connection was taken for dead"
                    scope.cancel()


@attrs.define
class Halt:
    """Blocks a stream halfway through its next write."""

    has_come: trio.Event = attrs.field(factory=trio.Event)
    is_over: trio.Event = attrs.field(factory=trio.Event)

    def of(self, stream: trio.SocketStream, monkeypatch: pytest.MonkeyPatch) -> None:
        send_all = stream.send_all

        async def send_slowly(data: bytes) -> None:
            await send_all(data[:1])
            self.has_come.set()
            await self.is_over.wait()
            await send_all(data[1:])

        monkeypatch.setattr(stream, "send_all", send_slowly)


@attrs.frozen
class Pair:
    """Our end, which trio-websocket serves, and the raw socket of the client."""

    websocket: WebSocket
    stream: trio.SocketStream
    client: trio.SocketStream
    nursery: trio.Nursery


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING, PONG, CLOSE = b"\x89\x00", b"\x8a\x00", b"\x88\x02\x03\xe8"
MASKED_PING, MASKED_CLOSE = b"\x89\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8"
MASKED_MESSAGE = b"\x81\x83\0\0\0\0abc"


@asynccontextmanager
async def connected(max_message_bytes: int = 2**20) -> AsyncIterator[Pair]:
    ours, theirs = trio.socket.socketpair()
    stream, client = trio.SocketStream(ours), trio.SocketStream(theirs)
    async with client, stream, trio.open_nursery() as nursery:
        await client.send_all(REQUEST)
        deadlined = DeadlineStream(stream, b"", 1000.0)
        request = await trio_websocket.wrap_server_stream(
            nursery, deadlined, max_message_size=max_message_bytes
        )
        websocket = WebSocket(await request.accept(), deadlined)
        assert (await client.receive_some()).startswith(b"HTTP/1.1 101")
        yield Pair(websocket, stream, client, nursery)
        await trio.testing.wait_all_tasks_blocked()  # What the reading task raises is raised by now.
        nursery.cancel_scope.cancel()


async def receive_exactly(stream: trio.SocketStream, n_bytes: int) -> bytes:
    received = b""
    while len(received) < n_bytes:
        data = bytes(await stream.receive_some(n_bytes - len(received)))
        assert data, f"the stream ended behind {received!r}"
        received += data
    return received


async def test_ping_is_written_completely_after_its_timeout(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt()
    async with connected() as pair:
        halt.of(pair.stream, monkeypatch)
        pair.nursery.start_soon(pair.websocket.keep_alive, 1.0, 0.5)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1.0)
        await halt.has_come.wait()
        mock_clock.jump(10.0)
        await trio.testing.wait_all_tasks_blocked()
        halt.is_over.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await pair.client.receive_some() == PING


async def test_peer_that_sends_data_instead_of_a_pong_is_alive(
    mock_clock: trio.testing.MockClock,
) -> None:
    """Its pong may be queued behind a long message on a slow line."""
    async with connected() as pair:
        pair.nursery.start_soon(pair.websocket.keep_alive, 1.0, 1.0)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1.0)
        for byte in MASKED_MESSAGE:
            assert await receive_exactly(pair.client, len(PING)) == PING
            await pair.client.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1.0)
        assert await pair.websocket.receive() == "abc"


async def test_silent_peer_is_dropped(mock_clock: trio.testing.MockClock) -> None:
    async with connected() as pair:
        pair.nursery.start_soon(pair.websocket.keep_alive, 1.0, 1.0)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1.0)
        assert await receive_exactly(pair.client, len(PING)) == PING
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1.0)
        with pytest.raises(ConnectionGone):
            await pair.websocket.receive()


class TestClosing:
    async def test_ping_after_our_close_is_ignored(self) -> None:
        async with connected() as pair:
            pair.nursery.start_soon(pair.websocket.close, 1000, "")
            assert await receive_exactly(pair.client, len(CLOSE)) == CLOSE
            await pair.client.send_all(MASKED_PING + MASKED_CLOSE)
            assert await pair.client.receive_some() == b""

    async def test_ping_after_a_message_over_the_limit_is_ignored(self) -> None:
        async with connected(max_message_bytes=2) as pair:
            await pair.client.send_all(MASKED_MESSAGE + MASKED_PING)
            assert (await receive_exactly(pair.client, 4))[2:] == (1009).to_bytes(2, "big")

    async def test_ping_before_our_close_is_answered(self) -> None:
        async with connected() as pair:
            await pair.client.send_all(MASKED_PING)
            assert await receive_exactly(pair.client, len(PONG)) == PONG


def test_protocol_error_on_an_open_connection_is_raised() -> None:
    connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    websocket = trio_websocket.WebSocketConnection(trio.testing.memory_stream_pair()[0], connection)
    drop_late_replies(websocket)
    with pytest.raises(LocalProtocolError):
        connection.send(wsproto.events.Ping())
