"""Pure: where a segment is cut into windows."""

from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.config import WindowConfig
from kokoro_trio.model.windowing import (
    KEPT_SILENCE_FRAMES,
    MAX_FIRST_FRAMES,
    MAX_FRAMES,
    MIN_FIRST_FRAMES,
    MIN_REST_FRAMES,
    SHAPES,
    SNAP_FRAMES,
    Pace,
    shape_of,
    window_edges,
)
from kokoro_trio.speech import Line

CONFIG = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)


def edges(
    phonemes: str, frames_each: int = 3, segment: int = 0, config: WindowConfig = CONFIG, growth: float = 3.0
) -> list[int]:
    durations = [15, *[frames_each] * len(phonemes), 12]
    return window_edges(Line(segment, phonemes, "af_heart", 1.0), durations, config, Pace(growth))


def test_the_first_window_holds_as_many_words_as_it_may() -> None:
    start, first, *_ = edges("abcd fghi klmno pqrst")
    assert start == 15 - KEPT_SILENCE_FRAMES
    assert first == 15 + 3 * len("abcd fghi")


def test_it_ends_earlier_at_a_boundary() -> None:
    _, first, *_ = edges("abcdefgh, ijklm nopqr", config=evolve(CONFIG, first_max_words=5))
    assert first == 15 + 3 * len("abcdefgh")


def test_it_is_never_too_short() -> None:
    start, first, *_ = edges("a b cdefghi jklmnop qrstuvw")
    assert first - start == MIN_FIRST_FRAMES


def test_long_words_do_not_make_it_long() -> None:
    start, first, *_ = edges("abcdefghijklmnopqrst abcdefghijklmnopqrst")
    assert first - start == MAX_FIRST_FRAMES


def test_zero_words_means_one_window() -> None:
    assert edges("abcde " * 50, config=evolve(CONFIG, first_max_words=0)) == [12, 15 + 900 + 12]


def test_silence_is_kept_where_asked() -> None:
    assert edges("abcde", config=evolve(CONFIG, trims_leading_silence=False))[0] == 0


def test_a_short_silence_is_kept() -> None:
    assert window_edges(Line(0, "ab", "v", 1.0), [2, 30, 30, 5], CONFIG, Pace(3.0))[0] == 0


def test_later_segments_keep_their_pause_and_have_no_short_window() -> None:
    later = edges("abcde " * 60, segment=1)
    assert later[0] == 0
    assert later[1] >= 70


def test_edges_lie_between_words_where_those_are_near() -> None:
    all_edges = edges("abcd " * 60)
    word_ends = {15 + 3 * (5 * n + 4) for n in range(60)}
    assert set(all_edges[1:-1]) <= word_ends


@pytest.mark.parametrize(
    ("growth", "expected"), [(0.1, [32, 24, 24]), (1.5, [32, 42, 57]), (99.0, [32, 160])]
)
def test_a_window_can_be_made_while_the_one_before_is_heard(growth: float, expected: list[int]) -> None:
    lengths = [end - start for start, end in pairwise(edges("a" * 300, growth=growth))]
    assert lengths[: len(expected)] == expected


def test_no_window_holds_up_the_others_for_long() -> None:
    line = Line(0, "a" * 300, "af_heart", 1.0)
    lengths = [end - start for start, end in pairwise(window_edges(line, [3] * 302, CONFIG, Pace(9.0, 50)))]
    assert max(lengths) <= 50 + MIN_REST_FRAMES


def test_a_text_without_spaces_is_cut_all_the_same() -> None:
    lengths = [end - start for start, end in pairwise(edges("a" * 300))]
    assert len(lengths) > 4
    assert max(lengths) <= MAX_FRAMES + MIN_REST_FRAMES


def test_windows_that_stack_fill_their_shapes() -> None:
    """All but the last: what is left over is made in the next shape that holds it."""
    line = Line(0, "abcde " * 60, "af_heart", 1.0)
    all_edges = window_edges(line, [15, *[3] * 360, 12], CONFIG, Pace(2.5, shapes=SHAPES))
    lengths = [end - start for start, end in pairwise(all_edges)]
    assert set(lengths[:-1]) <= set(SHAPES)
    assert len(set(lengths[:-1])) > 1
    assert shape_of(lengths[-1], SHAPES) >= lengths[-1]


@pytest.mark.parametrize(
    ("rest", "last"),
    [
        (11, [32, 24 + 11]),  # Made as 48, where two would be 24 and 24.
        (12, [32, 24, 12]),
    ],
)
def test_a_short_rest_joins_the_window_before_it(rest: int, last: list[int]) -> None:
    assert lengths_in_shapes(32 + 24 + rest, growth=0.1) == last


def test_but_not_where_that_makes_a_shape_of_twice_the_length() -> None:
    assert lengths_in_shapes(32 + 80 + 5, growth=3.0) == [32, 80, 5]
    assert lengths_in_shapes(32 + 80 + 160 + 5, growth=3.0)[-2:] == [160, 5]


def lengths_in_shapes(n_frames: int, growth: float) -> list[int]:
    line = Line(0, "a" * (n_frames - 2), "af_heart", 1.0)
    result = window_edges(line, [1] * n_frames, CONFIG, Pace(growth, shapes=SHAPES))
    return [end - start for start, end in pairwise(result)]


@pytest.mark.parametrize(("n_frames", "shape"), [(1, 24), (24, 24), (25, 32), (160, 160), (161, 161)])
def test_the_next_shape_that_holds_it(n_frames: int, shape: int) -> None:
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
def test_windows_tile_what_is_spoken(
    phonemes: str, data: st.DataObject, segment: int, config: WindowConfig, pace: Pace
) -> None:
    n_tokens = len(phonemes) + 2
    durations = data.draw(st.lists(st.integers(1, 50), min_size=n_tokens, max_size=n_tokens))
    result = window_edges(Line(segment, phonemes, "v", 1.0), durations, config, pace)
    assert result[-1] == sum(durations)
    assert 0 <= result[0] <= max(0, durations[0] - KEPT_SILENCE_FRAMES)
    lengths = [end - start for start, end in pairwise(result)]
    assert all(length > 0 for length in lengths)
    if config.first_max_words:
        longest = MAX_FRAMES if pace.shapes else MAX_FRAMES + SNAP_FRAMES + MIN_REST_FRAMES
        assert max(lengths) <= longest
