"""The nouns: what is said, in which pieces, and how far along each piece is.

Kokoro counts time in frames of 600 samples at 24 kHz: 25 ms, 40 to a second.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import Factory, define, field, frozen
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 600
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE_HZ
MAX_SEGMENT_PHONEMES = 510
"""Kokoro's BERT takes 512 positions, two of which are the padding tokens at both ends."""

Samples = NDArray[np.float32]
"""Mono audio at `SAMPLE_RATE_HZ`, shape (n,), full scale is ±1."""


@frozen
class Utterance:
    """What one speak request asks for.

    `voice` is the name of a voice pack or a recipe of some, as `model.recipes` spells it; `language` the
    letter of the language that is spoken, see `text.languages`.
    """

    text: str
    voice: str
    speed: float = 1.0
    language: str = "a"


@frozen
class Word:
    """A word as the client wrote it, and which of its segment's phonemes it is spoken in."""

    start_char: int
    end_char: int
    start_phoneme: int
    end_phoneme: int


@frozen
class Segment:
    """A sentence, or a piece of one, that goes through the model in one go.

    `phonemes` are at most `MAX_SEGMENT_PHONEMES` characters of Kokoro's alphabet; the characters
    `start_char` to `end_char` of the utterance's text are what they pronounce. `words` ascend; ends are
    exclusive. `is_continued`: the segment before it ends inside the same sentence.
    """

    index: int
    phonemes: str
    start_char: int
    end_char: int
    words: tuple[Word, ...] = ()
    is_continued: bool = False


@frozen
class WordTime:
    """When a word of a segment is heard, in seconds from the first sample of the utterance."""

    segment: int
    start_char: int
    end_char: int
    start_s: float
    end_s: float


@frozen
class Line:
    """What the prosody half is given: a segment's phonemes, in whose voice (or mixture), how fast."""

    segment: int
    phonemes: str
    voice: str
    speed: float
    is_continued: bool = False


@frozen
class Prosody:
    """A line's melody and timing, and whatever the vocoder needs to make it sound.

    `durations_frames` has one entry a token: the phonemes, and one padding token at each end.
    `features` belongs to the synthesizer that made it; nobody else looks inside.
    """

    line: Line
    durations_frames: NDArray[np.int64]
    features: Any = field(repr=False, eq=False)

    @property
    def n_frames(self) -> int:
        return int(self.durations_frames.sum())


@frozen
class Window:
    """The frames `start_frame` to `end_frame` (exclusive) of a segment, vocoded in one step.

    Windows of equal `shape_frames`, at least their own length, may go through the vocoder side by side. One
    without goes alone: it is a whole segment.
    """

    prosody: Prosody
    start_frame: int
    end_frame: int
    shape_frames: int | None = field(
        default=Factory(lambda window: window.end_frame - window.start_frame, takes_self=True)
    )

    @property
    def n_samples(self) -> int:
        return (self.end_frame - self.start_frame) * FRAME_SAMPLES

    @property
    def seconds(self) -> float:
        return (self.end_frame - self.start_frame) * FRAME_SECONDS


@define(eq=False)
class Windows(ABC):
    """What is left to vocode of a segment. The next window is cut when a step for it is made."""

    prosody: Prosody
    start_frame: int

    @property
    def is_over(self) -> bool:
        return self.start_frame >= self.prosody.n_frames

    @property
    def seconds(self) -> float:
        return (self.prosody.n_frames - self.start_frame) * FRAME_SECONDS

    @abstractmethod
    def next(self, within_s: float = math.inf) -> Window:
        """The next window, as long as can be made within so many seconds. Nothing is taken."""

    def take(self, within_s: float = math.inf) -> Window:
        window = self.next(within_s)
        self.start_frame = window.end_frame
        return window

    def __iter__(self) -> Iterator[Window]:
        """Takes them all: the first as short as a new listener needs, the others as long as possible."""
        yield self.take(0.0)
        while not self.is_over:
            yield self.take()
