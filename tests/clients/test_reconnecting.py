"""End to end: the client that reconnects, on real sockets, against a server that plays a script."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import cast

import attrs
import pytest
import trio
import trio.testing
import trio_websocket

from kokoro_trio.clients import reconnecting
from kokoro_trio.clients.reconnecting import MAX_FRUITLESS, connect, text_behind
from kokoro_trio.clients.session import (
    ConnectFailed,
    ConnectionLost,
    HandshakeRejected,
    RequestFailed,
    Session,
)
from kokoro_trio.wire.messages import SpokenWord
from tests.support.peers import Peer, levels, say_nothing, serving, serving_requests
from tests.support.processes import free_port

TEXT = "One two three."
WORDS = [
    {"text": "One", "start_s": 0.0, "end_s": 0.02, "start_char": 0, "end_char": 3},
    {"text": "two", "start_s": 0.02, "end_s": 0.06, "start_char": 4, "end_char": 7},
    {"text": "three.", "start_s": 0.06, "end_s": 0.08, "start_char": 8, "end_char": 14},
]

Play = Callable[[Peer], Awaitable[None]]


async def start(peer: Peer) -> None:
    await peer.hear("start")
    assert peer.heard[-1]["timestamps"] is True
    fields = {"voice": "af_aoede", "format": "pcm", "sample_rate": 24_000, "timestamps": True}
    await peer.say("started", **fields, framing="plain")


async def hear_text(peer: Peer, text: str) -> object:
    """The id of the request that comes next, which must be for this text."""
    assert (await peer.hear("speak"))["text"] == text
    return peer.heard[-1]["request_id"]


@asynccontextmanager
async def playing(*plays: Play) -> AsyncIterator[int]:
    """A server with one play for each connection; the last one is for all that still come."""
    left = list(plays)

    async def play(peer: Peer) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        await start(peer)
        await now(peer)

    with trio.fail_after(20):
        async with serving(play) as port:
            yield port


async def hang_up(peer: Peer) -> None:
    await peer.websocket.aclose(1012, "the server is shutting down")


async def say_a(peer: Peer) -> None:
    await peer.speak(await hear_text(peer, "a"), 1)
    await trio.sleep_forever()


async def say_some(peer: Peer) -> None:
    """One and a half words, then the connection ends."""
    request_id = await hear_text(peer, TEXT)
    await peer.say("started_speak", request_id=request_id)
    await peer.say("meta", request_id=request_id, segment=0, total_samples=0, words=WORDS)
    await peer.play(1, 2)
    await hang_up(peer)


@pytest.mark.parametrize(
    ("heard_s", "rest"),
    [(0.0, TEXT), (0.019, " two three."), (0.05, " two three."), (0.06, " three."), (0.08, ""), (9.0, "")],
)
def test_what_is_left_of_a_text(heard_s: float, rest: str) -> None:
    words = [SpokenWord(**word) for word in WORDS]  # type: ignore[arg-type]
    assert text_behind(TEXT, words, heard_s) == rest


class TestGoingOn:
    async def test_with_the_word_that_was_not_heard_to_its_end(self) -> None:
        async def say_rest(peer: Peer) -> None:
            await peer.speak(await hear_text(peer, " two three."), 3, 4)
            await trio.sleep_forever()

        async with playing(say_some, say_rest) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech:
                assert levels(await speech.read_all()) == [1, 2, 3, 4]
            assert speech.seams == [960]
            assert session.n_connections == 2

    async def test_what_waited_is_said_in_its_order(self) -> None:
        async def end_before_the_first_is_heard(peer: Peer) -> None:
            for text in "abc":
                await hear_text(peer, text)
            await hang_up(peer)

        async def say_all(peer: Peer) -> None:
            ids = [await hear_text(peer, text) for text in "abc"]
            for level, request_id in enumerate(ids):
                await peer.speak(request_id, level)
            await trio.sleep_forever()

        async with playing(end_before_the_first_is_heard, say_all) as port:
            async with connect("127.0.0.1", port) as session:
                async with session.speak("a") as a, session.speak("b") as b, session.speak("c") as c:
                    assert [levels(await each.read_all()) for each in (c, b, a)] == [[2], [1], [0]]
                assert a.seams == []

    async def test_what_was_heard_is_not_said_again(self) -> None:
        async def say_one_of_two(peer: Peer) -> None:
            await peer.speak(await hear_text(peer, "a"), 1)
            await hear_text(peer, "b")
            await hang_up(peer)

        async def say_the_other(peer: Peer) -> None:
            await peer.speak(await hear_text(peer, "b"), 2)
            await trio.sleep_forever()

        async with playing(say_one_of_two, say_the_other) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as a, session.speak("b") as b:
                assert levels(await b.read_all()) == [2]
                assert levels(await a.read_all()) == [1]

    async def test_all_was_heard_but_the_end(self) -> None:
        async def say_all_but_done(peer: Peer) -> None:
            request_id = await hear_text(peer, TEXT)
            await peer.say("started_speak", request_id=request_id)
            await peer.say("meta", request_id=request_id, segment=0, total_samples=0, words=WORDS)
            await peer.play(1, 2, 3, 4)
            await hang_up(peer)

        async with playing(say_all_but_done, say_nothing) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech:
                assert levels(await speech.read_all()) == [1, 2, 3, 4]

    async def test_a_server_that_drains_refuses_and_the_next_one_speaks(self) -> None:
        async def refuse(peer: Peer) -> None:
            request_id = await hear_text(peer, "a")
            facts = {"code": "overloaded", "message": "m", "reason": "it is shutting down"}
            await peer.say("error", request_id=request_id, **facts)
            await hang_up(peer)

        async with playing(refuse, say_a) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as speech:
                assert levels(await speech.read_all()) == [1]

    async def test_what_was_left_is_not_said_again(self) -> None:
        async def hear_two(peer: Peer) -> None:
            await hear_text(peer, "a")
            await hear_text(peer, "b")
            await peer.hear("cancel")
            await hang_up(peer)

        async def say(peer: Peer) -> None:
            await peer.speak(await hear_text(peer, "b"), 1)
            await trio.sleep_forever()

        async with playing(hear_two, say) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a"):
                pending = session.speak("b")
                speech = await pending.__aenter__()
            assert levels(await speech.read_all()) == [1]
            await pending.__aexit__(None, None, None)

    @pytest.mark.parametrize("code", [1000, None])
    async def test_after_an_idle_connection_was_closed_in_good_order(self, code: int | None) -> None:
        async def close(peer: Peer) -> None:
            await peer.websocket.aclose(code)  # type: ignore[arg-type]  # None: without a code.

        async with playing(close, say_a) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as speech:
                assert levels(await speech.read_all()) == [1]
            assert session.n_connections == 2


@attrs.frozen
class Fleeting:
    """Stands for a connection that is lost as soon as it is started."""

    async def start(self, **settings: object) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_until_lost(self) -> ConnectionLost:
        await trio.lowlevel.checkpoint()
        return ConnectionLost(1000)


async def test_a_server_that_accepts_and_drops_is_asked_ever_more_seldom(
    autojump_clock: trio.testing.MockClock,
) -> None:
    opened_at = []

    @asynccontextmanager
    async def open_connection() -> AsyncIterator[Session]:
        opened_at.append(trio.current_time())
        yield cast("Session", Fleeting())

    with trio.move_on_after(100):
        await reconnecting.Session(open_connection, {}, give_up_after_s=30)._stay_connected()
    pauses_s = [later - earlier for earlier, later in pairwise(opened_at)]
    assert pauses_s[:6] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0])
    assert pauses_s[6:] == pytest.approx([1.0] * len(pauses_s[6:]))


class TestGivingUp:
    async def test_a_server_that_says_retry_after_0_is_not_asked_in_a_busy_loop(self) -> None:
        n_asked = 0

        async def refuse(request: trio_websocket.WebSocketRequest) -> None:
            nonlocal n_asked
            n_asked += 1
            await request.reject(429, extra_headers=[(b"Retry-After", b"0")])

        async with serving_requests(refuse) as port:
            with pytest.raises(HandshakeRejected):
                async with connect("127.0.0.1", port, give_up_after_s=0.5):
                    pass
        assert 2 <= n_asked <= 4, "after 0, 0.05, 0.15 and 0.35 s"

    async def test_nobody_there(self) -> None:
        with pytest.raises(ConnectFailed):
            async with connect("127.0.0.1", free_port(), give_up_after_s=0.2):
                pass

    async def test_a_wrong_key_at_once(self) -> None:
        n_asked = 0

        async def refuse(request: trio_websocket.WebSocketRequest) -> None:
            nonlocal n_asked
            n_asked += 1
            await request.reject(401)

        async with serving_requests(refuse) as port:
            with pytest.raises(HandshakeRejected):
                async with connect("127.0.0.1", port):
                    pass
        assert n_asked == 1

    async def test_later_it_comes_from_who_speaks(self) -> None:
        async def end(peer: Peer) -> None:
            await start(peer)
            await hear_text(peer, "a")
            await hang_up(peer)

        n_accepted = 0

        async def accept_one(request: trio_websocket.WebSocketRequest) -> None:
            nonlocal n_accepted
            n_accepted += 1
            if n_accepted > 1:
                await request.reject(503)
            else:
                await end(Peer(await request.accept()))

        async with serving_requests(accept_one) as port:
            async with connect("127.0.0.1", port, give_up_after_s=0.3) as session:
                async with session.speak("a") as speech:
                    with pytest.raises(HandshakeRejected):
                        await speech.read_all()
                with pytest.raises(HandshakeRejected):
                    async with session.speak("b"):
                        pass

    async def test_an_utterance_that_ends_every_connection(self) -> None:
        n_connections = 0

        async def end(peer: Peer) -> None:
            nonlocal n_connections
            n_connections += 1
            await hear_text(peer, "a")
            await peer.websocket.aclose(1011, "the server made a mistake")

        async with (
            playing(*[end] * MAX_FRUITLESS, say_nothing) as port,
            connect("127.0.0.1", port) as session,
        ):
            async with session.speak("a") as speech:
                with pytest.raises(Exception, match="1011"):
                    await speech.read_all()
        assert n_connections == MAX_FRUITLESS

    async def test_what_the_server_refuses_is_not_tried_again(self) -> None:
        async def refuse(peer: Peer) -> None:
            request_id = await hear_text(peer, "a")
            await peer.say("error", request_id=request_id, code="unknown_voice", message="m")
            await hang_up(peer)

        async with playing(refuse, say_nothing) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as speech:
                with pytest.raises(RequestFailed, match="unknown_voice"):
                    await speech.read_all()
