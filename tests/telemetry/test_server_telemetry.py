"""Unit: the queue of records for the metrics log."""

from contextlib import closing
from pathlib import Path

import pytest
import structlog

from kokoro_trio.telemetry import server_telemetry
from kokoro_trio.telemetry.records import LogReader, MetricsLog
from kokoro_trio.telemetry.server_telemetry import ServerTelemetry
from tests.support.scraping import record


async def test_record_is_dropped_if_the_queue_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_telemetry, "MAX_UNWRITTEN_RECORDS", 1)
    with closing(MetricsLog(tmp_path, 10_000)) as log, structlog.testing.capture_logs() as logged:
        with closing(ServerTelemetry(log)) as telemetry:
            for request_id in ("r1", "r2"):
                telemetry.request_ended(record(request_id=request_id))
        await telemetry.write_log()
    assert [(each["event"], each["request_id"]) for each in logged] == [("metrics_record_dropped", "r2")]
    assert [each.request_id for each in LogReader(tmp_path / "metrics.log").records()] == ["r1"]
