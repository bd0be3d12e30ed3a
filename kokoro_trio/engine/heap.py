"""Returns freed memory that the C library keeps to the system.

The model allocates and frees blocks of megabytes, of other sizes for each sentence. glibc splits the freed
blocks and takes new memory for the next large block. With 40 sentences on two cores a process grew from 1.4
to between 2.3 and 4.1 GB, of which 0.8 GB were in use; malloc_trim(3) reduced it to 1.2 to 1.35 GB each time.
That took 15 to 140 ms, and the next first audio came 76 ms later (663 against 587 ms, medians of 12), because
its memory is allocated again. So the heap is trimmed rarely and while the thread is idle; a thread that is
never idle trims it when it has grown too much.
"""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from attrs import define, field

REST_S = 0.25
"""The thread counts as idle after this time without a step."""
MIN_INTERVAL_S = 60.0
MIN_GROWTH_BYTES = 64 * 2**20
"""A heap that has grown by less is not trimmed at rest."""
MAX_GROWTH_BYTES = 512 * 2**20
"""A heap that has grown by more since it was last trimmed is trimmed after the current step."""
STATM = Path("/proc/self/statm")

logger = structlog.get_logger()


def _trimmer() -> Callable[[int], object] | None:
    """glibc's malloc_trim on Linux; None with other C libraries."""
    if not STATM.exists():
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def resident_bytes() -> int:
    """The memory of this process, on Linux. Raises OSError elsewhere."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@define
class Heap:
    """The heap of the whole process. Does nothing where the heap cannot be measured and trimmed."""

    _trim: Callable[[int], object] | None = field(factory=_trimmer)
    _resident_bytes: Callable[[], int] = resident_bytes
    _now: Callable[[], float] = time.monotonic
    _level_bytes: int = 0
    """The resident memory after the last trim."""
    _trimmed_at: float = 0.0

    def trim(self) -> None:
        if self._trim is None:
            return
        before_bytes, began_at = self._resident_bytes(), self._now()
        self._trim(0)
        self._level_bytes, self._trimmed_at = self._resident_bytes(), self._now()
        logger.debug(
            "heap_trimmed",
            resident_mb=round(self._level_bytes / 1e6),
            freed_mb=round((before_bytes - self._level_bytes) / 1e6),
            seconds=round(self._trimmed_at - began_at, 3),
        )

    def trim_if_large(self) -> None:
        """Called while more steps wait."""
        if self._growth_bytes() > MAX_GROWTH_BYTES:
            self.trim()

    def rest_s(self) -> float | None:
        """How long the thread must be idle before it trims; None: not before the next step."""
        if self._growth_bytes() < MIN_GROWTH_BYTES:
            return None
        return max(REST_S, self._trimmed_at + MIN_INTERVAL_S - self._now())

    def _growth_bytes(self) -> int:
        return 0 if self._trim is None else self._resident_bytes() - self._level_bytes
