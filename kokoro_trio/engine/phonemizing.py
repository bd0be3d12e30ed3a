"""Where text becomes phonemes: off the event loop, one sentence at a time."""

from collections.abc import Callable
from typing import Protocol

import trio

from kokoro_trio.speech import Segment
from kokoro_trio.text.reading import Sentence


class Reader(Protocol):
    """For one thread at a time; which one does not matter."""

    def sentences(self, text: str, language: str) -> list[Sentence]:
        """In order. Raises `RequestError` where the text cannot be spoken."""

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        """None where the sentence makes no sound. Raises `RequestError` where it cannot be spoken."""


class Phonemizer(Protocol):
    """A reader that does not hold up the event loop."""

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Makes ready for an alphabet of phonemes, reports it, and runs until cancelled.

        Once, and nothing is asked before it is ready.
        """

    async def sentences(self, text: str, language: str) -> list[Sentence]: ...

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]: ...


class PhonemizerThread:
    """Asks what `load` returns in a worker thread. One at a time: espeak is not thread-safe."""

    def __init__(self, load: Callable[[frozenset[str]], Reader]) -> None:
        self._load = load
        self._reader: Reader | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def run(
        self, alphabet: frozenset[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._reader = await trio.to_thread.run_sync(self._load, alphabet, limiter=self._limiter)
        task_status.started()
        await trio.sleep_forever()

    async def sentences(self, text: str, language: str) -> list[Sentence]:
        assert self._reader is not None, "run comes first"
        return await trio.to_thread.run_sync(self._reader.sentences, text, language, limiter=self._limiter)

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        assert self._reader is not None, "run comes first"
        return await trio.to_thread.run_sync(
            self._reader.segments, sentence, language, first_index, limiter=self._limiter
        )
