"""Pure: when the words of a segment are heard."""

import pytest
from attrs import evolve

from kokoro_trio.engine.timing import word_times
from kokoro_trio.speech import Segment, Word

HI_YOU = Segment(2, "hI, ju", 10, 17, (Word(10, 13, 0, 2), Word(14, 17, 4, 6)))
DURATIONS = [12, 4, 6, 8, 2, 4, 10, 20]
"""Padding, h, I, comma, space, j, u, padding."""


def test_of_words_between_pauses() -> None:
    hi, you = word_times(HI_YOU, DURATIONS, first_frame=0, start_s=0.0)
    assert (hi.segment, hi.start_char, hi.end_char) == (2, 10, 13)
    assert (hi.start_s, hi.end_s) == pytest.approx((0.3, 0.55))
    assert (you.start_s, you.end_s) == pytest.approx((0.8, 1.15))


def test_counts_from_the_first_frame_that_is_heard() -> None:
    hi, you = word_times(HI_YOU, DURATIONS, first_frame=9, start_s=2.0)
    assert (hi.start_s, you.end_s) == pytest.approx((2.075, 2.925))


def test_of_no_words() -> None:
    assert word_times(evolve(HI_YOU, words=()), DURATIONS, 0, 0.0) == []
