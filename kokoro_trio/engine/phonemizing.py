"""Grapheme-to-phoneme outside the event loop, one sentence at a time."""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import trio

from kokoro_trio.speech import Segment
from kokoro_trio.text.reading import Sentence

T = TypeVar("T")

LAST_SENTENCE_S = 5.0
"""How long the end of the process waits for the sentence that is being read."""


class Reader(Protocol):
    """Called from one thread at a time, which may be a different one each time."""

    def sentences(self, text: str, language: str) -> list[Sentence]:
        """In order. Raises `RequestError` if the text cannot be spoken."""

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        """An empty list if the sentence makes no sound. Raises `RequestError` if it cannot be spoken."""


class Phonemizer(Protocol):
    """A reader that does not block the event loop."""

    @property
    def busy_s(self) -> float:
        """For how long every thread or process has been busy with one sentence; 0 while one is free."""

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Loads the reader for an alphabet of phonemes, reports it as started, and runs until cancelled.

        Called once, before any other method.
        """

    async def sentences(self, text: str, language: str) -> list[Sentence]: ...

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]: ...


class PhonemizerThread:
    """Calls the reader that `load` returns in a worker thread, one call at a time: espeak is not thread-safe.

    A cancelled caller returns at once. The thread finishes that sentence, and the next one waits for it.
    """

    def __init__(self, load: Callable[[frozenset[str]], Reader]) -> None:
        self._load = load
        self._reader: Reader | None = None
        self._limiter = trio.CapacityLimiter(1)
        self._began_at: float | None = None

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._reader = await self._call(partial(self._load, alphabet))
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(LAST_SENTENCE_S, shield=True):
                await self._limiter.acquire()

    @property
    def busy_s(self) -> float:
        began_at = self._began_at
        return 0.0 if began_at is None else time.perf_counter() - began_at

    async def sentences(self, text: str, language: str) -> list[Sentence]:
        assert self._reader is not None, "call `run` first"
        return await self._call(partial(self._reader.sentences, text, language))

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        assert self._reader is not None, "call `run` first"
        return await self._call(partial(self._reader.segments, sentence, language, first_index))

    async def _call(self, function: Callable[[], T]) -> T:
        work = partial(self._timed, function)
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)

    def _timed(self, function: Callable[[], T]) -> T:
        """On the worker thread."""
        self._began_at = time.perf_counter()
        try:
            return function()
        finally:
            self._began_at = None
