"""Pure: the texts that the bench lets a server say."""

from pathlib import Path

import pytest

from bench.sentences import (
    SENTENCES,
    NothingToSay,
    in_turn,
    read_long_text,
    read_sentences,
    read_short_sentences,
)
from kokoro_trio.config import Config
from kokoro_trio.wire.words import word_count


class TestSentences:
    def test_ours_are_short_and_long(self) -> None:
        n_words = [len(sentence.split()) for sentence in read_sentences(SENTENCES)]
        assert min(n_words) <= 2
        assert max(n_words) in range(35, 41)

    def test_six_of_all_lengths(self) -> None:
        six = read_sentences(SENTENCES.with_name("six_sentences.txt"))
        assert [word_count(sentence) for sentence in six] == [3, 6, 9, 13, 18, 24]

    def test_a_file_without_any(self, tmp_path: Path) -> None:
        (tmp_path / "empty.txt").write_text("\n  \n")
        with pytest.raises(NothingToSay, match=r"empty\.txt holds no sentence"):
            read_sentences(tmp_path / "empty.txt")

    def test_the_short_ones(self, tmp_path: Path) -> None:
        twelve = "It has been raining here since the first Monday of the year."
        (tmp_path / "mixed.txt").write_text(f"Yes.\n{twelve}\nI say, {twelve}\n")
        assert read_short_sentences(tmp_path / "mixed.txt") == ["Yes.", twelve]

    def test_a_file_without_short_ones(self, tmp_path: Path) -> None:
        (tmp_path / "long.txt").write_text("word " * 13)
        with pytest.raises(NothingToSay, match=r"long\.txt holds no sentence of at most 12 words"):
            read_short_sentences(tmp_path / "long.txt")

    def test_our_long_text_is_as_long_as_a_server_allows_by_default(self) -> None:
        config = Config.of({"API_KEY": "k"})
        assert word_count(read_long_text()) == config.requests.max_words

    def test_in_turn(self) -> None:
        assert list(in_turn(["One.", "Two."], 3)) == ["One.", "Two.", "One."]
