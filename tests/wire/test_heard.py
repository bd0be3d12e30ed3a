"""Pure: which part of a text was heard, from the times of its words."""

from collections.abc import Sequence

import pytest

from kokoro_trio.wire.heard import n_words_heard, split_at_heard
from kokoro_trio.wire.messages import SpokenWord

TEXT = 'He said: "Hello, [Kokoro](/kˈOkəɹO/)!" And left.'
WORDS = ("He", "said", "Hello", "Kokoro", "And", "left")


def timed(text: str, *words: str) -> Sequence[SpokenWord]:
    """Words of `text`, in its order, each one second long."""
    spoken, at = [], 0
    for n, word in enumerate(words):
        at = text.index(word, at)
        spoken.append(SpokenWord(word, float(n), n + 1.0, at, at + len(word)))
        at += len(word)
    return spoken


@pytest.mark.parametrize(("audio_s", "n_heard"), [(0.0, 0), (0.998, 0), (0.9995, 1), (1.999, 2), (9.0, 6)])
def test_word_is_heard_when_its_end_was_played(audio_s: float, n_heard: int) -> None:
    assert n_words_heard(timed(TEXT, *WORDS), audio_s) == n_heard


@pytest.mark.parametrize(
    ("audio_s", "remaining"),
    [
        (0, TEXT),
        (1, ' said: "Hello, [Kokoro](/kˈOkəɹO/)!" And left.'),
        (2, ' "Hello, [Kokoro](/kˈOkəɹO/)!" And left.'),
        (3, ' [Kokoro](/kˈOkəɹO/)!" And left.'),
        (4, " And left."),
        (5, " left."),
        (6, ""),
    ],
)
def test_remaining_text_begins_after_the_marks_of_the_last_word_heard(audio_s: float, remaining: str) -> None:
    words = timed(TEXT, *WORDS)
    assert split_at_heard(TEXT, words, audio_s) == (TEXT[: len(TEXT) - len(remaining)], remaining)
    # The result does not depend on words whose times are known but which were not heard.
    assert split_at_heard(TEXT, words[: int(audio_s)], audio_s)[1] == remaining


def test_text_without_spaces_is_cut_where_the_next_word_begins() -> None:
    assert split_at_heard("一二三", timed("一二三", "一", "二", "三"), 2.0) == ("一二", "三")
