"""Telemetry that keeps its events for the test, beside counting them for `/metrics`."""

from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from kokoro_trio.telemetry.records import RequestRecord


class RecordingTelemetry(PrometheusMetrics):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[RequestRecord] = []
        self.cancels_took_s: list[float] = []
        self.http_statuses: list[int] = []
        self.steps: list[tuple[str, float]] = []

    def request_ended(self, record: RequestRecord) -> None:
        super().request_ended(record)
        self.records.append(record)

    def cancel_acknowledged(self, seconds: float) -> None:
        super().cancel_acknowledged(seconds)
        self.cancels_took_s.append(seconds)

    def http_refused(self, status: int) -> None:
        super().http_refused(status)
        self.http_statuses.append(status)

    def step_ended(self, kind: str, seconds: float) -> None:
        super().step_ended(kind, seconds)
        self.steps.append((kind, seconds))
