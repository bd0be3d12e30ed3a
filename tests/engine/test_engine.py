"""Engine: admission, steps and delivery on virtual time, with the tone synthesizer in the loop."""

import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import numpy as np
import pytest
import trio
import trio.testing
from attrs import define, evolve, field, frozen

from kokoro_trio.config import EngineConfig
from kokoro_trio.engine import heap as heap_module
from kokoro_trio.engine.engine import Engine, EngineStatistics
from kokoro_trio.engine.failures import MAX_FAILED_LINES, MIN_FAILING_S
from kokoro_trio.engine.inference import InferenceThread
from kokoro_trio.engine.phonemizing import PhonemizerThread
from kokoro_trio.engine.scheduler import Step, StepKind
from kokoro_trio.engine.stream import Piece, UtteranceStream
from kokoro_trio.engine.utterance import LINES_AHEAD
from kokoro_trio.errors import (
    BadLanguage,
    InferenceBroken,
    InferenceStuck,
    SynthesisFailed,
    TooManyPhonemes,
    Unpronounceable,
)
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.speech import (
    FRAME_SAMPLES,
    FRAME_SECONDS,
    SAMPLE_RATE_HZ,
    Line,
    Prosody,
    Samples,
    Segment,
    Utterance,
    Window,
    WordTime,
)
from kokoro_trio.telemetry.telemetry import Telemetry
from kokoro_trio.text.reading import Sentence
from tests.support.models import (
    HELLO,
    LONG,
    InLoopInference,
    ScriptedMemory,
    Speller,
    SpellingReader,
    StumblingSynthesizer,
    n_samples,
    speak,
    spell,
)
from tests.support.servers import until
from tests.support.telemetry import RecordingTelemetry

CONFIG = EngineConfig(max_concurrent_jobs=4, queue_maxsize=8)
IDLE = EngineStatistics(sessions=0, active=0, waiting=0, in_step=0, streams=0, steps_run=0)


def threaded(load: Callable[[], Synthesizer], telemetry: Telemetry | None = None) -> Engine:
    """On real threads, in real time."""
    phonemizer = PhonemizerThread(lambda alphabet: SpellingReader())
    return Engine(CONFIG, InferenceThread(load), phonemizer, telemetry)


@asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[Engine]:
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield engine
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(inference: InLoopInference, config: EngineConfig = CONFIG) -> AsyncIterator[Engine]:
    """Checks that the engine is idle at the end."""
    async with started(Engine(config, inference, Speller())) as engine:
        yield engine
        await trio.testing.wait_all_tasks_blocked()
        statistics = engine.statistics()
        assert evolve(statistics, steps_run=0, in_step=0) == IDLE


async def test_utterance_is_delivered_whole(in_loop: InLoopInference, autojump_clock: None) -> None:
    async with running(in_loop) as engine:
        pieces = await speak(engine)
    frames = 2 * 10 + 3 * len("hello there")
    assert n_samples(pieces) == frames * FRAME_SAMPLES
    assert [step.kind for step in in_loop.steps] == [StepKind.PROSODY, StepKind.VOCODE, StepKind.VOCODE]


async def test_pieces_carry_their_segment(in_loop: InLoopInference, autojump_clock: None) -> None:
    async with running(in_loop) as engine:
        segments = [piece.segment for piece in await speak(engine, LONG)]
    assert segments == sorted(segments)
    assert set(segments) == {0, 1, 2}


async def test_each_step_reports_its_kind_and_duration(autojump_clock: None) -> None:
    telemetry = RecordingTelemetry()
    async with started(Engine(CONFIG, InLoopInference(step_seconds=0.3), Speller(), telemetry)) as engine:
        await speak(engine)
    assert telemetry.steps == [("prosody", 0.3), ("vocode", 0.3), ("vocode", 0.3)]


async def test_slack_exists_while_more_audio_is_needed(autojump_clock: None) -> None:
    async with running(InLoopInference()) as engine, engine.open(LONG, "s") as stream:
        assert engine.statistics().slacks_s == ()
        first = await anext(stream)
        assert engine.statistics().slacks_s == pytest.approx((len(first.samples) / SAMPLE_RATE_HZ,))
        async for _ in stream:
            pass
        assert engine.statistics().slacks_s == ()


async def test_higher_speed_shortens_the_audio(in_loop: InLoopInference, autojump_clock: None) -> None:
    async with running(in_loop) as engine:
        normal = n_samples(await speak(engine))
        fast = n_samples(await speak(engine, evolve(HELLO, speed=2.0)))
    assert fast < normal


async def test_request_waits_for_a_free_slot(autojump_clock: None) -> None:
    inference = InLoopInference()
    async with running(inference, EngineConfig(1, 8)) as engine:
        async with engine.open(HELLO, "a") as first, engine.open(HELLO, "b") as second:
            assert (first.is_waiting, second.is_waiting) == (False, True)
            async for _ in first:
                pass
            await second.wait_for_slot()
            assert not second.is_waiting
            assert n_samples([piece async for piece in second]) > 0


async def test_utterances_of_a_session_run_in_the_order_of_open(
    in_loop: InLoopInference, autojump_clock: None
) -> None:
    async with running(in_loop) as engine:
        first, second = engine.open(Utterance("ab", "af_aoede"), "s"), engine.open(HELLO, "s")
        async with second as later:
            await trio.sleep(1)
            assert in_loop.steps == []
            async with first as stream:
                assert [piece async for piece in stream]
            assert [piece async for piece in later]
    assert [line.phonemes for step in in_loop.steps for line in step.lines] == ["ab", "hello there"]


async def test_cancel_removes_its_audio_from_the_slack(
    in_loop: InLoopInference, autojump_clock: None
) -> None:
    listening = trio.CancelScope()

    async def listen(engine: Engine) -> None:
        with listening:
            await speak(engine, LONG)

    async with running(in_loop) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(listen, engine)
        await trio.sleep(0.65)
        async with engine.open(LONG, "s"):
            (slack_s,) = engine.statistics().slacks_s
            assert slack_s > 2
            listening.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert engine.statistics().slacks_s == ()


async def test_consumer_that_takes_nothing_blocks_no_other(
    in_loop: InLoopInference, autojump_clock: None
) -> None:
    endless = Utterance("A sentence of some length to be spoken. " * 20, "af_aoede")
    async with running(in_loop) as engine, engine.open(endless, "sleepy") as stream:
        await trio.sleep(60)
        n_steps = len(in_loop.steps)
        await speak(engine, session="lively")
        assert len(in_loop.steps) == n_steps + 3
        ahead = 0
        with trio.move_on_after(0.05):
            async for piece in stream:
                ahead += len(piece.samples)
                if ahead > 9 * SAMPLE_RATE_HZ:
                    break
        assert ahead / SAMPLE_RATE_HZ < 10.0


class TestText:
    async def test_text_without_words_is_unpronounceable(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        async with running(in_loop) as engine:
            with pytest.raises(Unpronounceable):
                await speak(engine, Utterance("... !?", "af_aoede"))
            assert n_samples(await speak(engine)) > 0

    async def test_unknown_language_fails_the_utterance(self, autojump_clock: None) -> None:
        def refuse(sentence: Sentence, language: str, first_index: int) -> list[Segment]:
            raise BadLanguage(got=language, allowed=["a"])

        async with started(Engine(CONFIG, InLoopInference(), Speller(refuse))) as engine:
            with pytest.raises(BadLanguage):
                await speak(engine, Utterance("Konnichiwa.", "jf_alpha", language="j"))

    async def test_fault_of_the_text_side_fails_only_its_utterance(self, autojump_clock: None) -> None:
        def stumble(sentence: Sentence, language: str, first_index: int) -> list[Segment]:
            if "stumble" in sentence.text:
                raise IndexError("a dictionary has a hole")
            return spell(sentence, language, first_index)

        async with started(Engine(CONFIG, InLoopInference(), Speller(stumble))) as engine:
            with pytest.raises(SynthesisFailed):
                await speak(engine, Utterance("Now stumble.", "af_aoede"))
            assert n_samples(await speak(engine)) > 0
            assert engine.statistics().sessions == 0


@frozen
class CrampedSynthesizer(ToneSynthesizer):
    """Has memory for two windows at a time, and halves its batch when that is exceeded."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        if len(windows) > 2:
            object.__setattr__(self, "max_batch", len(windows) // 2)
            raise MemoryError(f"{len(windows)} windows")
        return super().vocode(windows)


def taken_now(stream: UtteranceStream) -> list[list[WordTime]]:
    """The words of all segments that have arrived since the last call."""
    words = []
    with suppress(trio.WouldBlock):
        while True:
            words.append(stream.words.receive_nowait())
    return words


@define
class Diary:
    """The sentences that are read and the steps that run, in the order in which they begin."""

    entries: list[str] = field(factory=list)

    def phonemize(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        self.entries.append(sentence.text)
        return spell(sentence, language, first_index)

    def note(self, step: Step) -> None:
        self.entries.append(step.kind.value)


@define
class NotedInference(InLoopInference):
    diary: Diary = field(factory=Diary)

    def submit(self, step: Step) -> None:
        self.diary.note(step)
        super().submit(step)


async def test_too_many_phonemes_fail_after_the_audio_made_before(
    in_loop: InLoopInference, autojump_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number of thousands of digits has few words and hours of speech."""
    monkeypatch.setattr("kokoro_trio.engine.utterance.MAX_UTTERANCE_PHONEMES", 50)
    async with running(in_loop) as engine:
        pieces = await speak(engine, Utterance("Abcdefghij. " * 5, "af_aoede"))
        assert pieces[-1].segment == 4
        heard: list[Piece] = []
        with pytest.raises(TooManyPhonemes):
            async with engine.open(Utterance("Abcdefghij. " * 6, "af_aoede"), "s") as stream:
                async for piece in stream:
                    heard.append(piece)
    assert heard, "the audio made before is delivered"


class TestReading:
    """Which sentences are read before which steps."""

    def reading(self, diary: Diary) -> AbstractAsyncContextManager[Engine]:
        return started(Engine(CONFIG, NotedInference(diary=diary), Speller(diary.phonemize)))

    async def test_second_sentence_is_read_after_the_first_audio(self, autojump_clock: None) -> None:
        diary = Diary()
        async with self.reading(diary) as engine:
            pieces = await speak(
                engine, Utterance("...\n\nFirst of all. Second to that. Third and last.", "af_aoede")
            )
        assert {piece.segment for piece in pieces} == {0, 1, 2}
        assert diary.entries[:4] == ["...", "First of all.", "prosody", "vocode"]
        read = [entry for entry in diary.entries if entry not in ("prosody", "vocode")]
        assert read == ["...", "First of all.", "Second to that.", "Third and last."]

    async def test_next_sentence_is_read_during_the_last_window(self, autojump_clock: None) -> None:
        """Otherwise the next request of the session would get a step before this second sentence."""
        diary = Diary()
        inference = NotedInference(ToneSynthesizer(window_frames=200), diary=diary)
        async with started(Engine(CONFIG, inference, Speller(diary.phonemize))) as engine:
            async with engine.open(Utterance("Well, yes. And no.", "af_aoede"), "s") as stream:
                async with engine.open(Utterance("Later.", "af_aoede"), "s"):
                    async for _ in stream:
                        pass
        entries = [entry for entry in diary.entries if entry != "Later."]
        assert entries[:5] == ["Well, yes.", "prosody", "vocode", "And no.", "prosody"]
        assert [line.phonemes for step in inference.steps[:3] for line in step.lines] == [
            "well yes",
            "and no",
        ]

    async def test_reading_stays_close_to_the_steps(self, autojump_clock: None) -> None:
        diary = Diary()
        async with self.reading(diary) as engine:
            await speak(engine, Utterance("Some words. " * 20, "af_aoede"))
        for n, entry in enumerate(diary.entries):
            n_read = n - diary.entries[:n].count("prosody") - diary.entries[:n].count("vocode")
            if entry not in ("prosody", "vocode"):
                assert n_read - diary.entries[:n].count("prosody") <= LINES_AHEAD

    async def test_reading_ends_when_the_consumer_leaves(self, autojump_clock: None) -> None:
        diary = Diary()
        async with self.reading(diary) as engine:
            async with engine.open(Utterance("Some words. " * 20, "af_aoede"), "s") as stream:
                await anext(stream)
            await trio.sleep(60)
            assert diary.entries.count("Some words.") <= 1 + LINES_AHEAD
            assert n_samples(await speak(engine)) > 0


class TestWords:
    """The tone synthesizer speaks three frames a letter, between ten frames of silence."""

    async def test_times_of_later_segments_count_from_the_utterance(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        async with running(in_loop) as engine:
            async with engine.open(Utterance("Ab c. [pause:0.5s] De.", "af_aoede"), "s") as stream:
                async for _ in stream:
                    pass
                arrived = taken_now(stream)
        assert [(word.segment, word.start_char, word.end_char) for words in arrived for word in words] == [
            (0, 0, 2),
            (0, 3, 4),
            (1, 19, 21),
        ]
        times = [(word.start_s, word.end_s) for words in arrived for word in words]
        first_s = (20 + 3 * len("ab c")) * FRAME_SECONDS + 0.5
        # Where the letters begin and end, within the leads of `word_times`.
        assert times[0] == pytest.approx((10 * FRAME_SECONDS, 16 * FRAME_SECONDS), abs=0.09)
        assert times[1] == pytest.approx((19 * FRAME_SECONDS, 22 * FRAME_SECONDS), abs=0.09)
        assert times[2] == pytest.approx(
            (first_s + 10 * FRAME_SECONDS, first_s + 16 * FRAME_SECONDS), abs=0.09
        )

    async def test_words_arrive_before_their_audio(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        async with running(in_loop) as engine, engine.open(LONG, "s") as stream:
            known = -1
            async for piece in stream:
                known = max([known, *(words[0].segment for words in taken_now(stream))])
                assert piece.segment <= known
            assert known == 2

    async def test_closed_words_channel_fails_nothing(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        """When a session ends, the task that sends words may end before the utterance leaves the engine."""
        async with running(in_loop) as engine:
            async with engine.open(LONG, "s") as stream:
                await stream.words.aclose()
                assert {piece.segment async for piece in stream} == {0, 1, 2}
            assert await speak(engine)


class TestPauses:
    async def test_pauses_are_heard_at_their_place(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        async with running(in_loop) as engine:
            plain = await speak(engine, Utterance("Ab. Cd.", "af_aoede"))
            paused = await speak(
                engine, Utterance("[pause:0.2s] Ab. [pause:9.5s] [pause:0.5s] Cd. [pause:100ms]", "af_aoede")
            )
        assert n_samples(paused) - n_samples(plain) == round(10.3 * SAMPLE_RATE_HZ)
        heard = np.concatenate(
            [
                part
                for piece in paused
                for part in (np.zeros(round(piece.silence_s * SAMPLE_RATE_HZ), np.float32), piece.samples)
            ]
        )
        assert not heard[: round(0.2 * SAMPLE_RATE_HZ)].any()
        assert not heard[-round(0.1 * SAMPLE_RATE_HZ) :].any()
        silence = np.diff(np.flatnonzero(heard)).max()
        assert silence > 10 * SAMPLE_RATE_HZ

    async def test_pauses_are_lengths_not_samples(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        text = "[pause:10s] [pause:10s] Ab. [pause:10s]"
        async with running(in_loop) as engine:
            pieces = await speak(engine, Utterance(text, "af_aoede"))
        assert [piece.silence_s for piece in pieces if piece.silence_s] == [20.0, 10.0]
        assert sum(len(piece.samples) for piece in pieces) == (2 * 10 + 3 * 2) * FRAME_SAMPLES

    async def test_pauses_count_as_made_and_taken(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        async with running(in_loop) as engine:
            text = "[pause:0.1234567s] Ab. [pause:1s] Cd. [pause:2s]"
            async with engine.open(Utterance(text, "af_aoede"), "s") as stream:
                heard_s = sum([piece.seconds async for piece in stream])
                (job,) = engine._utterances
                assert job.made_s == pytest.approx(heard_s)
                assert job.taken_s == pytest.approx(heard_s)

    async def test_pauses_alone_are_unpronounceable(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        async with running(in_loop) as engine:
            with pytest.raises(Unpronounceable):
                await speak(engine, Utterance("[pause:1s]", "af_aoede"))

    async def test_pauses_around_a_silent_sentence_are_kept(
        self, in_loop: InLoopInference, autojump_clock: None
    ) -> None:
        async with running(in_loop) as engine:
            plain = await speak(engine, Utterance("Ab.", "af_aoede"))
            paused = await speak(engine, Utterance("[pause:1s] ... [pause:1s] Ab.", "af_aoede"))
        assert n_samples(paused) - n_samples(plain) == 2 * SAMPLE_RATE_HZ


async def test_text_that_fails_during_a_step_fails_only_itself(
    in_loop: InLoopInference, autojump_clock: None
) -> None:
    """Its first sentence is in flight when its second one fails."""

    def stumble(sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        if "stumble" in sentence.text:
            raise BadLanguage(got=language, allowed=["a"])
        return spell(sentence, language, first_index)

    async with started(Engine(CONFIG, in_loop, Speller(stumble))) as engine:
        async with engine.open(Utterance("First. Now stumble. Third.", "af_aoede"), "s"):
            await trio.sleep(5)
        assert n_samples(await speak(engine)) > 0


class TestLeaving:
    @pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1, 0.15, 0.25, 0.35, 5.0])
    async def test_leaving_at_any_time_leaves_nothing_behind(
        self, in_loop: InLoopInference, autojump_clock: None, after_s: float
    ) -> None:
        async with running(in_loop) as engine:
            with trio.move_on_after(after_s):
                async with engine.open(LONG, "s") as stream:
                    async for _ in stream:
                        pass
                    await trio.sleep_forever()
            assert evolve(engine.statistics(), steps_run=0) == IDLE
            await trio.sleep(1)
            n_steps = len(in_loop.steps)
            assert n_samples(await speak(engine)) > 0
            assert len(in_loop.steps) == n_steps + 3

    async def test_leaving_frees_the_engine_after_the_step_in_flight(self, autojump_clock: None) -> None:
        inference = InLoopInference(step_seconds=1.0)
        async with running(inference, EngineConfig(1, 8)) as engine:
            with trio.move_on_after(1.5):
                async with engine.open(LONG, "a"):
                    await trio.sleep_forever()
            begin = trio.current_time()
            await speak(engine, session="b")
        assert inference.submitted_at[2] - begin == pytest.approx(0.5)

    async def test_leaving_while_waiting_for_a_slot(self, autojump_clock: None) -> None:
        async with running(InLoopInference(), EngineConfig(1, 8)) as engine:
            async with engine.open(HELLO, "a") as first:
                async with engine.open(HELLO, "b"):
                    assert engine.statistics().waiting == 1
                assert engine.statistics().waiting == 0
                assert n_samples([piece async for piece in first]) > 0


class TestFaults:
    async def test_failed_step_fails_only_its_utterance(self, autojump_clock: None) -> None:
        async with running(InLoopInference(StumblingSynthesizer())) as engine:
            with pytest.raises(SynthesisFailed):
                await speak(engine, Utterance("Xylophone.", "af_aoede"))
            assert n_samples(await speak(engine)) > 0

    async def test_audio_made_before_a_fault_is_delivered_first(self, autojump_clock: None) -> None:
        pieces = []
        async with running(InLoopInference(StumblingSynthesizer())) as engine:
            async with engine.open(Utterance("Hello there. Xylophone.", "af_aoede"), "s") as stream:
                with pytest.raises(SynthesisFailed):
                    async for piece in stream:
                        pieces.append(piece)
        assert {piece.segment for piece in pieces} == {0}

    async def test_failed_batch_is_retried_one_by_one(self, autojump_clock: None) -> None:
        inference = InLoopInference(StumblingSynthesizer(max_batch=4))
        failed, spoken = [], []

        async def try_to_speak(engine: Engine, text: str) -> None:
            try:
                spoken.append(n_samples(await speak(engine, Utterance(text, "af_aoede"), session=text)))
            except SynthesisFailed:
                failed.append(text)

        async with running(inference) as engine, trio.open_nursery() as nursery:
            for text in ("Start.", "Hello.", "Xylophone.", "World."):
                nursery.start_soon(try_to_speak, engine, text)
        assert failed == ["Xylophone."]
        assert len(spoken) == 3
        assert max(len(step.jobs) for step in inference.steps) > 1

    async def test_out_of_memory_leads_to_smaller_batches(self, autojump_clock: None) -> None:
        inference = InLoopInference(CrampedSynthesizer(max_batch=8))
        async with running(inference, EngineConfig(8, 8)) as engine, trio.open_nursery() as nursery:
            for n in range(9):
                nursery.start_soon(speak, engine, LONG, str(n))
        rows = [len(step.jobs) for step in inference.steps]
        assert max(rows) > 2
        assert rows.index(max(rows)) < 9, "the batch was tried once"
        assert max(rows[20:]) == 2

    async def test_samples_that_are_not_finite_are_never_delivered(self, autojump_clock: None) -> None:
        class Broken(ToneSynthesizer):
            def vocode(self, windows: Sequence[Window]) -> list[Samples]:
                return [np.full(window.n_samples, np.nan, np.float32) for window in windows]

        async with running(InLoopInference(Broken())) as engine:
            with pytest.raises(SynthesisFailed):
                await speak(engine)

    async def test_fault_while_taking_prosody_fails_only_its_utterance(self, autojump_clock: None) -> None:
        class Hasty(ToneSynthesizer):
            """Returns too few durations for a line with an x."""

            def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
                return [
                    evolve(
                        each, durations_frames=each.durations_frames[: 2 if "x" in line.phonemes else None]
                    )
                    for line, each in zip(lines, super().prosody(lines), strict=True)
                ]

        async with running(InLoopInference(Hasty())) as engine:
            with pytest.raises(SynthesisFailed):
                await speak(engine, Utterance("Xylophone.", "af_aoede"))
            assert n_samples(await speak(engine)) > 0

    async def test_fault_while_taking_a_step_end_ends_the_engine_only(self) -> None:
        class Forgetful(ToneSynthesizer):
            def vocode(self, windows: Sequence[Window]) -> list[Samples]:
                return []

        engine = threaded(Forgetful)
        async with trio.open_nursery() as requests:
            with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="shorter"), flatten_subgroups=True):
                async with trio.open_nursery() as nursery:
                    await nursery.start(engine.run)
                    requests.start_soon(speak, engine)
            assert engine.has_failed
            assert engine.statistics().is_stalled
            requests.cancel_scope.cancel()

    async def test_failed_batch_is_freed_before_the_retry(self) -> None:
        tones = Hoarding(max_batch=4)
        async with started(threaded(lambda: tones)) as engine:
            async with trio.open_nursery() as requests:
                for n in range(4):
                    requests.start_soon(speak, engine, LONG, str(n))
        assert tones.hoards
        assert tones.alive == []

    async def test_step_is_freed_while_the_thread_is_idle(self) -> None:
        made: list[weakref.ref[Prosody]] = []

        class Noting(ToneSynthesizer):
            def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
                prosodies = super().prosody(lines)
                made.extend(weakref.ref(prosody) for prosody in prosodies)
                return prosodies

        async with started(threaded(Noting)) as engine:
            await speak(engine)
            await until(lambda: made[0]() is None)

    async def test_fault_of_the_inference_thread_ends_the_engine(self) -> None:
        def load() -> Synthesizer:
            raise OSError("the disk is gone")

        engine = Engine(CONFIG, InferenceThread(load), Speller())
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)


@frozen
class Hoarding(ToneSynthesizer):
    """Allocates memory for its windows, and fails with more than one at a time."""

    hoards: list[weakref.ref[Samples]] = field(factory=list)
    alive: list[Samples] = field(factory=list)
    """The memory of failed steps that was not freed when a later step began."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        self.alive.extend(hoard for each in self.hoards if (hoard := each()) is not None)
        if len(windows) > 1:
            try:
                self._run_out_of_memory()
            except MemoryError:
                # This keeps both errors with their frames.
                raise RuntimeError("nothing can be given back")  # noqa: B904
        return super().vocode(windows)

    def _run_out_of_memory(self) -> None:
        hoard = np.zeros(8, np.float32)
        self.hoards.append(weakref.ref(hoard))
        raise MemoryError("the device is full")


@frozen
class Broken(ToneSynthesizer):
    """Fails to vocode lines with an x: raises, or returns NaN. `is_lost`: its device is lost then."""

    as_noise: bool = False
    is_lost: bool = False

    def is_broken(self) -> bool:
        return self.is_lost

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        (window,) = windows
        if "x" not in window.prosody.line.phonemes:
            return super().vocode(windows)
        if self.as_noise:
            return [np.full(window.n_samples, np.nan, np.float32)]
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


class TestBrokenModel:
    """Its prosody steps always succeed."""

    @staticmethod
    async def failing(engine: Engine, texts: Sequence[str]) -> None:
        """Each text fails its own request."""
        for text in texts:
            with pytest.raises(SynthesisFailed):
                await speak(engine, Utterance(text, "af_aoede"))

    async def test_lost_device_ends_the_engine_at_once(self, autojump_clock: None) -> None:
        inference = InLoopInference(Broken(is_lost=True))
        with pytest.RaisesGroup(pytest.RaisesExc(InferenceBroken, match="illegal"), flatten_subgroups=True):
            async with running(inference) as engine:
                await speak(engine, Utterance("Xylophone.", "af_aoede"))
        assert [step.kind for step in inference.steps] == [StepKind.PROSODY, StepKind.VOCODE]

    @pytest.mark.parametrize("as_noise", [False, True])
    async def test_many_failed_lines_end_the_engine(self, autojump_clock: None, as_noise: bool) -> None:
        texts = [f"{'x' * n}." for n in range(1, 30)]
        n_served = 0
        with pytest.RaisesGroup(InferenceBroken, flatten_subgroups=True):
            async with running(InLoopInference(Broken(as_noise=as_noise), step_seconds=0.5)) as engine:
                began_at = trio.current_time()
                for text in texts:
                    await self.failing(engine, [text])
                    n_served += 1
                await trio.sleep(60)
        assert n_served > MAX_FAILED_LINES, (
            "many lines may fail at once while another process takes the memory"
        )
        assert trio.current_time() - began_at >= MIN_FAILING_S

    async def test_repeated_failure_of_one_line_counts_once(self, autojump_clock: None) -> None:
        async with running(InLoopInference(Broken(), step_seconds=0.5)) as engine:
            await self.failing(engine, ["x."] * 30)
            assert n_samples(await speak(engine)) > 0

    async def test_success_resets_the_count_of_failed_lines(self, autojump_clock: None) -> None:
        async with running(InLoopInference(Broken(), step_seconds=0.5)) as engine:
            for n in range(1, 30):
                await self.failing(engine, [f"{'x' * n}."])
                if n % (MAX_FAILED_LINES - 1) == 0:
                    assert n_samples(await speak(engine)) > 0


class TestStuckReading:
    async def test_stuck_reading_stalls_and_then_ends_the_engine(self, autojump_clock: None) -> None:
        speller = Speller()
        engine = Engine(evolve(CONFIG, stalled_after_s=1.0, stuck_after_s=4.0), InLoopInference(), speller)
        with pytest.RaisesGroup(pytest.RaisesExc(InferenceStuck, match="g2p"), flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                speller.busy_s = 0.9
                assert not engine.statistics().is_stalled
                speller.busy_s = 1.1
                assert engine.statistics().is_stalled
                await trio.sleep(10)
                speller.busy_s = 4.1
                await trio.sleep(10)
        assert engine.has_failed


@frozen
class CalibratingTones(ToneSynthesizer):
    """Tones with two pieces of spare work, which wait for `may_end`. After both, windows may be batched."""

    has_begun: threading.Event = field(factory=threading.Event)
    may_end: threading.Event = field(factory=threading.Event)
    done: list[str] = field(factory=list)

    @property
    def has_spare_work(self) -> bool:
        return self.done.count("spare") < 2

    def do_spare_work(self) -> None:
        self.has_begun.set()
        assert self.may_end.wait(20)
        self.done.append("spare")
        if not self.has_spare_work:
            object.__setattr__(self, "max_batch", 7)

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        self.done.append("prosody")
        return super().prosody(lines)


@frozen
class Interruptible(ToneSynthesizer):
    """Records its steps. The second window of a line with an a lasts until a window with a b is made."""

    is_interruptible = True
    works: list[Callable[[], None]] = field(factory=list)
    diary: list[str] = field(factory=list)
    a_is_held: threading.Event = field(factory=threading.Event)
    now_s: list[float] = field(factory=lambda: [0.0])
    """A clock on which each part of a step takes a second."""

    def interrupt_with(self, work: Callable[[], None]) -> None:
        self.works.append(work)

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        self.note(f"prosody {lines[0].phonemes[0]}")
        return super().prosody(lines)

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        (window,) = windows
        name = f"{window.prosody.line.phonemes[0]} at {window.start_frame}"
        if name == "a at 40":
            self.note("begin of a at 40")
            self.a_is_held.set()
            while "b at 0" not in self.diary:
                self.works[0]()
        self.note(name)
        return super().vocode(windows)

    def note(self, entry: str) -> None:
        self.diary.append(entry)
        self.now_s[0] += 1


class TestInterruptions:
    @asynccontextmanager
    async def held_at_a(
        self, monkeypatch: pytest.MonkeyPatch, tones: Interruptible, telemetry: RecordingTelemetry
    ) -> AsyncIterator[Engine]:
        """While a second window is being made for a listener, until a newcomer with a b has its audio."""
        monkeypatch.setattr("kokoro_trio.engine.inference.time.perf_counter", lambda: tones.now_s[0])
        engine = threaded(lambda: tones, telemetry)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                nursery.start_soon(speak, engine, Utterance("a" * 30, "af_aoede"), "listener")
                await until(tones.a_is_held.is_set)
                yield engine
                await until(lambda: not engine.statistics().streams)
                nursery.cancel_scope.cancel()

    async def test_newcomer_interrupts_a_window(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tones, telemetry = Interruptible(), RecordingTelemetry()
        async with self.held_at_a(monkeypatch, tones, telemetry) as engine:
            async with engine.open(Utterance("b" * 30, "af_aoede"), "newcomer") as stream:
                assert (await anext(stream)).segment == 0
        middle = tones.diary[tones.diary.index("begin of a at 40") :]
        assert middle[:4] == ["begin of a at 40", "prosody b", "b at 0", "a at 40"]
        assert telemetry.steps[2:5] == [("prosody", 1), ("vocode", 1), ("vocode", 2)], (
            "each without the others"
        )

    async def test_thread_ends_after_the_step_in_flight(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tones = Interruptible()
        thread = InferenceThread(lambda: tones)
        async with trio.open_nursery() as nursery:
            await nursery.start(thread.run, lambda step_end: None)
            thread._steps.put(None)
            tones.works[0]()
            await until(lambda: not nursery.child_tasks)


class TestThread:
    async def test_thread_ends_with_the_engine(self) -> None:
        async with started(threaded(ToneSynthesizer)) as engine:
            assert n_samples(await speak(engine, LONG)) > 0

    async def test_heap_is_trimmed_while_idle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heap_module, "REST_S", 0.05)
        memory = ScriptedMemory()
        inference = InferenceThread(ToneSynthesizer, memory.heap())
        async with started(
            Engine(CONFIG, inference, PhonemizerThread(lambda alphabet: SpellingReader()))
        ) as engine:
            assert memory.n_trimmed == 1, "after loading"
            memory.now_s += 60
            memory.resident_bytes += heap_module.MIN_GROWTH_BYTES
            await speak(engine, LONG)
            await until(lambda: memory.n_trimmed >= 2)
            assert n_samples(await speak(engine)) > 0
        assert memory.n_trimmed == 2

    async def test_request_runs_between_two_pieces_of_spare_work(self) -> None:
        tones = CalibratingTones()
        async with started(threaded(lambda: tones)) as engine:
            with trio.fail_after(20):
                await until(tones.has_begun.is_set)
                async with engine.open(HELLO, "s") as stream:
                    await until(lambda: engine.statistics().in_step)
                    tones.may_end.set()
                    assert [piece async for piece in stream]
                await until(lambda: not tones.has_spare_work)
                await speak(engine)
        assert tones.done[:2] == ["spare", "prosody"]
        assert engine._scheduler.max_batch == 7, "the engine reads the largest batch again"

    async def test_many_cancels_leave_nothing_behind(self) -> None:
        engine = threaded(ToneSynthesizer)

        async def open_and_leave(number: int) -> None:
            with trio.move_on_after(0.001 * (number % 13)):
                await speak(engine, LONG, session=f"s{number % 8}")

        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            async with trio.open_nursery() as requests:
                for number in range(200):
                    requests.start_soon(open_and_leave, number)
            assert evolve(engine.statistics(), steps_run=0) == IDLE
            assert n_samples(await speak(engine)) > 0
            nursery.cancel_scope.cancel()


async def test_long_lines_are_split_for_a_model_that_vocodes_them_whole(autojump_clock: object) -> None:
    inference = InLoopInference(ToneSynthesizer(max_line_phonemes=12))
    async with running(inference) as engine:
        await speak(engine, Utterance("one two three four five six", "af_aoede"))
    lines = [line for step in inference.steps for line in step.lines]
    assert [(line.segment, line.phonemes, line.is_continued) for line in lines] == [
        (0, "one two", False),
        (1, "three four", True),
        (2, "five six", True),
    ]


@pytest.mark.parametrize(("speed", "n_lines"), [(0.5, 2), (1.0, 1), (2.0, 1)])
async def test_slow_lines_are_split_shorter(speed: float, n_lines: int, autojump_clock: object) -> None:
    inference = InLoopInference(ToneSynthesizer(max_line_phonemes=24))
    async with running(inference) as engine:
        await speak(engine, Utterance("one two three, four", "af_aoede", speed))
    assert sum(len(step.lines) for step in inference.steps) == n_lines
