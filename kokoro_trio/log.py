"""How the log looks: for people on a terminal, JSON otherwise."""

import io
import logging
import sys
from contextlib import suppress
from typing import BinaryIO, TextIO, cast

import structlog
from attrs import frozen

from kokoro_trio.config import LogConfig
from kokoro_trio.log_file import STDERR, LogFile


@frozen
class _Undisturbed:
    """A stream that nobody has to hear: where the disk is full, or the reader gone, the line is lost.

    Else each line of the log would be a fault of the connection that it is about.
    """

    _stream: TextIO
    _file: LogFile | None

    def write(self, text: str) -> int:
        """`text` is a whole line."""
        with suppress(OSError):
            if self._file is not None:
                self._file.make_room()
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def unbuffer_stderr() -> None:
    """Makes Python drop a line that it cannot write.

    Else Python keeps the line, fails to write it again when the process ends, and exits with status 120.
    """
    if sys.stderr is None:  # The process was started without one.
        return
    raw = io.FileIO(STDERR, "w", closefd=False)
    # FileIO is what TextIOWrapper gets under PYTHONUNBUFFERED too; its types do not say so.
    sys.stderr = io.TextIOWrapper(
        cast("BinaryIO", raw), encoding="utf-8", errors="backslashreplace", write_through=True
    )


def configure(config: LogConfig, file: LogFile | None) -> None:
    """structlog to standard error from here on; called once, at the start of each process.

    `file` is where standard error goes, if that is a file to be kept small.
    """
    # Rich tracebacks show local variables, and those may hold a key or what somebody said.
    plain = structlog.dev.plain_traceback
    is_terminal = sys.stderr.isatty()
    renderer = (
        # As Python writes them: a line break or a control character in a value stays one.
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
        # Unlike a PrintLogger it writes a line and its end at once.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Undisturbed(sys.stderr, file))),
        cache_logger_on_first_use=True,
    )
