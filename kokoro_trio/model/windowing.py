"""Cuts segments into windows. Pure: computes frames from phonemes and durations.

With predicted statistics the edges of windows do not change the audio, only latency and cost. The first
window of an utterance is short, for latency. Each later one is as long as can be vocoded before the
listener's slack ends, because every window also costs its context. Edges snap to nearby word ends.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

from attrs import define, field, frozen
from attrs.validators import ge

from kokoro_trio.config import WindowConfig
from kokoro_trio.speech import FRAME_SECONDS, Prosody, Window, Windows

CONTEXT_FRAMES = 5
"""The context that the vocoder's first stage needs on each side of a window. The error is 1e-7 of the signal
at 5 frames, 6e-6 at 4, and 1.8e-3 at 3."""
CONTEXT_COST_FRAMES = 3
"""The cost of that context, in frames of a window: the second, more expensive stage needs less context."""
MIN_FIRST_FRAMES, MAX_FIRST_FRAMES = 24, 32
"""0.6 to 0.8 s, whatever the length of the first words."""
LATE_FRAMES = 64
"""1.6 s: the length of a later window that will be late at any length."""
MAX_FRAMES = 160
SHAPES = (MIN_FIRST_FRAMES, MAX_FIRST_FRAMES, 48, 80, MAX_FRAMES)
"""The lengths of windows in batches: all windows of a batch have the same length."""


@frozen
class Pace:
    """The speed of the vocoder on this machine.

    `growth`: the frames, including context, that are vocoded while one frame is played. `max_frames`: the
    longest window, so that a step does not delay other listeners for long. `shapes`: the allowed lengths of
    windows; empty if any length is allowed.
    """

    growth: float
    max_frames: int = field(default=MAX_FRAMES, validator=ge(MIN_FIRST_FRAMES))
    shapes: tuple[int, ...] = ()


SNAP_FRAMES = 10
MIN_REST_FRAMES = 12
KEPT_SILENCE_FRAMES = 3
"""The silence kept before the first word, of the 10 to 19 frames that the model predicts."""


@define(eq=False)
class SegmentWindows(Windows):
    """The windows of one segment."""

    _pace: Pace
    _first_frames: int
    """The length of an utterance's first window; 0 for all later windows."""
    _word_ends: Sequence[int]
    _is_whole: bool

    @classmethod
    def of(
        cls, prosody: Prosody, config: WindowConfig, pace: Pace, *, is_whole: bool = False
    ) -> "SegmentWindows":
        """If `is_whole`, the segment is one window.

        The leading silence of an utterance is dropped, and that of a segment that continues a sentence.
        In other segments it is the pause between two sentences.
        """
        line, durations = prosody.line, prosody.durations_frames.tolist()
        ends = list(accumulate(durations))
        is_first = line.segment == 0
        trims = (is_first or line.is_continued) and config.trims_leading_silence
        start = max(0, durations[0] - KEPT_SILENCE_FRAMES) if trims else 0
        first_frames = _first_frames(line.phonemes, ends, start, config) if is_first else 0
        word_ends = [ends[n] for n, phoneme in enumerate(line.phonemes) if phoneme == " "]
        return cls(prosody, start, pace, first_frames, word_ends, is_whole)

    def next(self, within_s: float = math.inf) -> Window:
        start, n_frames, shapes = self.start_frame, self.prosody.n_frames, self._pace.shapes
        if self._is_whole:
            return Window(self.prosody, start, n_frames, shape_frames=None)
        end = min(self._edge(within_s), n_frames)
        if n_frames - end < MIN_REST_FRAMES and _may_join(start, end, n_frames, shapes):
            end = n_frames
        return Window(self.prosody, start, end, shape_of(end - start, shapes))

    def take(self, within_s: float = math.inf) -> Window:
        window = super().take(within_s)
        self._first_frames = 0
        return window

    def _edge(self, within_s: float) -> int:
        pace = self._pace
        makeable = max(0.0, pace.growth * within_s / FRAME_SECONDS - 2 * CONTEXT_COST_FRAMES)
        if makeable < self._first_frames:
            return self.start_frame + shape_of(self._first_frames, pace.shapes)
        length = makeable if makeable >= MIN_FIRST_FRAMES else LATE_FRAMES
        return _later_edge(self.start_frame, round(min(length, pace.max_frames)), self._word_ends, pace)


def shape_of(n_frames: int, shapes: Sequence[int]) -> int:
    """The length that a window is vocoded in: the next larger shape, else its own length."""
    return min((shape for shape in shapes if shape >= n_frames), default=n_frames)


def _first_frames(phonemes: str, ends: Sequence[int], start: int, config: WindowConfig) -> int:
    """The frames up to the first boundary mark or the last allowed word, within the limits."""
    n_words = 0
    for n, phoneme in enumerate(phonemes):
        # `ends[n]` is where the phoneme before this one ends.
        frames = ends[n] - start
        if phoneme == " ":
            n_words += 1
            if n_words == config.first_max_words:
                break
        elif phoneme in config.first_boundaries and frames >= MIN_FIRST_FRAMES:
            break
    return min(max(frames, MIN_FIRST_FRAMES), MAX_FIRST_FRAMES)


def _later_edge(start: int, n_frames: int, word_ends: Sequence[int], pace: Pace) -> int:
    """The edge about `n_frames` after `start`: at the nearest word end, or at the length of a shape."""
    if pace.shapes:
        return start + max((shape for shape in pace.shapes if shape <= n_frames), default=n_frames)
    return _snapped(start + n_frames, word_ends)


def _snapped(edge: int, word_ends: Sequence[int]) -> int:
    nearest = min(word_ends, key=lambda end: abs(end - edge), default=edge)
    return nearest if abs(nearest - edge) <= SNAP_FRAMES else edge


def _may_join(start: int, edge: int, end: int, shapes: Sequence[int]) -> bool:
    """Whether one window up to `end` costs no more than two with an edge between."""
    if not shapes:
        return True
    in_two = shape_of(edge - start, shapes) + shape_of(end - edge, shapes) + 2 * CONTEXT_COST_FRAMES
    return end - start <= max(shapes) and shape_of(end - start, shapes) <= in_two
