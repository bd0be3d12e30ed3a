"""End to end: the client on real sockets, against a server that plays a script."""

import json
import math
from typing import TYPE_CHECKING, cast

import attrs
import numpy as np
import pytest
import trio
import trio.testing
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request

from kokoro_trio.client import (
    ConnectionLost,
    RequestFailed,
    Session,
    connect,
)
from kokoro_trio.clients import connecting
from kokoro_trio.clients import session as session_module
from kokoro_trio.wire.messages import Canceled, SpokenWord
from tests.support.peers import FRAME, Peer, levels, say_nothing, serving, serving_streams, talking

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection


@attrs.define
class SlowLine(trio.abc.AsyncResource):
    """A connection on which one of these frames arrives every `interval_s`."""

    frames: list[str | bytes]
    interval_s: float

    async def get_message(self) -> str | bytes:
        await trio.sleep(self.interval_s if self.frames else math.inf)
        return self.frames.pop(0)

    async def send_message(self, message: str | bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def accepted(stream: trio.SocketStream) -> wsproto.WSConnection:
    """The server's end after the handshake."""
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
    async def test_audio_arrives_as_it_was_sent(self) -> None:
        async with talking(say_hello) as session, session.speak("Hello.") as speech:
            frames = [samples async for samples in speech]
        assert [frame.tolist() for frame in frames] == [[level] * FRAME for level in (0, 0, 1000, 2000)]
        assert (speech.end, speech.duration_s) == ("done", 0.08)

    async def test_primer_is_not_counted_as_audio(self) -> None:
        async with talking(say_hello) as session, session.speak("Hello.") as speech:
            await speech.wait_until_over()
        assert [arrival.n_samples for arrival in speech.arrivals] == [FRAME] * 4
        assert speech.timing.audio_s == 0.08
        assert (list(session.strays), session.n_stray_frames) == ([], 1)

    async def test_speak_message_holds_all_arguments(self) -> None:
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

    async def test_messages_before_done_are_recorded_and_unknown_types_ignored(self) -> None:
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

    async def test_words_arrive_with_their_times(self) -> None:
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

    async def test_frames_are_timed_on_arrival_and_not_when_read(self) -> None:
        async with talking(say_hello) as session, session.speak("Hello.") as speech:
            await speech.wait_until_over()
            timing = speech.timing
            await trio.sleep(0.02)
            assert levels(await speech.read_all()) == [0, 0, 1000, 2000]
            assert speech.timing == timing


class TestSeveralRequests:
    async def test_outstanding_speeches_can_be_read_in_reverse_order(self) -> None:
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

    async def test_request_id_can_be_used_again_after_the_end(self) -> None:
        async def script(peer: Peer) -> None:
            for level in (1, 2):
                await peer.speak((await peer.hear("speak"))["request_id"], level)
            await trio.sleep_forever()

        async with talking(script) as session:
            for level in (1, 2):
                async with session.speak("Hello.", request_id="the same") as speech:
                    assert levels(await speech.read_all()) == [level]

    async def test_duplicate_request_id_raises(self) -> None:
        async with talking(say_hello) as session, session.speak("One.", request_id="r"):
            with pytest.raises(ValueError, match="still outstanding"):
                async with session.speak("Two.", request_id="r"):
                    pass

    async def test_cancel_of_a_waiting_request_leaves_the_spoken_one(self) -> None:
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

    async def test_messages_and_frames_after_the_end_are_strays(self) -> None:
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
    """Sends another frame after the cancel, as if it was on its way, and then speaks the next request."""
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
    async def test_cancel_ends_the_iteration_at_once(self) -> None:
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

    async def test_leaving_the_block_early_cancels(self) -> None:
        async with talking(speak_until_canceled) as session:
            async with session.speak("Hello.") as left:
                await anext(left)
            async with session.speak("And on.") as following:
                assert levels(await following.read_all()) == [3]
            assert left.end == "canceled"

    async def test_canceled_task_still_sends_cancel(self) -> None:
        async with talking(speak_until_canceled) as session:
            with trio.CancelScope() as scope:
                async with session.speak("Hello.") as left:
                    await anext(left)
                    scope.cancel()
                    await trio.sleep_forever()
            await left.wait_until_over()
            assert left.end == "canceled"

    async def test_cancel_wakes_a_waiting_reader(self) -> None:
        async with talking(speak_until_canceled) as session, session.speak("Hello.") as speech:
            await anext(speech)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speech.read_all)
                await trio.testing.wait_all_tasks_blocked()
                await speech.cancel()

    async def test_session_cancel_silences_all_speeches(self) -> None:
        async with talking(speak_until_canceled) as session, session.speak("Hello.") as speech:
            await anext(speech)
            await session.cancel()
            assert levels(await speech.read_all()) == []
            await speech.wait_until_over()

    async def test_canceled_has_the_text_spoken_and_remaining(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            assert (await peer.hear("cancel"))["played_s"] == 0.25
            await peer.say(
                "canceled", request_id="r", duration_s=0.5, text_spoken="Hello", text_remaining=" there."
            )
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("Hello there.", request_id="r") as speech:
            await speech.cancel(played_s=0.25)
            await speech.wait_until_over()
        assert (speech.text_spoken, speech.text_remaining) == ("Hello", " there.")

    async def test_no_cancel_is_sent_after_the_end(self) -> None:
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
    async def test_error_fails_its_own_request(self) -> None:
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

    async def test_error_is_raised_after_the_audio_before_it(self) -> None:
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

    async def test_error_without_an_id_fails_all_outstanding_requests(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.say("error", code="bad_json", message="NaN is not JSON")
            await trio.sleep_forever()

        async with talking(script) as session, session.speak("Hello.", speed=float("nan")) as speech:
            with pytest.raises(RequestFailed, match="bad_json"):
                await speech.read_all()

    async def test_exception_of_the_block_is_not_wrapped(self) -> None:
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
    async def test_started_names_the_voice(self) -> None:
        async def script(peer: Peer) -> None:
            start = await peer.hear("start")
            assert (start["voice"], start["language"]) == ("male", "en-GB")
            await peer.say("started", **STARTED)
            await trio.sleep_forever()

        async with talking(script) as session:
            assert (await session.start(voice="male", language="en-GB")).voice == "am_michael"

    async def test_unknown_voice_raises_and_the_session_goes_on(self) -> None:
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

    async def test_start_timeout_drops_the_connection(self) -> None:
        """The server still answers pings."""

        async def script(peer: Peer) -> None:
            await peer.hear("start")
            await trio.sleep_forever()

        async with serving(script) as port, connect("127.0.0.1", port, timeout_s=0.5) as session:
            with pytest.raises(ConnectionLost, match=r"sent nothing for 0\.5 s after `start`"):
                await session.start(voice="male")
            assert (await session.wait_until_lost()).code == 1006

    async def test_each_frame_restarts_the_start_timeout(self, autojump_clock: None) -> None:
        """On a slow line, audio of earlier requests arrives before the answer."""
        frames = [np.zeros(FRAME, "<i2").tobytes()] * 5
        line = SlowLine([*frames, json.dumps({"type": "started", **STARTED})], interval_s=8)
        session = Session(cast("WebSocketConnection", line), start_timeout_s=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session._receive_until_lost)
            await session.start(voice="male")
            nursery.cancel_scope.cancel()
        assert session.n_stray_frames == 5

    async def test_connection_lost_before_the_answer_to_start(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("start")

        async with talking(script) as session:
            with pytest.raises(ConnectionLost):
                await session.start(voice="male")


class TestLosingTheConnection:
    async def test_ping_during_the_closing_handshake(self) -> None:
        async def answer(stream: trio.SocketStream) -> None:
            server = await accepted(stream)
            while not any(isinstance(event, CloseConnection) for event in server.events()):
                server.receive_data(bytes(await stream.receive_some()))
            await stream.send_all(PING + CLOSE)
            await stream.receive_some()

        async with serving_streams(answer) as port, connect("127.0.0.1", port):
            pass

    async def test_idle_server_that_answers_pings_keeps_the_connection(
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

    async def test_connection_lost_in_mid_audio(self) -> None:
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

    async def test_connection_lost_without_a_close_frame(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await trio.aclose_forcefully(peer.websocket)

        async with talking(script) as session, session.speak("Hello.") as speech:
            with pytest.raises(ConnectionLost, match="1006"):
                await speech.wait_until_over()

    @pytest.mark.parametrize(
        "nonsense",
        [
            "{",
            '{"no": "type"}',
            '{"type": "done"}',
            '{"type": "done", "request_id": ["r"], "duration_s": 1}',
            '{"type": "done", "request_id": "r", "duration_s": "1"}',
            b"\x00",
        ],
    )
    async def test_malformed_message_drops_the_connection(self, nonsense: str | bytes) -> None:
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
    async def test_malformed_audio_drops_the_connection(
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

    async def test_send_timeout_drops_the_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session_module, "SEND_TIMEOUT_S", 0.1)

        async with talking(say_nothing) as session:
            with pytest.raises(ConnectionLost, match="does not read"):
                while True:  # until the sockets' buffers are full
                    async with session.speak("word " * 200_000):
                        pass

    async def test_leaving_the_connection_wakes_waiting_tasks(self) -> None:
        async def wait(session: Session, *, task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(ConnectionLost, match="1000"):
                async with session.speak("Hello.") as speech:
                    task_status.started()
                    await speech.wait_until_over()

        async with trio.open_nursery() as nursery, talking(say_nothing) as session:
            await nursery.start(wait, session)
