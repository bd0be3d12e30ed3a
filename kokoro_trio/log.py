"""How the log looks: for people on a terminal, JSON otherwise."""

import logging
import sys

import structlog

from kokoro_trio.config import LogConfig


def configure(config: LogConfig) -> None:
    """structlog to standard error from here on; called once, at start."""
    # Rich tracebacks show local variables, and those may hold a key or what somebody said.
    plain = structlog.dev.plain_traceback
    is_terminal = sys.stderr.isatty()
    renderer = (
        structlog.dev.ConsoleRenderer(exception_formatter=plain)
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
