"""espeak alone: the languages that misaki has no dictionary for."""

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

from rapidfuzz.distance import Levenshtein, Opcodes

from kokoro_trio.speech import MAX_SEGMENT_PHONEMES
from kokoro_trio.text.markup import pronunciations
from kokoro_trio.text.pronouncing import Spoken

CACHED_WORDS = 4_096

_STOP_IN_WORD = re.compile(r"(?<=[^\W\d_])\.(?=[^\W\d_]|[ˈˌ])")
"""espeak writes some sounds with a dot: "s." in Mandarin, and "r." in Hindi, which is Kokoro's "ɽ"."""
_CLAUSE = re.compile(r".+?(?:[;:,.!?—…]\s+|\Z)")
_WORD = re.compile(r"\S+\s*|\s+")
_RUN = re.compile(r"\S+")


class EspeakPronouncer:
    def __init__(self, language: str) -> None:
        """`language` as espeak calls it."""
        from misaki.espeak import EspeakG2P  # type: ignore[import-untyped]

        self._g2p = EspeakG2P(language=language)
        # It would warn of every English word, which espeak reads in English.
        logging.getLogger("phonemizer").setLevel(logging.ERROR)
        self._word = lru_cache(maxsize=CACHED_WORDS)(self.phonemes)

    def phonemes(self, text: str) -> str:
        return _STOP_IN_WORD.sub("", str(self._g2p(text)[0] or "").replace("r.", "ɽ"))

    def __call__(self, text: str) -> list[Spoken]:
        """Between the pronunciations that the text brings along."""
        spoken: list[Spoken] = []
        done = 0
        for (start, end), _, phonemes in pronunciations(text):
            spoken += self._pieces(done, text[done:start], [_CLAUSE, _WORD])
            follows = text[end : end + 1]
            spoken.append((start, phonemes + " " * (follows == "" or follows.isspace())))
            done = end
        return spoken + self._pieces(done, text[done:], [_CLAUSE, _WORD])

    def _pieces(self, start: int, text: str, finer: Sequence[re.Pattern[str]]) -> list[Spoken]:
        """In one piece if that fits a segment: espeak joins sounds across words."""
        phonemes = self.phonemes(text)
        if len(phonemes) <= MAX_SEGMENT_PHONEMES or not finer:
            return self._by_word(start, text, phonemes) if phonemes else []
        return [
            spoken
            for piece in finer[0].finditer(text)
            for spoken in self._pieces(start + piece.start(), piece.group(), finer[1:])
        ]

    def _by_word(self, start: int, text: str, phonemes: str) -> list[Spoken]:
        """Which of them belong to which word; what stands before the first goes with it."""
        # espeak speaks what has a letter or a digit in it.
        runs = [run for run in _RUN.finditer(text) if any(map(str.isalnum, run.group()))]
        starts = [start + run.start() for run in runs] or [start]
        if len(starts) == 1:
            return [(starts[0], phonemes + " ")]
        cuts = _cuts_at_spaces(phonemes, len(runs)) or self._cuts_by_likeness(phonemes, runs)
        bounds = pairwise([0, *cuts, len(phonemes)])
        by_word = [(at, phonemes[first:last]) for at, (first, last) in zip(starts, bounds, strict=True)]
        at, last = by_word[-1]
        return [*by_word[:-1], (at, last + " ")]

    def _cuts_by_likeness(self, phonemes: str, runs: Sequence[re.Match[str]]) -> list[int]:
        """Where espeak joined words, or made several of one: by what each sounds like alone."""
        alone = [self._word(run.group()) + " " for run in runs]
        ends = list(accumulate(map(len, alone)))[:-1]
        joined = "".join(alone).rstrip()
        blocks = Levenshtein.opcodes(joined, phonemes)
        cuts: list[int] = []
        for end in ends:
            cuts.append(max(_position_of(end, blocks), cuts[-1] if cuts else 0))
        return cuts


def _cuts_at_spaces(phonemes: str, n_words: int) -> list[int]:
    """The starts of all words but the first, where there are as many between spaces; else none."""
    starts = [found.start() for found in _RUN.finditer(phonemes) if any(map(str.isalpha, found.group()))]
    return starts[1:] if len(starts) == n_words else []


def _position_of(position: int, blocks: Opcodes) -> int:
    """Where in the second of two aligned texts that is which is at `position` in the first."""
    for block in blocks:
        if block.src_start <= position < block.src_end:
            return int(min(block.dest_start + position - block.src_start, block.dest_end))
    return int(blocks.dest_len)
