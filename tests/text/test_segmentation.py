"""Pure: sentence segmentation, word counts and cutting of phonemes; no language model is loaded."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kokoro_trio.speech import MAX_SEGMENT_PHONEMES, Segment, Word
from kokoro_trio.text.segmentation import (
    Piece,
    Pronunciation,
    cut_segments,
    sentence_spans,
    split_phonemes,
)
from kokoro_trio.wire.limits import MAX_SENTENCE_CHARS

ENGLISH_TEXTS = [
    ["Dr. Smith paid $3.50 at 5 p.m.", "He left."],
    ["Mr. and Mrs. Brown arrived.", "They sat."],
    ["We use tools, e.g. hammers, i.e. heavy things.", "Fine."],
    ["She moved to the U.S. in 1999.", "It was hot."],
    ["He lives in the U.S.", "She lives in Spain."],
    ["Pi is 3.14159.", "Version 2.0.1 is out."],
    ["Well... I don't know.", "Maybe."],
    ["I… I don't know.", "Maybe."],
    ['"Stop!" he said.', "Then he ran."],
    ['He said "Stop."', "Then he ran."],
    ["He said: “I am done.”", "She nodded."],
    ["She smiled (it was late).", "Then she slept."],
    ["What?!", "No way!!", "Yes."],
    ["Visit https://example.com/a.b?c=d.", "Thanks."],
    ["Mail me at john.doe@example.com.", "Bye."],
    ["J. K. Rowling wrote it.", "I read it."],
    ["See Fig. 3 and pp. 4-5.", "It is No. 1."],
    ["The train leaves at 5 a.m. on Jan. 5th.", "Be there."],
    ["I bought apples, pears, etc.", "Then I left."],
    ["hello there.", "how are you?", "i am fine."],
    ["It's 20°C.", "3 people came."],
    ["He lives in Apt. 4 of approx. 50.", "Call ext. 12."],
    ["It is $5, incl. $1 tax.", "Ask Mr. X or Ms. Y about it."],
    ["No punctuation at all"],
    ["This line is\nwrapped here.", "Next."],
]


def texts_of(text: str, language: str = "a") -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text, language)]


@pytest.mark.parametrize("expected", ENGLISH_TEXTS, ids=" ".join)
def test_english_sentences_end_where_they_should(expected: list[str]) -> None:
    assert texts_of(" ".join(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First line\n\nSecond line.", ["First line", "Second line."]),
        ("First line\r\n \r\nSecond line.", ["First line", "Second line."]),
        ("Things:\n- apples\n- pears", ["Things:", "- apples", "- pears"]),
        ("* one\n* two", ["* one", "* two"]),
        ("1. First thing.\n2. Second thing.", ["1. First thing.", "2. Second thing."]),
    ],
)
def test_blank_lines_and_bullet_lines_end_a_sentence(text: str, expected: list[str]) -> None:
    assert texts_of(text) == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("e", ["El Sr. y la Sra. Pérez.", "Ud. sabe.", "¿Qué tal?", "¡Bien!"]),
        ("f", ["M. Dupont est là.", "Mme. Dupont aussi."]),
        ("h", ["डॉ. शर्मा आए।", "मेरा नाम राम है।", "मैं भारत से हूँ।"]),
        ("i", ["Il sig. Rossi è qui.", "Bene!"]),
        ("p", ["O Sr. Silva.", "A Sra. Silva."]),
    ],
)
def test_other_languages_have_their_own_abbreviations(language: str, expected: list[str]) -> None:
    assert texts_of(" ".join(expected), language) == expected


def test_full_width_stops_end_a_sentence() -> None:
    assert texts_of("これはペンです。それは本です。") == ["これはペンです。", "それは本です。"]
    assert texts_of("你好！你叫什么名字？") == ["你好！", "你叫什么名字？"]


@given(st.text() | st.text('aB. !?"()\n…5-。😀\ud800\x00'))
def test_only_whitespace_lies_between_sentence_spans(text: str) -> None:
    covered = 0
    for start, end in sentence_spans(text):
        assert text[start:end] == text[start:end].strip() != ""
        assert not text[covered:start].strip()
        covered = end
    assert not text[covered:].strip()


def test_too_long_sentence_is_cut_at_a_clause_or_else_at_a_word() -> None:
    clause = "the rain in spain falls mainly on the plain, "
    assert all(text.endswith(",") for text in texts_of(clause * 100))
    pieces = texts_of("word " * 1_000)
    assert " ".join(pieces) == ("word " * 1_000).strip()
    assert max(map(len, pieces)) <= MAX_SENTENCE_CHARS


def test_too_long_run_without_spaces_is_cut_inside() -> None:
    assert list(map(len, texts_of("x" * 2_500))) == [1_000, 1_000, 500]


def spell(text: str) -> list[Pronunciation]:
    """Uses the letters of each word, and the space behind it, as its phonemes."""
    words = []
    start = 0
    for word in text.split(" "):
        words.append(Pronunciation(word + " ", start, start + len(word)))
        start += len(word) + 1
    return words


def test_phonemes_that_fit_stay_one_piece() -> None:
    words = (Word(0, 6, 0, 5), Word(7, 12, 7, 12))
    assert split_phonemes(spell("hello, world")) == [Piece("hello, world", 0, 12, words)]
    assert split_phonemes([]) == []
    exact = "a" * MAX_SEGMENT_PHONEMES
    (piece,) = split_phonemes(spell(exact))
    assert piece.phonemes == exact


def test_phonemes_are_split_at_a_clause_rather_than_a_word() -> None:
    pieces = split_phonemes(spell("one two three, four five six"), max_phonemes=20)
    assert [piece.phonemes for piece in pieces] == ["one two three,", "four five six"]
    assert [(piece.start_char, piece.end_char) for piece in pieces] == [(0, 15), (15, 28)]
    assert [word.start_phoneme for word in pieces[1].words] == [0, 5, 10]
    assert [word.start_char for word in pieces[1].words] == [15, 20, 25]


def test_short_clause_is_not_split_off() -> None:
    pieces = split_phonemes(spell("one, two three four five six"), max_phonemes=20)
    assert [piece.phonemes for piece in pieces] == ["one, two three four", "five six"]


def test_too_long_word_is_cut_and_its_characters_shared_in_proportion() -> None:
    pieces = split_phonemes([Pronunciation("x" * 30, 10, 20)], max_phonemes=12)
    assert pieces == [
        Piece("x" * 12, 10, 14, (Word(10, 14, 0, 12),)),
        Piece("x" * 12, 14, 18, (Word(14, 18, 0, 12),)),
        Piece("x" * 6, 18, 20, (Word(18, 20, 0, 6),)),
    ]


@given(st.text(string.ascii_lowercase + ",.      ").map(str.strip), st.integers(5, 30))
def test_no_phoneme_is_dropped_and_every_piece_fits(text: str, max_phonemes: int) -> None:
    words = [word for word in spell(text) if word.phonemes.strip()]
    pieces = split_phonemes(words, max_phonemes)
    assert "".join(piece.phonemes for piece in pieces).replace(" ", "") == text.replace(" ", "")
    assert all(0 < len(piece.phonemes) <= max_phonemes for piece in pieces)
    bounds = [bound for piece in pieces for bound in (piece.start_char, piece.end_char)]
    assert bounds == sorted(bounds)


def segment_of(text: str, index: int = 0) -> Segment:
    (piece,) = split_phonemes(spell(text))
    return Segment(index, piece.phonemes, piece.start_char, piece.end_char, piece.words)


def test_segments_are_cut_at_clauses_into_parts_of_similar_length() -> None:
    parts = cut_segments([segment_of("one two three, four five six", 3), segment_of("seven", 4)], 20)
    assert [part.phonemes for part in parts] == ["one two three,", "four five six", "seven"]
    assert [part.index for part in parts] == [3, 4, 5]
    assert [part.is_continued for part in parts] == [False, True, False]


def test_segment_that_fits_is_not_cut() -> None:
    segments = [segment_of("one two"), segment_of("three", 1)]
    assert cut_segments(segments, 7) == segments


@given(st.text(string.ascii_lowercase + ",.      ", min_size=1).map(str.strip), st.integers(5, 30))
@example("aaaaa  aaaaaaa", 5)
def test_parts_of_a_segment_keep_its_phonemes_words_and_characters(text: str, limit: int) -> None:
    if not spell(text) or not text.replace(" ", ""):
        return
    whole = segment_of(text)
    parts = cut_segments([whole], limit)
    assert "".join(part.phonemes for part in parts).replace(" ", "") == whole.phonemes.replace(" ", "")
    assert all(0 < len(part.phonemes) <= limit for part in parts)
    spoken = [
        (word.start_char, word.end_char, part.phonemes[word.start_phoneme : word.end_phoneme])
        for part in parts
        for word in part.words
    ]
    of_whole = [
        (word.start_char, word.end_char, whole.phonemes[word.start_phoneme : word.end_phoneme])
        for word in whole.words
    ]
    assert [(start, end) for start, end, _ in spoken] == [(start, end) for start, end, _ in of_whole]
    # A word that is longer than a part belongs to the part in which it starts, and is cut at its end.
    assert all(wanted.startswith(got) for (*_, got), (*_, wanted) in zip(spoken, of_whole, strict=True))
    bounds = [bound for part in parts for bound in (part.start_char, part.end_char)]
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[-1]) == (whole.start_char, whole.end_char)
