"""Where text becomes phonemes: off the event loop, one sentence at a time."""

from collections.abc import Callable
from typing import Protocol

import trio

from kokoro_trio.speech import Segment, Sentence

Phonemize = Callable[[Sentence, str, int], list[Segment]]
"""A sentence, its language and the index of its first segment → segments."""


class Phonemizer(Protocol):
    async def load(self, alphabet: frozenset[str]) -> None:
        """Makes ready for an alphabet of phonemes. Awaited once, before anything else."""

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        """Raises `RequestError` where the sentence cannot be spoken."""


class PhonemizerThread:
    """Calls what `load` returns in a worker thread. One at a time: espeak is not thread-safe."""

    def __init__(self, load: Callable[[frozenset[str]], Phonemize]) -> None:
        self._load = load
        self._phonemize: Phonemize | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def load(self, alphabet: frozenset[str]) -> None:
        self._phonemize = await trio.to_thread.run_sync(self._load, alphabet, limiter=self._limiter)

    async def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        assert self._phonemize is not None, "load comes first"
        return await trio.to_thread.run_sync(
            self._phonemize, sentence, language, first_index, limiter=self._limiter
        )
