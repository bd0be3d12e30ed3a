"""Pure: what remains of an utterance after its connection was lost."""

import pytest

from kokoro_trio.clients.resuming import ResumableText
from kokoro_trio.wire.messages import SpokenWord

TEXT = "One two three."
WORDS = [
    SpokenWord("One", 0.0, 0.02, 0, 3),
    SpokenWord("two", 0.02, 0.06, 4, 7),
    SpokenWord("three.", 0.06, 0.08, 8, 14),
]


@pytest.mark.parametrize(
    ("received_s", "rest"),
    [(0.0, TEXT), (0.019, " two three."), (0.05, " two three."), (0.06, " three."), (0.08, ""), (9.0, "")],
)
def test_rest_begins_after_the_last_word_received_whole(received_s: float, rest: str) -> None:
    resumable = ResumableText(TEXT)
    resumable.add_words(WORDS)
    resumable.resume(received_s, is_first=True)
    assert resumable.rest == rest


def test_words_count_from_the_start_of_the_text_on_each_connection() -> None:
    resumable = ResumableText(TEXT)
    resumable.add_words(WORDS)
    resumable.resume(0.05, is_first=True)
    assert resumable.words == WORDS[:1], "the others are repeated with new times"
    resumable.add_words([SpokenWord("two", 0.01, 0.05, 1, 4), SpokenWord("three.", 0.05, 0.07, 5, 11)])
    assert [(word.start_char, word.end_char) for word in resumable.words] == [(0, 3), (4, 7), (8, 14)]
    assert [word.end_s for word in resumable.words] == pytest.approx([0.02, 0.1, 0.12])
    assert resumable.split_at(0.1) == ("One two", " three.")
    resumable.resume(0.1, is_first=True)
    assert resumable.rest == " three."


def test_connection_without_a_whole_word_leaves_the_rest_as_it_is() -> None:
    """In a text without spaces, the words after the last word heard must not count as its marks."""
    resumable = ResumableText("一二三")
    resumable.add_words([SpokenWord(word, n, n + 1.0, n, n + 1) for n, word in enumerate("一二三")])
    resumable.resume(2.0, is_first=True)
    for received_s in (2.0, 2.5):
        assert resumable.split_at(received_s) == ("一二", "三")
        resumable.resume(received_s, is_first=True)
        assert resumable.rest == "三"


def test_only_the_first_utterance_can_be_the_cause_of_fruitless_connections() -> None:
    first, second = ResumableText(TEXT), ResumableText(TEXT)
    for n in (1, 2):
        first.resume(0.0, is_first=True)
        second.resume(0.0, is_first=False)
        assert (first.n_fruitless, second.n_fruitless) == (n, 0)
    first.resume(0.01, is_first=True)
    assert first.n_fruitless == 0, "that connection brought audio"
