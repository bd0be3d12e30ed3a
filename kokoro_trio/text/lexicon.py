"""The operator's lexicon: pronunciations of words that no dictionary has.

A JSON file: `{"Groq": "ɡɹˈɑk", "fr-fr": {"Groq": "ɡʁˈɔk"}}`, with phonemes of Kokoro's alphabet. Entries
under the tag of a language are for this language only, and override those for all languages. A word in
lower case matches in any case, a word with capitals only as it is.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

import structlog
from attrs import define, field, frozen

from kokoro_trio.errors import BadLanguage
from kokoro_trio.text.languages import language_named
from kokoro_trio.text.markup import PRONUNCIATION
from kokoro_trio.text.traced import Change
from kokoro_trio.wire.limits import MAX_PRONOUNCED_CHARS, MAX_PRONUNCIATION_PHONEMES

LEXICON_FILE = "lexicon.json"

log = structlog.get_logger()


@frozen(eq=False)
class Lexicon:
    """`words[language]` maps the words of one language to phonemes; `words[""]` is for all languages."""

    words: Mapping[str, Mapping[str, str]] = field(factory=dict)

    @classmethod
    def of(cls, content: Mapping[str, object], alphabet: frozenset[str]) -> "Lexicon":
        """From the content of a file. Unusable entries are logged and skipped."""
        words: dict[str, dict[str, str]] = {"": {}}
        for key, value in content.items():
            if isinstance(value, dict) and (language := _language(key)) is not None:
                words[language] = dict(_usable(value, alphabet))
            else:
                words[""] |= _usable({key: value}, alphabet)
        return cls(words)

    def pronunciations(self, text: str, language: str) -> Iterator[Change]:
        """Changes each of its words in `text` to `[word](/phonemes/)`."""
        table = self._tables.get(language, self._tables[""])
        return table.changes(text)

    @cached_property
    def _tables(self) -> dict[str, "_Table"]:
        for_all = self.words.get("", {})
        by_language = {"": for_all} | dict(self.words)
        return {language: _Table({**for_all, **words}) for language, words in by_language.items()}


@define(slots=False)
class _Table:
    words: Mapping[str, str]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.words, key=len, reverse=True)
        alternatives = "|".join(map(re.escape, longest_first))
        return re.compile(rf"{PRONUNCIATION.pattern}|(?<!\w)(?P<entry>{alternatives})(?!\w)", re.IGNORECASE)

    def changes(self, text: str) -> Iterator[Change]:
        if not self.words:
            return
        for found in self._pattern.finditer(text):
            word = found["entry"]
            phonemes = word and (self.words.get(word) or self.words.get(word.lower()))
            if phonemes:
                yield *found.span(), f"[{word}](/{phonemes}/)"


def _language(tag: str) -> str | None:
    try:
        return language_named(tag)
    except BadLanguage:
        return None


def _usable(words: Mapping[str, object], alphabet: frozenset[str]) -> Iterator[tuple[str, str]]:
    for word, phonemes in words.items():
        if (reason := _fault(word, phonemes, alphabet)) is None:
            yield word, str(phonemes).strip("/ ")
        else:
            log.error("lexicon_entry_left_out", word=word, reason=reason)


def _fault(word: str, phonemes: object, alphabet: frozenset[str]) -> str | None:
    if (
        not re.fullmatch(rf"[^\[\]\n]{{1,{MAX_PRONOUNCED_CHARS}}}", word)
        or word != word.strip()
        or not any(map(str.isalnum, word))
    ):
        return f"a word has 1 to {MAX_PRONOUNCED_CHARS} characters, one a letter or digit, and no brackets"
    if not isinstance(phonemes, str) or not 1 <= len(phonemes.strip("/ ")) <= MAX_PRONUNCIATION_PHONEMES:
        return f"phonemes are a string of 1 to {MAX_PRONUNCIATION_PHONEMES} characters"
    if unknown := sorted(set(phonemes.strip("/ ")) - alphabet):
        return f"Kokoro's alphabet does not have {' '.join(unknown)}"
    return None
