"""Pure: rewritten texts keep the original spans."""

from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.text.traced import Traced


def origins(text: Traced) -> list[tuple[int, int]]:
    return [text.origin(n, n + 1) for n in range(len(text.text))]


def test_replacement_has_the_span_of_what_it_replaces() -> None:
    rewritten = Traced.of("for $5.", 10).replaced([(4, 6, "five dollars")])
    assert rewritten.text == "for five dollars."
    assert rewritten.origin(4, 8) == (14, 16)
    assert rewritten.origin(9, 17) == (14, 17)
    assert rewritten.origin(0, 3) == (10, 13)


def test_second_rewrite_keeps_the_spans_of_the_original() -> None:
    twice = Traced.of("a 5 b").replaced([(2, 3, "five")]).replaced([(2, 6, "5")])
    assert twice.text == "a 5 b"
    assert origins(twice) == origins(Traced.of("a 5 b"))


def test_insertion_has_the_span_of_the_next_character() -> None:
    spaced = Traced.of("12").replaced([(1, 1, " ")])
    assert spaced.text == "1 2"
    assert origins(spaced) == [(0, 1), (1, 2), (1, 2)]


def test_library_rewrite_is_aligned_word_by_word() -> None:
    read = Traced.of("100 50%", 10).rewritten("一百 百分之五十")
    assert origins(read) == [(10, 13)] * 2 + [(13, 14)] + [(14, 17)] * 5


def test_insertion_at_the_end_of_a_word_has_the_span_of_the_character_before() -> None:
    assert origins(Traced.of("3% x").rewritten("3%! x")) == [(0, 1), (1, 2), (1, 2), (2, 3), (3, 4)]
    assert origins(Traced.of("3").rewritten("35")) == [(0, 1), (0, 1)]


def test_library_rewrite_is_aligned_by_edit_distance_if_spaces_changed() -> None:
    read = Traced.of("ab cd").rewritten("abcd")
    assert origins(read) == [(0, 1), (1, 2), (3, 4), (4, 5)]


@given(st.text("ab1 \u3000", min_size=1), st.text("abc \u3000"))
def test_library_rewrite_has_ascending_spans(text: str, other: str) -> None:
    read = Traced.of(text).rewritten(other)
    assert read.text == other
    assert read.starts.tolist() == sorted(read.starts)
    assert read.ends.tolist() == sorted(read.ends)


def test_joined_parts_keep_their_spans() -> None:
    text = Traced.of("**bold** and")
    joined = Traced.joined([text.part(2, 6), text.part(8, 12)])
    assert joined.text == "bold and"
    assert joined.origin(0, 4) == (2, 6)
    assert joined.origin(4, 8) == (8, 12)


@given(st.text(), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.text(max_size=3))))
def test_replacements_have_ascending_spans(text: str, wishes: list[tuple[int, int, str]]) -> None:
    changes, done = [], 0
    for skipped, length, new in wishes:
        start = done + skipped
        if start + length < len(text):
            changes.append((start, start + length, new))
            done = start + length
    rewritten = Traced.of(text).replaced(changes)
    assert len(rewritten.text) == len(rewritten.starts) == len(rewritten.ends)
    assert rewritten.starts.tolist() == sorted(rewritten.starts)
    assert rewritten.ends.tolist() == sorted(rewritten.ends)
    assert all(start < end <= len(text) for start, end in origins(rewritten))
