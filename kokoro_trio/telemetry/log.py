"""Configures the log: coloured lines on a terminal, JSON otherwise."""

import io
import logging
import select
import sys
from contextlib import suppress
from typing import BinaryIO, TextIO, cast

import structlog
from attrs import field, frozen

from kokoro_trio.config import LogConfig
from kokoro_trio.telemetry.log_file import STDERR, LogFile

_PIECE_CHARS = 1024
"""At most 4096 bytes, which a writable pipe accepts at once."""


@frozen
class _LossyStream:
    """Drops a line if the disk is full, or if the reader is gone or does not read.

    Otherwise the connection that logs would fail, and a log driver that hangs would block the event loop.
    """

    _stream: TextIO
    _file: LogFile | None
    _poll: select.poll = field(factory=select.poll)

    def __attrs_post_init__(self) -> None:
        self._poll.register(self._stream.fileno(), select.POLLOUT)

    def write(self, text: str) -> int:
        """`text` is a whole line."""
        with suppress(OSError):
            if self._file is not None:
                self._file.make_room()
        with suppress(OSError):
            for start in range(0, len(text), _PIECE_CHARS):
                if not self._poll.poll(0):
                    break
                self._stream.write(text[start : start + _PIECE_CHARS])
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def unbuffer_stderr() -> None:
    """Makes Python drop a line that it cannot write.

    Python would keep the line, fail to write it at the end of the process, and exit with status 120.
    """
    if sys.stderr is None:  # The process was started without standard error.
        return
    raw = io.FileIO(STDERR, "w", closefd=False)
    # As under PYTHONUNBUFFERED. The types of TextIOWrapper do not allow FileIO.
    sys.stderr = io.TextIOWrapper(
        cast("BinaryIO", raw), encoding="utf-8", errors="backslashreplace", write_through=True
    )


def configure(config: LogConfig, file: LogFile | None) -> None:
    """Makes structlog write to standard error; called once, at the start of each process.

    `file`: the file that standard error goes to, if its size is limited.
    """
    # Rich tracebacks show local variables, which may hold a key or a client's text.
    plain = structlog.dev.plain_traceback
    is_terminal = sys.stderr.isatty()
    renderer = (
        # As `repr` writes them, so that a value cannot contain a line break or a control character.
        structlog.dev.ConsoleRenderer(exception_formatter=plain, repr_native_str=True)
        if is_terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if is_terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        # Unlike PrintLogger, it writes a line with its line break at once.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _LossyStream(sys.stderr, file))),
        cache_logger_on_first_use=True,
    )
