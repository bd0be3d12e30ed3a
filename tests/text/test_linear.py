"""Pure: patterns, and what the event loop does with a text, take time linear in the length of the text."""

import json
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import Any

import pytest
import regex
from attrs import evolve

import kokoro_trio
from kokoro_trio.config import Config
from kokoro_trio.errors import BadLanguage, UnknownVoice
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.dialects.together import Together
from kokoro_trio.server.protocol import Protocol
from kokoro_trio.text.languages import language_named
from kokoro_trio.text.normalization import _rules
from kokoro_trio.text.normalization.languages import VOCABULARIES
from kokoro_trio.text.reading import read
from kokoro_trio.text.segmentation import sentence_spans
from kokoro_trio.wire.limits import MAX_BUFFERED_CHARS
from kokoro_trio.wire.messages import Cancel, Speak
from kokoro_trio.wire.words import word_count
from tests.support.sessions import make_opening

Pattern = re.Pattern[str] | re.Pattern[bytes] | regex.Pattern[str]
Work = Callable[[str], object]

LIMITS = evolve(Config.of({"API_KEY": "k"}).requests, max_utterance_characters=1_000)
"""So small that each text is cut into utterances."""
VOICES = VoiceCatalogue.of(("af_heart", "am_michael"), female="af_heart", male="am_michael")

PACKAGES = ("server", "wire", "text", "audio", "clients.session", "model.recipes", "model.voices")
"""Packages and modules whose patterns search clients' texts."""
WINDOWED = {"text.normalization.english_words._CAPITALISED_BEFORE"}
"""Patterns that search 40 characters only."""

SUSPECT_CHARS, SIZES = 4_000, (10_000, 19_998)
"""The buffer for open text holds each of the two sizes at once."""
UNITS = (
    *(".", "!", "?", ",", ":", "-", "—", "…", "。", " ", "\n", "\n ", "\r\n", " \u3000", "\x00", "\ud800"),
    *("(", ")", "[", "]", "![", "[a](/", "[a](/b/)", "[pause:", "<", "<?", "<!--", "&", "*", "`", "~", "|"),
    *('"', "'", "”", "#", "@", "/", "\\", "_", "$", "+", "%", "^", "°", "½", "€"),
    *("a", "A", "é", "aA", "Aa", "a\u0301", "\u0301", "你", "か", "क", "千", "😀", "\u200d"),
    *("1", "١", "１", "1,", "1.", "1-", "1:", "1/", "1 ", "1e", "x1", "1x", "12,345", "$1 ", "'1"),
    *("a.", "A.", "a-", "a'", "é'", "a@", "a/", "a,", "x ", "x(", "(A", "A)", ".py", "~/", "//", ".."),
    *("Dr. ", "St. ", "Jan ", "per ", "I. ", "V1", "1st ", "10 a.m. ", "Mon–", "http://", "¥1千x", "and "),
)
END = "\x00"
"""Neither a letter nor a mark nor a space, so that a pattern fails here and backtracks."""


def repeated(unit: str, n_chars: int) -> str:
    return unit * (n_chars // len(unit)) + END


def patterns() -> dict[str, Pattern]:
    found: dict[Pattern, str] = {}
    for module in pkgutil.walk_packages(kokoro_trio.__path__, "kokoro_trio."):
        name = module.name.removeprefix("kokoro_trio.")
        if name.startswith(PACKAGES):
            for attribute, value in vars(import_module(module.name)).items():
                for pattern in _patterns_in(value):
                    found.setdefault(pattern, f"{name}.{attribute}")
    for language in VOCABULARIES:
        for number, rule in enumerate(_rules(language)):
            found.setdefault(rule.pattern, f"rules.{language}{number}")
    numbers = count()
    return {f"{name}-{next(numbers)}": pattern for pattern, name in found.items() if name not in WINDOWED}


def _patterns_in(value: object) -> Iterator[Pattern]:
    if isinstance(value, re.Pattern | regex.Pattern):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _patterns_in(each)
    elif isinstance(value, dict):
        yield from _patterns_in(tuple(value.values()))


PATTERNS = patterns()


def processor_s(work: Work, text: str) -> float:
    began_at = time.process_time()
    work(text)
    return time.process_time() - began_at


def check_is_linear(work: Work, suspect_s: float = 0.01) -> None:
    """Work that takes less than `suspect_s` for `SUSPECT_CHARS` is too fast to be quadratic."""
    for unit in UNITS:
        # A tenth first, because cubic work would take hours.
        if any(
            processor_s(work, repeated(unit, SUSPECT_CHARS // part)) > suspect_s / part for part in (10, 1)
        ):
            # In turn, so that other load on the machine slows both.
            rounds = [[processor_s(work, repeated(unit, n_chars)) for n_chars in SIZES] for _ in range(5)]
            half_s, whole_s = map(min, zip(*rounds, strict=True))
            assert whole_s < 3 * half_s, f"{unit!r} takes {half_s:.3f} s and {whole_s:.3f} s"


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_is_linear(name: str) -> None:
    pattern = PATTERNS[name]

    def search(text: str) -> int:
        # Patterns of bytes search the head of a request.
        searched: Any = text.encode(errors="surrogatepass") if isinstance(pattern.pattern, bytes) else text
        return sum(1 for _ in pattern.finditer(searched))

    check_is_linear(search)


RULES = [f"{'a' * n}/b" for n in range(1, 45)] + ["zz/b"]
"""As long together as the server accepts. Because of "zz", `re` cannot factor out their common prefix."""
RULES += [f"{'!' * 98}{chr(0x100 + n)}/b" for n in range(10)]


def together(text: str, n_chars: int = MAX_BUFFERED_CHARS, segment: str = "never") -> None:
    """Appends and commits `n_chars` at a time, with a pronunciation dictionary."""
    query = {"segment": segment, "extra_params": json.dumps({"pronunciation_dict": RULES})}
    dialect = Together(make_opening(VOICES, LIMITS, query=query))
    [_] = dialect.open()  # The rules are accepted.
    for start in range(0, len(text), n_chars):
        piece = text[start : start + n_chars]
        dialect.receive(json.dumps({"type": "input_text_buffer.append", "text": piece}))
        if segment == "never":
            dialect.receive('{"type": "input_text_buffer.commit"}')


def together_ahead(text: str) -> None:
    together(text, 1_000, "sentence")


def together_at_once(text: str) -> None:
    together(text, MAX_BUFFERED_CHARS, "sentence")


def session(text: str) -> None:
    limits = evolve(LIMITS, max_utterance_characters=10**6, max_words=10**6)
    protocol = Protocol("session", VOICES, limits, new_request_id=lambda: "r")
    protocol.receive(Speak(text))
    protocol.receive(Cancel())


def language(text: str) -> None:
    with suppress(BadLanguage):
        language_named(text)


def voice(text: str) -> None:
    with suppress(UnknownVoice):
        VOICES.resolve(text)


WORK = (word_count, sentence_spans, session, together, together_ahead, together_at_once, language, voice)


@pytest.mark.parametrize("work", WORK)
def test_work_on_the_event_loop_is_linear(work: Work) -> None:
    check_is_linear(work, suspect_s=0.02)


@pytest.mark.parametrize("unit", ["a", '") ', "word, "])
@pytest.mark.parametrize("work", [word_count, lambda text: sentence_spans(text, "a")], ids=["words", "spans"])
def test_200_000_repeated_characters_take_under_a_second(work: Work, unit: str) -> None:
    assert processor_s(work, repeated(unit, 200_000)) < 1


@pytest.mark.parametrize("code", ["a", "j"])
def test_reading_is_linear(code: str) -> None:
    check_is_linear(lambda text: read(text, code), suspect_s=0.06)
