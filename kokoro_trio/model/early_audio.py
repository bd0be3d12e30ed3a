"""Decides from the metadata of files whether the vocoder's statistics are known for given weights.

This module does not import torch, so a script that finds nothing to do ends at once.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import structlog
from attrs import frozen
from safetensors import SafetensorError, safe_open

from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.weights.release import file_sha256

log = structlog.get_logger()

FIT_FILE = Path(__file__).with_name("statistics.safetensors")
"""The coefficients in the package."""
CALIBRATION_FILE = "statistics.safetensors"
"""The file beside the weights with the shift of the fit's means."""

N_CHECK_LINES = 10
MIN_CHECKED = 8
"""A calibration is accepted only if at least this many check lines can be vocoded in windows."""
MAX_MEAN_DB, MAX_WORST_DB = 1.3, 2.5
"""Log-spectral distance of lines in windows to whole lines."""


@frozen
class FitRecord:
    model_checksum: str
    """The checksum of the weights of the fit."""
    checksum: str
    mean_db: float
    """The mean deviation of the check lines with those weights."""

    @classmethod
    def read(cls, path: Path = FIT_FILE) -> "FitRecord":
        about = _metadata(path)
        return cls(about["model_checksum"], file_sha256(path), float(about["mean_db"]))

    @property
    def early_audio(self) -> EarlyAudio:
        return EarlyAudio(True, f"fitted on these weights, {self.mean_db:.1f} dB")


@frozen
class CalibrationRecord:
    """The weights and the fit of a calibration, and the deviations of the check lines."""

    model_checksum: str
    fit_checksum: str
    deviations_db: tuple[float, ...]
    """One per check line near enough to the fit for windows."""
    date: str

    @property
    def mean_db(self) -> float:
        return fmean(self.deviations_db)

    @property
    def is_accepted(self) -> bool:
        return (
            len(self.deviations_db) >= MIN_CHECKED
            and self.mean_db <= MAX_MEAN_DB
            and max(self.deviations_db) <= MAX_WORST_DB
        )

    @property
    def early_audio(self) -> EarlyAudio:
        if self.is_accepted:
            return EarlyAudio(True, f"calibrated for these weights, {self.mean_db:.1f} dB")
        if len(self.deviations_db) < MIN_CHECKED:
            reason = f"only {len(self.deviations_db)} of {N_CHECK_LINES} lines are near enough to the fit"
        else:
            reason = (
                f"windows are {self.mean_db:.1f} dB from the whole in the mean (limit {MAX_MEAN_DB}), "
                f"{max(self.deviations_db):.1f} dB at worst (limit {MAX_WORST_DB})"
            )
        return EarlyAudio(False, f"the calibration for these weights was rejected: {reason}")

    def metadata(self) -> dict[str, str]:
        return {
            "model_checksum": self.model_checksum,
            "fit_checksum": self.fit_checksum,
            "deviations_db": " ".join(f"{each:.3f}" for each in self.deviations_db),
            "date": self.date,
        }

    @classmethod
    def read(cls, folder: Path) -> "CalibrationRecord | None":
        """None if it is missing or damaged."""
        path = folder / CALIBRATION_FILE
        if not path.exists():
            return None
        try:
            about = _metadata(path)
            deviations = tuple(map(float, about["deviations_db"].split()))
            return cls(about["model_checksum"], about["fit_checksum"], deviations, about["date"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            log.warning("calibration_unreadable", path=str(path), reason=str(error))
            return None


def calibration_of(folder: Path, model_checksum: str, fit: FitRecord) -> CalibrationRecord | None:
    """The calibration beside the weights; None if it is for other weights or another fit."""
    record = CalibrationRecord.read(folder)
    is_for_these = record is not None and (record.model_checksum, record.fit_checksum) == (
        model_checksum,
        fit.checksum,
    )
    return record if is_for_these else None


def is_fitted_on(model_checksum: str) -> bool:
    return FitRecord.read().model_checksum == model_checksum


def known_early_audio(folder: Path, model_checksum: str) -> EarlyAudio | None:
    """None if the weights in `folder` must be calibrated first."""
    fit = FitRecord.read()
    if fit.model_checksum == model_checksum:
        return fit.early_audio
    calibration = calibration_of(folder, model_checksum, fit)
    return None if calibration is None else calibration.early_audio


def _metadata(path: Path) -> Mapping[str, str]:
    with safe_open(path, framework="np") as file:
        metadata: Mapping[str, str] = file.metadata() or {}
        return metadata
