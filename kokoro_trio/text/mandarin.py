"""Mandarin: words by jieba, pinyin by pypinyin, phonemes as misaki writes them for Kokoro v1.0."""

import re
import warnings
from collections.abc import Callable, Iterator

from kokoro_trio.text.normalization.mandarin import normalized
from kokoro_trio.text.pronouncing import Spoken, space_after, split_by_script, without_known_warning
from kokoro_trio.text.traced import Traced

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_OPENING = frozenset('“‘"《〈「『【（(')
_OPENING_PHONEMES = frozenset("“(")
_NO_SYLLABLE = "\u032f"
"""Marks a sound that forms no syllable; misaki drops it as well."""
_MARKS = str.maketrans(
    dict(zip("、，。．！：；？《》〈〉「」『』【】（）", ",,..!:;?“”“”“”“”“”()", strict=True))
)


class MandarinPronouncer:
    """`english` pronounces words in Latin letters. Needs the packages of an extra, see `languages`."""

    def __init__(self, english: Callable[[str], str]) -> None:
        with without_known_warning():
            # jieba warns when Python 3.12 compiles it, and next to a setuptools before 82.
            warnings.filterwarnings("ignore", "invalid escape sequence", SyntaxWarning)
            warnings.filterwarnings("ignore", "pkg_resources is deprecated")
            import cn2an  # type: ignore[import-untyped]
            import jieba  # type: ignore[import-untyped]
            from misaki.zh import ZHG2P  # type: ignore[import-untyped]

        self._english = english
        self._word = ZHG2P.word2ipa
        self._transform = cn2an.transform
        self._tokenizer = jieba.Tokenizer()
        # What its `initialize` does, without the log and without the cache file in the shared temporary
        # folder, which another user may have planted and which some machines do not let us write.
        self._tokenizer.FREQ, self._tokenizer.total = jieba.Tokenizer.gen_pfdict(
            self._tokenizer.get_dict_file()
        )
        self._tokenizer.initialized = True

    def __call__(self, text: str) -> list[Spoken]:
        written = normalized(text)
        spoken: list[Spoken] = []
        for start, stretch, phonemes in split_by_script(written.text, self._english):
            if phonemes is None:
                spoken += self._mandarin(start, stretch)
            else:
                spoken = [*_with_last_space(spoken), (start, phonemes)]
        return [(written.origin(start, start + 1)[0], phonemes) for start, phonemes in spoken]

    def _mandarin(self, start: int, text: str) -> list[Spoken]:
        read = Traced.of(text, start).rewritten(self._with_digits_verbalized(text))
        spoken: list[Spoken] = []
        for at, end in self._words(read.text):
            word = read.text[at:end]
            space = "" if word in _OPENING else space_after(read.text, end)
            spoken.append((read.origin(at, at + 1)[0], self._phonemes(word) + space))
        return spoken

    def _with_digits_verbalized(self, text: str) -> str:
        with warnings.catch_warnings():
            # cn2an warns of digits that it leaves unchanged.
            warnings.simplefilter("ignore", UserWarning)
            return str(self._transform(text, "an2cn"))

    def _words(self, text: str) -> Iterator[tuple[int, int]]:
        """By jieba in runs of Han, else character by character: mostly punctuation."""
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
            # One of the characters has no pinyin.
            return "".join(map(self._phonemes, word)) if len(word) > 1 else ""


def _with_last_space(spoken: list[Spoken]) -> list[Spoken]:
    """With a space before Latin letters, which are mostly written without one."""
    if not spoken or spoken[-1][1][-1:] in _OPENING_PHONEMES:
        return spoken
    start, phonemes = spoken[-1]
    return [*spoken[:-1], (start, phonemes.rstrip() + " ")]
