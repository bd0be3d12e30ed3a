"""The events that the engine and the server report, through one interface."""

from kokoro_trio.telemetry.records import RequestRecord


class Telemetry:
    """Receives events on the event loop. No method waits or raises. This base class ignores the events."""

    def request_ended(self, record: RequestRecord) -> None:
        """A speak request has ended, in any way."""

    def cancel_acknowledged(self, seconds: float) -> None:
        """`canceled` was sent, `seconds` after the `cancel` was received."""

    def message_refused(self, code: str) -> None:
        """A message was answered with an error of this wire code."""

    def handshake_refused(self, status: int) -> None:
        """A WebSocket handshake was answered with this HTTP status."""

    def http_refused(self, status: int) -> None:
        """An HTTP request was answered with this status, 400 or above."""

    def step_ended(self, kind: str, seconds: float) -> None:
        """A step has ended, after `seconds` on the inference thread."""
