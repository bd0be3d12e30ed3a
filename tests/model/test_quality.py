"""The durations and the spectrum of served audio, compared with those that were measured before.

The record holds for the weights of `bash scripts/setup.sh --test`. `python -m tests.support.quality` renews
it: only after a change that is meant to change the audio.
"""

import pytest

from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.weights.prepared import open_weights
from tests.support.environment import TEST_WEIGHTS
from tests.support.quality import CASES, distance_db, expected, served, speak

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def synthesizer() -> KokoroSynthesizer:
    return served(open_weights(TEST_WEIGHTS))


@pytest.mark.parametrize(("voice", "line"), CASES)
def test_durations_and_spectrum_match_the_record(
    synthesizer: KokoroSynthesizer, voice: str, line: int
) -> None:
    spoken, before = speak(synthesizer, voice, line), expected(voice, line)
    assert spoken.durations_frames.tolist() == before.durations_frames.tolist()
    assert distance_db(spoken.windows, before.whole) <= 1.2 * before.distance_db
