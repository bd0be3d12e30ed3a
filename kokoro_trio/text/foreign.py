"""Words in another script than the sentence's language is written in: espeak knows how to say most."""

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
"""The script → whom to ask. Several languages share one; this is the one most texts are in."""
_OWN_SCRIPTS = {"h": ("Devanagari",), "j": ("Hiragana", "Katakana", "Han"), "z": ("Han",)}
MAX_WORD_CHARS = 20
"""Scripts without spaces have long ones; a pronunciation in a text may be for sixty characters."""

_WORD = regex.compile(
    "|".join(
        rf"(?P<{script}>[\p{{Script={script}}}][\p{{Script={script}}}\p{{M}}]{{0,{MAX_WORD_CHARS - 1}}})"
        for script in _ESPEAK_LANGUAGES
    )
)


def foreign_words(text: str, language: str) -> Iterator[tuple[int, int, str]]:
    """Where each is, and the language of espeak that reads it."""
    if text.isascii():
        return
    own = _OWN_SCRIPTS.get(language, ())
    for found in _WORD.finditer(text):
        if found.lastgroup not in own:
            yield *found.span(), _ESPEAK_LANGUAGES[found.lastgroup or ""]
