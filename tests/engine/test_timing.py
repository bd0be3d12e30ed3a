"""Pure: when the words of a segment are heard."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.engine.timing import word_times
from kokoro_trio.speech import Segment, Word

HI_YOU = Segment(2, "hI, ju", 10, 17, (Word(10, 13, 0, 2), Word(14, 17, 4, 6)))
DURATIONS = [12, 4, 6, 8, 2, 4, 10, 20]
"""Padding, h, I, comma, space, j, u, padding."""


def test_words_before_pauses_end_with_their_last_sound() -> None:
    """They also begin before their first phoneme."""
    hi, you = word_times(HI_YOU, DURATIONS, first_frame=0, start_s=0.0)
    assert (hi.segment, hi.start_char, hi.end_char) == (2, 10, 13)
    assert (hi.start_s, hi.end_s) == pytest.approx((0.3 - 0.05, 0.4 + 0.05))
    assert (you.start_s, you.end_s) == pytest.approx((0.8 - 0.085, 0.9 + 0.05))


def test_words_inside_a_clause_end_before_the_next() -> None:
    clause = evolve(HI_YOU, phonemes="hI   ju")
    hi, you = word_times(clause, DURATIONS, first_frame=0, start_s=0.0)
    assert hi.end_s == pytest.approx(0.55 - 0.05)
    assert you.start_s == pytest.approx(0.8 - 0.085)


def test_lead_grows_with_slow_speech() -> None:
    _, you = word_times(HI_YOU, DURATIONS, first_frame=0, start_s=0.0, speed=0.5)
    assert you.start_s == pytest.approx(0.8 - 0.145)


def test_times_count_from_the_first_frame_heard() -> None:
    at_once = word_times(HI_YOU, DURATIONS, first_frame=0, start_s=0.0)
    later = word_times(HI_YOU, DURATIONS, first_frame=9, start_s=2.0)
    for before, after in zip(at_once, later, strict=True):
        assert after.start_s - before.start_s == pytest.approx(2.0 - 9 * 0.025)
        assert after.end_s - before.end_s == pytest.approx(2.0 - 9 * 0.025)


@given(st.lists(st.integers(1, 12), min_size=10, max_size=10), st.integers(0, 12))
def test_words_never_overlap_nor_begin_before_the_audio(durations: list[int], first_frame: int) -> None:
    words = tuple(Word(n, n + 1, n, n + 1) for n in range(8))
    first_frame = min(first_frame, durations[0])
    times = word_times(Segment(0, "ab,cd ef", 0, 8, words), durations, first_frame, 1.0)
    bounds = [1.0, *(bound for word in times for bound in (word.start_s, word.end_s))]
    assert bounds == sorted(bounds)
    assert all(word.start_s < word.end_s for word in times)


def test_segment_without_words_has_no_times() -> None:
    assert word_times(evolve(HI_YOU, words=()), DURATIONS, 0, 0.0) == []
