"""Predicts the vocoder's statistics of a segment from its decoder features.

Ridge regression: ŷ = ȳ + (φ − φ̄)·A·B, with the features φ and the statistics y of the segment, the voice's
means φ̄ and ȳ, and the slopes A·B, of reduced rank and common to all voices.
`bench/research/fit_statistics.py` computes the coefficients from one set of weights; `calibration.py` shifts
their means for another set.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from attrs import Factory, evolve, field, frozen
from safetensors import safe_open
from torch import Tensor

from kokoro_trio.model.early_audio import FIT_FILE, FitRecord
from kokoro_trio.model.recipes import Recipe
from kokoro_trio.model.vocoder import Statistics
from kokoro_trio.model.voices import MAX_KEPT_BLENDS, blend

STD_FLOOR = 1e-4


def features_of(decoded: Tensor) -> Tensor:
    """Mean and log standard deviation over time of the decoder's features (batch, 2T, 512).

    Returns shape (batch, 1024).
    """
    std, mean = torch.std_mean(decoded, dim=1, correction=0)
    return torch.cat([mean, torch.log(std + STD_FLOOR)], dim=1)


@frozen(eq=False)
class Means:
    """The means of a voice or of some lines: features, shape (1024,), and targets, (18432,)."""

    features: Tensor
    targets: Tensor


@frozen(eq=False)
class StatisticsPredictor:
    """`feature_means[voice]`: (1024,), `target_means[voice]`: (18432,), `slopes_in`: (1024, rank),
    `slopes_out`: (rank, 18432), `feature_spread`: (1024,), the standard deviation within a voice.

    The means of a blend are the weighted means of its voices.
    """

    feature_means: Mapping[str, Tensor]
    target_means: Mapping[str, Tensor]
    slopes_in: Tensor
    slopes_out: Tensor
    feature_spread: Tensor
    max_distance: float
    """A segment beyond this distance is vocoded whole, see `bench.research.fit_statistics --listen`."""
    _means_of: Callable[[str], Means | None] = field(
        init=False,
        repr=False,
        default=Factory(lambda self: lru_cache(MAX_KEPT_BLENDS)(self._find_means), takes_self=True),
    )

    def shifted(self, shift: Means) -> "StatisticsPredictor":
        """The predictor with the means of all voices shifted."""
        return evolve(
            self,
            feature_means={voice: mean + shift.features for voice, mean in self.feature_means.items()},
            target_means={voice: mean + shift.targets for voice, mean in self.target_means.items()},
        )

    def distances(self, voices: Sequence[str], features: Tensor) -> list[float]:
        """The distances of features (batch, 1024) from the means of their voices: the root mean square over
        features, in standard deviations. Infinite for a voice without means."""
        means = [self._means_of(voice) for voice in voices]
        known = torch.stack(
            [features.new_zeros(features.shape[1]) if m is None else m.features for m in means]
        )
        deviations = (features - known) / self.feature_spread
        # The host waits for the device, once per batch.
        rms = deviations.square().mean(dim=1).sqrt().tolist()
        return [math.inf if m is None else distance for m, distance in zip(means, rms, strict=True)]

    def predict(self, voices: Sequence[str], features: Tensor) -> Statistics:
        """The statistics of segments, unreliable beyond `max_distance`.

        Raises KeyError for a voice without means.
        """
        means = [self._known_means_of(voice) for voice in voices]
        deviations = features - torch.stack([each.features for each in means])
        targets = torch.stack([each.targets for each in means])
        return Statistics.of_targets(targets + deviations @ self.slopes_in @ self.slopes_out)

    def _known_means_of(self, voice: str) -> Means:
        means = self._means_of(voice)
        if means is None:
            raise KeyError(voice)
        return means

    def _find_means(self, voice: str) -> Means | None:
        if voice in self.feature_means:
            return Means(self.feature_means[voice], self.target_means[voice])
        weights = Recipe.parse(voice).weights
        if not weights.keys() <= self.feature_means.keys():
            return None
        return Means(blend(self.feature_means, weights), blend(self.target_means, weights))


@frozen(eq=False)
class Fit:
    """The coefficients in the package.

    `reference`: the means over `calibration.LINES` with the weights of the fit.
    """

    predictor: StatisticsPredictor
    record: FitRecord
    reference: Means

    @classmethod
    def load(cls, device: torch.device, path: Path = FIT_FILE) -> "Fit":
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name).to(device, torch.float32) for name in file.keys()}  # noqa: SIM118
        voices = json.loads(about["voices"])
        predictor = StatisticsPredictor(
            feature_means=dict(zip(voices, tensors["feature_means"], strict=True)),
            target_means=dict(zip(voices, tensors["target_means"], strict=True)),
            slopes_in=tensors["slopes_in"],
            slopes_out=tensors["slopes_out"],
            feature_spread=tensors["feature_spread"],
            max_distance=float(about["max_distance"]),
        )
        reference = Means(tensors["reference_features"], tensors["reference_targets"])
        return cls(predictor, FitRecord.read(path), reference)
