"""Takes utterances, runs their steps, and delivers their audio.

The engine never waits for a client: the audio goes into the utterance's own channel, and an utterance that
is far ahead of its consumer gets no more steps. The consumer gives two signals: it takes a piece, which may
make the utterance eligible again, or it leaves `open`, which removes the utterance from the scheduler.
"""

from collections import deque
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial

import numpy as np
import structlog
import trio
from attrs import field, frozen

from kokoro_trio.config import EngineConfig
from kokoro_trio.engine.failures import Failures
from kokoro_trio.engine.inference import Inference, ProsodyMade, SoundMade, StepEnd, StepFailed
from kokoro_trio.engine.phonemizing import Phonemizer
from kokoro_trio.engine.scheduler import Job, Scheduler, Step, StepKind
from kokoro_trio.engine.stream import UtteranceStream
from kokoro_trio.engine.utterance import EngineUtterance
from kokoro_trio.errors import (
    InferenceBroken,
    InferenceStuck,
    RequestError,
    SynthesisFailed,
    Unpronounceable,
)
from kokoro_trio.model.synthesizer import EarlyAudio, Synthesizer
from kokoro_trio.speech import MAX_SEGMENT_PHONEMES, Line, Samples, Utterance, Windows
from kokoro_trio.telemetry.telemetry import Telemetry
from kokoro_trio.text.segmentation import cut_segments

log = structlog.get_logger()

G2P = "g2p"
MAX_IN_FLIGHT = 2
"""A step, and one that interrupts it."""
CHECKS_PER_LIMIT = 10
"""How often the watchdog checks within `stuck_after_s`."""


@frozen
class EngineStatistics:
    sessions: int
    active: int
    waiting: int
    in_step: int
    streams: int
    """Utterances that are open: each has a channel and a nursery."""
    steps_run: int
    is_stalled: bool = False
    """A step, or the reading of a sentence, takes longer than `stalled_after_s`; or the engine has failed."""
    early_audio: EarlyAudio | None = field(default=None, eq=False)
    """None while the model is loading."""
    slacks_s: tuple[float, ...] = ()
    """For each playout that has begun and needs more audio, the seconds until it runs dry."""


@frozen(eq=False)
class _InFlight:
    step: Step
    began_at: float


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
        self._utterances: dict[Job, EngineUtterance] = {}
        self._retries: deque[Step] = deque()
        self._synthesizer: Synthesizer | None = None
        self._in_flight: list[_InFlight] = []
        self._stalled_after_s = config.stalled_after_s
        self._stuck_after_s = config.stuck_after_s
        self._n_steps = 0
        self._has_failed = False
        self._failures = Failures()

    async def run(self, *, task_status: trio.TaskStatus[Synthesizer] = trio.TASK_STATUS_IGNORED) -> None:
        """Loads the model and serves until cancelled; reports the model as started when it is ready.

        Raises any fault of the engine itself, `InferenceStuck` if a step or the reading of a text never
        returns, and `InferenceBroken` if all steps fail: the caller must then end the process.
        """
        send, step_ends = trio.open_memory_channel[StepEnd](MAX_IN_FLIGHT)
        try:
            async with trio.open_nursery() as nursery:
                synthesizer = await nursery.start(self._inference.run, send.send_nowait)
                await nursery.start(self._phonemizer.run, synthesizer.alphabet)
                self._synthesizer = synthesizer
                self._scheduler.max_batch = synthesizer.max_batch
                nursery.start_soon(self._take_step_ends, step_ends)
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
                self._has_failed = True  # Before another task submits a step.
                raise
            del step_end  # Frees the tensors of its batch.

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self._stuck_after_s / CHECKS_PER_LIMIT)
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
    def has_failed(self) -> bool:
        """The engine ended by a fault, and left the outstanding requests unfinished."""
        return self._has_failed

    def statistics(self) -> EngineStatistics:
        scheduler = self._scheduler.statistics()
        return EngineStatistics(
            sessions=scheduler.sessions,
            active=scheduler.active,
            waiting=scheduler.waiting,
            in_step=scheduler.in_step,
            streams=len(self._utterances),
            steps_run=self._n_steps,
            is_stalled=self._has_failed or self._longest_work()[0] > self._stalled_after_s,
            early_audio=None if self._synthesizer is None else self._synthesizer.early_audio,
            slacks_s=self._scheduler.slacks_s(trio.current_time()),
        )

    @property
    def is_full(self) -> bool:
        """The queue of utterances that wait for a slot has reached its limit."""
        return self._scheduler.is_full

    @property
    def _loaded(self) -> Synthesizer:
        assert self._synthesizer is not None, "the engine is used before it is ready"
        return self._synthesizer

    # One utterance.

    def open(
        self, utterance: Utterance, session: Hashable, playout: Hashable = None
    ) -> AbstractAsyncContextManager[UtteranceStream]:
        """Adds an utterance to the engine; leaving the block removes it, in any state.

        The order of these calls, not of entering the blocks, is the order of a session's utterances, so the
        block must be entered. Sessions share the slots. Utterances of a session with different `playout`
        are heard at the same time; those with the same are heard one after the other.

        A step that is in flight runs to its end, and its result for this utterance is dropped.
        """
        job = self._scheduler.add(session, playout)
        self._utterances[job] = opened = EngineUtterance(utterance, job)
        return self._opened(opened)

    @asynccontextmanager
    async def _opened(self, utterance: EngineUtterance) -> AsyncIterator[UtteranceStream]:
        failure: RequestError | None = None
        is_canceled = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, utterance)
            self._advance()
            try:
                yield utterance.stream(partial(self._taken, utterance.job))
                is_canceled = False
            except RequestError as error:
                is_canceled = False
                failure = error  # Raised below: a nursery would wrap it in a group.
            finally:
                nursery.cancel_scope.cancel()
                self._close(utterance, is_canceled)
        if failure is not None:
            raise failure

    def _close(self, utterance: EngineUtterance, is_canceled: bool) -> None:
        del self._utterances[utterance.job]
        utterance.close()
        leave = self._scheduler.cancel if is_canceled else self._scheduler.remove
        leave(utterance.job, trio.current_time())
        self._advance()

    def _taken(self, job: Job, seconds: float) -> None:
        self._scheduler.taken(job, seconds)
        self._advance()

    async def _read(self, utterance: EngineUtterance) -> None:
        """Turns the text into lines, each sentence shortly before it is needed."""
        await utterance.slot_given.wait()
        with self._failing_only(utterance.job):
            await self._add_lines(utterance)
        self._advance()

    async def _add_lines(self, utterance: EngineUtterance) -> None:
        request, job = utterance.request, utterance.job
        for sentence in await self._phonemizer.sentences(request.text, request.language):
            if utterance.n_segments:
                await utterance.wait_until_text_is_needed()
            segments = await self._phonemizer.segments(sentence, request.language, utterance.n_segments)
            if job.is_abandoned:
                return
            utterance.add_silence(sentence.silence_before_s)
            if segments:
                segments = cut_segments(segments, self._max_phonemes(request.speed))
                self._scheduler.add_lines(job, utterance.add_segments(segments))
                self._advance()
        if not utterance.n_segments:
            raise Unpronounceable
        self._scheduler.end_lines(job)
        self._end_if_made(job)

    def _max_phonemes(self, speed: float) -> int:
        limit = self._loaded.max_line_phonemes
        # At half the speed a line lasts twice as long.
        return limit if limit == MAX_SEGMENT_PHONEMES else max(1, round(limit * speed))

    @contextmanager
    def _failing_only(self, job: Job) -> Iterator[None]:
        """A fault in the block ends only this utterance."""
        try:
            yield
        except RequestError as error:
            self._fail(job, error)
        except Exception:
            log.exception("utterance_failed")
            self._fail(job, SynthesisFailed())

    def _fail(self, job: Job, error: RequestError) -> None:
        """Ends an utterance early; its consumer gets the audio made before, then the error."""
        self._scheduler.abandon(job)
        if (utterance := self._utterances.get(job)) is not None:
            utterance.fail(error)

    def _end_if_made(self, job: Job) -> None:
        if job.is_made and not job.is_abandoned:
            self._scheduler.add_silence(job, self._utterances[job].end())

    # Steps.

    def _advance(self) -> None:
        """After any change in the scheduler: starts the admitted utterances, and submits the next step."""
        for job in self._scheduler.pop_admitted():
            self._utterances[job].slot_given.set()
        if not self._has_failed and (step := self._next_step()) is not None:
            self._in_flight.append(_InFlight(step, trio.current_time()))
            self._inference.submit(step)
            for job in step.jobs:
                self._utterances[job].note_progress()

    def _next_step(self) -> Step | None:
        now = trio.current_time()
        if self._in_flight:
            step = self._in_flight[0].step
            may_interrupt = step.kind is StepKind.VOCODE and self._loaded.is_interruptible
            is_alone = len(self._in_flight) < MAX_IN_FLIGHT
            return self._scheduler.next_interruption(step, now) if is_alone and may_interrupt else None
        while self._retries:
            step = self._retries.popleft()
            if all(job in self._utterances for job in step.jobs):
                return step
        return self._scheduler.next_step(now)

    def _take_step_end(self, step_end: StepEnd) -> None:
        step = step_end.step
        self._in_flight = [each for each in self._in_flight if each.step is not step]
        self._n_steps += 1
        self._telemetry.step_ended(step.kind.value, step_end.seconds)
        # The synthesizer changes the limit when it runs out of memory, and after its calibration.
        self._scheduler.max_batch = self._loaded.max_batch
        match step_end.outcome:
            case ProsodyMade(windows):
                self._take_prosody(step, windows)
            case SoundMade(samples):
                self._take_sound(step, samples)
            case StepFailed() as failure:
                self._retry_or_fail(step, failure)
        self._advance()

    def _take_prosody(self, step: Step, windows: Sequence[Windows]) -> None:
        self._failures.add_success(step.kind)
        self._scheduler.complete_prosody(step, windows)
        for job, its_windows in zip(step.jobs, windows, strict=True):
            if not job.is_abandoned:
                with self._failing_only(job):
                    self._utterances[job].send_words(its_windows)

    def _take_sound(self, step: Step, sound: Sequence[Samples]) -> None:
        self._scheduler.complete_vocode(step, trio.current_time())
        for job, window, samples in zip(step.jobs, step.windows, sound, strict=True):
            line = window.prosody.line
            if not np.isfinite(samples).all():
                log.error("not_finite_samples", line=line)
                self._fail_line(step.kind, line, job)
                continue
            self._failures.add_success(step.kind)
            if not job.is_abandoned:
                with self._failing_only(job):
                    silence_s = self._utterances[job].send_audio(line.segment, samples)
                    self._scheduler.add_silence(job, silence_s)
                    self._end_if_made(job)

    def _retry_or_fail(self, step: Step, failure: StepFailed) -> None:
        if failure.is_final:
            log.critical("inference_broken", kind=step.kind.value, exc_info=failure.error)
            raise InferenceBroken(str(failure.error))
        if len(step.jobs) > 1:
            # One line that the model rejects must not fail the other utterances of its batch.
            log.warning("batch_failed", jobs=len(step.jobs), exc_info=failure.error)
            self._retries.extend(step.singly())
            return
        log.error("step_failed", kind=step.kind.value, exc_info=failure.error)
        self._scheduler.complete_failed(step)
        (job,) = step.jobs
        line = step.lines[0] if step.lines else step.windows[0].prosody.line
        self._fail_line(step.kind, line, job)

    def _fail_line(self, kind: StepKind, line: Line, job: Job) -> None:
        self._fail(job, SynthesisFailed())
        self._failures.add_failure(kind, line.phonemes, trio.current_time())
