"""Where a segment is cut into windows. Pure: phonemes and durations in, frames out.

With the vocoder's statistics predicted, sound is the same wherever the edges lie; they are a matter of
latency and cost. So the first window is short, and each later one as long as can be made while the one
before it is heard, because each costs its context besides. Edges lie between words where that is near.
"""

from collections.abc import Sequence
from itertools import accumulate

from attrs import field, frozen
from attrs.validators import ge

from kokoro_trio.config import WindowConfig
from kokoro_trio.speech import Line

CONTEXT_FRAMES = 5
"""What the vocoder's first stage needs to see on each side of a window. Error at 5: 1e-7 of the signal; at
4: 6e-6; at 3: 1.8e-3."""
CONTEXT_COST_FRAMES = 3
"""What that costs, in frames that go the whole way: the later, dearer stage needs less of it."""
MIN_FIRST_FRAMES, MAX_FIRST_FRAMES = 24, 32
"""0.6 to 0.8 s, however short or long the words are that the first window is to hold."""
LATER_SEGMENT_FRAMES = 80
"""The first window of a later sentence: somebody is being heard meanwhile."""
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


def window_edges(line: Line, durations_frames: Sequence[int], config: WindowConfig, pace: Pace) -> list[int]:
    """The edges of the windows, in frames: window n lies between edge n and edge n + 1.

    `durations_frames` has one entry for each phoneme and one for the padding at each end. Only the first
    segment of an utterance begins with a short window. Its leading silence is left out, and so is that of a
    segment that continues a sentence: before the others it is the pause between two sentences.
    """
    ends = list(accumulate(durations_frames))
    n_frames = ends[-1]
    is_first = line.segment == 0
    trims = (is_first or line.is_continued) and config.trims_leading_silence
    start = max(0, durations_frames[0] - KEPT_SILENCE_FRAMES) if trims else 0
    if config.first_max_words == 0:
        return [start, n_frames]
    word_ends = [ends[n] for n, phoneme in enumerate(line.phonemes) if phoneme == " "]
    if is_first:
        frames = _first_frames(line.phonemes, ends, start, config)
        edges = [start, start + shape_of(frames, pace.shapes)]
    else:
        edges = [start, _later_edge(start, min(LATER_SEGMENT_FRAMES, pace.max_frames), word_ends, pace)]
    while edges[-1] < n_frames:
        makeable = round(pace.growth * (edges[-1] - edges[-2])) - 2 * CONTEXT_COST_FRAMES
        length = max(MIN_FIRST_FRAMES, min(makeable, pace.max_frames))
        edges.append(_later_edge(edges[-1], length, word_ends, pace))
    return _closed(edges, n_frames, pace.shapes)


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


def _closed(edges: Sequence[int], n_frames: int, shapes: Sequence[int]) -> list[int]:
    """The last edge is the end of the segment; a short rest joins the window before it."""
    *before, last = [edges[0], *(edge for edge in edges[1:] if edge < n_frames)]
    if before and n_frames - last < MIN_REST_FRAMES and _may_join(before[-1], last, n_frames, shapes):
        return [*before, n_frames]
    return [*before, last, n_frames]


def _may_join(start: int, edge: int, end: int, shapes: Sequence[int]) -> bool:
    """One window in a shape that there is costs no more than the two with an edge between them."""
    if not shapes:
        return True
    in_two = shape_of(edge - start, shapes) + shape_of(end - edge, shapes) + 2 * CONTEXT_COST_FRAMES
    return end - start <= max(shapes) and shape_of(end - start, shapes) <= in_two
