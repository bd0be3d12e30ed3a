"""Pure: the tags by which clients name a language."""

import pytest

from kokoro_trio.errors import BadLanguage
from kokoro_trio.text.languages import LANGUAGES, language_named, tag_of

TAGS = {
    "a": "a en-us EN_US en en-AU",
    "b": "b B en-gb en_GB en-GB-scotland",
    "e": "e es es-MX es_419",
    "f": "f fr fr-fr fr-CA",
    "h": "h hi hi-IN",
    "i": "i it",
    "j": "j ja ja-JP",
    "p": "p pt pt-br pt-PT",
    "z": "z zh zh-Hant-TW cmn cmn-Hans",
}


@pytest.mark.parametrize(
    ("code", "tag"), [(code, tag) for code, tags in TAGS.items() for tag in tags.split()]
)
def test_tag_names_its_language(code: str, tag: str) -> None:
    assert language_named(tag) == code


@pytest.mark.parametrize(
    "tag", ["", "-", "c", "de", "de-AT", "english", "i-klingon", "a-", "en us", "ens", "x" * 9999]
)
def test_malformed_or_unknown_tag_is_rejected(tag: str) -> None:
    with pytest.raises(BadLanguage) as rejected:
        language_named(tag)
    assert rejected.value.got == tag[:100]
    assert {"en-us", "en-gb", "es", "fr", "hi", "it", "pt-br", "ja", "zh", "cmn", "a", "z"} <= set(
        rejected.value.allowed
    )


def test_rejection_lists_only_valid_tags() -> None:
    with pytest.raises(BadLanguage) as rejected:
        language_named("de")
    for tag in rejected.value.allowed:
        assert language_named(tag)


def test_letter_and_tag_convert_to_each_other() -> None:
    for code in LANGUAGES:
        assert language_named(tag_of(code)) == code
    assert tag_of("x") == "x"
