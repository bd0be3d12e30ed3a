"""Session: one connection over memory channels, virtual time, tones in the event loop."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import NoReturn

import attrs
import pytest
import structlog
import trio
import trio.testing
from attrs import evolve

from kokoro_trio.audio.codecs import encoder_for
from kokoro_trio.audio.frames import AudioFrame, Encoder
from kokoro_trio.config import Config, EngineConfig, StreamConfig
from kokoro_trio.engine.engine import Engine
from kokoro_trio.server import session as session_module
from kokoro_trio.server.dialects.dialect import Dialect, Opening
from kokoro_trio.server.dialects.native import Native
from kokoro_trio.server.dialects.together import TURN_END_TIMEOUT_S, Together
from kokoro_trio.server.session import Session
from kokoro_trio.speech import Samples
from kokoro_trio.telemetry.records import RequestRecord
from kokoro_trio.wire.framing import untag
from tests.support.models import InLoopInference, Speller, StumblingSynthesizer
from tests.support.scraping import scraped
from tests.support.sessions import MemoryConnection, Message, make_opening, make_protocol
from tests.support.telemetry import RecordingTelemetry

STREAM = evolve(Config.of({"API_KEY": "k"}).stream, prime_bytes=0)


class BurstConnection(MemoryConnection):
    """Returns messages that have arrived without a checkpoint."""

    async def receive(self) -> str | bytes:
        try:
            return self._to_server[1].receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return await super().receive()


class StubbornConnection(MemoryConnection):
    """Returns a message although the reader was cancelled while it arrived."""

    async def receive(self) -> str | bytes:
        with trio.CancelScope(shield=True):
            message = await super().receive()
        return message


@attrs.define
class Stage:
    connection: MemoryConnection
    engine: Engine
    session: Session
    telemetry: RecordingTelemetry

    @property
    def records(self) -> list[RequestRecord]:
        return self.telemetry.records


@asynccontextmanager
async def stage(
    inference: InLoopInference | None = None,
    engine_config: EngineConfig = EngineConfig(4, 8),  # noqa: B008  (frozen)
    stream: StreamConfig = STREAM,
    send_seconds: float = 0.0,
    connection: MemoryConnection | None = None,
    make_dialect: Callable[[Opening], Dialect] = Native,
) -> AsyncIterator[Stage]:
    telemetry = RecordingTelemetry()
    connection = connection or MemoryConnection(send_seconds=send_seconds)
    engine = Engine(engine_config, inference or InLoopInference(), Speller())
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        protocol = make_protocol(max_words=10)
        dialect = make_dialect(make_opening(limits=protocol.limits, prime_bytes=stream.prime_bytes))
        session = Session(connection, dialect, protocol, engine, stream, telemetry)
        nursery.start_soon(session.run)
        yield Stage(connection, engine, session, telemetry)
        connection.hang_up()
        await trio.testing.wait_all_tasks_blocked()
        statistics = engine.statistics()
        assert (statistics.sessions, statistics.active, statistics.waiting) == (0, 0, 0)
        nursery.cancel_scope.cancel()


def kinds(heard: list[Message | bytes]) -> list[str]:
    """The types of the messages; consecutive audio frames count once."""
    names: list[str] = []
    for each in heard:
        name = "audio" if isinstance(each, bytes) else str(each["type"])
        if not (name == "audio" and names[-1:] == ["audio"]) and name != "meta":
            names.append(name)
    return names


def audio_seconds(heard: list[Message | bytes]) -> float:
    return sum(len(each) for each in heard if isinstance(each, bytes)) / 48_000


class TestSpeaking:
    async def test_example_of_the_protocol(self, autojump_clock: None) -> None:
        async with stage() as it:
            it.connection.say("start", voice="female", format="pcm", sample_rate=24000)
            it.connection.say("speak", request_id="uuid-1", text="Okay, let's go.")
            it.connection.say("stop")
            heard = await it.connection.hear_until("done")
            await trio.testing.wait_all_tasks_blocked()
            assert it.connection.closed_with == 1000
        assert kinds(heard) == ["started", "started_speak", "audio", "done"]
        done = heard[-1]
        assert isinstance(done, dict)
        assert done["duration_s"] == pytest.approx(audio_seconds(heard))
        frames = [len(each) for each in heard if isinstance(each, bytes)]
        assert set(frames[:-1]) == {960}

    async def test_meta_counts_samples(self, autojump_clock: None) -> None:
        async with stage() as it:
            it.connection.say("speak", request_id="r", text="Okay, let's go.")
            heard = await it.connection.hear_until("done")
        metas = [each for each in heard if isinstance(each, dict) and each["type"] == "meta"]
        assert [meta["total_samples"] for meta in metas] == [4800 * (n + 1) for n in range(len(metas))]
        assert len(metas) == sum(isinstance(each, bytes) for each in heard) // 10

    async def test_requests_are_spoken_in_order_one_at_a_time(self, autojump_clock: None) -> None:
        async with stage() as it:
            for request_id in ("r1", "r2", "r3"):
                it.connection.say("speak", request_id=request_id, text="Hello there.")
            heard = await it.connection.hear_until("done", request_id="r3")
        messages = [each for each in heard if isinstance(each, dict) and each["type"] != "meta"]
        assert [(each["type"], each["request_id"]) for each in messages] == [
            (kind, request_id) for request_id in ("r1", "r2", "r3") for kind in ("started_speak", "done")
        ]

    async def test_next_request_is_synthesised_while_the_first_is_sent(self, autojump_clock: None) -> None:
        inference = InLoopInference()
        async with stage(inference, send_seconds=0.1) as it:
            it.connection.say("speak", request_id="r1", text="Hello there.")
            it.connection.say("speak", request_id="r2", text="Hello there.")
            await it.connection.hear_until("done", request_id="r1")
            assert len(inference.steps) == 6

    async def test_primer_is_sent_once_before_any_started_speak(self, autojump_clock: None) -> None:
        async with stage(stream=evolve(STREAM, prime_bytes=512)) as it:
            for request_id in ("r1", "r2"):
                it.connection.say("speak", request_id=request_id, text="Hello.")
            heard = await it.connection.hear_until("done", request_id="r2")
        assert heard[0] == bytes(512)
        assert kinds(heard[1:]) == ["started_speak", "audio", "done"] * 2

    async def test_queue_is_sent_while_waiting_for_a_slot(self, autojump_clock: None) -> None:
        async with stage(engine_config=EngineConfig(1, 8)) as it:
            it.connection.say("speak", request_id="r1", text="Hello.")
            it.connection.say("speak", request_id="r2", text="Hello.")
            heard = await it.connection.hear_until("done", request_id="r2")
        queued = [each["request_id"] for each in heard if isinstance(each, dict) and each["type"] == "queue"]
        assert queued == ["r2"]

    async def test_full_queue_delays_no_cancel_and_keeps_the_order(self, autojump_clock: None) -> None:
        async with stage(engine_config=EngineConfig(1, 1)) as it:
            for n in range(9):
                it.connection.say("speak", request_id=f"r{n}", text="Hello.")
            it.connection.say("cancel", request_id="r7")
            heard = await it.connection.hear_until("canceled", request_id="r7")
            assert it.engine.statistics().waiting == 7
            heard += await it.connection.hear_until("done", request_id="r8")
        messages = [each for each in heard if isinstance(each, dict)]
        queued = [str(each["request_id"]) for each in messages if each["type"] == "queue"]
        assert sorted(queued) == [f"r{n}" for n in range(1, 9)]
        done = [each["request_id"] for each in messages if each["type"] == "done"]
        assert done == ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8"]

    async def test_full_engine_takes_requests_in_the_order_of_speak(self, autojump_clock: None) -> None:
        inference = InLoopInference()
        async with stage(inference, engine_config=EngineConfig(1, 1)) as it:
            names = [chr(ord("a") + n) * 3 for n in range(12)]
            for name in names:
                it.connection.say("speak", request_id=name, text=name)
            await it.connection.hear_until("done", request_id=names[-1])
        assert [line.phonemes for step in inference.steps for line in step.lines] == names

    async def test_burst_of_requests_is_synthesised_in_order(self, autojump_clock: None) -> None:
        for _ in range(20):  # Trio runs tasks that start together in random order.
            inference = InLoopInference()
            async with stage(inference, connection=BurstConnection()) as it:
                names = ["aaa", "bbb", "ccc"]
                for name in names:
                    it.connection.say("speak", request_id=name, text=name)
                heard = await it.connection.hear_until("done", request_id="ccc")
            assert [line.phonemes for step in inference.steps for line in step.lines] == names
            assert "queue" not in kinds(heard)

    async def test_each_request_has_one_record(self, autojump_clock: None) -> None:
        async with stage() as it:
            it.connection.say("speak", request_id="r1", text="Hello.")
            it.connection.say("speak", request_id="r2", text="...")
            it.connection.say("speak", request_id="r3", text="Hello.")
            await it.connection.hear_until("error", request_id="r2")
            it.connection.say("cancel", request_id="r3")
            await it.connection.hear_until("canceled")
            await trio.testing.wait_all_tasks_blocked()
        assert {record.request_id: record.end for record in it.records} == {
            "r1": "done",
            "r2": "unpronounceable",
            "r3": "canceled",
        }
        done = it.records[0]
        assert done.ttfb_ms == pytest.approx(200)
        assert done.ttfa_ms == pytest.approx(200 + 250, abs=5)

    async def test_times_count_from_the_end_of_the_previous_request(self, autojump_clock: None) -> None:
        async with stage(send_seconds=0.05) as it:
            for request_id in ("r1", "r2"):
                it.connection.say("speak", request_id=request_id, text="Hello there.")
            await it.connection.hear_until("done", request_id="r2")
            await trio.testing.wait_all_tasks_blocked()
        first, second = it.records
        assert first.turn_wait_ms == pytest.approx(0)
        assert second.turn_wait_ms == pytest.approx(1000 * first.wall_s)
        # It was synthesised meanwhile: only `done`, `started_speak` and the first frame remain.
        assert second.ttfb_ms == pytest.approx(150)
        assert second.wall_s < first.wall_s

    async def test_tagged_requests_do_not_wait_for_a_turn(self, autojump_clock: None) -> None:
        async with stage() as it:
            it.connection.say("start", framing="tagged")
            for request_id in ("r1", "r2"):
                it.connection.say("speak", request_id=request_id, text="Hello.")
            for _ in range(2):
                await it.connection.hear_until("done")
            await trio.testing.wait_all_tasks_blocked()
        assert [record.turn_wait_ms for record in it.records] == [0.0, 0.0]


class TestTagged:
    async def test_tagged_requests_alternate_frame_by_frame(self, autojump_clock: None) -> None:
        names = ["r1", "r2", "r3"]
        async with stage(send_seconds=0.02) as it:
            it.connection.say("start", framing="tagged")
            for name in names:
                it.connection.say("speak", request_id=name, text="Hello there. And so on.")
            heard: list[Message | bytes] = []
            for _ in names:
                heard += await it.connection.hear_until("done")
        tagged = [untag(each) for each in heard if isinstance(each, bytes)]
        speakers = [name for name, _ in tagged]
        assert set(speakers) == set(names)
        together = speakers[speakers.index("r3") : -speakers[::-1].index("r1")]
        counts = Counter(together)
        assert len(together) > 60
        assert max(counts.values()) - min(counts.values()) < 0.2 * counts.total() / 3
        assert all(one != other for one, other in pairwise(together))
        seconds = {name: sum(len(audio) for n, audio in tagged if n == name) / 48_000 for name in names}
        done = {
            str(m["request_id"]): m["duration_s"]
            for m in heard
            if isinstance(m, dict) and m["type"] == "done"
        }
        assert done == pytest.approx(seconds)

    async def test_short_request_does_not_wait_for_a_long_one(self, autojump_clock: None) -> None:
        inference = InLoopInference(step_seconds=0.4)
        long = " ".join(10 * ["a" * 40])
        async with stage(inference) as it:
            it.connection.say("start", framing="tagged")
            it.connection.say("speak", request_id="long", text=long)
            it.connection.say("speak", request_id="short", text="Hello.")
            await it.connection.hear_until("started_speak", request_id="short")
            await it.connection.hear_until("done", request_id="short")
            assert len(inference.steps) <= 5, "two for the first sound of each request"

    async def test_cancel_ends_its_own_request_only(self, autojump_clock: None) -> None:
        async with stage(send_seconds=0.02) as it:
            it.connection.say("start", framing="tagged")
            for name in ("r1", "r2"):
                it.connection.say("speak", request_id=name, text="Hello there. And so on.")
            await trio.sleep(1.5)
            it.connection.say("cancel", request_id="r1")
            before = await it.connection.hear_until("canceled")
            after = await it.connection.hear_until("done", request_id="r2")
        speakers = [
            [untag(each)[0] for each in heard if isinstance(each, bytes)] for heard in (before, after)
        ]
        assert set(speakers[0]) == {"r1", "r2"}
        assert set(speakers[1]) == {"r2"}


class TestCancelling:
    @pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15, 0.2, 0.25, 0.35, 0.45])
    async def test_cancel_at_each_moment_of_a_request(self, autojump_clock: None, after_s: float) -> None:
        async with stage(send_seconds=0.001) as it:
            it.connection.say("speak", request_id="r", text="This is quite a long sentence. Another.")
            await trio.sleep(after_s)
            it.connection.say("cancel", request_id="r")
            heard = await it.connection.hear_until("canceled")
            await trio.sleep(5)
            assert it.connection.hear_rest() == []
            canceled = heard[-1]
            assert isinstance(canceled, dict)
            assert canceled["duration_s"] == pytest.approx(audio_seconds(heard))
            it.connection.say("speak", request_id="next", text="Hello.")
            assert kinds(await it.connection.hear_until("done")) == ["started_speak", "audio", "done"]

    async def test_cancel_is_answered_while_a_step_runs(self, autojump_clock: None) -> None:
        async with stage(InLoopInference(step_seconds=10.0)) as it:
            it.connection.say("speak", request_id="r", text="Hello.")
            await trio.sleep(1)
            it.connection.say("cancel", request_id="r")
            before = trio.current_time()
            await it.connection.hear_until("canceled")
            assert trio.current_time() == before

    async def test_cancel_without_an_id_cancels_every_request(self, autojump_clock: None) -> None:
        async with stage() as it:
            for n in range(3):
                it.connection.say("speak", request_id=f"r{n}", text="Hello there.")
            await trio.sleep(0.15)
            it.connection.say("cancel")
            for n in range(3):
                await it.connection.hear_until("canceled", request_id=f"r{n}")
            await trio.sleep(5)
            assert it.connection.hear_rest() == []

    async def test_time_until_canceled_is_reported(self, autojump_clock: None) -> None:
        async with stage(InLoopInference(step_seconds=10.0), send_seconds=0.25) as it:
            for n in range(3):
                it.connection.say("speak", request_id=f"r{n}", text="Hello there.")
            await trio.sleep(1)
            assert it.telemetry.cancels_took_s == []
            it.connection.say("cancel")
            await it.connection.hear_until("canceled", request_id="r2")
            it.connection.say("cancel", request_id="r2")  # It has ended: there is nothing to answer.
            await trio.sleep(1)
        assert it.telemetry.cancels_took_s == pytest.approx([0.25, 0.5, 0.75])

    async def test_no_frame_follows_canceled_even_when_sends_are_slow(self, autojump_clock: None) -> None:
        async with stage(send_seconds=0.5) as it:
            it.connection.say("speak", request_id="r", text="Hello there.")
            await trio.sleep(3.2)
            it.connection.say("cancel", request_id="r")
            heard = await it.connection.hear_until("canceled")
            assert any(isinstance(each, bytes) for each in heard)
            await trio.sleep(20)
            assert it.connection.hear_rest() == []


@attrs.define
class FailingEncoder:
    """Fails in the named call, as PyAV or soxr might."""

    fails_in: str
    blocks: bool = False

    def push(self, samples: Samples) -> list[AudioFrame]:
        self._may_fail("push")
        return [AudioFrame(bytes(2 * len(samples)), len(samples))]

    def flush(self) -> list[AudioFrame]:
        self._may_fail("flush")
        return []

    def close(self) -> None:
        self._may_fail("close")

    def _may_fail(self, call: str) -> None:
        if call == self.fails_in:
            raise RuntimeError(f"{call} failed")


@pytest.mark.parametrize("call", ["make", "push", "flush", "close"])
async def test_encoder_fault_fails_its_own_request_only(
    call: str, autojump_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_opus(audio_format: str, sample_rate_hz: int, config: StreamConfig) -> Encoder:
        if audio_format != "opus":
            return encoder_for(audio_format, sample_rate_hz, config)
        if call == "make":
            raise RuntimeError("make failed")
        return FailingEncoder(call)

    monkeypatch.setattr(session_module, "encoder_for", failing_opus)
    with structlog.testing.capture_logs() as logged:
        async with stage() as it:
            it.connection.say("start", format="opus")
            it.connection.say("speak", request_id="r1", text="Hello.")
            it.connection.say("start", format="pcm")
            it.connection.say("speak", request_id="r2", text="Hello.")
            heard = await it.connection.hear_until("error", request_id="r1", code="synthesis_failed")
            heard += await it.connection.hear_until("done", request_id="r2")
            assert it.connection.closed_with is None
    assert {record.request_id: record.end for record in it.records} == {
        "r1": "synthesis_failed",
        "r2": "done",
    }
    assert [entry["event"] for entry in logged] == ["speak_failed"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            ("{", "bad_json"),
            ('{"type":"speak","text":"Hi","request_id":3}', "bad_message"),
            ('{"type":"sing"}', "unknown_type"),
            (b"\x00", "unexpected_binary"),
            ('{"type":"speak","text":7}', "bad_text"),
            ('{"type":"speak","text":""}', "empty_text"),
            ('{"type":"speak","text":"a b c d e f g h i j k"}', "too_long"),
            ('{"type":"speak","text":"?!"}', "unpronounceable"),
            ('{"type":"speak","text":"Hi","voice":"nobody"}', "unknown_voice"),
            ('{"type":"speak","text":"Hi","speed":7}', "bad_speed"),
            ('{"type":"start","format":"flac"}', "unsupported_format"),
            ('{"type":"start","sample_rate":1}', "unsupported_sample_rate"),
            ('{"type":"cancel","request_id":"never"}', "unknown_request"),
        ],
    )
    async def test_malformed_message_is_answered_and_the_session_continues(
        self, autojump_clock: None, frame: str | bytes, code: str
    ) -> None:
        async with stage() as it:
            it.connection.say_raw(frame)
            error = (await it.connection.hear_until("error"))[-1]
            assert isinstance(error, dict)
            assert error["code"] == code
            it.connection.say("speak", text="Hello.")
            assert kinds(await it.connection.hear_until("done"))[-1] == "done"

    async def test_failing_step_fails_its_own_request_only(self, autojump_clock: None) -> None:
        async with stage(InLoopInference(StumblingSynthesizer())) as it:
            it.connection.say("speak", request_id="bad", text="Xylophone.")
            it.connection.say("speak", request_id="good", text="Hello.")
            error = (await it.connection.hear_until("error"))[-1]
            assert isinstance(error, dict)
            assert (error["code"], error["request_id"]) == ("synthesis_failed", "bad")
            await it.connection.hear_until("done", request_id="good")

    async def test_backpressure_when_a_flood_of_malformed_messages_is_not_read(
        self, autojump_clock: None
    ) -> None:
        async with stage(send_seconds=10.0) as it:
            for _ in range(500):
                it.connection.say_raw("{")
            await trio.sleep(1)
            assert it.connection._to_server[1].statistics().current_buffer_used > 400


class TestEnding:
    async def test_disconnect_frees_the_engine(self, autojump_clock: None) -> None:
        async with stage() as it:
            it.connection.say("speak", request_id="r", text="Hello there.")
            await trio.sleep(0.15)
            it.connection.hang_up()
            await trio.testing.wait_all_tasks_blocked()
            assert it.engine.statistics().sessions == 0
        assert [record.end for record in it.records] == ["disconnected"]

    async def test_cancel_during_the_disconnect_is_ignored(self, autojump_clock: None) -> None:
        async with stage(connection=StubbornConnection()) as it:
            for request_id in ("r1", "r2"):
                it.connection.say("speak", request_id=request_id, text="Hello there.")
            await trio.sleep(0.15)
            it.session.hang_up()
            await trio.testing.wait_all_tasks_blocked()
            assert [record.end for record in it.records] == ["disconnected"] * 2
            it.connection.say("cancel", request_id="r1")

    async def test_fault_of_the_session_is_recorded_as_synthesis_failed(self, autojump_clock: None) -> None:
        class Faulty(MemoryConnection):
            async def send(self, messages: Sequence[str | bytes]) -> None:
                raise ValueError("the framing has a hole")

        with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
            async with stage(connection=Faulty()) as it:
                for request_id in ("r1", "r2"):
                    it.connection.say("speak", request_id=request_id, text="Hello there.")
                await trio.sleep(60)
        assert [record.end for record in it.records] == ["synthesis_failed"] * 2

    async def test_fault_of_an_encoder_is_recorded_as_synthesis_failed(
        self, autojump_clock: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def raise_fault(*arguments: object) -> NoReturn:
            raise ValueError("the encoder has a hole")

        monkeypatch.setattr("kokoro_trio.server.session.encoder_for", raise_fault)
        async with stage() as it:
            it.connection.say("speak", request_id="r1", text="Hello there.")
            await it.connection.hear_until("error")
            await trio.testing.wait_all_tasks_blocked()
        assert [record.end for record in it.records] == ["synthesis_failed"]

    async def test_draining_finishes_then_closes(self, autojump_clock: None) -> None:
        async with stage() as it:
            it.connection.say("speak", request_id="r", text="Hello there.")
            await trio.sleep(0.15)
            it.session.drain()
            it.connection.say("speak", request_id="late", text="Hello.")
            heard = await it.connection.hear_until("done", request_id="r")
            assert "error" in kinds(heard)
            await trio.testing.wait_all_tasks_blocked()
            assert it.connection.closed_with == 1012

    async def test_draining_before_the_session_runs_closes_it(self, autojump_clock: None) -> None:
        connection = MemoryConnection()
        engine = Engine(EngineConfig(4, 8), InLoopInference(), Speller())
        dialect = Native(make_opening())
        session = Session(connection, dialect, make_protocol(), engine, STREAM, RecordingTelemetry())
        session.drain()
        await session.run()
        assert connection.closed_with == 1012

    async def test_hang_up_closes_at_once(self, autojump_clock: None) -> None:
        async with stage(InLoopInference(step_seconds=100)) as it:
            it.connection.say("speak", request_id="r", text="Hello there.")
            await trio.sleep(0.15)
            it.session.hang_up()
            await trio.testing.wait_all_tasks_blocked()
            assert it.connection.closed_with == 1012


class TestDialects:
    """With Together's dialect."""

    async def test_primer_is_not_sent_in_a_dialect_without_binary_frames(self, autojump_clock: None) -> None:
        async with stage(stream=evolve(STREAM, prime_bytes=512), make_dialect=Together) as it:
            commit_text(it.connection)
            heard = await it.connection.hear_until("conversation.item.audio_output.done")
        assert kinds(heard)[0] == "session.created"
        assert all(isinstance(each, dict) for each in heard)

    async def test_messages_refused_by_the_dialect_are_counted(self, autojump_clock: None) -> None:
        async with stage(make_dialect=Together) as it:
            it.connection.say("response.create")
            await it.connection.hear_until("conversation.item.tts.failed")
            text, _ = it.telemetry.scrape("")
            assert scraped(text.decode())["refused_total{code=unknown_type}"] == 1

    async def test_messages_refused_by_the_protocol_are_counted(self, autojump_clock: None) -> None:
        async with stage() as it:
            it.connection.say("speak", text="Hi.", voice="nobody")
            await it.connection.hear_until("error")
            text, _ = it.telemetry.scrape("")
            assert scraped(text.decode())["refused_total{code=unknown_voice}"] == 1

    @pytest.mark.parametrize(("ends_after_s", "hears_after_s"), [(1.0, 1.0), (100.0, TURN_END_TIMEOUT_S)])
    async def test_done_waits_for_the_end_of_the_turn_or_the_timeout(
        self, autojump_clock: None, ends_after_s: float, hears_after_s: float
    ) -> None:
        def like_pipecat(opening: Opening) -> Together:
            return Together(evolve(opening, query={"voice": "female"}))

        async with stage(make_dialect=like_pipecat) as it, trio.open_nursery() as nursery:
            it.connection.say("tts_session.updated", session={"voice": "female"})
            commit_text(it.connection)
            while not it.records:
                await trio.sleep(0.01)
            spoken_at = trio.current_time()

            @nursery.start_soon
            async def end_turn() -> None:
                await trio.sleep(ends_after_s)
                it.connection.say("input_text_buffer.commit")

            await it.connection.hear_until("conversation.item.audio_output.done")
            assert trio.current_time() - spoken_at == pytest.approx(hears_after_s, abs=0.05)
            nursery.cancel_scope.cancel()


def commit_text(connection: MemoryConnection) -> None:
    connection.say("input_text_buffer.append", text="Hello there.")
    connection.say("input_text_buffer.commit")
