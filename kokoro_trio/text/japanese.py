"""Japanese: words and readings by MeCab with UniDic, phonemes as misaki writes them for Kokoro v1.0."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from kokoro_trio.text.pronouncing import Spoken, stretches, without_known_warnings
from kokoro_trio.text.traced import Change, Traced

if TYPE_CHECKING:
    from misaki.cutlet import Cutlet, Token, Word  # type: ignore[import-untyped]

_LONG_NUMBER = re.compile(r"\d{9,}|(?<!\d)0\d+")
_STOPS = frozenset('!",.:;?»—…”')
_OPENING = frozenset('"«“')


class JapanesePronouncer:
    """`english` says how words in Latin letters sound. Needs the packages of an extra, see `languages`."""

    def __init__(self, english: Callable[[str], str]) -> None:
        self._english = english
        with without_known_warnings():
            self._cutlet = _cutlet()

    def __call__(self, text: str) -> list[Spoken]:
        return [
            spoken
            for start, stretch, phonemes in stretches(text, self._english)
            for spoken in (self._japanese(start, stretch) if phonemes is None else [(start, phonemes)])
        ]

    def _japanese(self, start: int, text: str) -> list[Spoken]:
        digits_parted = Traced.of(text, start).replaced(_gaps_in_numbers(text))
        read = digits_parted.rewritten(self._cutlet._normalize_text(digits_parted.text))
        spoken: list[Spoken] = []
        cursor = 0
        for surface, token in self._cutlet.tokens(read.text):
            # Not all in one piece: a word may have taken two in that have a space between them.
            places = [cursor := read.text.index(char, cursor) + 1 for char in surface]
            spoken.append((read.origin(places[0] - 1, places[0])[0], str(token)))
        return _with_stops_joined(spoken)


def _gaps_in_numbers(text: str) -> Iterator[Change]:
    """misaki has no name for long numbers; they are read digit by digit."""
    for number in _LONG_NUMBER.finditer(text):
        for gap in range(number.start() + 1, number.end()):
            yield gap, gap, " "


def _cutlet() -> "Cutlet":
    import jaconv
    from misaki.cutlet import Cutlet, Word

    class WordByWord(Cutlet):  # type: ignore[misc]
        """Tells which of the text each of its tokens is."""

        def tokens(self, text: str) -> "list[tuple[str, Token]]":
            """The steps of `Cutlet.__call__` up to the joining of the tokens."""
            self._surfaces: list[str] = []
            words = [
                Word(
                    node.surface,
                    jaconv.kata2hira(node.feature.pron or node.feature.kana or node.surface),
                    6 if node.char_type == 7 or not node.is_unk else node.char_type,
                )
                for node in self.tagger(text)
            ]
            tokens = self._romaji_tokens(words)
            return list(zip(self._surfaces, tokens, strict=True))

        def _romaji_word(self, word: "Word") -> str:
            self._surfaces.append(word.surface)
            return str(super()._romaji_word(word))

    return WordByWord()


def _with_stops_joined(spoken: Sequence[Spoken]) -> list[Spoken]:
    """A glottal stop has no space on either side, but for quotes and other marks."""
    following = [*(phonemes for _, phonemes in spoken[1:]), ""]
    joined: list[Spoken] = []
    for (start, phonemes), next_one in zip(spoken, following, strict=False):
        word = phonemes.rstrip()
        is_before = next_one.startswith("ʔ") and word[-1:] not in _STOPS
        is_after = word.endswith("ʔ") and next_one[:1] not in _OPENING
        joined.append((start, word if is_before or is_after else phonemes))
    return joined
