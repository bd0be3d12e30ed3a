"""Unit: the log-spectral distance of sounds whose distance is known."""

import numpy as np
import pytest

from kokoro_trio.model.spectral_distance import log_spectral_distance_db
from kokoro_trio.speech import SAMPLE_RATE_HZ

NOISE = np.random.default_rng(1).normal(0, 0.1, SAMPLE_RATE_HZ).astype(np.float32)


def test_distance_of_a_sound_to_itself_is_zero() -> None:
    assert log_spectral_distance_db(NOISE, NOISE) == 0.0


def test_distance_at_half_the_level_is_six_decibels() -> None:
    assert log_spectral_distance_db(NOISE, (NOISE / 2).astype(np.float32)) == pytest.approx(6.02, abs=0.1)
