"""`/metrics` on its own port (knob METRICS_PORT), so that a firewall can restrict it alone."""

import trio

from kokoro_trio.config import ListenConfig
from kokoro_trio.server.connection import DeadlineStream
from kokoro_trio.server.http import make_metrics_app
from kokoro_trio.server.http_connection import HttpConnection, HttpServer
from kokoro_trio.server.listener import CLOSE_GENTLY_S, containing_faults, open_listeners
from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from kokoro_trio.wire.limits import MAX_METRICS_SOCKETS


async def serve_metrics(
    config: ListenConfig,
    telemetry: PrometheusMetrics,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until cancelled. Raises `AddressUnavailable`."""
    http = HttpServer(make_metrics_app(telemetry), config, telemetry)
    room = trio.CapacityLimiter(MAX_METRICS_SOCKETS)

    async def serve_stream(stream: trio.SocketStream) -> None:
        if not room.available_tokens:
            await trio.aclose_forcefully(stream)
            return
        async with room, containing_faults(stream):
            deadline_stream = DeadlineStream(stream, b"", config.http_send_timeout_s)
            connection = HttpConnection(http, deadline_stream)
            while (request := await connection.next_request()) is not None:
                await connection.answer(request)
            await deadline_stream.close_gently(CLOSE_GENTLY_S)

    listeners = await open_listeners(config.host, config.metrics_port)
    task_status.started()
    await trio.serve_listeners(serve_stream, listeners)
