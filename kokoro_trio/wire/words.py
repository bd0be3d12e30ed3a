"""Counts the words of a text, for the limit on one request."""

import math
import re

from kokoro_trio.wire.limits import LETTERS_PER_UNSPACED_WORD, MAX_LETTERS_PER_WORD

UNSPACED_LETTER = re.compile(
    r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    r"\u0e01-\u0eff\u1000-\u109f\u1780-\u17b3]"
)
"""Letters of scripts without spaces: kana, Han (with extensions and compatibility forms), Thai and Lao,
Burmese, Khmer."""


def word_count(text: str) -> int:
    """The number of words: the pieces between spaces that contain a letter or a digit.

    In scripts without spaces, two characters count as a word; elsewhere a piece counts once for each fifty
    letters, so that a client cannot avoid the limit by leaving out the spaces.
    """
    return sum(map(_words_in, text.split()))


def _words_in(piece: str) -> int:
    if piece.isalnum() and piece.isascii() and len(piece) <= MAX_LETTERS_PER_WORD:
        return 1  # The usual case, kept fast: a megabyte of words must not block the event loop for long.
    if not any(map(str.isalnum, piece)):
        return 0
    spaced = UNSPACED_LETTER.sub("", piece)
    n_unspaced = len(piece) - len(spaced)
    n_spaced = sum(map(str.isalnum, spaced))
    return math.ceil(n_unspaced / LETTERS_PER_UNSPACED_WORD) + math.ceil(n_spaced / MAX_LETTERS_PER_WORD)
