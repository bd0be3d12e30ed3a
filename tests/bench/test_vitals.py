"""Unit and end to end: what the bench reads at /readyz and /metrics."""

from bench.server_state import read_state, wait_until_idle
from bench.vitals import vitals_in
from kokoro_trio.client import connect
from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from tests.support.benches import IDLE_STATE, options
from tests.support.models import SlowTones
from tests.support.scraping import Load, record
from tests.support.servers import running, until


def test_vitals_of_an_exposition() -> None:
    prometheus = PrometheusMetrics()
    prometheus.watch(lambda: Load(active=2, waiting=1), lambda: 5)
    for end in ("done", "done", "canceled"):
        prometheus.request_ended(record(end=end))
    prometheus.message_refused("too_long")
    read = vitals_in(prometheus.scrape("")[0].decode(), at_s=7.0)
    assert (read.at_s, read.n_connections, read.n_active, read.n_waiting) == (7.0, 5, 2, 1)
    assert read.n_ended == 4
    assert read.memory_mb > 20
    assert min(read.n_descriptors, read.n_threads) >= 1


async def test_state_when_idle_and_active() -> None:
    async with (
        running(load=SlowTones) as server,
        connect("127.0.0.1", server.port, api_key="first") as session,
    ):
        assert await read_state(options(server.port)) == IDLE_STATE
        async with session.speak("Hello."):
            await until(lambda: server.engine.statistics().active)
            assert not (await read_state(options(server.port))).is_idle
            assert (await wait_until_idle(options(server.port))).is_idle
