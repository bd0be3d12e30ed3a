"""Where a segment is cut into windows. Pure: phonemes and durations in, frames out.

With the vocoder's statistics predicted, sound is the same wherever the edges lie; they are a matter of
latency and cost. So the first window is short, the later ones long, because each costs its context
besides, and edges lie between words where that is near.
"""

from collections.abc import Sequence
from itertools import accumulate

from kokoro_trio.config import WindowConfig
from kokoro_trio.speech import Line

MIN_FIRST_FRAMES, MAX_FIRST_FRAMES = 24, 40
"""0.6 to 1 s, however short or long the words are that the first window is to hold."""
SECOND_FRAMES, LATER_FRAMES = 80, 160
SNAP_FRAMES = 10
MIN_REST_FRAMES = 12
KEPT_SILENCE_FRAMES = 3
"""Of the silence before the first word. The model predicts 10 to 19 frames, and nobody hears them."""


def window_edges(line: Line, durations_frames: Sequence[int], config: WindowConfig) -> list[int]:
    """The edges of the windows, in frames: window n lies between edge n and edge n + 1.

    `durations_frames` has one entry for each phoneme and one for the padding at each end. Only the
    first segment of an utterance begins with a short window, and only its leading silence is left
    out: before the others it is the pause between two sentences.
    """
    ends = list(accumulate(durations_frames))
    n_frames = ends[-1]
    is_first = line.segment == 0
    trims = is_first and config.trims_leading_silence
    start = max(0, durations_frames[0] - KEPT_SILENCE_FRAMES) if trims else 0
    if config.first_max_words == 0:
        return [start, n_frames]
    edges = [start]
    if is_first:
        edges.append(start + _first_frames(line.phonemes, ends, start, config))
    word_ends = [ends[n] for n, phoneme in enumerate(line.phonemes) if phoneme == " "]
    length = SECOND_FRAMES
    while edges[-1] < n_frames:
        edges.append(_snapped(edges[-1] + length, word_ends))
        length = LATER_FRAMES
    return _closed(edges, n_frames)


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


def _snapped(edge: int, word_ends: Sequence[int]) -> int:
    nearest = min(word_ends, key=lambda end: abs(end - edge), default=edge)
    return nearest if abs(nearest - edge) <= SNAP_FRAMES else edge


def _closed(edges: Sequence[int], n_frames: int) -> list[int]:
    """The last edge is the end of the segment; a short rest joins the window before it."""
    inner = [edge for edge in edges[1:] if edge <= n_frames - MIN_REST_FRAMES]
    return [edges[0], *inner, n_frames]
