"""Pure: the operator's own pronunciations."""

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from kokoro_trio.text.lexicon import Lexicon
from kokoro_trio.text.traced import Traced

ALPHABET = frozenset("abcdefɡɹˈ ")


def marked(content: Mapping[str, object], text: str, language: str = "a") -> str:
    lexicon = Lexicon.of(content, ALPHABET)
    return Traced.of(text).replaced(lexicon.pronunciations(text, language)).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Groq is", "[Groq](/ɡɹˈ/) is"),
        ("groq is", "groq is"),  # written with a capital, so only found with one
        ("a Cafe, a cafe", "a [Cafe](/caf/), a [cafe](/caf/)"),
        ("Groqs", "Groqs"),
        ("(Groq)", "([Groq](/ɡɹˈ/))"),
        ("the cafe bar", "the [cafe bar](/caf ba/)"),
        ("[Groq](/abc/)", "[Groq](/abc/)"),
        ("C++ or C", "[C++](/ce/) or C"),
    ],
)
def test_words_are_found(text: str, expected: str) -> None:
    words = {"Groq": "ɡɹˈ", "cafe": "/caf/", "cafe bar": "caf ba", "C++": "ce"}
    assert marked(words, text) == expected


def test_a_language_may_have_its_own() -> None:
    words = {"Groq": "ɡɹˈ", "es": {"Groq": "ab", "sol": "cd"}}
    assert marked(words, "Groq sol", "a") == "[Groq](/ɡɹˈ/) sol"
    assert marked(words, "Groq sol", "e") == "[Groq](/ab/) [sol](/cd/)"


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [("Groq", "xyz"), ("Groq", ""), ("Groq", 5), ("[a]", "a"), ("", "a"), ("...", "a"), ("Groq", {"a": "b"})],
)
def test_what_cannot_be_used_is_reported_and_left_out(word: str, phonemes: object) -> None:
    with capture_logs() as logs:
        assert marked({word: phonemes, "cafe": "caf"}, "Groq cafe") == "Groq [cafe](/caf/)"
    assert [(event["event"], event["word"]) for event in logs] == [("lexicon_entry_left_out", word)]


def test_an_empty_one_finds_nothing() -> None:
    assert marked({}, "Groq") == "Groq"
    assert list(Lexicon().pronunciations("Groq", "a")) == []
