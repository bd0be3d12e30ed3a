"""Records of ended requests, one line each in the metrics log."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NoReturn

from attrs import NOTHING, asdict, define, field, fields, frozen
from attrs.validators import instance_of, optional

DISCONNECTED = "disconnected"
"""The end of a request whose client left before it was done, which is not a failure."""
FILE_NAME = "metrics.log"
KEPT_FILES = 5


_number = instance_of((int, float))


@frozen
class RequestRecord:
    """One ended request. None: there was nothing to measure.

    - `ts`: its end, in UTC
    - `end`: done, canceled, disconnected or an error code
    - `turn_wait_ms`: from the speak frame to its turn, when the client's earlier requests had ended
    - `ttfb_ms`: from its turn to its first audio frame sent
    - `ttfa_ms`: `ttfb_ms` and the silence at the head of the audio
    - `wall_s`: from its turn to its end; 0 if it ended before its turn
    - `queue_ms`: from the speak frame to its slot
    - `rtf`, `xrt`: `wall_s` / `audio_s`, and the inverse
    - `kilobytes_per_s`: 1000 bytes of audio in a second of `wall_s`, counted as PCM at 24 kHz for all formats
    """

    ts: datetime = field(validator=instance_of(datetime))
    request_id: str = field(validator=instance_of(str))
    voice: str = field(validator=instance_of(str))
    end: str = field(validator=instance_of(str))
    canceled: bool = field(validator=instance_of(bool))
    ttfb_ms: float | None = field(validator=optional(_number))
    ttfa_ms: float | None = field(validator=optional(_number))
    queue_ms: float | None = field(validator=optional(_number))
    wall_s: float = field(validator=_number)
    audio_s: float = field(validator=_number)
    rtf: float | None = field(validator=optional(_number))
    xrt: float | None = field(validator=optional(_number))
    # Lines of earlier versions lack these fields, and count times from the speak frame.
    kilobytes_per_s: float | None = field(default=None, validator=optional(_number))
    turn_wait_ms: float | None = field(default=None, validator=optional(_number))

    def to_line(self) -> str:
        return json.dumps(asdict(self) | {"ts": self.ts.isoformat(timespec="milliseconds")})

    @classmethod
    def from_line(cls, line: str) -> "RequestRecord":
        """Ignores unknown fields. Raises `DamagedLine`."""
        try:
            values = json.loads(line, parse_constant=_refuse_constant)
            ts = datetime.fromisoformat(values["ts"]).astimezone(UTC)
            given = {
                each.name: values[each.name]
                for each in fields(cls)
                if each.default is NOTHING or each.name in values
            }
            return cls(**given | {"ts": ts})
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise DamagedLine from error


class DamagedLine(Exception):
    """A line of the log is not a record."""


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class MetricsLog:
    """Appends records to `folder/metrics.log`, and rotates it at `max_bytes`.

    The first record creates the file. Called from one thread at a time.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._path = folder / FILE_NAME
        self._max_bytes = max_bytes
        self._handler: _RaisingHandler | None = None

    def write(self, record: RequestRecord) -> None:
        """Raises OSError if the file cannot be written; the next call tries again."""
        if self._handler is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handler = _RaisingHandler(
                self._path, maxBytes=self._max_bytes, backupCount=KEPT_FILES, encoding="utf-8"
            )
        line = record.to_line()
        self._handler.emit(logging.LogRecord("metrics", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        if self._handler is not None:
            self._handler.close()


class _RaisingHandler(RotatingFileHandler):
    """Raises errors, which logging would print."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # logging calls this in an `except` block.


@define
class LogReader:
    """Reads a metrics log with its rotated files; `n_damaged` counts the lines that are not records."""

    path: Path
    n_damaged: int = 0

    def records(self) -> Iterator[RequestRecord]:
        """All records, oldest first. Raises OSError."""
        rotated = [Path(f"{self.path}.{n}") for n in range(KEPT_FILES, 0, -1)]
        for path in [*rotated, self.path]:
            if path.exists():
                yield from self._records(path)

    def _records(self, path: Path) -> Iterator[RequestRecord]:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    yield RequestRecord.from_line(line)
                except DamagedLine:
                    self.n_damaged += 1
