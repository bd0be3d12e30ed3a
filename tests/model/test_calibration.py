"""Unit: calibrates the fitted statistics for other weights, with a fake vocoder."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog.testing
import torch
from attrs import asdict, define, evolve, field
from torch import Tensor

from kokoro_trio.model.calibration import (
    CHECK_LINES,
    LINES,
    N_STEPS,
    Calibration,
    calibrate,
    finished,
    load_predictor,
)
from kokoro_trio.model.early_audio import (
    CALIBRATION_FILE,
    MAX_MEAN_DB,
    MAX_WORST_DB,
    MIN_CHECKED,
    N_CHECK_LINES,
    CalibrationRecord,
    FitRecord,
    known_early_audio,
)
from kokoro_trio.model.statistics import Fit, Means, StatisticsPredictor
from kokoro_trio.model.vocoder import Statistics
from kokoro_trio.speech import Line
from kokoro_trio.weights.prepared import Weights

CPU = torch.device("cpu")
N_CHANNELS = 9216
NEW_MODEL = "0" * 64


@pytest.fixture(scope="module")
def fit() -> Fit:
    return Fit.load(CPU)


@define
class ShiftedVocoder:
    """Each line deviates from the fit by `shift` and by a share of its own; the shares cancel out."""

    reference: Means
    shift: Means
    deviations: Sequence[float | None] = (0.7,) * N_CHECK_LINES
    predictors: list[StatisticsPredictor] = field(factory=list)
    _n: int = 0

    def statistics_of(self, line: Line) -> tuple[Tensor, Statistics]:
        sign = 1 if self._n % 2 else -1
        self._n += 1
        targets = self.reference.targets + self.shift.targets + sign * 0.01
        return self._decoded(sign), Statistics.of_targets(targets[None])

    def _decoded(self, sign: int) -> Tensor:
        """Two columns with the given features as mean and spread."""
        mean, log_std = (self.reference.features + self.shift.features + sign * 0.01).chunk(2)
        std = log_std.exp()
        return torch.stack([mean - std, mean + std])[None]

    def deviation_db(self, line: Line, predictor: StatisticsPredictor) -> float | None:
        self.predictors.append(predictor)
        return self.deviations[CHECK_LINES.index(line)]


@pytest.fixture
def vocoder(fit: Fit) -> ShiftedVocoder:
    generator = torch.Generator().manual_seed(3)
    shift = Means(
        0.02 * torch.randn(1024, generator=generator), 0.1 * torch.randn(2 * N_CHANNELS, generator=generator)
    )
    return ShiftedVocoder(fit.reference, shift)


def test_check_lines_have_other_voices() -> None:
    assert not {line.voice for line in LINES} & {line.voice for line in CHECK_LINES}
    assert len(CHECK_LINES) == N_CHECK_LINES


def test_common_shift_is_measured(fit: Fit, vocoder: ShiftedVocoder) -> None:
    calibration = finished(calibrate(vocoder, fit, NEW_MODEL))
    torch.testing.assert_close(calibration.shift.targets, vocoder.shift.targets, atol=2e-3, rtol=0)
    # The floor of standard deviations changes the smallest ones a little.
    torch.testing.assert_close(calibration.shift.features, vocoder.shift.features, atol=2e-2, rtol=0)


def test_check_lines_use_the_shifted_means(fit: Fit, vocoder: ShiftedVocoder) -> None:
    calibration = finished(calibrate(vocoder, fit, NEW_MODEL))
    applied = calibration.applied_to(fit)
    assert applied is not None
    assert len(vocoder.predictors) == N_CHECK_LINES
    for predictor in (*vocoder.predictors, applied):
        moved = predictor.target_means["af_heart"] - fit.predictor.target_means["af_heart"]
        torch.testing.assert_close(moved, calibration.shift.targets, atol=1e-4, rtol=0)


def test_calibration_yields_between_lines(fit: Fit, vocoder: ShiftedVocoder) -> None:
    steps: list[int] = []
    finished(calibrate(vocoder, fit, NEW_MODEL), lambda: steps.append(1))
    assert len(steps) == N_STEPS


@pytest.mark.parametrize(
    ("deviations", "is_on", "reason"),
    [
        ([0.9] * 10, True, "calibrated for these weights, 0.9 dB"),
        ([MAX_MEAN_DB] * 10, True, "calibrated for these weights, 1.3 dB"),
        ([MAX_MEAN_DB + 0.1] * 10, False, "1.4 dB from the whole in the mean"),
        ([0.5] * 9 + [MAX_WORST_DB + 0.1], False, "2.6 dB at worst"),
        ([0.5] * MIN_CHECKED + [None, None], True, "0.5 dB"),
        ([0.5] * (MIN_CHECKED - 1) + [None] * 3, False, "only 7 of 10 lines are near enough"),
        ([None] * 10, False, "only 0 of 10 lines"),
    ],
)
def test_calibration_is_accepted_within_the_limits(
    fit: Fit, vocoder: ShiftedVocoder, deviations: list[float | None], is_on: bool, reason: str
) -> None:
    vocoder.deviations = deviations
    calibration = finished(calibrate(vocoder, fit, NEW_MODEL))
    assert calibration.record.early_audio.is_on is is_on
    assert reason in calibration.record.early_audio.reason
    assert (calibration.applied_to(fit) is not None) is is_on


# --- the file beside the weights -----------------------------------------------------------------


def weights_in(folder: Path, checksum: str = NEW_MODEL) -> Weights:
    return Weights({}, {}, {}, checksum, "hub", folder)


@pytest.fixture
def calibration(fit: Fit, vocoder: ShiftedVocoder) -> Calibration:
    return finished(calibrate(vocoder, fit, NEW_MODEL))


def test_saved_calibration_is_loaded(fit: Fit, calibration: Calibration, tmp_path: Path) -> None:
    calibration.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]
    assert CalibrationRecord.read(tmp_path) == calibration.record
    assert known_early_audio(tmp_path, NEW_MODEL) == calibration.record.early_audio
    loaded = load_predictor(weights_in(tmp_path), CPU)
    assert loaded is not None
    expected = fit.predictor.shifted(calibration.shift)
    torch.testing.assert_close(loaded.target_means["bf_emma"], expected.target_means["bf_emma"])
    torch.testing.assert_close(loaded.feature_means["bf_emma"], expected.feature_means["bf_emma"])


def test_rejected_calibration_is_neither_repeated_nor_used(
    fit: Fit, vocoder: ShiftedVocoder, tmp_path: Path
) -> None:
    vocoder.deviations = [3.0] * N_CHECK_LINES
    finished(calibrate(vocoder, fit, NEW_MODEL)).save(tmp_path)
    known = known_early_audio(tmp_path, NEW_MODEL)
    assert known is not None
    assert not known.is_on
    assert load_predictor(weights_in(tmp_path), CPU) is None


def test_weights_of_the_fit_need_no_calibration(fit: Fit, tmp_path: Path) -> None:
    known = known_early_audio(tmp_path, fit.record.model_checksum)
    assert known is not None
    assert (known.is_on, known.reason) == (True, f"fitted on these weights, {fit.record.mean_db:.1f} dB")
    assert load_predictor(weights_in(tmp_path, fit.record.model_checksum), CPU) is not None


@pytest.mark.parametrize("checksum", ["model_checksum", "fit_checksum"])
def test_calibration_for_other_weights_or_another_fit_is_ignored(
    calibration: Calibration, checksum: str, tmp_path: Path
) -> None:
    other = CalibrationRecord(**asdict(calibration.record) | {checksum: "1" * 64})
    evolve(calibration, record=other).save(tmp_path)
    assert known_early_audio(tmp_path, NEW_MODEL) is None
    assert load_predictor(weights_in(tmp_path), CPU) is None


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_damaged_calibration_is_logged_and_ignored(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_FILE).write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        assert known_early_audio(tmp_path, NEW_MODEL) is None
    assert [each["event"] for each in logs] == ["calibration_unreadable"]


def test_calibration_file_is_readable_by_other_users(calibration: Calibration, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        calibration.save(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / CALIBRATION_FILE).stat().st_mode & 0o777 == 0o644


def test_failed_save_keeps_the_old_calibration(
    calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration.save(tmp_path)
    before = (tmp_path / CALIBRATION_FILE).read_bytes()

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="full"):
        evolve(calibration, record=evolve(calibration.record, date="later")).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]
    assert (tmp_path / CALIBRATION_FILE).read_bytes() == before


def test_metadata_of_the_fit(fit: Fit) -> None:
    assert FitRecord.read() == fit.record
    assert 0 < fit.record.mean_db < 1
    assert fit.reference.features.shape == (1024,)
    assert fit.reference.targets.shape == (2 * N_CHANNELS,)
