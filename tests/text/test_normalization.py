"""Pure: how the text of a sentence is normalized. `corpus/<language>.tsv` has the examples."""

import csv
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.normalization import Verbalization, normalized, verbalizations
from kokoro_trio.text.reading import read
from tests.support.models import ALPHABET
from tests.support.processes import output_of


def corpus() -> Iterator[object]:
    for file in sorted((Path(__file__).parent / "corpus").glob("*.tsv")):
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                name = f"{file.stem}-{row['kind']}-{row['written']}"
                yield pytest.param(file.stem, row["written"], row["spoken"], id=name)


@pytest.mark.parametrize(("language", "written", "spoken"), list(corpus()))
def test_corpus_is_normalized_from_markdown_to_pronouncer(language: str, written: str, spoken: str) -> None:
    g2p = GraphemeToPhoneme(ALPHABET)
    sentences = read(written, language)
    assert " ".join(g2p.normalized(sentence.text, language).text for sentence in sentences) == spoken


@pytest.mark.parametrize(
    ("language", "written", "spoken"),
    [
        ("a", "On Mon. or in Feb. then", "On Monday or in February then"),
        ("a", "min. 3, max. 5 per dept.", "minimum three, maximum five per department."),
        ("a", "STOP! THIS IS IMPORTANT.", "stop! this is important."),
        (
            "a",
            "2 tsp. sugar for 25-30 min.",
            "two teaspoons sugar for twenty-five to thirty minutes.",
        ),
        ("a", "The Sun. And Sun. at 5", "The Sun. And Sunday at five"),
        ("p", "O Sr. Silva, p. ex., etc.", "O senhor Silva, por exemplo, etcétera."),
    ],
)
def test_text_that_segmentation_would_split_is_normalized(language: str, written: str, spoken: str) -> None:
    assert normalized(written, language) == spoken


def test_each_written_word_has_its_own_verbalization() -> None:
    text = "On January 5, 2024 at 5 p.m. call (555) 123-4567"
    assert [(text[one.start_char : one.end_char], one.spoken) for one in verbalizations(text, "a")] == [
        ("January", "January"),
        ("5,", "fifth,"),
        ("2024", "twenty twenty-four"),
        ("5", "five"),
        ("p.m.", "P.M"),
        ("(555)", "five five five,"),
        ("123-4567", "one two three, four five six seven"),
    ]


def test_one_verbalization_covers_words_that_change_their_order() -> None:
    assert verbalizations("$2.5 million", "a") == [Verbalization(0, 12, "two point five million dollars")]


@pytest.mark.parametrize("language", ["j", "z", "", "en-us"])
def test_languages_without_vocabulary_have_no_verbalizations(language: str) -> None:
    assert verbalizations("5 km", language) == []


TRICKY = """
cat Kokoro 5 -5 $3.50 1,000 5th U.S. don't ... — ( ] " @ / # % & + = a.b foo@x.com http://a.b/c IV ² ½ ٣ Ⅻ
soooo NASA ABCDEFG I A °C km p.m. 5pm 10:30 2024-01-05 01/02/03 +1 555 (555) St. No. _ a_b C:\\x ' ’ é ५ 和
① １ e5 USD € -> v1.2 Jan 5- – .. ~ : GPT-4o MP3s [a](/b/) [5](/f/) ™ | * **b** 3:5 1/2 x² R$ 1.000,5 नमस्ते
"""
PIECES = TRICKY.split()
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=7).flatmap(
    lambda pieces: st.sampled_from([" ".join(pieces), "".join(pieces)])
)
MARKUP = re.compile(r"\[[^\]\s]{1,60}\]\(/[^)\s]{0,200}/\)")


@given(TEXTS, st.sampled_from("abefhip"))
def test_verbalizations_ascend_and_leave_pronunciation_markup_alone(text: str, language: str) -> None:
    found = verbalizations(text, language)
    bounds = [bound for one in found for bound in (one.start_char, one.end_char)]
    assert bounds == sorted(bounds)
    assert all(0 <= one.start_char < one.end_char <= len(text) for one in found)
    for markup in MARKUP.finditer(text):
        assert all(one.end_char <= markup.start() or one.start_char >= markup.end() for one in found)


@given(TEXTS, st.sampled_from("abefhip"))
def test_every_word_with_letters_or_digits_stays_audible(text: str, language: str) -> None:
    found = verbalizations(text, language)
    read = {index: one.spoken for one in found for index in range(one.start_char, one.end_char)}
    for word in re.finditer(r"\S+", text):
        if any(map(str.isalnum, word[0])):
            spoken = "".join(read.get(index, text[index]) for index in range(*word.span()))
            assert any(map(str.isalnum, spoken))


@given(TEXTS, st.sampled_from("ab"))
def test_english_has_no_digits_left_after_normalization(text: str, language: str) -> None:
    spoken = normalized(MARKUP.sub(" ", text), language)
    assert not any(char.isdigit() for char in spoken)


REPEATED = """
1 1/ 1- +1 (1 o aB a. a@ x² ://a http://a / \\ [a](/ 5' 2024- I ½ A A. a_ * soooo 1e5 1'1 a… 5\" «
"""
REPEATED_WORDS = ["1 ", "1, ", "$1 ", "Jan 5 ", "10:30 ", "IV ", "555 ", "12 34 ", "St. ", "\u0301", "\n"]


@pytest.mark.parametrize("language", ["a", "f", "h"])
@pytest.mark.parametrize("unit", REPEATED.split() + REPEATED_WORDS)
def test_thousand_repeated_characters_do_not_backtrack(unit: str, language: str) -> None:
    text = (unit * 1_000)[:1_000]
    verbalizations("5 sooo (555) 123-4567", language)
    started = time.process_time()
    verbalizations(text, language)
    # 0.05 s at most on the machine of the author; a pattern that backtracks takes many seconds.
    assert time.process_time() - started < 1


def test_importing_normalization_imports_neither_spacy_nor_torch() -> None:
    code = "import sys, kokoro_trio.text.normalization; print({'spacy', 'torch'} & set(sys.modules))"
    assert output_of("-c", code).strip() == "set()"
