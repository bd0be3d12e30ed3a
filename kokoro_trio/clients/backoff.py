"""When a client connects again after a lost connection, and when it gives up. Without I/O or a clock."""

from attrs import define

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
MAX_DOUBLINGS = 5
"""After this many, the first pause is longer than the longest. 2**1024 does not fit into a float."""
SETTLED_S = 5.0
"""After a connection that lasted this long, the pauses start again with the first one."""
RETRY_STATUSES = frozenset((429, 502, 503, 504))
"""HTTP statuses of a server that is loading, draining or full, and of a proxy without a server behind it."""
RETRY_CLOSE_CODES = frozenset((1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014))
"""WebSocket close codes after which the client connects again. A server closes an idle connection with 1000,
and some proxies close it without a code, which counts as 1005."""


@define
class Backoff:
    """Gives up `patience_s` after `since_s`, or after the end of the last connection that was accepted."""

    patience_s: float
    since_s: float
    n_failures: int = 0
    """Attempts that failed, and connections that ended before `SETTLED_S`, in a row."""
    _connected_at_s: float | None = None

    def connected(self, now_s: float) -> None:
        """The server has accepted the connection."""
        self._connected_at_s = now_s

    def pause_s(self, now_s: float, retry_after_s: float | None = None) -> float | None:
        """How long to wait after a failed attempt or a lost connection; None to give up."""
        if self._connected_at_s is not None:
            self.since_s = now_s
            if now_s - self._connected_at_s >= SETTLED_S:
                self.n_failures = 0
            self._connected_at_s = None
        growing_s = FIRST_PAUSE_S * 2 ** min(self.n_failures, MAX_DOUBLINGS)
        pause_s = max(min(growing_s, LONGEST_PAUSE_S), retry_after_s or 0.0)
        self.n_failures += 1
        return pause_s if now_s + pause_s <= self.since_s + self.patience_s else None


def parse_retry_after(value: str) -> float | None:
    """The seconds of a `Retry-After` header; None for a date, which no server of this protocol sends."""
    value = value.strip()
    return float(value) if value.isdecimal() else None
