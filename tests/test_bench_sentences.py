"""Pure: the texts that the bench lets a server say."""

from pathlib import Path

import pytest

from bench.sentences import SENTENCES, NothingToSay, in_turn, read_sentences


class TestSentences:
    def test_ours_are_short_and_long(self) -> None:
        n_words = [len(sentence.split()) for sentence in read_sentences(SENTENCES)]
        assert min(n_words) <= 2
        assert max(n_words) in range(35, 41)

    def test_a_file_without_any(self, tmp_path: Path) -> None:
        (tmp_path / "empty.txt").write_text("\n  \n")
        with pytest.raises(NothingToSay, match=r"empty\.txt holds no sentence"):
            read_sentences(tmp_path / "empty.txt")

    def test_in_turn(self) -> None:
        assert list(in_turn(["One.", "Two."], 3)) == ["One.", "Two.", "One."]
