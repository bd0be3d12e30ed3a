"""End to end: the client that reconnects, on real sockets, against a server that plays a script."""

import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio
import trio.testing
import trio_websocket

from kokoro_trio import client, reconnecting
from kokoro_trio.clients.resuming import MAX_FRUITLESS
from kokoro_trio.config import REPOSITORY
from kokoro_trio.reconnecting import ConnectFailed, ConnectionLost, HandshakeRejected, RequestFailed, connect
from kokoro_trio.wire.messages import Speak, Start
from kokoro_trio.wire.settings import Settings
from tests.support.peers import Peer, levels, say_nothing, serving, serving_requests, talking
from tests.support.processes import free_port
from tests.support.readme import snippet
from tests.support.servers import running

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
    """The id of the next request, which must be for this text."""
    assert (await peer.hear("speak"))["text"] == text
    return peer.heard[-1]["request_id"]


@asynccontextmanager
async def playing(*plays: Play) -> AsyncIterator[int]:
    """A server with one play for each connection; the last play is for all further connections."""
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
    """Sends one and a half words, then closes the connection."""
    request_id = await hear_text(peer, TEXT)
    await peer.say("started_speak", request_id=request_id)
    await peer.say("meta", request_id=request_id, segment=0, total_samples=0, words=WORDS)
    await peer.play(1, 2)
    await hang_up(peer)


class TestInterface:
    @pytest.mark.parametrize(
        ("plain", "ours"), [(client.Session, reconnecting.Session), (client.Speech, reconnecting.Speech)]
    )
    def test_methods_take_the_arguments_of_the_plain_client(self, plain: type, ours: type) -> None:
        methods = {name: value for name, value in vars(plain).items() if callable(value) and name[0] != "_"}
        assert methods
        for name, method in methods.items():
            assert parameters(getattr(ours, name)) == parameters(method), name

    def test_connect_takes_the_arguments_of_the_plain_client(self) -> None:
        assert parameters(client.connect).items() <= parameters(connect).items()

    def test_module_has_the_names_of_the_plain_client(self) -> None:
        of_command_lines = {"connection_options", "connect_with"}
        assert set(client.__all__) - of_command_lines <= set(reconnecting.__all__)

    async def test_objects_have_the_attributes_of_the_plain_client(self) -> None:
        async with talking(say_a) as plain_session, plain_session.speak("a") as plain_speech:
            await plain_speech.read_all()
        async with playing(say_a) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a", request_id="r") as speech:
                await speech.read_all()
            assert public(plain_session) <= public(session)
        assert public(plain_speech) <= public(speech)
        assert (speech.end, speech.duration_s, speech.audio_s) == ("done", 0.02, 0.02)
        assert (speech.request_id, speech.timing.audio_s) == ("r", 0.02)

    @pytest.mark.parametrize("module", ["client", "reconnecting"])
    async def test_program_of_the_readme_runs_with_both(self, module: str, tmp_path: Path) -> None:
        program = snippet("# hello.py")
        assert "from kokoro_trio.client import" in program
        async with running() as server:
            program = program.replace("kokoro_trio.client", f"kokoro_trio.{module}")
            program = program.replace("8000", str(server.port))
            environment = os.environ | {"KOKORO_API_KEY": "first", "PYTHONPATH": str(REPOSITORY)}
            command = [sys.executable, "-c", program]
            with trio.fail_after(60):
                await trio.run_process(command, cwd=tmp_path, env=environment)
            assert [record.end for record in server.records] == ["done"]
        assert (tmp_path / "hello.wav").stat().st_size > 24_000


def parameters(function: Callable[..., object]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def public(instance: object) -> set[str]:
    return {name for name in dir(instance) if name[0] != "_"}


class TestResuming:
    async def test_resumes_with_the_word_that_was_cut(self) -> None:
        async def say_rest(peer: Peer) -> None:
            await peer.speak(await hear_text(peer, " two three."), 3, 4)
            await trio.sleep_forever()

        async with playing(say_some, say_rest) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech:
                assert levels(await speech.read_all()) == [1, 2, 3, 4]
            assert speech.seams == [960]
            assert (speech.end, speech.duration_s, speech.audio_s) == ("done", 0.08, 0.08)
            assert session.n_connections == 2

    async def test_waiting_requests_are_repeated_in_their_order(self) -> None:
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

    async def test_finished_request_is_not_repeated(self) -> None:
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

    async def test_lost_done_ends_the_speech_without_a_repeat(self) -> None:
        async def say_all_but_done(peer: Peer) -> None:
            request_id = await hear_text(peer, TEXT)
            await peer.say("started_speak", request_id=request_id)
            await peer.say("meta", request_id=request_id, segment=0, total_samples=0, words=WORDS)
            await peer.play(1, 2, 3, 4)
            await hang_up(peer)

        async with playing(say_all_but_done, say_nothing) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech:
                assert levels(await speech.read_all()) == [1, 2, 3, 4]

    async def test_request_refused_by_a_draining_server_is_repeated(self) -> None:
        async def refuse(peer: Peer) -> None:
            request_id = await hear_text(peer, "a")
            facts = {"code": "overloaded", "message": "m", "reason": "it is shutting down"}
            await peer.say("error", request_id=request_id, **facts)
            await hang_up(peer)

        async with playing(refuse, say_a) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as speech:
                assert levels(await speech.read_all()) == [1]

    async def test_canceled_request_is_not_repeated(self) -> None:
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
    async def test_reconnects_after_an_idle_timeout(self, code: int | None) -> None:
        async def close(peer: Peer) -> None:
            await peer.websocket.aclose(code)  # type: ignore[arg-type]  # None: without a code.

        async with playing(close, say_a) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as speech:
                assert levels(await speech.read_all()) == [1]
            assert session.n_connections == 2


async def answer_cancel(peer: Peer) -> None:
    request_id = await hear_text(peer, " two three.")
    await peer.say("started_speak", request_id=request_id)
    words = [
        {"text": "two", "start_s": 0.0, "end_s": 0.04, "start_char": 1, "end_char": 4},
        {"text": "three.", "start_s": 0.04, "end_s": 0.06, "start_char": 5, "end_char": 11},
    ]
    await peer.say("meta", request_id=request_id, segment=0, total_samples=0, words=words)
    await peer.play(3, 4)
    await peer.hear("cancel")
    await peer.say(
        "canceled", request_id=request_id, duration_s=0.04, text_spoken=" two", text_remaining=" three."
    )
    await trio.sleep_forever()


async def drop_at_cancel(peer: Peer) -> None:
    request_id = await hear_text(peer, TEXT)
    await peer.say("started_speak", request_id=request_id)
    await peer.say("meta", request_id=request_id, segment=0, total_samples=0, words=WORDS)
    await peer.play(1, 2, 3)
    await peer.hear("cancel")
    await hang_up(peer)


@asynccontextmanager
async def serving_once(play: Play) -> AsyncIterator[int]:
    """A server that rejects all connections after the first one."""
    n_asked = 0

    async def accept_one(request: trio_websocket.WebSocketRequest) -> None:
        nonlocal n_asked
        n_asked += 1
        if n_asked > 1:
            await request.reject(503)
            return
        with suppress(trio_websocket.ConnectionClosed):
            peer = Peer(await request.accept())
            await start(peer)
            await play(peer)

    with trio.fail_after(20):
        async with serving_requests(accept_one) as port:
            yield port


class TestCanceling:
    @pytest.mark.parametrize(
        ("played_s", "spoken"), [(None, "One two"), (0.08, "One two"), (0.05, "One"), (0.01, "")]
    )
    async def test_text_spoken_is_that_of_all_connections(self, played_s: float | None, spoken: str) -> None:
        async with playing(say_some, answer_cancel) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech:
                for _ in range(4):
                    await anext(speech)
                await speech.cancel(played_s)
                await speech.wait_until_over()
        assert (speech.text_spoken, speech.text_remaining) == (spoken, TEXT[len(spoken) :])
        assert (speech.end, speech.duration_s) == ("canceled", 0.08)

    @pytest.mark.parametrize(("played_s", "spoken"), [(None, "One two"), (0.05, "One")])
    async def test_connection_lost_before_the_canceled(self, played_s: float | None, spoken: str) -> None:
        async with playing(drop_at_cancel, say_nothing) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech:
                for _ in range(3):
                    await anext(speech)
                await speech.cancel(played_s)
                await speech.wait_until_over()
        assert (speech.end, speech.text_spoken, speech.error) == ("canceled", spoken, None)

    async def test_second_cancel_keeps_the_played_s_of_the_first(self) -> None:
        async with playing(drop_at_cancel, say_nothing) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech:
                for _ in range(3):
                    await anext(speech)
                await speech.cancel(0.05)
                await session.cancel()
                await speech.wait_until_over()
        assert speech.text_spoken == "One"

    async def test_cancel_of_all_while_requests_are_repeated(self) -> None:
        async def hear_both(peer: Peer) -> None:
            await hear_text(peer, "a")
            await start(peer)
            await hear_text(peer, "b")
            await hang_up(peer)

        is_repeated, is_told = trio.Event(), trio.Event()

        async def hear_one(peer: Peer) -> None:
            await hear_text(peer, "a")
            await peer.hear("start")
            is_repeated.set()
            await peer.hear("cancel")
            is_told.set()
            await hang_up(peer)

        async with playing(hear_both, hear_one) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as a:
                await session.start(voice="male")
                async with session.speak("b") as b:
                    await is_repeated.wait()
                    await session.cancel()
                    with trio.fail_after(2):
                        await is_told.wait()
                    await a.wait_until_over()
                    await b.wait_until_over()
        assert (a.end, b.end) == ("canceled", "canceled")

    @pytest.mark.parametrize("all_at_once", [False, True])
    async def test_cancel_without_a_connection(self, all_at_once: bool) -> None:
        async with serving_once(say_some) as port, connect("127.0.0.1", port) as session:
            async with session.speak(TEXT) as speech, session.speak("Later.") as later:
                await anext(speech)
                await session._connection.wait_until_lost()
                async with session.speak("Even later.") as last:
                    for each in (speech, later, last):
                        await (session if all_at_once else each).cancel()
                        await each.wait_until_over()
        assert [each.end for each in (speech, later, last)] == ["canceled"] * 3
        assert [each.text_spoken for each in (speech, later, last)] == ["One", "", ""]

    async def test_cancel_of_a_request_that_a_draining_server_refused(self) -> None:
        async def refuse(peer: Peer) -> None:
            request_id = await hear_text(peer, "a")
            facts = {"code": "overloaded", "message": "m", "reason": "it is shutting down"}
            await peer.say("error", request_id=request_id, **facts)
            await peer.speak(await hear_text(peer, "b"), 1)
            await trio.sleep_forever()

        async with playing(refuse) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as refused, session.speak("b") as speech:
                await speech.read_all()
                await refused.cancel()
                await refused.wait_until_over()
        assert (refused.end, refused.text_remaining) == ("canceled", "a")


class TestStarting:
    async def test_settings_hold_for_the_connections_that_follow(self) -> None:
        async def change_voice(peer: Peer) -> None:
            assert peer.heard[-1] == {"type": "start", "language": "en-GB", "timestamps": True}
            await start(peer)
            await hang_up(peer)

        async def say(peer: Peer) -> None:
            assert peer.heard == [{"type": "start", "voice": "male", "language": "en-GB", "timestamps": True}]
            await say_a(peer)

        async with playing(change_voice, say) as port:
            async with connect("127.0.0.1", port, language="en-GB") as session:
                assert (await session.start(voice="male")).format == "pcm"
                async with session.speak("a") as speech:
                    assert levels(await speech.read_all()) == [1]

    async def test_requests_are_repeated_with_the_settings_of_their_time(self) -> None:
        async def hear_all(peer: Peer) -> None:
            await hear_text(peer, "a")
            await start(peer)
            await hear_text(peer, "b")
            await hang_up(peer)

        async def say_all(peer: Peer) -> None:
            assert "voice" not in peer.heard[-1]
            first = await hear_text(peer, "a")
            await start(peer)
            assert peer.heard[-1]["voice"] == "male"
            second = await hear_text(peer, "b")
            await peer.speak(first, 1)
            await peer.speak(second, 2)
            await trio.sleep_forever()

        async with playing(hear_all, say_all) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as a:
                await session.start(voice="male")
                async with session.speak("b") as b:
                    assert levels(await b.read_all()) == [2]
                    assert levels(await a.read_all()) == [1]

    async def test_start_without_a_connection_waits_for_the_next_one(self) -> None:
        async def answer(peer: Peer) -> None:
            await start(peer)
            assert peer.heard[-1]["voice"] == "male"
            await say_a(peer)

        async with playing(hang_up, answer) as port, connect("127.0.0.1", port) as session:
            await session._connection.wait_until_lost()
            assert (await session.start(voice="male")).timestamps
            async with session.speak("a") as speech:
                assert levels(await speech.read_all()) == [1]

    async def test_refused_settings_leave_those_before(self) -> None:
        async def refuse(peer: Peer) -> None:
            await peer.hear("start")
            await peer.say("error", code="unknown_voice", message="no voice 'x'")
            await hang_up(peer)

        async def say(peer: Peer) -> None:
            assert "voice" not in peer.heard[-1]
            await say_a(peer)

        async with playing(refuse, say) as port, connect("127.0.0.1", port) as session:
            with pytest.raises(RequestFailed, match="unknown_voice"):
                await session.start(voice="x")
            async with session.speak("a") as speech:
                assert levels(await speech.read_all()) == [1]

    async def test_duplicate_request_id_raises(self) -> None:
        async with playing(say_nothing) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a", request_id="r"):
                with pytest.raises(ValueError, match="still outstanding"):
                    async with session.speak("b", request_id="r"):
                        pass


@attrs.frozen
class Fleeting:
    """A connection that is lost as soon as it is started."""

    async def start(self, **settings: object) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_until_lost(self) -> ConnectionLost:
        await trio.lowlevel.checkpoint()
        return ConnectionLost(1000)


async def test_backoff_grows_while_the_server_accepts_and_drops(
    autojump_clock: trio.testing.MockClock,
) -> None:
    opened_at = []

    @asynccontextmanager
    async def open_connection() -> AsyncIterator[client.Session]:
        opened_at.append(trio.current_time())
        yield cast("client.Session", Fleeting())

    with trio.move_on_after(100):
        await reconnecting.Session(open_connection, {}, give_up_after_s=30)._stay_connected()
    pauses_s = [later - earlier for earlier, later in pairwise(opened_at)]
    assert pauses_s[:6] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0])
    assert pauses_s[6:] == pytest.approx([1.0] * len(pauses_s[6:]))


class TestGivingUp:
    async def test_retry_after_0_causes_no_busy_loop(self) -> None:
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

    async def test_gives_up_without_a_server(self) -> None:
        with pytest.raises(ConnectFailed):
            async with connect("127.0.0.1", free_port(), give_up_after_s=0.2):
                pass

    async def test_wrong_key_is_not_retried(self) -> None:
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

    async def test_give_up_fails_speeches_and_later_calls(self) -> None:
        async def end(peer: Peer) -> None:
            await hear_text(peer, "a")
            await hang_up(peer)

        async with serving_once(end) as port:
            async with connect("127.0.0.1", port, give_up_after_s=0.3) as session:
                async with session.speak("a") as speech:
                    with pytest.raises(HandshakeRejected):
                        await speech.read_all()
                with pytest.raises(HandshakeRejected):
                    async with session.speak("b"):
                        pass
                with pytest.raises(HandshakeRejected):
                    await session.start(voice="male")
                assert isinstance(await session.wait_until_lost(), HandshakeRejected)

    async def test_utterance_that_ends_every_connection_is_given_up(self) -> None:
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

    async def test_connections_lost_before_the_request_count_once(self) -> None:
        async def send(message: object) -> None:
            pass

        speech = reconnecting.Speech(Speak("a"), Start(), Settings())
        speech._begin(send)
        speech._fail(ConnectionLost(1006), 0.0)
        for _ in range(MAX_FRUITLESS + 1):
            assert speech._resume(is_first=True)

    async def test_refused_request_is_not_retried(self) -> None:
        async def refuse(peer: Peer) -> None:
            request_id = await hear_text(peer, "a")
            await peer.say("error", request_id=request_id, code="unknown_voice", message="m")
            await hang_up(peer)

        async with playing(refuse, say_nothing) as port, connect("127.0.0.1", port) as session:
            async with session.speak("a") as speech:
                with pytest.raises(RequestFailed, match="unknown_voice"):
                    await speech.read_all()
