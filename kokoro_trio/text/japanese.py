"""Japanese: words and readings by MeCab with UniDic, phonemes as misaki writes them for Kokoro v1.0."""

from collections.abc import Callable, Container, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from kokoro_trio.text.normalization.japanese import counter_readings, normalized
from kokoro_trio.text.pronouncing import Spoken, split_by_script, without_known_warning
from kokoro_trio.text.traced import Traced

if TYPE_CHECKING:
    from misaki.cutlet import Cutlet, Word  # type: ignore[import-untyped]

_SMALL = frozenset("ぁぃぅぇぉゃゅょゎ")
_REPEATED = frozenset("ゝヽ")
_FAMILY = {"母": "かー", "父": "とー", "兄": "にー", "姉": "ねー"}
_POLITE = ("さん", "さま", "様", "ちゃん")
"""Suffixes before which the readings of the dictionary, "chichi" and "haha", are wrong."""
_KATAKANA, _KNOWN = 7, 6
"""MeCab's numbers of character types. misaki reads hiragana, the second, by its kana."""
_OPENING_MARKS = "「『«"
_CLOSING_MARKS = "」』»"
_OPENING_PHONEMES = "(["
_CLOSING_PHONEMES = "]).,?!:"
"""Strings, because the phonemes of a word may be several of these characters, or none."""
_STOPS = frozenset('!",.:;?»—…”')
_OPENING = frozenset('"«“')


class JapanesePronouncer:
    """`english` pronounces words in Latin letters. Needs the packages of an extra, see `languages`."""

    def __init__(self, english: Callable[[str], str]) -> None:
        self._english = english
        with without_known_warning():
            self._cutlet = _cutlet()

    def __call__(self, text: str) -> list[Spoken]:
        written = normalized(text)
        return [
            (written.origin(start, start + 1)[0], spoken)
            for at, stretch, phonemes in split_by_script(written.text, self._english)
            for start, spoken in (self._japanese(at, stretch) if phonemes is None else [(at, phonemes)])
        ]

    def _japanese(self, start: int, text: str) -> list[Spoken]:
        read = Traced.of(text, start).rewritten(self._cutlet._normalize_text(text))
        spoken: list[Spoken] = []
        cursor = 0
        for surface, phonemes in self._cutlet.words(read.text):
            # Character by character, because a word may span a space of the text.
            places = [cursor := read.text.index(char, cursor) + 1 for char in surface]
            spoken.append((read.origin(places[0] - 1, places[0])[0], phonemes))
        return _with_glottal_stops_joined(spoken)


def _cutlet() -> "Cutlet":
    import jaconv
    from misaki.cutlet import JA_WORDS, Cutlet, Word

    longest = max(map(len, JA_WORDS))

    def joined(words: "Sequence[Word]", reading: str | None = None) -> "Word":
        read = "".join(word.hira for word in words) if reading is None else jaconv.kata2hira(reading)
        kind = words[0].char_type if reading is None else _KNOWN
        return Word("".join(word.surface for word in words), read, kind)

    class WordByWord(Cutlet):  # type: ignore[misc]
        """Gives the surface form and the phonemes of each word."""

        def words(self, text: str) -> list[tuple[str, str]]:
            """Replaces `Cutlet.__call__`, whose time grows with the cube of the number of words."""
            nodes = self.tagger(text)
            following = [*(node.surface for node in nodes[1:]), ""]
            words = [
                Word(
                    node.surface,
                    _family_reading(node.surface, next_one)
                    or jaconv.kata2hira(node.feature.pron or node.feature.kana or node.surface),
                    _KNOWN if node.char_type == _KATAKANA or not node.is_unk else node.char_type,
                )
                for node, next_one in zip(nodes, following, strict=False)
            ]
            words = _with_counters(words, text, joined)
            words = [joined(run) for run in _known_runs(words, JA_WORDS, longest)]
            return _spaced([(word.surface, str(self._romaji_word(word))) for word in words])

        def _get_single_mapping(self, before: str | None, kana: str, after: str | None) -> str:
            """For invalid sequences of kana misaki raises, returns nothing or returns kana."""
            if kana in _REPEATED:
                return str(self.table.get(before or "", ""))
            if kana in _SMALL and before not in self.table:
                return str(self.table[kana])
            if after in _SMALL and kana != "っ" and kana not in self.table:
                after = None
            return str(super()._get_single_mapping(before, kana, after))

    return WordByWord()


def _known_runs(words: "Sequence[Word]", known: Container[str], longest: int) -> "Iterator[Sequence[Word]]":
    """Joins words greedily: the longest run in one type of character that together is a known word."""
    first = 0
    while first < len(words):
        end = first + 1
        surface = ""
        for last in range(first, len(words)):
            surface += words[last].surface
            if words[last].char_type != words[first].char_type or len(surface) > longest:
                break
            if surface in known:
                end = last + 1
        yield words[first:end]
        first = end


def _spaced(words: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """With spaces behind words, before opening marks and behind closing marks, as misaki sets them."""
    spaces: list[str] = []
    for surface, phonemes in words:
        opens = surface in _OPENING_MARKS or phonemes in _OPENING_PHONEMES
        closes = surface in _CLOSING_MARKS or phonemes in _CLOSING_PHONEMES
        if spaces and (opens or closes):
            spaces[-1] = " " if opens else ""
        spaces.append("" if opens or phonemes == " " else " ")
    return [
        (surface, phonemes.replace("っ", "") + space)
        for (surface, phonemes), space in zip(words, spaces, strict=True)
    ]


def _with_counters(
    words: "Sequence[Word]", text: str, joined: "Callable[[Sequence[Word], str], Word]"
) -> "list[Word]":
    """Joins numerals with their counters, unless one of them is a part of another word."""
    starts: list[int] = []
    end = 0
    for word in words:
        starts.append(text.index(word.surface, end))
        end = starts[-1] + len(word.surface)
    ends = [start + len(word.surface) for start, word in zip(starts, words, strict=True)]
    parts: list[Word] = []
    done = 0
    for start, stop, reading in counter_readings(text):
        if start in starts and stop in ends:
            first, last = starts.index(start), ends.index(stop) + 1
            parts += [*words[done:first], joined(words[first:last], reading)]
            done = last
    return [*parts, *words[done:]]


def _family_reading(surface: str, next_one: str) -> str:
    return _FAMILY.get(surface, "") if next_one.startswith(_POLITE) else ""


def _with_glottal_stops_joined(spoken: Sequence[Spoken]) -> list[Spoken]:
    """Without spaces around a glottal stop, except next to quotes and other marks."""
    joined: list[Spoken] = []
    for (start, phonemes), (_, following) in pairwise([*spoken, (0, "")]):
        word = phonemes.rstrip()
        is_before = following.startswith("ʔ") and word[-1:] not in _STOPS
        is_after = word.endswith("ʔ") and following[:1] not in _OPENING
        joined.append((start, word if is_before or is_after else phonemes))
    return joined
