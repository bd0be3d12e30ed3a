"""Pure: cuts segments into windows."""

import math
from itertools import pairwise

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.config import WindowConfig
from kokoro_trio.model.windowing import (
    KEPT_SILENCE_FRAMES,
    LATE_FRAMES,
    MAX_FIRST_FRAMES,
    MAX_FRAMES,
    MIN_FIRST_FRAMES,
    MIN_REST_FRAMES,
    SHAPES,
    SNAP_FRAMES,
    Pace,
    SegmentWindows,
    shape_of,
)
from kokoro_trio.speech import Line, Prosody, Windows

CONFIG = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)


PACE = Pace(3.0)


def segment_windows(
    line: Line, durations: list[int], config: WindowConfig = CONFIG, pace: Pace = PACE
) -> SegmentWindows:
    return SegmentWindows.of(Prosody(line, np.array(durations), None), config, pace)


def edges_of(windows: Windows) -> list[int]:
    start = windows.start_frame
    return [start, *(window.end_frame for window in windows)]


def edges(phonemes: str, frames_each: int = 3, segment: int = 0, config: WindowConfig = CONFIG) -> list[int]:
    durations = [15, *[frames_each] * len(phonemes), 12]
    return edges_of(segment_windows(Line(segment, phonemes, "af_heart", 1.0), durations, config))


def lengths_within(seconds: float, n_frames: int, pace: Pace, segment: int = 0) -> list[int]:
    """The lengths of windows with this slack, except for the first window of an utterance."""
    line = Line(segment, "a" * (n_frames - 2), "af_heart", 1.0)
    windows = segment_windows(line, [1] * n_frames, pace=pace)
    taken = [windows.take(0.0)] if segment == 0 else []
    while not windows.is_over:
        taken.append(windows.take(seconds))
    return [window.end_frame - window.start_frame for window in taken]


def test_first_window_has_the_allowed_number_of_words() -> None:
    start, first, *_ = edges("abcd fghi klmno pqrst")
    assert start == 15 - KEPT_SILENCE_FRAMES
    assert first == 15 + 3 * len("abcd fghi")


def test_first_window_ends_at_a_boundary_mark() -> None:
    _, first, *_ = edges("abcdefgh, ijklm nopqr", config=evolve(CONFIG, first_max_words=5))
    assert first == 15 + 3 * len("abcdefgh")


def test_first_window_has_a_minimum_length() -> None:
    start, first, *_ = edges("a b cdefghi jklmnop qrstuvw")
    assert first - start == MIN_FIRST_FRAMES


def test_first_window_has_a_maximum_length() -> None:
    start, first, *_ = edges("abcdefghijklmnopqrst abcdefghijklmnopqrst")
    assert first - start == MAX_FIRST_FRAMES


def test_first_window_with_slack_is_as_long_as_any_other() -> None:
    windows = segment_windows(Line(0, "abcd " * 60, "v", 1.0), [3] * 302)
    assert windows.next(0.0).n_samples < windows.next(1.0).n_samples < windows.next(2.0).n_samples


def test_next_does_not_take_the_window() -> None:
    windows = segment_windows(Line(0, "abcd " * 60, "v", 1.0), [3] * 302)
    looked_at = windows.next(1.0).end_frame
    assert windows.next(1.0).end_frame == windows.take(1.0).end_frame == looked_at
    assert windows.next(1.0).start_frame == windows.start_frame == looked_at


def test_whole_segment_is_one_window() -> None:
    prosody = Prosody(Line(0, "abcd " * 60, "v", 1.0), np.array([3] * 302), None)
    (window,) = SegmentWindows.of(prosody, CONFIG, PACE, is_whole=True)
    assert (window.start_frame, window.end_frame, window.shape_frames) == (0, 906, None)


def test_leading_silence_is_kept_if_configured() -> None:
    assert edges("abcde", config=evolve(CONFIG, trims_leading_silence=False))[0] == 0


def test_short_leading_silence_is_kept() -> None:
    assert segment_windows(Line(0, "ab", "v", 1.0), [2, 30, 30, 5]).start_frame == 0


def test_later_segments_keep_their_pause_and_have_no_short_first_window() -> None:
    later = edges("abcde " * 60, segment=1)
    assert later[0] == 0
    assert later[1] >= LATE_FRAMES - SNAP_FRAMES


def test_edges_snap_to_near_word_ends() -> None:
    all_edges = edges("abcd " * 60)
    word_ends = {15 + 3 * (5 * n + 4) for n in range(60)}
    assert set(all_edges[1:-1]) <= word_ends


@pytest.mark.parametrize(
    ("seconds", "later"), [(-1.0, 64), (0.1, 64), (0.5, 2.5 * 20 - 6), (1.0, 2.5 * 40 - 6), (9.0, 160)]
)
@pytest.mark.parametrize("segment", [0, 1])
def test_window_is_vocoded_within_the_slack(seconds: float, later: float, segment: int) -> None:
    lengths = lengths_within(seconds, 600, Pace(2.5), segment)
    assert set(lengths[1:-1]) == {later}


def test_windows_have_a_maximum_length() -> None:
    assert max(lengths_within(math.inf, 600, Pace(9.0, 40))) <= 40 + MIN_REST_FRAMES


def test_text_without_spaces_is_cut() -> None:
    lengths = [end - start for start, end in pairwise(edges("a" * 300))]
    assert len(lengths) > 4
    assert max(lengths) <= MAX_FRAMES + MIN_REST_FRAMES


def test_batched_windows_fill_their_shapes() -> None:
    """All except the last, which has the next larger shape."""
    windows = segment_windows(
        Line(0, "abcde " * 60, "af_heart", 1.0), [15, *[3] * 360, 12], pace=Pace(2.5, shapes=SHAPES)
    )
    taken = [windows.take(seconds) for seconds in (0.0, 0.8, 1.0, 2.0)]
    taken.extend(windows)
    lengths = [window.end_frame - window.start_frame for window in taken]
    assert set(lengths[:-1]) <= set(SHAPES)
    assert len(set(lengths[:-1])) > 2
    assert taken[-1].shape_frames == shape_of(lengths[-1], SHAPES) >= lengths[-1]


@pytest.mark.parametrize(
    ("rest", "last"),
    [
        (11, [32, 24 + 11]),  # Made as 48, where two would be 24 and 24.
        (12, [32, 24, 12]),
    ],
)
def test_short_rest_joins_the_previous_window(rest: int, last: list[int]) -> None:
    assert lengths_within(0.8, 32 + 24 + rest, Pace(1.0, shapes=SHAPES)) == last


def test_short_rest_does_not_join_if_that_doubles_the_shape() -> None:
    stacking = Pace(3.0, shapes=SHAPES)
    assert lengths_within(0.8, 32 + 80 + 5, stacking) == [32, 80, 5]
    assert lengths_within(9.0, 32 + 160 + 160 + 5, stacking)[-2:] == [160, 5]


@pytest.mark.parametrize(("n_frames", "shape"), [(1, 24), (24, 24), (25, 32), (160, 160), (161, 161)])
def test_shape_is_the_next_larger_one(n_frames: int, shape: int) -> None:
    assert shape_of(n_frames, SHAPES) == shape


configs = st.builds(WindowConfig, st.integers(0, 6), st.sampled_from(["", ",.", ".,?!;:"]), st.booleans())
phoneme_texts = st.text("ab ,.", min_size=1, max_size=200)


paces = st.builds(
    Pace,
    st.floats(0.01, 1000),
    st.integers(MIN_FIRST_FRAMES, MAX_FRAMES),
    st.sampled_from([(), SHAPES]),
)


@given(phoneme_texts, st.data(), st.integers(0, 2), configs, paces)
def test_windows_tile_the_segment(
    phonemes: str, data: st.DataObject, segment: int, config: WindowConfig, pace: Pace
) -> None:
    n_tokens = len(phonemes) + 2
    durations = data.draw(st.lists(st.integers(1, 50), min_size=n_tokens, max_size=n_tokens))
    windows = segment_windows(Line(segment, phonemes, "v", 1.0), durations, config, pace)
    result = [windows.start_frame]
    while not windows.is_over:
        result.append(windows.take(data.draw(st.floats(-10.0, 100.0))).end_frame)
    assert result[-1] == sum(durations)
    assert 0 <= result[0] <= max(0, durations[0] - KEPT_SILENCE_FRAMES)
    lengths = [end - start for start, end in pairwise(result)]
    assert all(length > 0 for length in lengths)
    longest = MAX_FRAMES if pace.shapes else MAX_FRAMES + SNAP_FRAMES + MIN_REST_FRAMES
    assert max(lengths) <= longest
