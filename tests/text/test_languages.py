"""Pure: how clients may name a language."""

import pytest

from kokoro_trio.errors import BadLanguage
from kokoro_trio.text.languages import LANGUAGES, language_named, tag_of


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en-us", "a"),
        ("EN_US", "a"),
        ("en", "a"),
        ("en-AU", "a"),
        ("en-gb", "b"),
        ("en_GB", "b"),
        ("en-GB-scotland", "b"),
        ("es", "e"),
        ("es-MX", "e"),
        ("es_419", "e"),
        ("fr", "f"),
        ("fr-fr", "f"),
        ("fr-CA", "f"),
        ("hi", "h"),
        ("hi-IN", "h"),
        ("it", "i"),
        ("pt", "p"),
        ("pt-br", "p"),
        ("pt-PT", "p"),
        ("ja", "j"),
        ("ja-JP", "j"),
        ("zh", "z"),
        ("zh-Hant-TW", "z"),
        ("cmn", "z"),
        ("cmn-Hans", "z"),
        *((code, code) for code in "abefhijpz"),
        ("B", "b"),
    ],
)
def test_tags(tag: str, code: str) -> None:
    assert language_named(tag) == code


@pytest.mark.parametrize(
    "tag", ["", "-", "c", "de", "de-AT", "english", "i-klingon", "a-", "en us", "ens", "x" * 9999]
)
def test_what_is_no_language_of_a_voice(tag: str) -> None:
    with pytest.raises(BadLanguage) as refused:
        language_named(tag)
    assert refused.value.got == tag[:100]
    assert {"en-us", "en-gb", "es", "fr", "hi", "it", "pt-br", "ja", "zh", "cmn", "a", "z"} <= set(
        refused.value.allowed
    )


def test_what_a_refusal_allows_is_allowed() -> None:
    with pytest.raises(BadLanguage) as refused:
        language_named("de")
    for tag in refused.value.allowed:
        assert language_named(tag)


def test_a_letter_and_its_tag() -> None:
    for code in LANGUAGES:
        assert language_named(tag_of(code)) == code
    assert tag_of("x") == "x"
