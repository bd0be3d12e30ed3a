"""The one thread that runs the model.

It lives as long as the engine, because torch keeps state for each thread: inference mode, captured graphs,
streams. Steps go in through a queue; their outcomes go back to the event loop.
"""

import queue
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import trio
from attrs import field, frozen

from kokoro_trio.engine.heap import Heap
from kokoro_trio.engine.scheduler import Step, StepKind
from kokoro_trio.model.synthesizer import Synthesizer
from kokoro_trio.speech import Samples, Windows


@frozen
class ProsodyMade:
    """The windows of each job of the step."""

    windows: Sequence[Windows]


@frozen
class SoundMade:
    samples: Sequence[Samples]


@frozen
class StepFailed:
    error: Exception = field(eq=False)
    is_final: bool = False
    """The synthesizer cannot compute any more."""


SPARE_WORK_REST_S = 0.25
"""How long the queue must stay empty before the thread starts a piece of spare work."""
LAST_STEP_S = 5.0
"""How long the end of the process waits for the step in flight."""

Outcome = ProsodyMade | SoundMade | StepFailed


@frozen
class StepEnd:
    step: Step
    outcome: Outcome
    seconds: float


OnStepEnd = Callable[[StepEnd], None]
"""Must not raise: it is called in a callback of the event loop, where an exception ends the loop."""


class Inference(Protocol):
    """Runs steps, one at a time.

    While a vocode step runs, one more may be submitted. If the synthesizer is interruptible, the second step
    runs at once and ends first.
    """

    async def run(
        self, on_step_end: OnStepEnd, *, task_status: trio.TaskStatus[Synthesizer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Loads the model, reports it as started, and runs until cancelled."""

    def submit(self, step: Step) -> None: ...


class InferenceThread:
    """Runs steps on its own thread, which calls `load` first.

    The thread also trims the process's heap, because the model is by far the largest user of it.
    """

    def __init__(self, load: Callable[[], Synthesizer], heap: Heap | None = None) -> None:
        self._load = load
        self._heap = heap or Heap()
        self._steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._spent_s = 0.0
        """The time of all steps that have ended. That of a step excludes the steps that interrupted it."""

    async def run(
        self, on_step_end: OnStepEnd, *, task_status: trio.TaskStatus[Synthesizer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Raises any fault of the thread itself, and of `load`."""
        soon: Callable[..., None] = trio.lowlevel.current_trio_token().run_sync_soon
        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_cancelled, ended)
            work = partial(
                self._work,
                partial(soon, task_status.started),
                partial(soon, on_step_end),
                partial(soon, ended.set),
            )
            try:
                # Abandoned only if it never returns, because it holds the model and the device.
                await trio.to_thread.run_sync(work, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True)
            finally:
                nursery.cancel_scope.cancel()

    def submit(self, step: Step) -> None:
        self._steps.put(step)

    async def _stop_when_cancelled(self, ended: trio.Event) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._steps.put(None)
            with trio.move_on_after(LAST_STEP_S, shield=True):
                await ended.wait()

    def _work(
        self,
        on_loaded: Callable[[Synthesizer], None],
        on_step_end: OnStepEnd,
        on_end: Callable[[], None],
    ) -> None:
        try:
            synthesizer = self._load()
            synthesizer.warm_up()
            synthesizer.interrupt_with(partial(self._run_interruption, synthesizer, on_step_end))
            self._heap.trim()
            on_loaded(synthesizer)
            while self._run_next_step(synthesizer, on_step_end):
                self._heap.trim_if_large()
        finally:
            with suppress(trio.RunFinishedError):  # The event loop has ended already.
                on_end()

    def _run_next_step(self, synthesizer: Synthesizer, on_step_end: OnStepEnd) -> bool:
        """Returns False after the last step. Keeps no reference to the step, which may hold large tensors."""
        if (step := self._next_step(synthesizer)) is None:
            return False
        self._run_step(synthesizer, step, on_step_end)
        return True

    def _run_interruption(self, synthesizer: Synthesizer, on_step_end: OnStepEnd) -> None:
        try:
            step = self._steps.get_nowait()
        except queue.Empty:
            return
        if step is None:  # The thread ends after the step that is running.
            self._steps.put(None)
            return
        self._run_step(synthesizer, step, on_step_end)

    def _run_step(self, synthesizer: Synthesizer, step: Step, on_step_end: OnStepEnd) -> None:
        started_at, spent_before_s = time.perf_counter(), self._spent_s
        outcome = run_step(synthesizer, step)
        interrupted_s = self._spent_s - spent_before_s
        seconds = time.perf_counter() - started_at - interrupted_s
        self._spent_s += seconds
        on_step_end(StepEnd(step, outcome, seconds))

    def _next_step(self, synthesizer: Synthesizer) -> Step | None:
        """Waits for a step. While there is none, the thread does spare work and then trims the heap."""
        while synthesizer.has_spare_work:
            with suppress(queue.Empty):
                return self._steps.get(timeout=SPARE_WORK_REST_S)
            synthesizer.do_spare_work()
        if (rest_s := self._heap.rest_s()) is not None:
            with suppress(queue.Empty):
                return self._steps.get(timeout=rest_s)
            self._heap.trim()
        return self._steps.get()


def run_step(synthesizer: Synthesizer, step: Step) -> Outcome:
    """A fault of the model fails only the jobs of this step."""
    try:
        if step.kind is StepKind.PROSODY:
            return ProsodyMade([synthesizer.windows(each) for each in synthesizer.prosody(step.lines)])
        return SoundMade(synthesizer.vocode(step.windows))
    except Exception as error:
        _clear_frames(error)
        return StepFailed(error, synthesizer.is_broken())


def _clear_frames(error: BaseException | None) -> None:
    """Frees the locals of a traceback, such as the tensors of a batch that was too large."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
