"""Where a segment is cut into windows. Pure: phonemes and durations in, frames out.

With the vocoder's statistics predicted, sound is the same wherever the edges lie; they are a matter of
latency and cost. So the first window that somebody waits for is short, and each later one as long as can be
made before its listener runs dry, because each costs its context besides. Edges lie between words where that
is near.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

from attrs import define, field, frozen
from attrs.validators import ge

from kokoro_trio.config import WindowConfig
from kokoro_trio.speech import FRAME_SECONDS, Prosody, Window, Windows

CONTEXT_FRAMES = 5
"""What the vocoder's first stage needs to see on each side of a window. Error at 5: 1e-7 of the signal; at
4: 6e-6; at 3: 1.8e-3."""
CONTEXT_COST_FRAMES = 3
"""What that costs, in frames that go the whole way: the later, dearer stage needs less of it."""
MIN_FIRST_FRAMES, MAX_FIRST_FRAMES = 24, 32
"""0.6 to 0.8 s, however short or long the words are that the first window is to hold."""
LATE_FRAMES = 64
"""1.6 s: the length of a later window when even the shortest would come too late."""
MAX_FRAMES = 160
SHAPES = (MIN_FIRST_FRAMES, MAX_FIRST_FRAMES, 48, 80, MAX_FRAMES)
"""The lengths of windows that are made side by side: only what is of one length can be."""


@frozen
class Pace:
    """How fast windows are made here and now.

    `growth`: frames, context included, that can be made while one frame is heard. `max_frames`: of one
    window, so that a step never holds up others for long; at least `MIN_FIRST_FRAMES`. `shapes`: the
    lengths to make them in, none where each may have its own.
    """

    growth: float
    max_frames: int = field(default=MAX_FRAMES, validator=ge(MIN_FIRST_FRAMES))
    shapes: tuple[int, ...] = ()


SNAP_FRAMES = 10
MIN_REST_FRAMES = 12
KEPT_SILENCE_FRAMES = 3
"""Of the silence before the first word. The model predicts 10 to 19 frames, and nobody hears them."""


@define(eq=False)
class SegmentWindows(Windows):
    """Those of one segment, see `of`."""

    _pace: Pace
    _first_frames: int
    """0 for a segment that does not begin an utterance, or whose first window is taken."""
    _word_ends: Sequence[int]
    _is_whole: bool

    @classmethod
    def of(
        cls, prosody: Prosody, config: WindowConfig, pace: Pace, *, is_whole: bool = False
    ) -> "SegmentWindows":
        """`is_whole`: all of it is one window.

        The leading silence of an utterance is left out, and so is that of a segment that continues a
        sentence: before the others it is the pause between two sentences.
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
    """The length in which a window is made: the next one that there is, or its own."""
    return min((shape for shape in shapes if shape >= n_frames), default=n_frames)


def _first_frames(phonemes: str, ends: Sequence[int], start: int, config: WindowConfig) -> int:
    """Up to the boundary mark or the last word that the first window may hold, within the limits."""
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
    """That many frames on: to the nearest word, or what fills a shape."""
    if pace.shapes:
        return start + max((shape for shape in pace.shapes if shape <= n_frames), default=n_frames)
    return _snapped(start + n_frames, word_ends)


def _snapped(edge: int, word_ends: Sequence[int]) -> int:
    nearest = min(word_ends, key=lambda end: abs(end - edge), default=edge)
    return nearest if abs(nearest - edge) <= SNAP_FRAMES else edge


def _may_join(start: int, edge: int, end: int, shapes: Sequence[int]) -> bool:
    """One window in a shape that there is costs no more than the two with an edge between them."""
    if not shapes:
        return True
    in_two = shape_of(edge - start, shapes) + shape_of(end - edge, shapes) + 2 * CONTEXT_COST_FRAMES
    return end - start <= max(shapes) and shape_of(end - start, shapes) <= in_two
