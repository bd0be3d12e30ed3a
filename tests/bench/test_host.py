"""The bench of what the server costs beside the model, small."""

import pytest

from bench import host
from kokoro_trio.text.reading import read


def test_a_few_sessions() -> None:
    work = host.measure(3)
    sentences = read(host.TEXT, "a")
    assert len(sentences) == 4
    # 75 ms a letter or space, and a quarter of a second of silence at each end of a sentence, but for the
    # silence before the first.
    seconds = sum(0.075 * len(sentence.text.rstrip(".")) + 0.5 for sentence in sentences)
    assert work.audio_s == pytest.approx(3 * seconds, rel=0.02)
    assert 0 < work.share < 0.1
    assert "3 sessions" in next(work.report())
