"""Pure: the operator's lexicon."""

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
        ("groq is", "groq is"),  # an entry with a capital does not match lower case
        ("a Cafe, a cafe", "a [Cafe](/caf/), a [cafe](/caf/)"),
        ("Groqs", "Groqs"),
        ("(Groq)", "([Groq](/ɡɹˈ/))"),
        ("the cafe bar", "the [cafe bar](/caf ba/)"),
        ("[Groq](/abc/)", "[Groq](/abc/)"),
        ("C++ or C", "[C++](/ce/) or C"),
    ],
)
def test_lexicon_words_become_pronunciation_markup(text: str, expected: str) -> None:
    words = {"Groq": "ɡɹˈ", "cafe": "/caf/", "cafe bar": "caf ba", "C++": "ce"}
    assert marked(words, text) == expected


def test_entries_of_a_language_override_those_of_all() -> None:
    words = {"Groq": "ɡɹˈ", "es": {"Groq": "ab", "sol": "cd"}}
    assert marked(words, "Groq sol", "a") == "[Groq](/ɡɹˈ/) sol"
    assert marked(words, "Groq sol", "e") == "[Groq](/ab/) [sol](/cd/)"


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [("Groq", "xyz"), ("Groq", ""), ("Groq", 5), ("[a]", "a"), ("", "a"), ("...", "a"), ("Groq", {"a": "b"})],
)
def test_invalid_entry_is_logged_and_skipped(word: str, phonemes: object) -> None:
    with capture_logs() as logs:
        assert marked({word: phonemes, "cafe": "caf"}, "Groq cafe") == "Groq [cafe](/caf/)"
    assert [(event["event"], event["word"]) for event in logs] == [("lexicon_entry_left_out", word)]


def test_empty_lexicon_changes_nothing() -> None:
    assert marked({}, "Groq") == "Groq"
    assert list(Lexicon().pronunciations("Groq", "a")) == []
