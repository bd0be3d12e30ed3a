"""espeak: the languages for which misaki has no dictionary."""

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

from rapidfuzz.distance import Levenshtein, Opcodes

from kokoro_trio.speech import MAX_SEGMENT_PHONEMES
from kokoro_trio.text.markup import PRONUNCIATION
from kokoro_trio.text.pronouncing import Spoken

CACHED_WORDS = 4_096

_STOP_IN_WORD = re.compile(r"(?<=[^\W\d_])\.(?=[^\W\d_]|[ˈˌ])")
"""espeak writes some sounds with a dot: "s." in Mandarin, "r." in Hindi, for which Kokoro has "ɽ"."""
_CLAUSE = re.compile(r".+?(?:[;:,.!?—…]\s+|\Z)")
_WORD = re.compile(r"\S+\s*|\s+")
_RUN = re.compile(r"\S+")


class EspeakPronouncer:
    def __init__(self, language: str) -> None:
        """`language` is espeak's name for it."""
        from misaki.espeak import EspeakG2P  # type: ignore[import-untyped]

        self._g2p = EspeakG2P(language=language)
        # phonemizer warns of each word for which espeak switches to English.
        logging.getLogger("phonemizer").setLevel(logging.ERROR)
        self._word = lru_cache(maxsize=CACHED_WORDS)(self.phonemes)

    def phonemes(self, text: str) -> str:
        return _STOP_IN_WORD.sub("", str(self._g2p(text)[0] or "").replace("r.", "ɽ"))

    def __call__(self, text: str) -> list[Spoken]:
        """espeak pronounces the text between the pronunciations that it contains."""
        spoken: list[Spoken] = []
        done = 0
        for markup in PRONUNCIATION.finditer(text):
            spoken += self._pieces(done, text[done : markup.start()], [_CLAUSE, _WORD])
            done = markup.end()
            following = text[done : done + 1]
            space = " " * (following == "" or following.isspace())
            spoken.append((markup.start(), markup["phonemes"] + space))
        return spoken + self._pieces(done, text[done:], [_CLAUSE, _WORD])

    def _pieces(self, start: int, text: str, finer: Sequence[re.Pattern[str]]) -> list[Spoken]:
        """One piece if it fits a segment, because espeak assimilates sounds across words; else finer ones."""
        phonemes = self.phonemes(text)
        if len(phonemes) <= MAX_SEGMENT_PHONEMES or not finer:
            return self._by_word(start, text, phonemes) if phonemes else []
        return [
            spoken
            for piece in finer[0].finditer(text)
            for spoken in self._pieces(start + piece.start(), piece.group(), finer[1:])
        ]

    def _by_word(self, start: int, text: str, phonemes: str) -> list[Spoken]:
        """Assigns the phonemes to the words; those before the first word belong to it."""
        # espeak gives phonemes to words with a letter or a digit only.
        runs = [run for run in _RUN.finditer(text) if any(map(str.isalnum, run.group()))]
        starts = [start + run.start() for run in runs] or [start]
        if len(starts) == 1:
            return [(starts[0], phonemes + " ")]
        cuts = _cuts_at_spaces(phonemes, len(runs)) or self._cuts_by_alignment(phonemes, runs)
        bounds = pairwise([0, *cuts, len(phonemes)])
        by_word = [(at, phonemes[first:last]) for at, (first, last) in zip(starts, bounds, strict=True)]
        at, last = by_word[-1]
        return [*by_word[:-1], (at, last + " ")]

    def _cuts_by_alignment(self, phonemes: str, runs: Sequence[re.Match[str]]) -> list[int]:
        """For words that espeak joined or split: aligns their phonemes with those of each word alone."""
        alone = [self._word(run.group()) + " " for run in runs]
        ends = list(accumulate(map(len, alone)))[:-1]
        joined = "".join(alone).rstrip()
        blocks = Levenshtein.opcodes(joined, phonemes)
        return list(accumulate((_position_of(end, blocks) for end in ends), max))


def _cuts_at_spaces(phonemes: str, n_words: int) -> list[int]:
    """The starts of all words but the first, if spaces separate as many words as there are; else none."""
    starts = [found.start() for found in _RUN.finditer(phonemes) if any(map(str.isalpha, found.group()))]
    return starts[1:] if len(starts) == n_words else []


def _position_of(position: int, blocks: Opcodes) -> int:
    """The position in the second of two aligned texts that corresponds to `position` in the first."""
    for block in blocks:
        if block.src_start <= position < block.src_end:
            return int(min(block.dest_start + position - block.src_start, block.dest_end))
    return int(blocks.dest_len)
