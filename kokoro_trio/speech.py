"""The nouns of the project, and the data types for them.

- utterance: the text of one speak request, with its voice, speed and language
- sentence: a sentence of the text, read at once by the text side; a long one becomes several segments
- segment: the phonemes that go through the model together, and the text that they pronounce
- line: a segment as the prosody half takes it: phonemes, voice, speed
- window: a range of a segment's frames, vocoded at once; the first windows are short, for early audio
- step: one run of the model, over a batch: lines become prosody, or windows become samples
- slot: permission to take steps; utterances without one wait
- playout: utterances that one listener hears one after the other
- slack: the time until a playout runs dry, which means that its listener has heard all audio made so far
- frame: Kokoro's unit of time, 600 samples at 24 kHz: 25 ms, 40 to a second
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
    """The content of one speak request.

    `voice` is the name of a voice or a recipe that mixes voices (`model.recipes`); `language` is a letter of
    `text.languages`.
    """

    text: str
    voice: str
    speed: float = 1.0
    language: str = "a"


@frozen
class Word:
    """A word as the client wrote it, and the phonemes of its segment that pronounce it."""

    start_char: int
    end_char: int
    start_phoneme: int
    end_phoneme: int


@frozen
class Segment:
    """A sentence, or a part of a long one.

    `phonemes` are at most `MAX_SEGMENT_PHONEMES` characters of Kokoro's alphabet. They pronounce the
    characters `start_char` to `end_char` (exclusive) of the utterance's text. `words` are in order.
    `is_continued`: the segment before it ends inside the same sentence.
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
    """The input of the prosody half for one segment."""

    segment: int
    phonemes: str
    voice: str
    speed: float
    is_continued: bool = False


@frozen
class Prosody:
    """A line's durations, and its melody and other features for the vocoder.

    `durations_frames` has one entry for each token: the phonemes, and one padding token at each end.
    Only the synthesizer that made `features` reads them.
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

    Windows of equal `shape_frames`, which is at least their own length, may share a batch. None: the window
    is a whole segment, which is vocoded alone.
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
    """The rest of a segment to be vocoded. The next window is cut when its step is made."""

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
        """The next window: the longest that can be vocoded in `within_s`. It is not taken."""

    def take(self, within_s: float = math.inf) -> Window:
        window = self.next(within_s)
        self.start_frame = window.end_frame
        return window

    def __iter__(self) -> Iterator[Window]:
        """Takes all windows: the first as short as a newcomer needs, the others as long as possible."""
        yield self.take(0.0)
        while not self.is_over:
            yield self.take()
