"""What the C library keeps of memory that was freed, and giving it back.

The model takes and frees blocks of megabytes, of other sizes for each sentence. glibc cuts the places
that are left into smaller ones and takes new memory for the next large block. Of 40 sentences on two cores
a process grew from 1.4 to between 2.3 and 4.1 GB, of which 0.8 GB were in use; malloc_trim(3) brought it
back to 1.2 to 1.35 GB each time. That took 15 to 140 ms, and the first audio after it came 76 ms later
(663 against 587 ms, medians of 12), as its memory is taken anew. So it is done when there is nothing else
to do, and seldom; while there always is, when too much has come together.
"""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from attrs import define, field

REST_S = 0.25
"""Without a step, before it is said that there is nothing to do."""
MIN_INTERVAL_S = 60.0
MIN_GROWTH_BYTES = 64 * 2**20
"""Less is left alone at rest."""
MAX_GROWTH_BYTES = 512 * 2**20
"""Over what it was when it was last trimmed; more is given back at once. One step may add to it."""
STATM = Path("/proc/self/statm")

logger = structlog.get_logger()


def _trimmer() -> Callable[[int], object] | None:
    """glibc's malloc_trim, of Linux; other C libraries have none."""
    if not STATM.exists():
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def resident_bytes() -> int:
    """Of this process, on Linux. Raises OSError elsewhere."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@define
class Heap:
    """Of the whole process. Where nothing is known of it, or it cannot be trimmed, it is left alone."""

    _trim: Callable[[int], object] | None = field(factory=_trimmer)
    _resident_bytes: Callable[[], int] = resident_bytes
    _now: Callable[[], float] = time.monotonic
    _level_bytes: int = 0
    """When it was last trimmed."""
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
        """To be called while there is more to do."""
        if self._growth_bytes() > MAX_GROWTH_BYTES:
            self.trim()

    def rest_s(self) -> float | None:
        """How long there must be nothing to do before it is to be trimmed; None: not until more is done."""
        if self._growth_bytes() < MIN_GROWTH_BYTES:
            return None
        return max(REST_S, self._trimmed_at + MIN_INTERVAL_S - self._now())

    def _growth_bytes(self) -> int:
        return 0 if self._trim is None else self._resident_bytes() - self._level_bytes
