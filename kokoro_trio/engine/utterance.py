"""The engine's side of an utterance: collects its segments, and sends their audio and word times."""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np
import trio
from attrs import define, field

from kokoro_trio.engine.scheduler import Job
from kokoro_trio.engine.stream import Delivery, Piece, UtteranceStream
from kokoro_trio.engine.timing import word_times
from kokoro_trio.errors import RequestError, TooManyPhonemes
from kokoro_trio.speech import Line, Samples, Segment, Utterance, Windows, WordTime
from kokoro_trio.wire.limits import MAX_UTTERANCE_PHONEMES

T = TypeVar("T")
Channel = tuple[trio.MemorySendChannel[T], trio.MemoryReceiveChannel[T]]

LINES_AHEAD = 2
"""The text side reads on while fewer lines than this wait for prosody. Reading a sentence takes less time
than any step."""


@define(eq=False)
class EngineUtterance:
    """Only the engine changes it. It sends to the consumer's `UtteranceStream`."""

    request: Utterance
    job: Job
    slot_given: trio.Event = field(factory=trio.Event)
    n_segments: int = 0
    # Bounded by the scheduler, which stops a few seconds ahead of the consumer.
    _deliveries: Channel[Delivery] = field(factory=lambda: trio.open_memory_channel[Delivery](math.inf))
    _words: Channel[list[WordTime]] = field(
        factory=lambda: trio.open_memory_channel[list[WordTime]](math.inf)
    )
    _segments: deque[Segment] = field(factory=deque)
    """The segments without prosody."""
    _n_phonemes: int = 0
    _silences_s: dict[int, float] = field(factory=lambda: defaultdict(float))
    """The unsent pause before each segment, by its index. The pause at the end has the next index."""
    _planned_s: float = 0.0
    """The length of all segments that have prosody, with their pauses."""
    _has_begun: bool = False
    """Some of its audio was sent."""
    _progress: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    """The text side waits here until a step of this utterance begins or brings audio."""

    def stream(self, on_taken: Callable[[float], None]) -> UtteranceStream:
        return UtteranceStream(self._words[1], self._deliveries[1], self.slot_given, on_taken)

    def add_silence(self, seconds: float) -> None:
        """A pause after the segments that were added, and before those that follow."""
        self._silences_s[self.n_segments] += seconds

    def add_segments(self, segments: Sequence[Segment]) -> list[Line]:
        """Returns their lines. Raises `TooManyPhonemes`."""
        self.n_segments += len(segments)
        self._n_phonemes += sum(len(segment.phonemes) for segment in segments)
        if self._n_phonemes > MAX_UTTERANCE_PHONEMES:
            raise TooManyPhonemes(MAX_UTTERANCE_PHONEMES)
        self._segments.extend(segments)
        voice, speed = self.request.voice, self.request.speed
        return [Line(each.index, each.phonemes, voice, speed, each.is_continued) for each in segments]

    def send_words(self, windows: Windows) -> None:
        """The prosody of the next segment is known, and so are the times of its words."""
        segment = self._segments.popleft()
        self._planned_s += self._silences_s[segment.index]
        prosody = windows.prosody
        times = word_times(
            segment,
            prosody.durations_frames.tolist(),
            windows.start_frame,
            self._planned_s,
            prosody.line.speed,
        )
        self._planned_s += windows.seconds
        with suppress(trio.BrokenResourceError):  # The consumer has closed `words`.
            self._words[0].send_nowait(times)

    def send_audio(self, segment: int, samples: Samples) -> float:
        """Sends a window, after the pause before its segment. Returns the seconds of that pause."""
        silence_s = self._silences_s.pop(segment, 0.0)
        self._deliveries[0].send_nowait(Piece(segment, samples, silence_s))
        self._has_begun = True
        self.note_progress()
        return silence_s

    def note_progress(self) -> None:
        self._progress.unpark_all()

    async def wait_until_text_is_needed(self) -> None:
        """Returns when the next sentence should be read.

        Grapheme-to-phoneme holds Python's lock, which the steps need, so it waits for the first audio, or
        until the last window of the text read so far is being vocoded.
        """
        while len(self.job.lines) >= LINES_AHEAD or not (
            self._has_begun or self._is_vocoding_the_last_window
        ):
            await self._progress.park()

    @property
    def _is_vocoding_the_last_window(self) -> bool:
        return not self._segments and not self.job.windows

    def end(self) -> float:
        """All segments were sent. Returns the seconds of the pause after the last."""
        silence_s = self._silences_s[self.n_segments]
        if silence_s:
            no_samples = np.zeros(0, np.float32)
            self._deliveries[0].send_nowait(Piece(self.n_segments - 1, no_samples, silence_s))
        self._deliveries[0].close()
        return silence_s

    def fail(self, error: RequestError) -> None:
        """Sends the first error only: after a fault of the text, a step in flight may fail, too."""
        with suppress(trio.ClosedResourceError):
            self._deliveries[0].send_nowait(error)
        self._deliveries[0].close()

    def close(self) -> None:
        """The consumer has left."""
        self._deliveries[1].close()
        self._words[0].close()
