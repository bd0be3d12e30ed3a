"""Pure: the means of voices and blends in the predictor of the vocoder's statistics."""

import math

import numpy as np
import pytest
import torch

from kokoro_trio.model.statistics import StatisticsPredictor

N_FEATURES, N_TARGETS, RANK = 1024, 18_432, 4
VOICES = ("af_a", "bm_b", "c")


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def predictor() -> StatisticsPredictor:
    return StatisticsPredictor(
        feature_means={voice: normal(n, N_FEATURES) for n, voice in enumerate(VOICES)},
        target_means={voice: normal(10 + n, N_TARGETS) for n, voice in enumerate(VOICES)},
        slopes_in=normal(20, N_FEATURES, RANK) / N_FEATURES,
        slopes_out=normal(21, RANK, N_TARGETS),
        feature_spread=torch.ones(N_FEATURES),
        max_distance=1.0,
    )


def mean(tensors: dict[str, torch.Tensor], weights: dict[str, float]) -> torch.Tensor:
    arrays = [weight * tensors[voice].numpy() for voice, weight in weights.items()]
    return torch.from_numpy(np.sum(arrays, axis=0, dtype=np.float32))


def test_blend_has_the_weighted_mean_of_the_means(predictor: StatisticsPredictor) -> None:
    weights = {"af_a": 0.75, "bm_b": 0.25}
    features = mean(dict(predictor.feature_means), weights)[None]
    assert predictor.distances(["af_a(3)+bm_b"], features)[0] == pytest.approx(0, abs=1e-6)
    assert predictor.distances(["af_a+bm_b"], features)[0] > 0.1
    predicted = predictor.predict(["af_a(3)+bm_b"], features).as_targets()[0]
    torch.testing.assert_close(predicted, mean(dict(predictor.target_means), weights), atol=1e-5, rtol=1e-5)


def test_voice_has_its_own_means(predictor: StatisticsPredictor) -> None:
    features = predictor.feature_means["c"][None]
    assert predictor.distances(["c"], features) == [0]
    torch.testing.assert_close(
        predictor.predict(["c"], features).as_targets()[0], predictor.target_means["c"]
    )


@pytest.mark.parametrize("voice", ["xx_new", "af_a+xx_new"])
def test_unknown_voice_has_no_means(predictor: StatisticsPredictor, voice: str) -> None:
    assert predictor.distances([voice], torch.zeros(1, N_FEATURES)) == [math.inf]
    with pytest.raises(KeyError):
        predictor.predict([voice], torch.zeros(1, N_FEATURES))
