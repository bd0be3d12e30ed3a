"""Grapheme-to-phoneme in processes of its own, which share no lock with the event loop."""

import math
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, Generic, TypeVar

import structlog
import trio
import trio_parallel
from attrs import define, field

from kokoro_trio.engine import g2p_worker
from kokoro_trio.engine.g2p_worker import Beginning
from kokoro_trio.engine.phonemizing import Reader
from kokoro_trio.errors import SynthesisFailed
from kokoro_trio.speech import Segment
from kokoro_trio.text.reading import Sentence

T = TypeVar("T")

log = structlog.get_logger()

STUCK_AFTER_S = 60.0
"""A text takes a millisecond a word. A process at work for so long is ended, and another takes its place."""
RETRY_AFTER_S = 1.0
END_TIMEOUT_S = 5.0
"""How long an idle process may take to end."""

MAX_PROCESSES = 4
CORES_PER_PROCESS = 4


def processes_for(cores: int) -> int:
    """How many suit a machine whose GPU makes audio faster than one thread can read texts.

    On a plain CPU grapheme-to-phoneme is a hundredth of the work, and the cores and the memory are better
    left to the model; so they are where the inference thread, the event loop, the encoders and the driver
    already have a core each.
    """
    return min(MAX_PROCESSES, cores // CORES_PER_PROCESS) if cores > CORES_PER_PROCESS else 0


@define(eq=False)
class _Question(Generic[T]):
    """`ask` is called in a worker process."""

    ask: Callable[[], T]
    _answered: trio.Event = field(factory=trio.Event, init=False)
    _answer: T = field(init=False)
    _error: Exception | None = field(default=None, init=False)

    async def wait(self) -> T:
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._answer

    def answer(self, answer: T) -> None:
        self._answer = answer
        self._answered.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._answered.set()


class PhonemizerProcesses:
    """Asks what `load` returns, once in each of `n_processes`.

    `load` and `configure_log` are called there, and found by their names: they stand in a module that can
    be imported, which that of `python -m` is not. Questions are taken in the order in which they come, by
    whichever process is free. A cancelled caller returns at once. The process finishes its sentence, and
    the answer is dropped. A process that dies costs what it was asked then: `SynthesisFailed`.
    """

    def __init__(
        self,
        load: Callable[[frozenset[str]], Reader],
        n_processes: int,
        configure_log: Callable[[], None],
    ) -> None:
        self._load = load
        self._n_processes = n_processes
        self._configure_log = configure_log
        self._send, self._receive = trio.open_memory_channel[_Question[Any]](0)
        self._busy_since: list[float] = []
        """When each process at work began; one that is being replaced counts as at work."""

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        beginning = Beginning(partial(self._load, alphabet), self._configure_log)
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for _ in range(self._n_processes):
                    starting.start_soon(nursery.start, self._work, beginning)
            task_status.started()

    @property
    def busy_s(self) -> float:
        if len(self._busy_since) < self._n_processes:
            return 0.0
        return trio.current_time() - max(self._busy_since)

    async def sentences(self, text: str, language: str) -> list[Sentence]:
        return await self._ask(partial(g2p_worker.sentences, text, language))

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        return await self._ask(partial(g2p_worker.segments, sentence, language, first_index))

    async def _ask(self, ask: Callable[[], T]) -> T:
        question = _Question(ask)
        await self._send.send(question)
        return await question.wait()

    async def _work(
        self, beginning: Beginning, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """One process, and those that take its place."""
        async with _process(beginning) as process:
            await process.load()
            task_status.started()
            async for question in self._receive:
                began_at = trio.current_time()
                self._busy_since.append(began_at)
                if not await process.answer(question):
                    await process.load()
                self._busy_since.remove(began_at)


@define
class _Process:
    """Cancelling what it is at work on ends it at once. The next that is asked is another, not yet loaded."""

    _context: trio_parallel.WorkerContext

    async def load(self) -> None:
        """What the reader itself raises is raised."""
        while True:
            # A process starts as the thread was that starts it; trio takes the one that was free last.
            await trio.to_thread.run_sync(_hold_signals)
            try:
                return await self._run(g2p_worker.warm_up)
            except trio_parallel.BrokenWorkerError as error:
                log.error("g2p_process_not_loaded", exit_code=_exit_code(error))
                await trio.sleep(RETRY_AFTER_S)

    async def answer(self, question: _Question[Any]) -> bool:
        """Whether it is still there then."""
        with trio.move_on_after(STUCK_AFTER_S):
            try:
                question.answer(await self._run(question.ask))
            except trio_parallel.BrokenWorkerError as error:
                log.error("g2p_process_died", exit_code=_exit_code(error))
                question.fail(SynthesisFailed())
                return False
            except Exception as error:
                question.fail(error)  # Whatever it is, it belongs to who asked.
            return True
        log.error("g2p_process_stuck", seconds=STUCK_AFTER_S)
        question.fail(SynthesisFailed())
        return False

    async def _run(self, ask: Callable[[], T]) -> T:
        # There is nothing to limit: one question at a time comes here.
        answer: T = await self._context.run_sync(ask, kill_on_cancel=True, limiter=nullcontext())
        return answer


def _hold_signals() -> None:
    """So that a process is not stopped by what is sent to the whole group before it can ignore it.

    Other threads still take what is sent to the server.
    """
    resource_tracker.ensure_running()  # multiprocessing's; starting it lets them through again.
    signal.pthread_sigmask(signal.SIG_BLOCK, g2p_worker.OF_THE_SERVER)


@asynccontextmanager
async def _process(beginning: Beginning) -> AsyncIterator[_Process]:
    try:
        async with trio_parallel.open_worker_context(
            idle_timeout=math.inf, init=beginning, grace_period=END_TIMEOUT_S
        ) as context:
            yield _Process(context)
    except trio_parallel.BrokenWorkerError as error:
        # It was gone before it was ended, or had to be killed.
        log.warning("g2p_process_ended_badly", exit_code=_exit_code(error))


def _exit_code(error: trio_parallel.BrokenWorkerError) -> int | None:
    """Of the process, which is its last argument."""
    code: int | None = error.args[-1].exitcode
    return code
