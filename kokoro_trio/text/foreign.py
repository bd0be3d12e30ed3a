"""Finds words in a script that is not the language's own; espeak can pronounce most of them."""

from collections.abc import Iterator

import regex

_ESPEAK_LANGUAGES = {
    "Cyrillic": "ru",
    "Greek": "el",
    "Hebrew": "he",
    "Arabic": "ar",
    "Devanagari": "hi",
    "Bengali": "bn",
    "Tamil": "ta",
    "Telugu": "te",
    "Hangul": "ko",
    "Thai": "th",
    "Armenian": "hy",
    "Georgian": "ka",
    "Hiragana": "ja",
    "Katakana": "ja",
    "Han": "cmn",
}
"""Script → the language of espeak that most texts in this script are in."""
_OWN_SCRIPTS = {"h": ("Devanagari",), "j": ("Hiragana", "Katakana", "Han"), "z": ("Han",)}
MAX_WORD_CHARS = 20
"""Longer runs, which scripts without spaces have, are split: pronunciation markup has a limit."""

_WORD = regex.compile(
    "|".join(
        rf"(?P<{script}>[\p{{Script={script}}}][\p{{Script={script}}}\p{{M}}]{{0,{MAX_WORD_CHARS - 1}}})"
        for script in _ESPEAK_LANGUAGES
    )
)


def foreign_words(text: str, language: str) -> Iterator[tuple[int, int, str]]:
    """The span of each, and the language of espeak that pronounces it."""
    if text.isascii():
        return
    own = _OWN_SCRIPTS.get(language, ())
    for found in _WORD.finditer(text):
        if found.lastgroup not in own:
            yield *found.span(), _ESPEAK_LANGUAGES[found.lastgroup or ""]
