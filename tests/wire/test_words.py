"""Pure: how many words a text has."""

import pytest

from kokoro_trio.wire.words import word_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("... — !", 0),
        ("Hello there, it's 5 o'clock!", 5),
        ("well-known - really", 2),
        ("Привет, мир", 2),
        ("नमस्ते दुनिया", 2),
        ("你好世界", 2),
        ("สวัสดี", 3),
        ("我爱 Python", 2),
        ("x" * 1_000, 20),
    ],
)
def test_word_count(text: str, count: int) -> None:
    assert word_count(text) == count
