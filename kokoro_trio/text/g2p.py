"""Grapheme-to-phoneme: sentences to Kokoro's phonemes, with the phonemes of each of the client's words.

misaki, spaCy and espeak are imported when a language is loaded, because that takes seconds and spaCy
imports torch if it is installed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING

import structlog
from attrs import evolve

from kokoro_trio.config import VoiceConfig
from kokoro_trio.speech import Segment, Word
from kokoro_trio.text.client_words import by_client_word
from kokoro_trio.text.english import EnglishPronouncer, load_spacy_model
from kokoro_trio.text.espeak import EspeakPronouncer
from kokoro_trio.text.foreign import foreign_words
from kokoro_trio.text.japanese import JapanesePronouncer
from kokoro_trio.text.languages import EXTRAS, LANGUAGES, check_installed, is_installed
from kokoro_trio.text.lexicon import LEXICON_FILE, Lexicon
from kokoro_trio.text.mandarin import MandarinPronouncer
from kokoro_trio.text.normalization import verbalizations
from kokoro_trio.text.pronouncing import Pronounce, Spoken, without_known_warning
from kokoro_trio.text.reading import Sentence, read
from kokoro_trio.text.segmentation import Piece, split_phonemes
from kokoro_trio.text.traced import Change, Traced
from kokoro_trio.watched import WatchedJson

if TYPE_CHECKING:
    from spacy.language import Language

ENGLISH = ("a", "b")
_KOKORO_LANGUAGES = {"hi": "h", "ja": "j", "cmn": "z"}
"""espeak's name of a language → the letter of its pronouncer here, which is used if it is installed."""

_WARM_UP_TEXT = "Sooo, on Jan. 5 it's $3.50 at +1 650 253 0000."
"""Its words make the patterns compile and the files load that a first client would wait for."""
NO_LEXICON = Lexicon()
CACHED_SENTENCES = 1_024
"""Less than ten megabytes: a sentence has at most 1,000 characters."""

# num2words has no names for much longer numbers, and raises OverflowError from 307 digits on.
_TO_BE_SPACED = re.compile(r"(?P<number>\d[\d,]{15,})|(?<![—…])[—…]+(?=[^\s\w—…]*\w)")
_SPACES = re.compile(" +")
_WHITESPACE = re.compile(r"\s")

_PHONEME_SUBSTITUTES = str.maketrans(
    {"g": "ɡ", "ɫ": "l", "ɝ": "ɜɹ", "ɱ": "m", "–": "—", "\n": " "}
    | dict(zip("[]{}«»", "()()“”", strict=True))
)
"""Phonemes that Kokoro does not have, mostly from clients' markup → the nearest that it has."""

log = structlog.get_logger()


def load(config: VoiceConfig, alphabet: frozenset[str]) -> "GraphemeToPhoneme":
    """Loads the operator's lexicon and warms up. Raises `G2PUnavailable`."""
    lexicon = WatchedJson(config.custom_folder / LEXICON_FILE, partial(Lexicon.of, alphabet=alphabet))
    lexicon.current()  # Logs the faults of the file at start-up.
    g2p = GraphemeToPhoneme(alphabet, lexicon.current)
    g2p.warm_up()
    return g2p


class GraphemeToPhoneme:
    """Converts sentences to phonemes of `alphabet`. Calls `lexicon` for every sentence.

    Not thread-safe: espeak keeps its state in globals. Calls from different threads must not overlap.
    """

    def __init__(self, alphabet: frozenset[str], lexicon: Callable[[], Lexicon] = lambda: NO_LEXICON) -> None:
        self._alphabet = alphabet
        self._lexicon = lexicon
        # Not punctuation, stress, length and other modifiers, which make no sound by themselves.
        self._sounds = frozenset(char for char in alphabet if unicodedata.category(char) in ("Ll", "Lu"))
        self._pronouncers: dict[str, Pronounce] = {}
        self._spacy_model: Language | None = None
        # Positions count from the start of the sentence, so that a repeated sentence is a cache hit.
        self._cached_pieces = lru_cache(maxsize=CACHED_SENTENCES)(self._pieces)

    def warm_up(self) -> None:
        """Loads English and the languages whose extras are installed, which takes seconds.

        Raises `G2PUnavailable`.
        """
        for language in (*ENGLISH, *filter(is_installed, EXTRAS)):
            self._pronouncer(language)
            self._cached_pieces(language, _WARM_UP_TEXT, NO_LEXICON)

    def sentences(self, text: str, language: str) -> list[Sentence]:
        """See `read`."""
        return read(text, language)

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        """No segment for a sentence without a sound, several for more than 510 phonemes.

        Spans count from the start of the original text. Raises `BadLanguage`, and `G2PUnavailable` if
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
        written = self.normalized(text, language, lexicon)
        spoken = self._in_alphabet(self._pronouncer(language)(written.text))
        if not any(self._is_audible(phonemes) for _, phonemes in spoken):
            return ()
        return _covering(text, split_phonemes(by_client_word(text, written, spoken, self._is_audible)))

    def _is_audible(self, phonemes: str) -> bool:
        return not self._sounds.isdisjoint(phonemes)

    def normalized(self, text: str, language: str, lexicon: Lexicon = NO_LEXICON) -> Traced:
        """The text that the pronouncer of the language gets for a sentence."""
        written = Traced.of(_WHITESPACE.sub(" ", text))
        written = written.replaced(lexicon.pronunciations(written.text, language))
        written = written.replaced(self._foreign(language, written.text))
        written = written.replaced(
            (verbalization.start_char, verbalization.end_char, verbalization.spoken)
            for verbalization in verbalizations(written.text, language)
        )
        return written.replaced(_gaps(written.text))

    def _foreign(self, language: str, text: str) -> Iterator[Change]:
        for start, end, espeak_language in foreign_words(text, language):
            phonemes = _joined(self._foreign_pronouncer(espeak_language)(text[start:end]))
            if phonemes := phonemes.replace("/", ""):
                yield start, end, f"[{text[start:end]}](/{phonemes}/)"

    def _foreign_pronouncer(self, espeak_language: str) -> Pronounce:
        own = _KOKORO_LANGUAGES.get(espeak_language)
        return self._pronouncer(own if own and is_installed(own) else espeak_language)

    def _english(self, text: str) -> str:
        return _joined(self._pronouncer("a")(self.normalized(text, "a", self._lexicon()).text))

    def _in_alphabet(self, spoken: list[Spoken]) -> list[Spoken]:
        """Substitutes or drops phonemes that Kokoro does not have, and drops the words that this empties."""
        translated = [(start, phonemes.translate(_PHONEME_SUBSTITUTES)) for start, phonemes in spoken]
        unknown = set[str]().union(*(phonemes for _, phonemes in translated)) - self._alphabet
        nearest = {char: self._nearest(char) for char in unknown}
        if dropped := [char for char, near in nearest.items() if not near]:
            log.debug("phonemes outside the alphabet dropped", phonemes="".join(sorted(dropped)))
        table = str.maketrans(nearest)
        known = [(start, _SPACES.sub(" ", phonemes.translate(table))) for start, phonemes in translated]
        return _without_silent_words(known)

    def _nearest(self, phoneme: str) -> str:
        """Without those of its diacritics that Kokoro does not have."""
        return "".join(char for char in unicodedata.normalize("NFD", phoneme) if char in self._alphabet)

    def _pronouncer(self, language: str) -> Pronounce:
        """`language` is the letter of one of Kokoro's languages, or espeak's name for any other."""
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
    """Extends the pieces over the silent characters before the first and behind each."""
    bounds = pairwise([0, *(piece.start_char for piece in pieces[1:]), len(text)])
    return tuple(
        evolve(piece, start_char=start, end_char=start + len(text[start:end].rstrip()))
        for piece, (start, end) in zip(pieces, bounds, strict=True)
    )


def _joined(spoken: Sequence[Spoken]) -> str:
    return "".join(phonemes for _, phonemes in spoken).strip()


def _gaps(text: str) -> Iterator[Change]:
    """Spaces between the digits of a very long number, and behind a dash that joins two words."""
    for found in _TO_BE_SPACED.finditer(text):
        gaps = range(found.start() + 1, found.end()) if found["number"] else [found.end()]
        for gap in gaps:
            yield gap, gap, " "


def _without_silent_words(spoken: list[Spoken]) -> list[Spoken]:
    """Moves the space behind a silent word to the word before it."""
    audible: list[Spoken] = []
    for start, phonemes in spoken:
        if phonemes.strip():
            audible.append((start, phonemes))
        elif phonemes and audible and not audible[-1][1].endswith(" "):
            audible[-1] = (audible[-1][0], audible[-1][1] + " ")
    return audible
