"""From sentences to Kokoro's phonemes, and which of them each word of the client is spoken in.

misaki (and with it spaCy and espeak) is imported where a language is loaded: it takes seconds, and spaCy
brings torch along where it finds it.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING

import structlog
from attrs import define, evolve, frozen

from kokoro_trio.config import VoiceConfig
from kokoro_trio.speech import Segment, Word
from kokoro_trio.text.english import EnglishPronouncer, load_spacy_model
from kokoro_trio.text.espeak import EspeakPronouncer
from kokoro_trio.text.foreign import foreign_words
from kokoro_trio.text.japanese import JapanesePronouncer
from kokoro_trio.text.languages import EXTRAS, LANGUAGES, check_installed, is_installed
from kokoro_trio.text.lexicon import LEXICON_FILE, Lexicon
from kokoro_trio.text.mandarin import MandarinPronouncer
from kokoro_trio.text.markup import PRONUNCIATION
from kokoro_trio.text.normalization import readings
from kokoro_trio.text.pronouncing import Pronounce, Spoken, without_known_warning
from kokoro_trio.text.reading import Sentence, read
from kokoro_trio.text.segmentation import Piece, Pronunciation, split_phonemes
from kokoro_trio.text.traced import Change, Span, Traced
from kokoro_trio.watched import WatchedJson
from kokoro_trio.wire.words import UNSPACED_LETTER

if TYPE_CHECKING:
    from spacy.language import Language

ENGLISH = ("a", "b")
_OWN_LETTERS = {"hi": "h", "ja": "j", "cmn": "z"}
"""Of espeak's languages, those that Kokoro has voices for: they may be read by more than espeak."""

_WARM_UP_TEXT = "Sooo, on Jan. 5 it's $3.50 at +1 650 253 0000."
"""Of each kind of word that something is compiled or read for when it is first met."""
NO_LEXICON = Lexicon()
CACHED_SENTENCES = 1_024
"""With sentences of at most 1,000 characters that is less than ten megabytes."""

# num2words has no name for numbers much longer, and raises OverflowError from 307 digits on.
_TO_BE_PARTED = re.compile(r"(?P<number>\d[\d,]{15,})|(?<![—…])[—…]+(?=[^\s\w—…]*\w)")
_SPACES = re.compile(" +")
_WHITESPACE = re.compile(r"\s")
_CLIENT_WORD = re.compile(rf"(?:{PRONUNCIATION.pattern}|[^\s—…])+[—…]*|[—…]+")
"""Between spaces; a dash or an ellipsis between words ends the first."""

_PHONEME_SUBSTITUTES = str.maketrans(
    {"g": "ɡ", "ɫ": "l", "ɝ": "ɜɹ", "ɱ": "m", "–": "—", "\n": " "}
    | dict(zip("[]{}«»", "()()“”", strict=True))
)
"""For phonemes that Kokoro does not know: the nearest it does. Mostly from markup that clients write."""

log = structlog.get_logger()


def load(config: VoiceConfig, alphabet: frozenset[str]) -> "GraphemeToPhoneme":
    """With the operator's lexicon, and warmed up. Raises `G2PUnavailable`."""
    lexicon = WatchedJson(config.custom_folder / LEXICON_FILE, partial(Lexicon.of, alphabet=alphabet))
    lexicon.current()  # So that what is wrong with the file is told at the start.
    g2p = GraphemeToPhoneme(alphabet, lexicon.current)
    g2p.warm_up()
    return g2p


class GraphemeToPhoneme:
    """Knows how sentences sound, in the phonemes of `alphabet`. `lexicon` is asked for at every sentence.

    For one thread at a time: espeak keeps its state in globals. Which thread does not matter.
    """

    def __init__(self, alphabet: frozenset[str], lexicon: Callable[[], Lexicon] = lambda: NO_LEXICON) -> None:
        self._alphabet = alphabet
        self._lexicon = lexicon
        # Without punctuation, stress, length and other modifiers, which make no sound by themselves.
        self._sounds = frozenset(char for char in alphabet if unicodedata.category(char) in ("Ll", "Lu"))
        self._pronouncers: dict[str, Pronounce] = {}
        self._spacy_model: Language | None = None
        # Holds positions relative to the sentence, so a sentence is found again wherever it stands.
        self._cached_pieces = lru_cache(maxsize=CACHED_SENTENCES)(self._pieces)

    def warm_up(self) -> None:
        """Loads English, and the languages whose extras are installed: they take seconds.

        Raises `G2PUnavailable`.
        """
        for language in (*ENGLISH, *filter(is_installed, EXTRAS)):
            self._pronouncer(language)
            self._cached_pieces(language, _WARM_UP_TEXT, NO_LEXICON)

    def sentences(self, text: str, language: str) -> list[Sentence]:
        """See `read`."""
        return read(text, language)

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        """None for a sentence that makes no sound, several for one of more than 510 phonemes.

        Spans count from where the sentence's own do. Raises `BadLanguage`, and `G2PUnavailable` where
        `warm_up` did not run.
        """
        check_installed(language)
        origin = sentence.written.origin
        pieces = self._cached_pieces(language, sentence.text, self._lexicon())
        return [
            Segment(
                index,
                piece.phonemes,
                *origin(piece.start_char, piece.end_char),
                tuple(
                    Word(*origin(word.start_char, word.end_char), word.start_phoneme, word.end_phoneme)
                    for word in piece.words
                ),
                is_continued=index > first_index,
            )
            for index, piece in enumerate(pieces, first_index)
        ]

    def _pieces(self, language: str, text: str, lexicon: Lexicon) -> tuple[Piece, ...]:
        written = self._spelled_out(language, text, lexicon)
        spoken = self._in_alphabet(self._pronouncer(language)(written.text))
        if not any(self._sounds.intersection(phonemes) for _, phonemes in spoken):
            return ()
        return _covering(text, split_phonemes(self._by_client_word(text, written, spoken)))

    def _spelled_out(self, language: str, text: str, lexicon: Lexicon) -> Traced:
        """`text` with all that has to be rewritten before it can be pronounced."""
        written = Traced.of(_WHITESPACE.sub(" ", text))
        written = written.replaced(lexicon.pronunciations(written.text, language))
        written = written.replaced(self._foreign(language, written.text))
        written = written.replaced(
            (reading.start_char, reading.end_char, reading.spoken)
            for reading in readings(written.text, language)
        )
        return written.replaced(_gaps(written.text))

    def _foreign(self, language: str, text: str) -> Iterator[Change]:
        for start, end, espeak_language in foreign_words(text, language):
            phonemes = _joined(self._foreign_pronouncer(espeak_language)(text[start:end]))
            if phonemes := phonemes.replace("/", ""):
                yield start, end, f"[{text[start:end]}](/{phonemes}/)"

    def _foreign_pronouncer(self, espeak_language: str) -> Pronounce:
        own = _OWN_LETTERS.get(espeak_language)
        return self._pronouncer(own if own and is_installed(own) else espeak_language)

    def _english(self, text: str) -> str:
        return _joined(self._pronouncer("a")(self._spelled_out("a", text, self._lexicon()).text))

    def _by_client_word(self, text: str, written: Traced, spoken: Sequence[Spoken]) -> list[Pronunciation]:
        """The phonemes of each word that the client wrote; what makes no sound goes to the word before."""
        spoken_at = {
            written.origin(start, start + 1)[0]
            for start, phonemes in spoken
            if self._sounds.intersection(phonemes)
        }
        words = list(_client_words(text, spoken_at))
        starts = [word.whole[0] for word in words]
        read: list[_Read] = []
        unheard = ""
        for start, phonemes in spoken:
            first_char, end_char = written.origin(start, start + 1)
            first, last = bisect_right(starts, first_char) - 1, bisect_right(starts, end_char - 1) - 1
            if not self._sounds.intersection(phonemes):
                if read:
                    read[-1].phonemes += phonemes
                else:
                    unheard += phonemes
            elif read and first <= read[-1].last:
                read[-1].phonemes += phonemes
                read[-1].last = last
            else:
                read.append(_Read(first, last, unheard + phonemes))
                unheard = ""
        return [
            pronunciation
            for one in read
            for pronunciation in _shared(one.phonemes, words[one.first : one.last + 1])
        ]

    def _in_alphabet(self, spoken: list[Spoken]) -> list[Spoken]:
        """Substitutes or drops what Kokoro does not know, and the words of which nothing is left."""
        translated = [(start, phonemes.translate(_PHONEME_SUBSTITUTES)) for start, phonemes in spoken]
        unknown = set[str]().union(*(phonemes for _, phonemes in translated)) - self._alphabet
        nearest = {char: self._nearest(char) for char in unknown}
        if dropped := [char for char, near in nearest.items() if not near]:
            log.debug("phonemes outside the alphabet dropped", phonemes="".join(sorted(dropped)))
        table = str.maketrans(nearest)
        known = [(start, _SPACES.sub(" ", phonemes.translate(table))) for start, phonemes in translated]
        return _without_silent_words(known)

    def _nearest(self, phoneme: str) -> str:
        """Without those of its marks that Kokoro does not know."""
        return "".join(char for char in unicodedata.normalize("NFD", phoneme) if char in self._alphabet)

    def _pronouncer(self, language: str) -> Pronounce:
        """Of a language by its letter, or of any other by espeak's name for it."""
        if language not in self._pronouncers:
            with without_known_warning():
                self._pronouncers[language] = self._load(language)
        return self._pronouncers[language]

    def _load(self, language: str) -> Pronounce:
        if language == "j":
            return JapanesePronouncer(self._english)
        if language == "z":
            return MandarinPronouncer(self._english)
        if language not in ENGLISH:
            return EspeakPronouncer(LANGUAGES.get(language, language))
        if self._spacy_model is None:
            self._spacy_model = load_spacy_model()
        return EnglishPronouncer(self._spacy_model, is_british=language == "b")


def _covering(text: str, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """With what makes no sound, in front of the first and behind each."""
    bounds = pairwise([0, *(piece.start_char for piece in pieces[1:]), len(text)])
    return tuple(
        evolve(piece, start_char=start, end_char=start + len(text[start:end].rstrip()))
        for piece, (start, end) in zip(pieces, bounds, strict=True)
    )


@frozen
class _ClientWord:
    whole: Span
    """With the marks around it."""
    shown: Span
    """What a client would call the word: of `[word](/phonemes/)` the word."""


@define
class _Read:
    """The words `first` to `last`, which were read as one: mostly a single one."""

    first: int
    last: int
    phonemes: str


def _client_words(text: str, spoken_at: Container[int]) -> Iterator[_ClientWord]:
    """Between spaces; in scripts that have none, as they are spoken, word by word."""
    for run in _CLIENT_WORD.finditer(text):
        start, end = run.span()
        parted = [at for at in _starts_in_run(text, start, end) if at in spoken_at]
        for first, last in pairwise([start, *parted, end]):
            markup = PRONUNCIATION.search(text, first, last)
            yield _ClientWord((first, last), markup.span(1) if markup else (first, last))


def _starts_in_run(text: str, start: int, end: int) -> Iterator[int]:
    """Where a word may start without a space before it: at a letter of a script that has none, or behind one
    and its marks. A pronunciation that the text brings along is like one letter of its word.
    """
    markups = {found.start(): found.end() for found in PRONUNCIATION.finditer(text, start, end)}
    at = start
    is_behind_one = False
    while at < end:
        next_at = markups.get(at, at + 1)
        is_unspaced = UNSPACED_LETTER.search(text, at, next_at) is not None
        if at > start and (is_unspaced or is_behind_one):
            yield at
        if is_unspaced or at in markups or text[at].isalnum():
            is_behind_one = is_unspaced
        at = next_at


def _joined(spoken: Sequence[Spoken]) -> str:
    return "".join(phonemes for _, phonemes in spoken).strip()


def _shared(phonemes: str, words: Sequence[_ClientWord]) -> Iterator[Pronunciation]:
    """Among the words that were read as one ("$2 million"), in proportion to their length."""
    lengths = [word.whole[1] - word.whole[0] for word in words]
    cuts = [len(phonemes) * sum(lengths[:n]) // sum(lengths) for n in range(len(lengths) + 1)]
    for word, (first, last) in zip(words, pairwise(cuts), strict=True):
        yield Pronunciation(phonemes[first:last], *word.whole, word.shown)


def _gaps(text: str) -> Iterator[Change]:
    """Numbers too long to be read as one are read digit by digit; dashes part words as spaces do."""
    for found in _TO_BE_PARTED.finditer(text):
        gaps = range(found.start() + 1, found.end()) if found["number"] else [found.end()]
        for gap in gaps:
            yield gap, gap, " "


def _without_silent_words(spoken: list[Spoken]) -> list[Spoken]:
    """The space after a silent word stays, as the space after the word before it."""
    audible: list[Spoken] = []
    for start, phonemes in spoken:
        if phonemes.strip():
            audible.append((start, phonemes))
        elif phonemes and audible and not audible[-1][1].endswith(" "):
            audible[-1] = (audible[-1][0], audible[-1][1] + " ")
    return audible
