"""Reads and checks the prepared weights: a folder whose manifest has the checksum of every file.

    model.safetensors    the network in float32, with the names of `kokoro.KModel` and with weight norm
    voices.safetensors   a voice pack per voice, float32, shape (510, 256)
    config.json          the model's configuration, identical to the hub's
    manifest.json        checksum, size, license and origin of each file

The calibration may add `statistics.safetensors`, see `calibration.py`. The server only reads the folder;
`python -m kokoro_trio.model.weights` prepares it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from kokoro_trio.errors import WeightsUnusable
from kokoro_trio.weights.release import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.safetensors"
VOICES_FILE = "voices.safetensors"
CONFIG_FILE = "config.json"


@frozen
class FileRecord:
    sha256: str
    size_bytes: int
    license: str
    origin: tuple[str, ...]


@frozen
class Manifest:
    source: str
    """`hub`, `registry` or `folder`."""
    files: Mapping[str, FileRecord]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises `WeightsUnusable`."""
        path = folder / MANIFEST_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise WeightsUnusable(path, f"its format is {content['format']}, expected {FORMAT}")
            records = {
                name: _record(content["files"][name]) for name in (MODEL_FILE, VOICES_FILE, CONFIG_FILE)
            }
            return cls(str(content["source"]), records)
        except FileNotFoundError:
            raise WeightsUnusable(folder, "there are no prepared weights") from None
        except OSError as error:
            raise WeightsUnusable(path, f"it cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise WeightsUnusable(path, "it is damaged") from error

    def write(self, folder: Path) -> None:
        content = {"format": FORMAT, **asdict(self)}
        (folder / MANIFEST_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@frozen
class Weights:
    model: Mapping[str, "Tensor"]
    """float32, by the parameter's name in `kokoro.KModel`."""
    voices: Mapping[str, "Tensor"]
    """float32, shape (510, 256), by the voice's name."""
    config: Mapping[str, Any]
    checksum: str
    """SHA-256 of the model file."""
    source: str
    folder: Path


def prepared_folder(kokoro_weights: str, default: Path) -> Path:
    """The folder of the prepared weights: the one that KOKORO_WEIGHTS names if it is prepared, else
    `default`."""
    named = Path(kokoro_weights).expanduser()
    return named if is_prepared(named) else default


def is_prepared(folder: Path) -> bool:
    """Whether the folder has a manifest. `check_weights` checks its files."""
    return (folder / MANIFEST_FILE).is_file()


def open_weights(folder: Path) -> Weights:
    """Checks and reads the prepared weights. Raises `WeightsUnusable`."""
    # Imported here, because importing torch takes ten times as long as the check.
    from safetensors.torch import load_file

    manifest = check_weights(folder)
    return Weights(
        model=load_file(folder / MODEL_FILE),
        voices=load_file(folder / VOICES_FILE),
        config=json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")),
        checksum=manifest.files[MODEL_FILE].sha256,
        source=manifest.source,
        folder=folder,
    )


def check_weights(folder: Path) -> Manifest:
    """Raises `WeightsUnusable` for the first file that is missing or differs from the manifest."""
    manifest = Manifest.read(folder)
    for name, record in manifest.files.items():
        _check_file(folder / name, record)
    return manifest


def _check_file(path: Path, record: FileRecord) -> None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != record.size_bytes:
            raise WeightsUnusable(path, f"it has {size_bytes} bytes, expected {record.size_bytes}")
        if (got := file_sha256(path)) != record.sha256:
            raise WeightsUnusable(path, f"it is damaged: its SHA-256 is {got}, expected {record.sha256}")
    except FileNotFoundError:
        raise WeightsUnusable(path, "it is missing") from None
    except OSError as error:
        raise WeightsUnusable(path, f"it cannot be read ({error.strerror})") from error


def _record(content: Mapping[str, Any]) -> FileRecord:
    return FileRecord(
        sha256=str(content["sha256"]),
        size_bytes=int(content["size_bytes"]),
        license=str(content["license"]),
        origin=tuple(content["origin"]),
    )
