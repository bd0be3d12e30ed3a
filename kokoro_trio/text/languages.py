"""The languages of Kokoro's voices: the letters they go by, and the tags that clients name them with."""

from kokoro_trio.errors import BadLanguage

LANGUAGES = {
    "a": "en-us",
    "b": "en-gb",
    "e": "es",
    "f": "fr-fr",
    "h": "hi",
    "i": "it",
    "p": "pt-br",
}
"""What can be spoken: the first letter of a voice's name → espeak's name of the language.

What voices exist for besides, but needs dictionaries of its own, is in `UNSPOKEN`."""
UNSPOKEN = {"j": "ja", "z": "zh"}

MAX_GOT_CHARS = 100
_TAGS = {
    "en-us": "a",
    "en-gb": "b",
    "en": "a",
    "es": "e",
    "fr": "f",
    "hi": "h",
    "it": "i",
    "pt": "p",
    "pt-br": "p",
    "ja": "j",
    "zh": "z",
    "cmn": "z",
}
_CODES = frozenset(_TAGS.values())


def language_named(tag: str) -> str:
    """The letter for a language: `en-GB`, `en_gb` or `b` → `b`, and `es-MX` → `e` by its first part.

    Raises `BadLanguage`. That a language has a letter does not say that it can be spoken.
    """
    subtags = tag.lower().replace("_", "-").split("-")
    if subtags[0] in _CODES and len(subtags) == 1:
        return subtags[0]
    for known in ("-".join(subtags[:2]), subtags[0]):
        if known in _TAGS:
            return _TAGS[known]
    raise BadLanguage(got=tag[:MAX_GOT_CHARS], allowed=[*_TAGS, *sorted(_CODES)])


def tag_of(code: str) -> str:
    """The tag of a language by its letter; of a letter that no language has, the letter."""
    return (LANGUAGES | UNSPOKEN).get(code, code)
