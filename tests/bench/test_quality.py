"""Pure: what bench/quality.py says of sounds that are made up."""

import numpy as np
import pytest

from bench.quality import COLUMNS, Comparison, head, level_step_db, row
from kokoro_trio.model.spectral_distance import log_spectral_distance_db
from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples


def tone(seconds: float, level: float = 0.3) -> Samples:
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (level * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def test_the_same_sound_is_at_no_distance() -> None:
    assert log_spectral_distance_db(tone(1.0), tone(1.0)) == 0.0


def test_half_the_level_is_six_decibels() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, SAMPLE_RATE_HZ)
    halved = (noise / 2).astype(np.float32)
    assert log_spectral_distance_db(noise.astype(np.float32), halved) == pytest.approx(6.02, abs=0.1)


def test_a_step_in_level() -> None:
    louder = np.concatenate([tone(0.5), tone(0.5, level=0.6)])
    assert level_step_db(louder, SAMPLE_RATE_HZ // 2) == pytest.approx(6.02, abs=0.1)


def test_a_comparison_of_windows() -> None:
    pieces = [tone(0.5), tone(0.5, level=0.6), tone(0.5, level=0.6)]
    compared = Comparison.of("v", 1.5, pieces, tone(1.5), rate=lambda samples: len(samples) / 36_000)
    assert compared.lsd_first < 0.2 < compared.lsd
    assert compared.joins == pytest.approx((6.02, 0.0), abs=0.1)
    assert compared.level == pytest.approx(4.77, abs=0.05)
    assert compared.overall == 0.0


def test_the_columns_of_a_row_stand_under_their_titles() -> None:
    compared = Comparison.of("v", 1.5, [tone(0.5)], tone(0.5), rate=lambda _: 3.0)
    assert len(row("v", [compared])) == len(head("v"))
    assert len(row("v", [compared]).split()) == 1 + len(COLUMNS)
    assert row("nobody", []).split() == ["nobody", "0"]
