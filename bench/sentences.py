"""The texts that the bench asks for, in files beside this one."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from attrs import define

from kokoro_trio.errors import KokoroTrioError

SENTENCES = Path(__file__).parent / "sentences.txt"
LONG_TEXT = Path(__file__).parent / "long_text.txt"
"""150 words: the default limit of an utterance."""
SHORT_WORDS = 12


@define
class NoSentence(KokoroTrioError):
    path: Path
    sought: str = "sentence"

    def __str__(self) -> str:
        return f"{self.path} holds no {self.sought}"


def read_sentences(path: Path) -> list[str]:
    """The lines that are not empty. Raises OSError and `NoSentence`."""
    sentences = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not sentences:
        raise NoSentence(path)
    return sentences


def read_short_sentences(path: Path) -> list[str]:
    """Those of at most 12 words. Raises OSError and `NoSentence`."""
    short = [sentence for sentence in read_sentences(path) if len(sentence.split()) <= SHORT_WORDS]
    if not short:
        raise NoSentence(path, f"sentence of at most {SHORT_WORDS} words")
    return short


def read_long_text() -> str:
    return LONG_TEXT.read_text(encoding="utf-8").strip()


def in_turn(sentences: Sequence[str], n: int) -> Iterator[str]:
    """`n` of them, from the first one on, over and over."""
    return islice(cycle(sentences), n)
