"""End to end: the client on real sockets, against a server that plays a script."""

import json
import math
import socket
import ssl
import struct
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import attrs
import numpy as np
import pytest
import trio
import trio.testing
import trio_websocket
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request

from kokoro_trio.client import (
    Arrival,
    ConnectFailed,
    ConnectionLost,
    HandshakeRejected,
    RequestFailed,
    Session,
    Timing,
    connect,
    save_wav,
)
from kokoro_trio.clients import connecting
from kokoro_trio.clients import session as session_module
from kokoro_trio.wire.messages import Canceled, SpokenWord
from tests.support.peers import FRAME, Peer, levels, say_nothing, serving, serving_requests, talking
from tests.support.processes import free_port


@attrs.define
class SlowLine(trio.abc.AsyncResource):
    """A connection on which these frames arrive one by one."""

    frames: list[str | bytes]
    interval_s: float

    async def get_message(self) -> str | bytes:
        await trio.sleep(self.interval_s if self.frames else math.inf)
        return self.frames.pop(0)

    async def send_message(self, message: str | bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def serving_streams(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """For what trio-websocket would not say."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def accepted(stream: trio.SocketStream) -> wsproto.WSConnection:
    """After the handshake."""
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    server.receive_data(bytes(await stream.receive_some()))
    assert [type(event) for event in server.events()] == [Request]
    await stream.send_all(server.send(AcceptConnection()))
    return server


PING, CLOSE = b"\x89\x00", b"\x88\x02\x03\xe8"


async def say_hello(peer: Peer) -> None:
    speak = await peer.hear("speak")
    await peer.websocket.send_message(bytes(512))
    await peer.speak(speak["request_id"], 0, 0, 1000, 2000)
    await trio.sleep_forever()


class TestSpeaking:
    async def test_the_audio_comes_as_it_was_sent(self) -> None:
        async with talking(say_hello) as session, session.speak("Hello.") as speech:
            frames = [samples async for samples in speech]
        assert [frame.tolist() for frame in frames] == [[level] * FRAME for level in (0, 0, 1000, 2000)]
        assert (speech.end, speech.duration_s) == ("done", 0.08)

    async def test_the_primer_is_no_audio(self) -> None:
        async with talking(say_hello) as session, session.speak("Hello.") as speech:
            await speech.wait_until_over()
        assert [arrival.n_samples for arrival in speech.arrivals] == [FRAME] * 4
        assert speech.timing.audio_s == 0.08
        assert (list(session.strays), session.n_stray_frames) == ([], 1)

    async def test_what_is_asked_for_goes_over_the_wire(self) -> None:
        asked = {}

        async def script(peer: Peer) -> None:
            asked.update(await peer.hear("speak"))
            await peer.speak(asked["request_id"], 1)
            await trio.sleep_forever()

        async with (
            talking(script) as session,
            session.speak("Hé.", voice="male", speed=1.5, request_id="r1") as speech,
        ):
            await speech.wait_until_over()
        assert asked == {"type": "speak", "text": "Hé.", "voice": "male", "speed": 1.5, "request_id": "r1"}

    async def test_what_the_server_tells_on_the_way(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.say("queue", request_id="r")
            await peer.say("started_speak", request_id="r")
            await peer.play(1)
            await peer.say("meta", request_id="r", segment=3, total_samples=FRAME, unheard_of=1)
            await peer.say("a_type_of_tomorrow", request_id="r")
            await peer.say("done", request_id="r", duration_s=0.02)
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("Hello.", request_id="r") as speech:
            assert levels(await speech.read_all()) == [1]
        assert speech.was_queued
        assert speech.segment == 3
        assert speech.started_at is not None
        assert speech.requested_at <= speech.started_at <= speech.arrivals[0].at

    async def test_words_and_when_they_are_heard(self) -> None:
        word = {"text": "Hello.", "start_s": 0.1, "end_s": 0.4, "start_char": 0, "end_char": 6}

        async def script(peer: Peer) -> None:
            assert (await peer.hear("start"))["timestamps"] is True
            await peer.say("started", voice="v", format="pcm", sample_rate=24000, timestamps=True)
            await peer.hear("speak")
            await peer.say("started_speak", request_id="r")
            await peer.say("meta", request_id="r", segment=0, total_samples=0, words=[word])
            await peer.play(1)
            await peer.say("done", request_id="r", duration_s=0.02)
            await trio.sleep_forever()

        async with talking(script) as session:
            assert (await session.start(timestamps=True)).timestamps
            async with session.speak("Hello.", request_id="r") as speech:
                await speech.read_all()
        assert speech.words == [SpokenWord("Hello.", 0.1, 0.4, 0, 6)]

    async def test_frames_are_timed_as_they_arrive_and_not_as_they_are_read(self) -> None:
        async with talking(say_hello) as session, session.speak("Hello.") as speech:
            await speech.wait_until_over()
            timing = speech.timing
            await trio.sleep(0.02)
            assert levels(await speech.read_all()) == [0, 0, 1000, 2000]
            assert speech.timing == timing


class TestSeveralRequests:
    async def test_outstanding_at_once_and_read_in_the_other_order(self) -> None:
        async def script(peer: Peer) -> None:
            first, second = await peer.hear("speak"), await peer.hear("speak")
            await peer.speak(first["request_id"], 1, 2)
            await peer.speak(second["request_id"], 3)
            await trio.sleep_forever()

        async with (
            talking(script) as session,
            session.speak("One.") as first,
            session.speak("Two.") as second,
        ):
            assert levels(await second.read_all()) == [3]
            assert levels(await first.read_all()) == [1, 2]

    async def test_one_after_the_other(self) -> None:
        async def script(peer: Peer) -> None:
            for level in (1, 2):
                await peer.speak((await peer.hear("speak"))["request_id"], level)
            await trio.sleep_forever()

        async with talking(script) as session:
            for level in (1, 2):
                async with session.speak("Hello.", request_id="the same") as speech:
                    assert levels(await speech.read_all()) == [level]

    async def test_an_id_cannot_be_outstanding_twice(self) -> None:
        async with talking(say_hello) as session, session.speak("One.", request_id="r"):
            with pytest.raises(ValueError, match="still outstanding"):
                async with session.speak("Two.", request_id="r"):
                    pass

    async def test_that_another_was_canceled_leaves_the_one_that_speaks_alone(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.hear("speak")
            await peer.say("started_speak", request_id="first")
            await peer.hear("cancel")
            await peer.say("canceled", request_id="second", duration_s=0.0)
            await peer.play(1)
            await peer.say("done", request_id="first", duration_s=0.02)
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("One.", request_id="first") as first:
            async with session.speak("Two.", request_id="second") as second:
                await second.cancel()
                await second.wait_until_over()
            assert levels(await first.read_all()) == [1]

    async def test_what_comes_after_the_end_of_a_request_is_kept_apart(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.speak("first", 1)
            await peer.play(2, 3)
            await peer.say("canceled", request_id="first", duration_s=0.02)
            await peer.hear("speak")
            await peer.speak("second", 4)
            await trio.sleep_forever()

        async with talking(script) as session:
            async with session.speak("One.", request_id="first") as first:
                assert levels(await first.read_all()) == [1]
            async with session.speak("Two.", request_id="second") as second:
                assert levels(await second.read_all()) == [4]
        assert first.end == "done"
        assert list(session.strays) == [Canceled("first", 0.02)]
        assert session.n_stray_frames == 2


async def speak_until_canceled(peer: Peer) -> None:
    """Sends a frame after the cancel, as one that was on its way, and then speaks the next request."""
    speak = await peer.hear("speak")
    await peer.say("started_speak", request_id=speak["request_id"])
    await peer.play(1)
    cancel = await peer.hear("cancel")
    await peer.play(2)
    assert cancel.get("request_id") in (speak["request_id"], None)
    await peer.say("canceled", request_id=speak["request_id"], duration_s=0.04)
    await peer.speak((await peer.hear("speak"))["request_id"], 3)
    await trio.sleep_forever()


class TestCanceling:
    async def test_ends_the_iteration_at_once(self) -> None:
        async with talking(speak_until_canceled) as session:
            async with session.speak("Hello.") as speech:
                heard = []
                async for samples in speech:
                    heard.append(levels(samples))
                    await speech.cancel()
                await speech.wait_until_over()
            assert heard == [[1]]
            assert (speech.end, speech.duration_s) == ("canceled", 0.04)
            assert len(speech.arrivals) == 2
            async with session.speak("And on.") as following:
                assert levels(await following.read_all()) == [3]

    async def test_leaving_early_cancels(self) -> None:
        async with talking(speak_until_canceled) as session:
            async with session.speak("Hello.") as left:
                await anext(left)
            async with session.speak("And on.") as following:
                assert levels(await following.read_all()) == [3]
            assert left.end == "canceled"

    async def test_a_canceled_task_still_tells_the_server(self) -> None:
        async with talking(speak_until_canceled) as session:
            with trio.CancelScope() as scope:
                async with session.speak("Hello.") as left:
                    await anext(left)
                    scope.cancel()
                    await trio.sleep_forever()
            await left.wait_until_over()
            assert left.end == "canceled"

    async def test_wakes_a_reader_that_waits(self) -> None:
        async with talking(speak_until_canceled) as session, session.speak("Hello.") as speech:
            await anext(speech)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speech.read_all)
                await trio.testing.wait_all_tasks_blocked()
                await speech.cancel()

    async def test_all_at_once(self) -> None:
        async with talking(speak_until_canceled) as session, session.speak("Hello.") as speech:
            await anext(speech)
            await session.cancel()
            assert levels(await speech.read_all()) == []
            await speech.wait_until_over()

    async def test_tells_what_was_heard(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.hear("cancel")
            await peer.say(
                "canceled", request_id="r", duration_s=0.5, text_spoken="Hello", text_remaining=" there."
            )
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("Hello there.", request_id="r") as speech:
            await speech.cancel()
            await speech.wait_until_over()
        assert (speech.text_spoken, speech.text_remaining) == ("Hello", " there.")

    async def test_what_is_over_is_not_canceled(self) -> None:
        peers = []

        async def script(peer: Peer) -> None:
            peers.append(peer)
            for _ in range(2):
                await peer.speak((await peer.hear("speak"))["request_id"], 1)
            await trio.sleep_forever()

        async with talking(script) as session:
            for _ in range(2):
                async with session.speak("Hello.") as speech:
                    await speech.read_all()
                    await speech.cancel()
        assert [message["type"] for message in peers[0].heard] == ["speak", "speak"]


class TestErrors:
    async def test_of_a_request(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            facts = {"max_words": 150, "got_words": 200}
            await peer.say(
                "error", request_id=speak["request_id"], code="too_long", message="so long", **facts
            )
            await peer.speak((await peer.hear("speak"))["request_id"], 1)
            await trio.sleep_forever()

        async with talking(script) as session:
            with pytest.raises(RequestFailed, match="too_long: so long") as failure:
                async with session.speak("Hello.") as speech:
                    await speech.read_all()
            assert failure.value.facts == {"max_words": 150, "got_words": 200}
            assert failure.value.request_id == speech.request_id
            assert speech.end == "too_long"
            async with session.speak("Shorter.") as shorter:
                assert levels(await shorter.read_all()) == [1]

    async def test_come_after_the_audio_before_them(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.say("started_speak", request_id="r")
            await peer.play(1)
            await peer.say("error", request_id="r", code="synthesis_failed", message="")
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("Hello.", request_id="r") as speech:
            with pytest.raises(RequestFailed):
                await speech.wait_until_over()
            assert levels(await anext(speech)) == [1]
            with pytest.raises(RequestFailed):
                await anext(speech)

    async def test_without_an_id_fail_what_is_outstanding(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.say("error", code="bad_json", message="NaN is not JSON")
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("Hello.", speed=float("nan")) as speech:
            with pytest.raises(RequestFailed, match="bad_json"):
                await speech.read_all()

    async def test_of_the_block_come_out_as_they_are(self) -> None:
        error = KeyError("mine")
        async with serving(say_hello) as port:
            with pytest.raises(KeyError) as raised:
                async with connect("127.0.0.1", port) as session, session.speak("Hello."):
                    raise error
        assert raised.value is error
        assert raised.value.__context__ is None


STARTED = {
    "voice": "am_michael",
    "format": "pcm",
    "sample_rate": 24000,
    "timestamps": False,
    "framing": "plain",
    "session_id": "s",
}


class TestStarting:
    async def test_tells_what_the_voice_amounts_to(self) -> None:
        async def script(peer: Peer) -> None:
            start = await peer.hear("start")
            assert (start["voice"], start["language"]) == ("male", "en-GB")
            await peer.say("started", **STARTED)
            await trio.sleep_forever()

        async with talking(script) as session:
            assert (await session.start(voice="male", language="en-GB")).voice == "am_michael"

    async def test_an_unknown_voice(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("start")
            await peer.say("error", code="unknown_voice", message="no voice 'x'", got="x", close_matches=[])
            await peer.hear("start")
            await peer.say("started", **STARTED)
            await trio.sleep_forever()

        async with talking(script) as session:
            with pytest.raises(RequestFailed, match="unknown_voice"):
                await session.start(voice="x")
            await session.start(voice="male")

    async def test_the_server_does_not_answer(self) -> None:
        """Though it answers pings."""

        async def script(peer: Peer) -> None:
            await peer.hear("start")
            await trio.sleep_forever()

        async with serving(script) as port, connect("127.0.0.1", port, timeout_s=0.5) as session:
            with pytest.raises(ConnectionLost, match=r"said nothing for 0\.5 s after `start`"):
                await session.start(voice="male")
            assert (await session.wait_until_lost()).code == 1006

    async def test_each_frame_before_the_answer_restarts_the_limit(self, autojump_clock: None) -> None:
        """As the slow line still carries audio of before."""
        frames = [np.zeros(FRAME, "<i2").tobytes()] * 5
        line = SlowLine([*frames, json.dumps({"type": "started", **STARTED})], interval_s=8)
        session = Session(cast("trio_websocket.WebSocketConnection", line), start_timeout_s=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session._receive_until_lost)
            await session.start(voice="male")
            nursery.cancel_scope.cancel()
        assert session.n_stray_frames == 5

    async def test_the_connection_goes(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("start")

        async with talking(script) as session:
            with pytest.raises(ConnectionLost):
                await session.start(voice="male")


class TestLosingTheConnection:
    async def test_the_server_pings_while_the_client_leaves(self) -> None:
        async def answer(stream: trio.SocketStream) -> None:
            server = await accepted(stream)
            while not any(isinstance(event, CloseConnection) for event in server.events()):
                server.receive_data(bytes(await stream.receive_some()))
            await stream.send_all(PING + CLOSE)
            await stream.receive_some()

        async with serving_streams(answer) as port, connect("127.0.0.1", port):
            pass

    async def test_a_server_that_answers_pings_and_says_nothing_else_keeps_it(
        self, mock_clock: trio.testing.MockClock
    ) -> None:
        n_pings = 0

        async def answer(stream: trio.SocketStream) -> None:
            nonlocal n_pings
            server = await accepted(stream)
            while True:
                server.receive_data(bytes(await stream.receive_some()))
                for event in server.events():
                    if isinstance(event, CloseConnection):
                        return
                    assert isinstance(event, Ping)
                    n_pings += 1
                    await stream.send_all(server.send(event.response()))

        async with serving_streams(answer) as port, connect("127.0.0.1", port) as session:
            for n in range(5):
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert n_pings == n
                mock_clock.jump(connecting.PING_INTERVAL_S)
            assert session._lost is None

    async def test_in_mid_audio(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("started_speak", request_id=speak["request_id"])
            await peer.play(1)
            await peer.websocket.aclose(1012, "the server is shutting down")

        async with talking(script) as session:
            with pytest.raises(ConnectionLost, match=r"1012.*shutting down"):
                async with session.speak("Hello.") as speech:
                    assert levels(await anext(speech)) == [1]
                    await anext(speech)
            assert speech.end == "connection_lost"
            for _ in range(2):
                with pytest.raises(ConnectionLost):
                    async with session.speak("Hello.", request_id="the same"):
                        pass

    async def test_without_a_goodbye(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await trio.aclose_forcefully(peer.websocket)

        async with talking(script) as session, session.speak("Hello.") as speech:
            with pytest.raises(ConnectionLost, match="1006"):
                await speech.wait_until_over()

    @pytest.mark.parametrize("nonsense", ["{", '{"type": "done"}', b"\x00"])
    async def test_a_server_that_breaks_the_protocol(self, nonsense: str | bytes) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.say("started_speak", request_id="r")
            await peer.websocket.send_message(nonsense)
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("Hello.", request_id="r") as speech:
            with pytest.raises(ConnectionLost, match="broke the protocol"):
                await speech.read_all()

    @pytest.mark.parametrize(
        ("audio_format", "framing", "nonsense"),
        [
            ("opus", "plain", b"no page"),
            ("pcm", "tagged", b""),
            ("pcm", "tagged", b"\x09r"),
            ("pcm", "tagged", b"\x01r\x00"),
        ],
    )
    async def test_audio_that_is_not_what_was_started(
        self, audio_format: str, framing: str, nonsense: bytes
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("start")
            await peer.say("started", **STARTED | {"format": audio_format, "framing": framing})
            await peer.hear("speak")
            await peer.say("started_speak", request_id="r")
            await peer.websocket.send_message(nonsense)
            await trio.sleep_forever()

        async with talking(script) as session:
            await session.start(format=audio_format, framing=framing)
            async with session.speak("Hello.", request_id="r") as speech:
                with pytest.raises(ConnectionLost, match="broke the protocol"):
                    await speech.read_all()

    async def test_a_server_that_does_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session_module, "SEND_TIMEOUT_S", 0.1)

        async with talking(say_nothing) as session:
            with pytest.raises(ConnectionLost, match="does not read"):
                while True:  # until the buffers on the way are full
                    async with session.speak("word " * 200_000):
                        pass

    async def test_leaving_the_connection_wakes_who_still_waits(self) -> None:
        async def wait(session: Session, *, task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(ConnectionLost, match="1000"):
                async with session.speak("Hello.") as speech:
                    task_status.started()
                    await speech.wait_until_over()

        async with trio.open_nursery() as nursery, talking(say_nothing) as session:
            await nursery.start(wait, session)


class TestConnecting:
    @pytest.mark.parametrize(
        ("api_key", "sent"),
        [(None, []), ("", []), ("ä &1", ["Bearer ä &1".encode()]), ("of-a-file\n", [b"Bearer of-a-file"])],
    )
    async def test_the_key_is_sent_in_a_header(self, api_key: str | None, sent: list[bytes]) -> None:
        asked = []

        async def handle(request: trio_websocket.WebSocketRequest) -> None:
            keys = [value for name, value in request.headers if name == b"authorization"]
            asked.append((request.path, keys))
            await request.accept()

        async with serving_requests(handle) as port, connect("127.0.0.1", port, api_key=api_key):
            pass
        assert asked == [("/v1/audio/speech/stream/ws", sent)]

    async def test_a_key_that_no_header_can_hold(self) -> None:
        with pytest.raises(ValueError, match="control characters"):
            async with connect("127.0.0.1", 1, api_key="a\r\nb"):
                pass

    @pytest.mark.parametrize(
        ("path", "asked"),
        [
            ("/elsewhere", "/elsewhere"),
            ("/tts?tenant=a%20b&x=1", "/tts?tenant=a%20b&x=1"),
            ("/für uns", "/f%C3%BCr%20uns"),
        ],
    )
    async def test_the_path_may_have_a_query_of_its_own(self, path: str, asked: str) -> None:
        paths = []

        async def handle(request: trio_websocket.WebSocketRequest) -> None:
            paths.append(request.path)
            await request.accept()

        async with serving_requests(handle) as port, connect("127.0.0.1", port, path=path, api_key="k"):
            pass
        assert paths == [asked]

    async def test_no_host_name(self) -> None:
        with pytest.raises(ConnectFailed, match="no host name"):
            async with connect("a..b", 80):
                pass

    @pytest.mark.parametrize(
        ("status", "headers", "expected"),
        [
            (401, [], HandshakeRejected(401, None)),
            (503, [(b"Retry-After", b"5")], HandshakeRejected(503, 5.0)),
            (503, [(b"Retry-After", b"Wed, 21 Oct 2026 07:28:00 GMT")], HandshakeRejected(503, None)),
            (404, [], HandshakeRejected(404, None)),
        ],
    )
    async def test_a_rejected_handshake(
        self, status: int, headers: list[tuple[bytes, bytes]], expected: HandshakeRejected
    ) -> None:
        async def handle(request: trio_websocket.WebSocketRequest) -> None:
            await request.reject(status, extra_headers=headers, body=b"no")

        async with serving_requests(handle) as port:
            with pytest.raises(HandshakeRejected) as rejected:
                async with connect("127.0.0.1", port):
                    pass
        assert attrs.astuple(rejected.value) == attrs.astuple(expected)
        assert f"HTTP {status}" in str(rejected.value)

    @pytest.mark.parametrize(("status", "meaning"), [(403, "does not take"), (429, "limit"), (502, "proxy")])
    def test_a_rejection_says_what_its_status_means(self, status: int, meaning: str) -> None:
        assert meaning in str(HandshakeRejected(status))

    async def test_nobody_there(self) -> None:
        port = free_port()
        with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1 port {port}: nobody listens"):
            async with connect("127.0.0.1", port):
                pass

    @pytest.mark.parametrize("tls", [False, True])
    async def test_a_server_that_says_nothing(self, tls: bool) -> None:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        async with listener:
            port = listener.socket.getsockname()[1]
            with pytest.raises(ConnectFailed, match=r"within 0\.1 s"):
                async with connect("127.0.0.1", port, tls=tls, timeout_s=0.1):
                    pass

    @pytest.mark.parametrize(
        "said", [b"", b"HTTP/1.1 101 Swi", b"220 Other, ESMTP\r\n", b"HTTP/1.1 502 No\r\n\r\n"]
    )
    @pytest.mark.parametrize("is_reset", [False, True])
    async def test_a_server_that_hangs_up(self, said: bytes, is_reset: bool) -> None:
        async def answer(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(said)
            if is_reset:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()

        async with serving_streams(answer) as port:
            with (
                trio.fail_after(connecting.CONNECT_TIMEOUT_S / 2),
                pytest.raises(ConnectFailed, match="it hung up"),
            ):
                async with connect("127.0.0.1", port):
                    pass

    async def test_tls_with_a_server_that_has_none(self) -> None:
        async with serving(say_hello) as port:
            with pytest.raises(ConnectFailed, match="no TLS"):
                async with connect("127.0.0.1", port, tls=ssl.create_default_context()):
                    pass

    async def test_a_canceled_block_closes_at_once(self) -> None:
        async with serving(say_nothing) as port:
            with trio.fail_after(connecting.CLOSE_TIMEOUT_S / 2):
                with trio.move_on_after(0.02) as scope:
                    async with connect("127.0.0.1", port):
                        await trio.sleep_forever()
                assert scope.cancelled_caught


class TestTiming:
    def test_what_a_request_amounts_to(self) -> None:
        arrivals = [Arrival(10.25, 480), Arrival(10.26, 24_000 - 480)]
        timing = Timing.of(10.0, arrivals, 0.3, 10.5)
        assert timing == Timing(ttfb_s=0.25, ttfa_s=0.55, wall_s=0.5, audio_s=1.0)
        assert (timing.rtf, timing.xrt) == (0.5, 2.0)
        assert str(timing) == ("TTFB 250 ms, TTFA 550 ms, time 0.50 s, audio 1.00 s, RTF 0.500, xRT 2.00")

    def test_of_a_request_without_audio(self) -> None:
        timing = Timing.of(10.0, [], None, 10.5)
        assert str(timing) == "TTFB - ms, TTFA - ms, time 0.50 s, audio 0.00 s, RTF -, xRT -"


def test_a_wav_file_holds_the_samples(tmp_path: Path) -> None:
    samples = np.array([0, 1, -32768, 32767], np.int16)
    save_wav(tmp_path / "x.wav", samples)
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert np.frombuffer(file.readframes(10), "<i2").tolist() == samples.tolist()
