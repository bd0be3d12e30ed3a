"""Admission, the way of an utterance through the model, and delivery to whoever asked for it.

The engine never waits for a client: what is made goes into the utterance's own channel, and an
utterance that is far ahead of its consumer gets no more steps. Two edges lead back: a piece that is
taken makes its utterance eligible again, and leaving `open` makes the scheduler forget it.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress

import numpy as np
import structlog
import trio
from attrs import define, field, frozen

from kokoro_trio.config import EngineConfig
from kokoro_trio.engine.inference import Inference, ProsodyMade, SoundMade, StepEnd, StepFailed
from kokoro_trio.engine.phonemizing import Phonemizer
from kokoro_trio.engine.scheduler import Job, Scheduler, Step, StepKind
from kokoro_trio.engine.timing import word_times
from kokoro_trio.errors import (
    InferenceBroken,
    InferenceStuck,
    RequestError,
    SynthesisFailed,
    TooManyPhonemes,
    Unpronounceable,
)
from kokoro_trio.model.synthesizer import EarlyAudio, Synthesizer
from kokoro_trio.speech import (
    MAX_SEGMENT_PHONEMES,
    SAMPLE_RATE_HZ,
    Line,
    Samples,
    Segment,
    Utterance,
    Windows,
    WordTime,
)
from kokoro_trio.telemetry.telemetry import Telemetry
from kokoro_trio.text.segmentation import cut_segments
from kokoro_trio.wire.limits import MAX_UTTERANCE_PHONEMES

log = structlog.get_logger()

G2P = "g2p"
MAX_IN_FLIGHT = 2
WATCHES_PER_LIMIT = 10
"""How many times the watchdog looks within `stuck_after_s`."""
MAX_FAILED_LINES, MIN_FAILING_S = 8, 10.0
"""When at least so many different lines have failed one after the other, over at least so many seconds, the
model is at fault, not the lines."""
LINES_AHEAD = 2
"""The text side reads on while fewer lines than this wait for prosody. Reading one takes less time than any
step."""


@frozen
class Piece:
    """The next stretch of an utterance's audio, and the segment it belongs to: a pause, then samples.

    A pause is a length, not an array: a client may ask for thirty seconds of it.
    """

    segment: int
    samples: Samples
    silence_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.silence_s + len(self.samples) / SAMPLE_RATE_HZ


@frozen
class EngineStatistics:
    is_ready: bool
    sessions: int
    active: int
    waiting: int
    in_step: int
    streams: int
    """Utterances that somebody still has open: each has a channel and a nursery."""
    steps_run: int
    is_stalled: bool = False
    """A step, or the reading of a text, takes longer than any should; or the engine has failed."""
    early_audio: EarlyAudio | None = field(default=None, eq=False)
    """None while the model is loading."""
    slacks_s: tuple[float, ...] = ()
    """For each listener who hears something and waits for more, seconds until there is nothing to hear."""


@frozen
class _Failures:
    since: float
    phonemes: set[str] = field(factory=set)


@frozen(eq=False)
class _InFlight:
    step: Step
    began_at: float


@define(eq=False)
class UtteranceStream:
    """The audio of one utterance, as it is made. Iterate it inside `Engine.open`.

    Iterating raises `RequestError` where the utterance cannot be spoken (to the end). `words` brings the
    words of one segment after the other, each before any of its audio; it ends when `open` is left, and may
    be closed before.
    """

    words: trio.MemoryReceiveChannel[list[WordTime]]
    _engine: "Engine"
    _job: Job
    _utterance: Utterance
    _send: trio.MemorySendChannel[Piece]
    _receive: trio.MemoryReceiveChannel[Piece]
    _send_words: trio.MemorySendChannel[list[WordTime]]
    _slot_given: trio.Event = field(factory=trio.Event)
    _error: RequestError | None = None
    _segments: deque[Segment] = field(factory=deque)
    """Whose prosody is not known yet."""
    _silences_s: dict[int, float] = field(factory=dict)
    """By segment, what is to be heard before it and has not been delivered."""
    _planned_s: float = 0.0
    """The audio of all segments whose prosody is known."""
    _has_begun: bool = False
    """Some of its audio is delivered."""
    _progress: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    """The text side waits here for the next step of this utterance to begin, or to bring audio."""
    _last_segment: int = 0
    _silence_after_s: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """Every slot is busy: nothing is being made of this utterance yet."""
        return not self._slot_given.is_set()

    async def wait_for_slot(self) -> None:
        await self._slot_given.wait()

    def __aiter__(self) -> "UtteranceStream":
        return self

    async def __anext__(self) -> Piece:
        try:
            piece = await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None
        self._engine._taken(self._job, piece.seconds)
        return piece

    # For the engine.

    def _add_segments(self, segments: Sequence[Segment], silence_before_s: float) -> None:
        self._segments.extend(segments)
        self._last_segment = segments[-1].index
        if silence_before_s:
            self._silences_s[segments[0].index] = silence_before_s

    def _plan(self, windows: Windows) -> None:
        """The prosody of the next segment is known, and so is when its words will be heard."""
        segment = self._segments.popleft()
        self._planned_s += self._silences_s.get(segment.index, 0.0)
        prosody = windows.prosody
        times = word_times(
            segment,
            prosody.durations_frames.tolist(),
            windows.start_frame,
            self._planned_s,
            prosody.line.speed,
        )
        self._planned_s += windows.seconds
        with suppress(trio.BrokenResourceError):  # Nobody listens to them any more.
            self._send_words.send_nowait(times)

    def _deliver(self, segment: int, samples: Samples) -> float:
        """The samples of its next window, and before the first the silence, whose seconds are returned."""
        silence_s = self._silences_s.pop(segment, 0.0)
        self._send.send_nowait(Piece(segment, samples, silence_s))
        self._has_begun = True
        self._progress.unpark_all()
        return silence_s

    async def _until_text_is_wanted(self) -> None:
        """Returns when the next sentence should be read.

        Grapheme-to-phoneme holds Python's lock, which the steps need, so it waits for the first audio, or
        until the last window of what was read is being made.
        """
        job = self._job
        while len(job.lines) >= LINES_AHEAD or not (self._has_begun or self._is_vocoding_the_last_window):
            await self._progress.park()

    @property
    def _is_vocoding_the_last_window(self) -> bool:
        return not self._segments and not self._job.windows

    def _end(self) -> float:
        """All segments are delivered. Returns the seconds of silence behind the last."""
        if self._silence_after_s:
            nothing = np.zeros(0, np.float32)
            self._send.send_nowait(Piece(self._last_segment, nothing, self._silence_after_s))
        self._send.close()
        return self._silence_after_s

    def _fail(self, error: RequestError) -> None:
        """Keeps the first error: after a fault of the text a step that is still in flight may fail, too."""
        self._error = self._error or error
        self._send.close()

    def _forget(self) -> None:
        self._receive.close()
        self._send_words.close()


class Engine:
    """`run` it in a nursery; then `open` utterances from any number of tasks."""

    def __init__(
        self,
        config: EngineConfig,
        inference: Inference,
        phonemizer: Phonemizer,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._inference = inference
        self._phonemizer = phonemizer
        self._telemetry = telemetry or Telemetry()
        self.max_concurrent_jobs = config.max_concurrent_jobs
        self._scheduler = Scheduler(max_active=config.max_concurrent_jobs, queue_maxsize=config.queue_maxsize)
        self._streams: dict[Job, UtteranceStream] = {}
        self._retries: deque[Step] = deque()
        self._synthesizer: Synthesizer | None = None
        self._in_flight: list[_InFlight] = []
        """A step, and one that interrupts it."""
        self._stalled_after_s = config.stalled_after_s
        self._stuck_after_s = config.stuck_after_s
        self._n_steps = 0
        self._is_ready = False
        self._has_failed = False
        self._failures: dict[StepKind, _Failures] = {}
        """What has failed since the last success of a step of its kind."""

    async def run(self, *, task_status: trio.TaskStatus[Synthesizer] = trio.TASK_STATUS_IGNORED) -> None:
        """Loads the model and serves until cancelled; reports the model as started when it is ready.

        A fault of the engine itself is raised from here, `InferenceStuck` where a step or the reading of a
        text never returns, and `InferenceBroken` where steps only fail: the caller must then end the process.
        """
        send, step_ends = trio.open_memory_channel[StepEnd](MAX_IN_FLIGHT)
        try:
            async with trio.open_nursery() as nursery:
                synthesizer = await nursery.start(self._inference.run, send.send_nowait)
                await nursery.start(self._phonemizer.run, synthesizer.alphabet)
                self._synthesizer = synthesizer
                self._scheduler.max_batch = synthesizer.max_batch
                nursery.start_soon(self._take_step_ends, step_ends)
                self._is_ready = True
                task_status.started(synthesizer)
                await self._watch()
        except* trio.Cancelled:
            raise
        except* BaseException:
            self._has_failed = True
            raise

    async def _take_step_ends(self, step_ends: trio.MemoryReceiveChannel[StepEnd]) -> None:
        async for step_end in step_ends:
            try:
                self._take_step_end(step_end)
            except Exception:
                self._has_failed = True  # Before anybody submits another step.
                raise
            del step_end  # It holds the tensors of its batch.

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self._stuck_after_s / WATCHES_PER_LIMIT)
            seconds, kind = self._longest_work()
            if seconds > self._stuck_after_s:
                log.critical("inference_stuck", kind=kind, seconds=seconds)
                raise InferenceStuck(kind, seconds)

    def _longest_work(self) -> tuple[float, str]:
        """The older of the step in flight and the sentence that is being read: its seconds and its name."""
        reading = (self._phonemizer.busy_s, G2P)
        if not self._in_flight:
            return reading
        oldest = self._in_flight[0]
        return max(reading, (trio.current_time() - oldest.began_at, oldest.step.kind.value))

    @property
    def is_ready(self) -> bool:
        return self._is_ready

    @property
    def has_failed(self) -> bool:
        """The engine ended by a fault, and left the outstanding requests unfinished."""
        return self._has_failed

    def statistics(self) -> EngineStatistics:
        scheduler = self._scheduler.statistics()
        return EngineStatistics(
            is_ready=self.is_ready,
            sessions=scheduler.sessions,
            active=scheduler.active,
            waiting=scheduler.waiting,
            in_step=scheduler.in_step,
            streams=len(self._streams),
            steps_run=self._n_steps,
            is_stalled=self._has_failed or self._longest_work()[0] > self._stalled_after_s,
            early_audio=None if self._synthesizer is None else self._synthesizer.early_audio,
            slacks_s=self._scheduler.slacks_s(trio.current_time()),
        )

    @property
    def is_full(self) -> bool:
        """As many utterances wait for a slot as may, whoever sent them."""
        return self._scheduler.is_full

    def open(
        self, utterance: Utterance, session: Hashable, playout: Hashable = None
    ) -> AbstractAsyncContextManager[UtteranceStream]:
        """Takes an utterance into the engine; leaving the block takes it out, at whatever point it is.

        Utterances of one session are made in the order of the calls, not in that of entering the blocks;
        so the block must be entered. Slots are shared out by `session`; `playout` tells apart the
        utterances of a session that are heard side by side, None: they are heard one after the other.

        A step that is in flight runs to its end, and what it brings for this utterance is dropped.
        """
        job = self._scheduler.add(session, playout)
        # What the channel holds is bounded by the scheduler, which stops a few seconds ahead.
        send, receive = trio.open_memory_channel[Piece](math.inf)
        send_words, words = trio.open_memory_channel[list[WordTime]](math.inf)
        self._streams[job] = stream = UtteranceStream(words, self, job, utterance, send, receive, send_words)
        return self._opened(stream)

    @asynccontextmanager
    async def _opened(self, stream: UtteranceStream) -> AsyncIterator[UtteranceStream]:
        failure: RequestError | None = None
        is_canceled = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_out, stream)
            self._go_on()
            try:
                yield stream
                is_canceled = False
            except RequestError as error:
                is_canceled = False
                failure = error  # Raised below: a nursery would hand it on in a group.
            finally:
                nursery.cancel_scope.cancel()
                self._forget(stream, is_canceled)
        if failure is not None:
            raise failure

    def _forget(self, stream: UtteranceStream, is_canceled: bool) -> None:
        del self._streams[stream._job]
        stream._forget()
        leave = self._scheduler.cancel if is_canceled else self._scheduler.remove
        leave(stream._job, trio.current_time())
        self._go_on()

    def _go_on(self) -> None:
        """After any change in the scheduler: starts what it admitted, and runs its next step."""
        assert self._is_ready, "an utterance was opened before the engine was ready"
        for job in self._scheduler.pop_admitted():
            self._streams[job]._slot_given.set()
        if not self._has_failed and (step := self._next_step()) is not None:
            self._in_flight.append(_InFlight(step, trio.current_time()))
            self._inference.submit(step)
            for job in step.jobs:
                self._streams[job]._progress.unpark_all()

    async def _read_out(self, stream: UtteranceStream) -> None:
        """Sentence by sentence from text to lines, each not long before it is needed."""
        await stream.wait_for_slot()
        with self._at_the_cost_of(stream._job):
            await self._add_lines(stream, stream._utterance)
        self._go_on()

    @contextmanager
    def _at_the_cost_of(self, job: Job) -> Iterator[None]:
        """A fault in here ends one utterance, and nothing else."""
        try:
            yield
        except RequestError as error:
            self._fail(job, error)
        except Exception:
            log.exception("utterance_failed")
            self._fail(job, SynthesisFailed())

    async def _add_lines(self, stream: UtteranceStream, utterance: Utterance) -> None:
        n_segments, n_phonemes = 0, 0
        silence_s = 0.0
        for sentence in await self._phonemizer.sentences(utterance.text, utterance.language):
            if n_segments:
                await stream._until_text_is_wanted()
            silence_s += sentence.silence_before_s
            segments = await self._phonemizer.segments(sentence, utterance.language, n_segments)
            if stream._job.is_abandoned:
                return
            if not segments:
                continue
            segments = cut_segments(segments, self._max_phonemes(utterance.speed))
            n_segments += len(segments)
            n_phonemes += sum(len(segment.phonemes) for segment in segments)
            if n_phonemes > MAX_UTTERANCE_PHONEMES:
                raise TooManyPhonemes(MAX_UTTERANCE_PHONEMES)
            stream._add_segments(segments, silence_s)
            silence_s = 0.0
            lines = [
                Line(s.index, s.phonemes, utterance.voice, utterance.speed, s.is_continued) for s in segments
            ]
            self._scheduler.add_lines(stream._job, lines)
            self._go_on()
        if n_segments == 0:
            raise Unpronounceable
        stream._silence_after_s = silence_s
        self._scheduler.end_lines(stream._job)
        self._close_if_made(stream._job)

    def _max_phonemes(self, speed: float) -> int:
        assert self._synthesizer is not None
        limit = self._synthesizer.max_line_phonemes
        # At half the speed a line lasts twice as long.
        return limit if limit == MAX_SEGMENT_PHONEMES else max(1, round(limit * speed))

    def _next_step(self) -> Step | None:
        now = trio.current_time()
        if self._in_flight:
            assert self._synthesizer is not None
            step = self._in_flight[0].step
            may_interrupt = step.kind is StepKind.VOCODE and self._synthesizer.is_interruptible
            is_alone = len(self._in_flight) < MAX_IN_FLIGHT
            return self._scheduler.next_interruption(step, now) if is_alone and may_interrupt else None
        while self._retries:
            step = self._retries.popleft()
            if all(job in self._streams for job in step.jobs):
                return step
        return self._scheduler.next_step(now)

    def _take_step_end(self, step_end: StepEnd) -> None:
        step = step_end.step
        self._in_flight = [each for each in self._in_flight if each.step is not step]
        self._n_steps += 1
        self._telemetry.step_ended(step.kind.value, step_end.seconds)
        assert self._synthesizer is not None
        # It may have run out of memory, or have been calibrated.
        self._scheduler.max_batch = self._synthesizer.max_batch
        match step_end.outcome:
            case ProsodyMade(windows):
                self._plan(step, windows)
            case SoundMade(samples):
                self._deliver(step, samples)
            case StepFailed() as failure:
                self._retry_or_fail(step, failure)
        self._go_on()

    def _plan(self, step: Step, windows: Sequence[Windows]) -> None:
        self._failures.pop(step.kind, None)
        self._scheduler.complete_prosody(step, windows)
        for job, its_windows in zip(step.jobs, windows, strict=True):
            if not job.is_abandoned:
                with self._at_the_cost_of(job):
                    self._streams[job]._plan(its_windows)

    def _deliver(self, step: Step, sound: Sequence[Samples]) -> None:
        self._scheduler.complete_vocode(step, trio.current_time())
        for job, window, samples in zip(step.jobs, step.windows, sound, strict=True):
            line = window.prosody.line
            if not np.isfinite(samples).all():
                log.error("not_finite_samples", line=line)
                self._has_failed_at(step.kind, line, job)
                continue
            self._failures.pop(step.kind, None)
            if not job.is_abandoned:
                with self._at_the_cost_of(job):
                    silence_s = self._streams[job]._deliver(line.segment, samples)
                    self._scheduler.add_silence(job, silence_s)
                    self._close_if_made(job)

    def _retry_or_fail(self, step: Step, failure: StepFailed) -> None:
        if failure.is_final:
            log.critical("inference_broken", kind=step.kind.value, exc_info=failure.error)
            raise InferenceBroken(str(failure.error))
        if len(step.jobs) > 1:
            # One line that the model cannot take must not cost the others of its batch.
            log.warning("batch_failed", jobs=len(step.jobs), exc_info=failure.error)
            self._retries.extend(step.singly())
            return
        log.error("step_failed", kind=step.kind.value, exc_info=failure.error)
        self._scheduler.complete_failed(step)
        (job,) = step.jobs
        line = step.lines[0] if step.lines else step.windows[0].prosody.line
        self._has_failed_at(step.kind, line, job)

    def _has_failed_at(self, kind: StepKind, line: Line, job: Job) -> None:
        """Raises `InferenceBroken` if `MAX_FAILED_LINES` lines have failed over `MIN_FAILING_S`.

        A line that a client repeats counts once. The engine waits for `MIN_FAILING_S` because another process
        may take all the memory of a GPU for a moment.
        """
        self._fail(job, SynthesisFailed())
        now = trio.current_time()
        failures = self._failures.setdefault(kind, _Failures(since=now))
        failures.phonemes.add(line.phonemes)
        n_lines = len(failures.phonemes)
        if n_lines >= MAX_FAILED_LINES and now - failures.since >= MIN_FAILING_S:
            log.critical("inference_broken", kind=kind.value, lines=n_lines)
            raise InferenceBroken(f"{n_lines} different lines one after the other")

    def _fail(self, job: Job, error: RequestError) -> None:
        """Ends an utterance early; its consumer gets what was made before, then the error."""
        self._scheduler.abandon(job)
        if (stream := self._streams.get(job)) is not None:
            stream._fail(error)

    def _close_if_made(self, job: Job) -> None:
        if job.is_made and not job.is_abandoned:
            self._scheduler.add_silence(job, self._streams[job]._end())

    def _taken(self, job: Job, seconds: float) -> None:
        self._scheduler.taken(job, seconds)
        self._go_on()
