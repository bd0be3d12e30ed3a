"""The consumer's side of an utterance: its audio and word times, as they are made."""

from collections.abc import Callable

import trio
from attrs import frozen

from kokoro_trio.errors import RequestError
from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples, WordTime


@frozen
class Piece:
    """The next stretch of an utterance's audio, and the segment it belongs to: a pause, then samples.

    A pause is a length, not an array: a client may request thirty seconds of it.
    """

    segment: int
    samples: Samples
    silence_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.silence_s + len(self.samples) / SAMPLE_RATE_HZ


Delivery = Piece | RequestError


@frozen(eq=False)
class UtteranceStream:
    """Iterate it inside `Engine.open`.

    Iterating raises `RequestError` after the last piece if the utterance cannot be spoken to its end. `words`
    has one list for each segment, sent before any of its audio; it ends when `open` is left, and may be
    closed earlier.
    """

    words: trio.MemoryReceiveChannel[list[WordTime]]
    _deliveries: trio.MemoryReceiveChannel[Delivery]
    _slot_given: trio.Event
    _on_taken: Callable[[float], None]

    @property
    def is_waiting(self) -> bool:
        """Every slot is busy, so the engine has not begun this utterance."""
        return not self._slot_given.is_set()

    async def wait_for_slot(self) -> None:
        await self._slot_given.wait()

    def __aiter__(self) -> "UtteranceStream":
        return self

    async def __anext__(self) -> Piece:
        try:
            delivery = await self._deliveries.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        if isinstance(delivery, RequestError):
            raise delivery
        self._on_taken(delivery.seconds)
        return delivery
