"""The server's telemetry: Prometheus metrics of all events, and a metrics log of ended requests."""

import structlog
import trio

from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from kokoro_trio.telemetry.records import MetricsLog, RequestRecord

logger = structlog.get_logger()

MAX_UNWRITTEN_RECORDS = 10_000


class ServerTelemetry(PrometheusMetrics):
    """`write_log` writes the records of ended requests until `close` is called."""

    def __init__(self, log: MetricsLog) -> None:
        super().__init__()
        self._log = log
        self._send, self._receive = trio.open_memory_channel[RequestRecord](MAX_UNWRITTEN_RECORDS)

    def request_ended(self, record: RequestRecord) -> None:
        super().request_ended(record)
        try:
            self._send.send_nowait(record)
        except trio.WouldBlock:
            logger.warning("metrics_record_dropped", request_id=record.request_id)

    async def write_log(self) -> None:
        async for record in self._receive:
            try:
                await trio.to_thread.run_sync(self._log.write, record)
            except OSError as error:
                # A full disk must not end the server.
                logger.warning("metrics_not_written", reason=str(error))

    def close(self) -> None:
        self._send.close()
