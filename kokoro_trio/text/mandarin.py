"""Mandarin: words by jieba, pinyin by pypinyin, phonemes as misaki writes them for Kokoro v1.0."""

import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator

from kokoro_trio.text.pronouncing import Spoken, followed, stretches, without_known_warnings
from kokoro_trio.text.traced import Traced

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_OPENING = frozenset('“‘"《「【（(')
_MINUS = re.compile(r"(?<![0-9A-Za-z.])[-−](?=\d)")
_NO_SYLLABLE = "\u032f"
"""The mark of what is no syllable of its own; misaki leaves it out as well."""
_MARKS = str.maketrans(dict(zip("、，。．！：；？《》「」【】（）", ",,..!:;?“”“”“”()", strict=True)))


class MandarinPronouncer:
    """`english` says how words in Latin letters sound. Needs the packages of an extra, see `languages`."""

    def __init__(self, english: Callable[[str], str]) -> None:
        with without_known_warnings():
            import cn2an  # type: ignore[import-untyped]
            import jieba  # type: ignore[import-untyped]
            from misaki.zh import ZHG2P  # type: ignore[import-untyped]

        self._english = english
        self._word = ZHG2P.word2ipa
        self._transform = cn2an.transform
        jieba.setLogLevel(logging.WARNING)
        self._tokenizer = jieba.Tokenizer()
        # It would keep what it loads in a file of a well-known name, which anyone may have put there.
        with tempfile.TemporaryDirectory() as folder:
            self._tokenizer.tmp_dir = folder
            self._tokenizer.initialize()

    def __call__(self, text: str) -> list[Spoken]:
        return [
            spoken
            for start, stretch, phonemes in stretches(text, self._english)
            for spoken in (self._mandarin(start, stretch) if phonemes is None else [(start, phonemes)])
        ]

    def _mandarin(self, start: int, text: str) -> list[Spoken]:
        figures_read = self._with_figures_read(_MINUS.sub("负", text))
        read = Traced.of(text, start).rewritten(figures_read)
        spoken: list[Spoken] = []
        for at, end in self._words(read.text):
            word = read.text[at:end]
            space = "" if word in _OPENING else followed(read.text, end)
            spoken.append((read.origin(at, at + 1)[0], self._phonemes(word) + space))
        return spoken

    def _with_figures_read(self, text: str) -> str:
        with warnings.catch_warnings():
            # It warns of figures that it leaves as they are.
            warnings.simplefilter("ignore", UserWarning)
            return str(self._transform(text, "an2cn"))

    def _words(self, text: str) -> Iterator[tuple[int, int]]:
        """Of jieba where it is Han, else character by character: marks, mostly."""
        done = 0
        for found in _HAN.finditer(text):
            yield from ((at, at + 1) for at in range(done, found.start()) if not text[at].isspace())
            for _, at, end in self._tokenizer.tokenize(found.group()):
                yield found.start() + at, found.start() + end
            done = found.end()
        yield from ((at, at + 1) for at in range(done, len(text)) if not text[at].isspace())

    def _phonemes(self, word: str) -> str:
        if not _HAN.fullmatch(word):
            return word.translate(_MARKS)
        try:
            return str(self._word(word)).replace(_NO_SYLLABLE, "")
        except ValueError:
            # A character that has no pinyin.
            return "".join(map(self._phonemes, word)) if len(word) > 1 else ""
