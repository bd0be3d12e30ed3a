"""How the log looks: for people on a terminal, JSON otherwise."""

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
"""4096 bytes at most, which is what a pipe takes at once if it takes anything."""


@frozen
class _Undisturbed:
    """A stream that loses a line where the disk is full, or the reader is gone or does not read.

    Otherwise each line would be a fault of the connection that it is about, and a log driver that hangs would
    stop the event loop.
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
