"""Grapheme-to-phoneme in worker processes, which share no lock with the event loop."""

import math
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import structlog
import trio
import trio_parallel
from attrs import define, frozen

from kokoro_trio.engine import g2p_worker
from kokoro_trio.engine.g2p_worker import Setup
from kokoro_trio.engine.phonemizing import Reader
from kokoro_trio.errors import SynthesisFailed
from kokoro_trio.speech import Segment
from kokoro_trio.text.reading import Sentence

T = TypeVar("T")

log = structlog.get_logger()

STUCK_AFTER_S = 60.0
"""Reading takes a millisecond a word. A process that is busy for this long is killed and replaced."""
RETRY_AFTER_S = 1.0
END_TIMEOUT_S = 5.0
"""How long an idle process may take to end."""

MAX_PROCESSES = 4
CORES_PER_PROCESS = 4


def processes_for(cores: int) -> int:
    """The number for a machine whose GPU makes audio faster than one thread can read texts.

    0 if the cores suffice only for the inference thread, the event loop, the encoders and the driver.
    Without a GPU use none: grapheme-to-phoneme is a hundredth of the work, and the model needs the cores and
    the memory.
    """
    return min(MAX_PROCESSES, cores // CORES_PER_PROCESS) if cores > CORES_PER_PROCESS else 0


@frozen
class _Call:
    function: Callable[[], Any]
    """Called in a worker process."""
    send_result: Callable[[Any], None]
    """Takes the result, or an exception to be raised in the task that called."""


class PhonemizerProcesses:
    """Calls the readers of `n_processes`, each of which calls `load` once.

    `load` and `configure_log` must lie in a module that a process can import, which the module of `python -m`
    is not. Any free process takes the oldest call. If a caller is cancelled, it returns at once, and the
    result of the process is dropped. If a process dies, its call fails with `SynthesisFailed`.
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
        self._send, self._receive = trio.open_memory_channel[_Call](0)
        self._busy_since: list[float] = []
        """When each busy process began. A process that is being replaced counts as busy."""

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        setup = Setup(partial(self._load, alphabet), self._configure_log)
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for _ in range(self._n_processes):
                    starting.start_soon(nursery.start, self._work, setup)
            task_status.started()

    @property
    def busy_s(self) -> float:
        if len(self._busy_since) < self._n_processes:
            return 0.0
        return trio.current_time() - max(self._busy_since)

    async def sentences(self, text: str, language: str) -> list[Sentence]:
        return await self._call(partial(g2p_worker.sentences, text, language))

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        return await self._call(partial(g2p_worker.segments, sentence, language, first_index))

    async def _call(self, function: Callable[[], T]) -> T:
        send, receive = trio.open_memory_channel[T | Exception](1)
        await self._send.send(_Call(function, send.send_nowait))
        result = await receive.receive()
        if isinstance(result, Exception):
            raise result
        return result

    async def _work(
        self, setup: Setup, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Runs one process, and its replacements."""
        async with _process(setup) as process:
            await process.load()
            task_status.started()
            async for call in self._receive:
                began_at = trio.current_time()
                self._busy_since.append(began_at)
                if not await process.run(call):
                    await process.load()
                self._busy_since.remove(began_at)


@define
class _Process:
    """Cancelling a call kills the process; the next call starts another, which has to `load`."""

    _context: trio_parallel.WorkerContext

    async def load(self) -> None:
        """Raises the exceptions of the reader's loading."""
        while True:
            # A process inherits the signal mask of the thread that starts it: trio's most recently idle one.
            await trio.to_thread.run_sync(_block_signals)
            try:
                return await self._call(g2p_worker.warm_up)
            except trio_parallel.BrokenWorkerError as error:
                log.error("g2p_process_not_loaded", exit_code=_exit_code(error))
                await trio.sleep(RETRY_AFTER_S)

    async def run(self, call: _Call) -> bool:
        """Sends the result. Returns whether the process is still alive."""
        with trio.move_on_after(STUCK_AFTER_S):
            try:
                call.send_result(await self._call(call.function))
            except trio_parallel.BrokenWorkerError as error:
                log.error("g2p_process_died", exit_code=_exit_code(error))
                call.send_result(SynthesisFailed())
                return False
            except Exception as error:
                call.send_result(error)
            return True
        log.error("g2p_process_stuck", seconds=STUCK_AFTER_S)
        call.send_result(SynthesisFailed())
        return False

    async def _call(self, function: Callable[[], T]) -> T:
        # Needs no limiter: each process gets one call at a time.
        result: T = await self._context.run_sync(function, kill_on_cancel=True, limiter=nullcontext())
        return result


def _block_signals() -> None:
    """Keeps a signal to the whole process group from ending a worker before it can ignore signals.

    Other threads still receive the server's signals.
    """
    resource_tracker.ensure_running()  # Starting multiprocessing's tracker would unblock the signals again.
    signal.pthread_sigmask(signal.SIG_BLOCK, g2p_worker.SERVER_SIGNALS)


@asynccontextmanager
async def _process(setup: Setup) -> AsyncIterator[_Process]:
    try:
        async with trio_parallel.open_worker_context(
            idle_timeout=math.inf, init=setup, grace_period=END_TIMEOUT_S
        ) as context:
            yield _Process(context)
    except trio_parallel.BrokenWorkerError as error:
        # The process died earlier, or had to be killed.
        log.warning("g2p_process_ended_badly", exit_code=_exit_code(error))


def _exit_code(error: trio_parallel.BrokenWorkerError) -> int | None:
    """Of the process, which is the error's last argument."""
    code: int | None = error.args[-1].exitcode
    return code
