"""Decides from failed lines whether the model itself is at fault. Pure."""

import structlog
from attrs import define, field, frozen

from kokoro_trio.engine.scheduler import StepKind
from kokoro_trio.errors import InferenceBroken

log = structlog.get_logger()

MAX_FAILED_LINES, MIN_FAILING_S = 8, 10.0
"""The model is at fault when this many different lines have failed in a row, over at least this time. Another
process may take all the memory of a GPU for a moment."""


@frozen
class _Run:
    since: float
    phonemes: set[str] = field(factory=set)
    """A line that a client repeats counts once."""


@define
class Failures:
    """Counts for each kind of step the lines that failed since its last success."""

    _runs: dict[StepKind, _Run] = field(factory=dict)

    def add_success(self, kind: StepKind) -> None:
        self._runs.pop(kind, None)

    def add_failure(self, kind: StepKind, phonemes: str, now: float) -> None:
        """Raises `InferenceBroken` if the model is at fault."""
        run = self._runs.setdefault(kind, _Run(since=now))
        run.phonemes.add(phonemes)
        n_lines = len(run.phonemes)
        if n_lines >= MAX_FAILED_LINES and now - run.since >= MIN_FAILING_S:
            log.critical("inference_broken", kind=kind.value, lines=n_lines)
            raise InferenceBroken(f"{n_lines} different lines in a row")
