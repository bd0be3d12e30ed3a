"""The languages of Kokoro's voices: the letters they go by, and the tags that clients name them with."""

from importlib.util import find_spec

from kokoro_trio.errors import BadLanguage
from kokoro_trio.installation import install_command
from kokoro_trio.wire.limits import MAX_GOT_CHARS

LANGUAGES = {
    "a": "en-us",
    "b": "en-gb",
    "e": "es",
    "f": "fr-fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-br",
    "z": "zh",
}
"""The first letter of a voice's name → the tag of its language."""
EXTRAS = {
    "j": ("ja", ("fugashi", "jaconv", "mojimoji", "unidic_lite")),
    "z": ("zh", ("cn2an", "jieba", "ordered_set", "pypinyin")),
}
"""Languages that need packages besides: the extra that installs them, and what it brings along."""

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
    return LANGUAGES.get(code, code)


def check_installed(code: str) -> None:
    """Raises `BadLanguage`, with the command that mends it, where an extra is missing."""
    if code not in LANGUAGES or not is_installed(code):
        mend = install_command(EXTRAS[code][0]) if code in EXTRAS else None
        allowed = [tag for known, tag in LANGUAGES.items() if is_installed(known)]
        raise BadLanguage(got=tag_of(code), allowed=allowed, mend=mend)


def is_installed(code: str) -> bool:
    _, packages = EXTRAS.get(code, ("", ()))
    return all(find_spec(package) is not None for package in packages)
