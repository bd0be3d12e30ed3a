"""JSON files that other processes change while the server runs.

A writer locks the file and replaces it atomically, so readers need no lock.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from attrs import define, field
from filelock import FileLock, Timeout

from kokoro_trio.errors import KokoroTrioError

T = TypeVar("T")

LOCK_TIMEOUT_S = 10.0

log = structlog.get_logger()


@define
class DamagedFile(KokoroTrioError):
    """The content of a file cannot be used."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is damaged: {self.reason}"


@define
class FileBusy(KokoroTrioError):
    path: Path

    def __str__(self) -> str:
        return f"{self.path} has been locked by another process for {LOCK_TIMEOUT_S:g} s; try again later"


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a file, which is empty if there is no file. Raises `DamagedFile` and OSError."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except RecursionError:
        raise DamagedFile(path, "it is nested too deeply") from None
    except ValueError as error:
        raise DamagedFile(path, f"it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise DamagedFile(path, "it must hold one JSON object")
    return content


def change_json_object(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Calls `change` to modify the object in place, then writes the file. An exception leaves it unchanged.

    One process at a time. Creates the folder. Raises `DamagedFile`, `FileBusy` and OSError.
    """
    path = path.resolve()  # So that a symbolic link is kept.
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=LOCK_TIMEOUT_S):
            content = read_json_object(path)
            change(content)
            _replace(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except Timeout:
        raise FileBusy(path) from None


def _replace(path: Path, text: str) -> None:
    # A killed process may have left such a file; it released its lock.
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8", errors="surrogatepass") as file:  # As json reads lone surrogates.
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


@define
class WatchedJson(Generic[T]):
    """The result of `parse` for the object in a file, which is read again when it changes. For one thread.

    While the file is unchanged, `current` costs one `stat` and returns the same result. If the file is
    damaged, or `parse` raises ValueError, this is logged once and the last good result is kept. A missing
    file counts as an empty object.
    """

    path: Path
    _parse: Callable[[dict[str, Any]], T]
    _seen: object = field(init=False, default="nothing yet")
    _good: T = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._good = self._parse({})

    def current(self) -> T:
        # Before the file is read, so that the next call notices a change in between.
        seen = _state_of(self.path)
        if seen != self._seen:
            self._seen = seen
            self._read()
        return self._good

    def _read(self) -> None:
        try:
            self._good = self._parse(read_json_object(self.path))
        except DamagedFile as damaged:
            log.error("file_damaged", path=str(self.path), reason=damaged.reason)
        except OSError as error:
            log.error("file_not_readable", path=str(self.path), reason=error.strerror)
        except ValueError as error:
            log.error("file_damaged", path=str(self.path), reason=str(error))


def _state_of(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError as error:
        return error.errno
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
