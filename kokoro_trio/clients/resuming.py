"""The rest of an utterance whose connection was lost. Without I/O."""

from collections.abc import Sequence

from attrs import define, evolve, field

from kokoro_trio.errors import EmptyText, Unpronounceable
from kokoro_trio.wire.heard import n_words_heard, split_at_heard
from kokoro_trio.wire.messages import SpokenWord

MAX_FRUITLESS = 5
"""A client gives up an utterance after this many connections in a row that ended without audio of it, while
the server worked on it: the utterance may be the cause."""

NOTHING_LEFT_CODES = (EmptyText.code, Unpronounceable.code)
"""The errors with which the server refuses the rest of a text that contains nothing audible."""


@define
class ResumableText:
    """A text that is spoken over one or more connections.

    Characters and seconds count from its start. `words` are those whose times are known.
    """

    text: str
    words: list[SpokenWord] = field(factory=list)
    resumed_at_char: int = 0
    resumed_at_s: float = 0.0
    """The audio received on the connections before the current one."""
    n_fruitless: int = 0
    """Connections that ended without audio of this text, in a row."""
    _n_words_before: int = 0
    """The words heard on the connections before the current one."""

    @property
    def rest(self) -> str:
        """The text that the current connection has to speak."""
        return self.text[self.resumed_at_char :]

    def add_words(self, words: Sequence[SpokenWord]) -> None:
        """Adds words as the server sends them, counted from the start of `rest`."""
        self.words += [
            evolve(
                word,
                start_s=word.start_s + self.resumed_at_s,
                end_s=word.end_s + self.resumed_at_s,
                start_char=word.start_char + self.resumed_at_char,
                end_char=word.end_char + self.resumed_at_char,
            )
            for word in words
        ]

    def split_at(self, heard_s: float) -> tuple[str, str]:
        """The part of the text that was heard after `heard_s` of its audio, and the part that remains."""
        if n_words_heard(self.words, heard_s) == self._n_words_before:
            return self.text[: self.resumed_at_char], self.rest
        return split_at_heard(self.text, self.words, heard_s)

    def resume(self, received_s: float, *, is_first: bool) -> bool:
        """After a lost connection, moves the start of `rest` behind the last word that was received whole.

        `received_s`: the audio received so far, on all connections. `is_first`: no other utterance was
        outstanding before this one. Returns whether the lost connection has brought audio.
        """
        has_brought_audio = received_s > self.resumed_at_s
        self.n_fruitless = 0 if has_brought_audio else self.n_fruitless + is_first
        spoken, _ = self.split_at(received_s)
        self._n_words_before = n_words_heard(self.words, received_s)
        del self.words[self._n_words_before :]
        self.resumed_at_char, self.resumed_at_s = len(spoken), received_s
        return has_brought_audio
