"""Calibrates the fitted statistics for other weights of the same model.

The hub's weights and their 8-bit rounding differ so little that the slopes of the fit hold for both. Only the
means of features and targets shift, by about the same for all voices and sentences. So the calibration
vocodes `LINES` whole, measures the shift of both means, and applies it to every voice. Then it vocodes
`CHECK_LINES` in windows and whole, and compares the two.
"""

import secrets
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from attrs import frozen
from safetensors.torch import load_file, save
from torch import Tensor

from kokoro_trio.model.early_audio import CALIBRATION_FILE, CalibrationRecord, calibration_of
from kokoro_trio.model.statistics import Fit, Means, StatisticsPredictor, features_of
from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.model.vocoder import Statistics
from kokoro_trio.speech import Line
from kokoro_trio.weights.prepared import Weights

T = TypeVar("T")


def _line(voice: str, phonemes: str) -> Line:
    return Line(0, phonemes, voice, 1.0)


LINES = (
    _line("af_heart", "ðə kˈɛTᵊl ɪz ˌɔn, sˌO tˈAk ɐ sˈit."),
    _line("af_heart", "wˌi kʊd lˈiv ˌɔn θˈɜɹzdˌA ɪf ðə ɹˈOdz ɑɹ klˈɪɹ."),
    _line("am_michael", "hˌu lˈɛft ðə lˈIt ˌɔn ɪn ðə sˈɛləɹ?"),
    _line("am_michael", "ˌIl sˈɛnd ði ˈɪnvˌYs əɡˈɛn təmˈɑɹO mˈɔɹnɪŋ."),
    _line("bf_emma", "hˌav juː tɹˈId tˈɜːnɪŋ ðə hˈandᵊl ði ˈʌðə wˈA?"),
    _line("bf_emma", "mˌI nˈAbə pˈAnts bˈQts, mˈQstli smˈɔːl wˈʌnz."),
    _line("jf_alpha", "mado o akete mo iː desɨ ka."),
    _line("jf_alpha", "ɾaiɕɨː no kaiɡʲi βa saɲʥi kaɾa haʥimaɾʲimasɨ."),
)
"""The lines that the shift is measured on: phonemes, so that the text side does not matter."""
CHECK_LINES = (
    _line("af_bella", "ˌIl sˈɛnd ði ˈɪnvˌYs əɡˈɛn təmˈɑɹO mˈɔɹnɪŋ."),
    _line("am_adam", "wˌi kʊd lˈiv ˌɔn θˈɜɹzdˌA ɪf ðə ɹˈOdz ɑɹ klˈɪɹ."),
    _line("bm_george", "ðə mjuːzˈiːəm klˈQzɪz ˈɜːli djˈʊəɹɪŋ ðə wˈɪntə mˈʌnθs."),
    _line("bf_isabella", "fˈIn, ðˈɛn wiː wɪl mˈiːt at ðə fˈWntɪn."),
    _line("ef_dora", "el mˈeðiko ʎˌeɣaɾˈa ðˈɛntɾo ðe βˈAnte minˈutos."),
    _line("ff_siwis", "vu puvˈe pɛjˈe a la kˈɛs, o fˈɔ̃ dy maɡazˈɛ̃."),
    _line("hm_omega", "kːjaː ˌaːp mˌeːɾi mˈʌdəd kˈʌɾ sˈʌktˌeː hɛ̃?"),
    _line("jm_kumo", "ɾaiɕɨː no kaiɡʲi βa saɲʥi kaɾa haʥimaɾʲimasɨ."),
    _line("zf_xiaoxiao", "wo↓mən mi↗ŋtʰjɛ→n ʦau↓ʂa↘ŋ pa→tjɛ↓n ꭧʰu→fa→."),
    _line("zm_yunjian", "ꭧɤ↘ pə↓nʂu→ ʂɨ↘ wo↓ kɤ→kɤ→ ɕje↓ tɤ."),
)
"""The lines that the result is checked on, by other voices."""
N_STEPS = len(LINES) + len(CHECK_LINES)


class Vocoder(Protocol):
    """The model that is calibrated."""

    def statistics_of(self, line: Line) -> tuple[Tensor, Statistics]:
        """The decoder's features of a line, shape (1, 2T, 512), and the statistics of the whole line."""

    def deviation_db(self, line: Line, predictor: StatisticsPredictor) -> float | None:
        """The log-spectral distance of a line in windows to the whole line.

        None for a line too far from the fit for windows.
        """


@frozen(eq=False)
class Calibration:
    record: CalibrationRecord
    shift: Means

    def applied_to(self, fit: Fit) -> StatisticsPredictor | None:
        return fit.predictor.shifted(self.shift) if self.record.is_accepted else None

    def save(self, folder: Path) -> None:
        """Writes the calibration atomically beside the weights in `folder`. Raises OSError."""
        path = folder / CALIBRATION_FILE
        tensors = {"features": self.shift.features.cpu(), "targets": self.shift.targets.cpu()}
        made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            # save_file would ignore the umask and create the file with mode 0600.
            made.write_bytes(save(tensors, self.record.metadata()))
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)


def known_statistics(
    weights: Weights, device: torch.device
) -> tuple[StatisticsPredictor | None, EarlyAudio | None]:
    """The predictor for these weights, and whether it gives them early audio.

    Both are None if the weights must be calibrated first, and the first one after a rejected calibration.
    """
    fit = Fit.load(device)
    if fit.record.model_checksum == weights.checksum:
        return fit.predictor, fit.record.early_audio
    record = calibration_of(weights.folder, weights.checksum, fit.record)
    if record is None:
        return None, None
    shift = load_file(weights.folder / CALIBRATION_FILE, device=str(device))
    return Calibration(record, Means(**shift)).applied_to(fit), record.early_audio


def load_predictor(weights: Weights, device: torch.device) -> StatisticsPredictor | None:
    predictor, _ = known_statistics(weights, device)
    return predictor


def calibrate(vocoder: Vocoder, fit: Fit, model_checksum: str) -> Generator[None, None, Calibration]:
    """Calibrates in `N_STEPS` steps of about a second on two cores, with time for requests between them."""
    means = yield from means_of_lines(vocoder)
    shift = Means(means.features - fit.reference.features, means.targets - fit.reference.targets)
    deviations = yield from deviations_db(vocoder, fit.predictor.shifted(shift))
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration(CalibrationRecord(model_checksum, fit.record.checksum, deviations, date), shift)


def means_of_lines(vocoder: Vocoder) -> Generator[None, None, Means]:
    """The means over `LINES`, in one step per line."""
    features, targets = [], []
    for line in LINES:
        decoded, statistics = vocoder.statistics_of(line)
        features.append(features_of(decoded)[0])
        targets.append(statistics.as_targets()[0])
        yield
    return Means(torch.stack(features).mean(dim=0), torch.stack(targets).mean(dim=0))


def deviations_db(
    vocoder: Vocoder, predictor: StatisticsPredictor
) -> Generator[None, None, tuple[float, ...]]:
    """The deviations of the `CHECK_LINES` near enough to the fit, in one step per line."""
    deviations: list[float] = []
    for line in CHECK_LINES:
        deviation = vocoder.deviation_db(line, predictor)
        if deviation is not None:
            deviations.append(deviation)
        yield
    return tuple(deviations)


def finished(steps: Generator[None, None, T], on_step: Callable[[], object] = lambda: None) -> T:
    """Runs all steps, calls `on_step` after each, and returns the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        on_step()
