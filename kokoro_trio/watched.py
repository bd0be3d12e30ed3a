"""Files that an operator may change while the server runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from attrs import define, field

T = TypeVar("T")

log = structlog.get_logger()

_Stamp = tuple[int, int, int] | None


@define
class WatchedJson(Generic[T]):
    """What a file of JSON holds, read again when it has changed since it was last asked for.

    A file that is not there holds `empty`. One that cannot be read is reported once, and what it held
    before stays. `parse` makes something of the JSON; it raises ValueError where that cannot be used.
    """

    path: Path
    parse: Callable[[object], T]
    empty: T
    _stamp: _Stamp = None
    _content: T = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._content = self.empty

    def current(self) -> T:
        if (stamp := self._stamp_now()) != self._stamp:
            self._stamp = stamp
            try:
                self._content = self.empty if stamp is None else self.parse(read_json(self.path))
            except (OSError, ValueError) as error:
                log.error("file_not_usable", path=str(self.path), reason=str(error))
        return self._content

    def _stamp_now(self) -> _Stamp:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def read_json(path: Path) -> object:
    """Raises OSError, and ValueError where it holds no JSON or no UTF-8."""
    return json.loads(path.read_text(encoding="utf-8"))
