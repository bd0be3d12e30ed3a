"""The languages of Kokoro's voices: their letters, and the tags by which clients name them."""

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
"""Languages that need more packages → the extra that installs them, and the modules that it brings."""

_TAGS = {tag: code for code, tag in LANGUAGES.items()} | {"en": "a", "fr": "f", "pt": "p", "cmn": "z"}


def language_named(tag: str) -> str:
    """The letter of a language: `en-GB`, `en_gb` or `b` → `b`; `es-MX` → `e` by its first subtag.

    Raises `BadLanguage`, but not for a language whose extra is missing: see `check_installed`.
    """
    subtags = tag.lower().replace("_", "-").split("-")
    if subtags[0] in LANGUAGES and len(subtags) == 1:
        return subtags[0]
    for known in ("-".join(subtags[:2]), subtags[0]):
        if known in _TAGS:
            return _TAGS[known]
    raise BadLanguage(got=tag[:MAX_GOT_CHARS], allowed=[*_TAGS, *LANGUAGES])


def tag_of(code: str) -> str:
    """The tag for the letter of a language; any other letter as it is."""
    return LANGUAGES.get(code, code)


def check_installed(code: str) -> None:
    """Raises `BadLanguage`, with the command that installs the extra if one is missing."""
    if code not in LANGUAGES or not is_installed(code):
        mend = install_command(EXTRAS[code][0]) if code in EXTRAS else None
        allowed = [tag for known, tag in LANGUAGES.items() if is_installed(known)]
        raise BadLanguage(got=tag_of(code), allowed=allowed, mend=mend)


def is_installed(code: str) -> bool:
    _, packages = EXTRAS.get(code, ("", ()))
    return all(find_spec(package) is not None for package in packages)
