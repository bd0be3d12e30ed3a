"""Pure: a client's text becomes sentences; no language model is loaded."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.errors import BadText
from kokoro_trio.text.reading import Sentence, read
from kokoro_trio.wire.limits import MAX_MARKDOWN_CHARS


def texts_of(text: str, language: str = "a") -> list[str]:
    return [sentence.text for sentence in read(text, language)]


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (
            "This is **bold**, *slanted*, __strong__, ~~gone~~ and `code`.",
            ["This is bold, slanted, strong, gone and code."],
        ),
        ("See [the docs](https://example.com/a_b_(c)) now.", ["See the docs now."]),
        ("![A cat](cat.png) sleeps", ["A cat sleeps"]),
        ("# Heading\n\nText.", ["Heading", "Text."]),
        ("Heading\n===\nText.", ["Heading", "Text."]),
        ("Buy:\n- milk\n- eggs\n  and ham\n* bread", ["Buy:", "milk", "eggs\nand ham", "bread"]),
        ("• one\n• two\n  ◦ three", ["one", "two", "three"]),
        ("1. First\n2. Second", ["1, First", "2, Second"]),
        ("7) Seventh", ["7, Seventh"]),
        ("1986. What a year!", ["1986, What a year!"]),
        ("5.", ["5,"]),
        ("> Quoted\n> twice.", ["Quoted\ntwice."]),
        ("| a | b |\n|---|---|\n| c | **d** |", ["a", "b", "c", "d"]),
        ("Run:\n```python\nprint(1)\n```\nDone.", ["Run:", "print(1)", "Done."]),
        ("one\n\n---\n\ntwo", ["one", "two"]),
        ("2 * 3 * 4 and snake_case_name", ["2 * 3 * 4 and snake_case_name"]),
        ("5 < 6 > 4, a<b", ["5 < 6 > 4, a<b"]),
        ("Line<br>break <b>and</b> tags", ["Line break  and  tags"]),
        ("R&amp;D &lt;3 \\*stars\\*", ["R&D <3 *stars*"]),
        ("<https://example.com>", ["https://example.com"]),
        ("[a]: http://b.c", ["[a]: http://b.c"]),
        ("    indented", ["indented"]),
        ("Run `a\nb` &amp; `c`", ["Run a\nb & c"]),
        ("**unfinished and `so", ["**unfinished and `so"]),
        ("a\r\nb\r\n\r\nc", ["a\nb", "c"]),
        ("Great 😀 work 👍🏽!", ["Great   work   !"]),
        ("1️⃣ First", ["1   First"]),
        ("so\u00adft \u200bspace", ["soft space"]),
        ("a\x00b \ud800 c\ue000", ["a b   c"]),
        ("नमस्ते। ठीक है।", ["नमस्ते.", "ठीक है."]),
        ("你好！再见。", ["你好!", "再见."]),
        ("(He was tired.) He slept.", ["(He was tired.)", "He slept."]),
        ("Dr. Smith paid $3.50 at 5 p.m. He left.", ["Dr. Smith paid $3.50 at 5 p.m.", "He left."]),
        ("***", []),
        ("<b>", []),
        (">" * 101 + " deep", [">" * 101 + " deep"]),
        ("", []),
    ],
)
def test_markdown_and_unreadable_characters_are_removed(text: str, spoken: list[str]) -> None:
    assert texts_of(text) == spoken


def test_sentences_have_their_spans() -> None:
    text = "# A **b** c\n- [d](e)! F &amp; *g*."
    spans = [text[sentence.start_char : sentence.end_char] for sentence in read(text, "a")]
    assert spans == ["A **b** c", "d](e)!", "F &amp; *g*."]


def pauses(text: str) -> list[tuple[str, float]]:
    return [(sentence.text, sentence.silence_before_s) for sentence in read(text, "a")]


class TestPauses:
    def test_pause_goes_before_the_next_sentence(self) -> None:
        assert pauses("One [pause:0.5s] two. Three [PAUSE: 250 ms]") == [
            ("One", 0.0),
            ("two.", 0.5),
            ("Three", 0.0),
            ("", 0.25),
        ]

    def test_adjacent_pauses_add_up(self) -> None:
        assert pauses("[pause:1s][pause:.5s] Go") == [("Go", 1.5)]

    def test_pause_inside_markdown(self) -> None:
        assert pauses("**One [pause:1s] two**") == [("One", 0.0), ("two", 1.0)]

    @pytest.mark.parametrize("text", ["[pause:11s] Go", "[pause:999999s]"])
    def test_pause_that_is_too_long_is_rejected(self, text: str) -> None:
        with pytest.raises(BadText, match="10 s"):
            read(text, "a")

    def test_all_pauses_together_are_limited_to_30_s(self) -> None:
        assert pauses("[pause:10s]" * 3 + " Go") == [("Go", 30.0)]
        with pytest.raises(BadText, match="30 s together"):
            read("[pause:10s]" * 930 + " Hi.", "a")

    @pytest.mark.parametrize("text", ["[pause:s]", "[pause:-1s]", "[pause:1]", "[pause]"])
    def test_malformed_pause_stays_text(self, text: str) -> None:
        assert pauses(text) == [(text, 0.0)]


def test_pronunciation_is_not_taken_for_a_link() -> None:
    text = "[Kokoro](/kˈOkəɹO/) **is** [here](https://a.b)."
    assert texts_of(text) == ["[Kokoro](/kˈOkəɹO/) is here."]


MARKS = ["**", "*", "~", "_", "`", "~~", "# ", "- ", "1. ", "> ", "\n", "\n\n", "```", "|"]
MARKS += ["&amp;", "<b>", " "]


@given(st.lists(st.sampled_from(MARKS) | st.text("abz 5.,!?é你", max_size=8)).map("".join))
def test_only_letters_of_tags_and_targets_are_removed(text: str) -> None:
    """Except behind ``` or ~~~, where the rest of the line names a programming language."""
    kept = "".join(sentence.text for sentence in read(text, "a"))
    without_marks = text.replace("&amp;", "&").replace("<b>", "")
    if "```" not in text and "~~~" not in text:
        # Tags and entities in code are text, so the result may have more letters.
        left = iter(letters(kept))
        assert all(letter in left for letter in letters(without_marks))


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


@given(st.text() | st.lists(st.sampled_from([*MARKS, "[", "](", ")", "[pause:1s]", "word "])).map("".join))
def test_spans_ascend_inside_the_text(text: str) -> None:
    if text.count("[pause:1s]") > 10:
        return
    bounds = [0]
    for sentence in read(text, "a"):
        if sentence.text:
            bounds += sentence.start_char, sentence.end_char
            assert sentence.text == sentence.text.strip()
            check_characters(sentence, text)
    assert bounds == sorted(bounds)
    assert bounds[-1] <= len(text)


def check_characters(sentence: Sentence, text: str) -> None:
    for n, char in enumerate(sentence.text):
        start, end = sentence.written.origin(n, n + 1)
        if char.isascii() and char.isalpha() and end - start == 1:
            assert char == text[start]


UNITS = ["*", "[", "](", "`", "> ", "- ", "1. ", "|", "<", "&", "~", "![", "\\", "a *b", "\n#", "[a](", "_a"]


@pytest.mark.parametrize("unit", UNITS)
def test_repeated_marks_are_fast(unit: str) -> None:
    started = time.process_time()
    read(unit * (MAX_MARKDOWN_CHARS // len(unit)), "a")
    assert time.process_time() - started < 20


def test_megabyte_on_one_line_is_read() -> None:
    started = time.process_time()
    assert len(read("word, and *more* " * 60_000, "a")) > 1_000
    assert time.process_time() - started < 20
