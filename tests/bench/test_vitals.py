"""What the bench reads at /metrics, and the slopes of it: pure, and of servers on real sockets."""

import attrs
import pytest
import trio

from bench import vitals
from bench.server_state import StateUnknown
from bench.vitals import Slope, Watch, has_settled, read_vitals, settled, vitals_in
from kokoro_trio.client import connect
from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from tests.support.benches import IDLE, options
from tests.support.processes import free_port
from tests.support.scraping import Load, record
from tests.support.servers import running


def test_what_is_read_of_an_exposition() -> None:
    prometheus = PrometheusMetrics()
    prometheus.watch(lambda: Load(active=2, waiting=1), lambda: 5)
    for end in ("done", "done", "canceled"):
        prometheus.request_ended(record(end=end))
    prometheus.message_refused("too_long")
    read = vitals_in(prometheus.scrape("")[0].decode(), at_s=7.0)
    assert (read.at_s, read.n_connections, read.n_active, read.n_waiting) == (7.0, 5, 2, 1)
    assert read.n_ended == 4
    assert read.memory_mb > 20
    assert read.n_descriptors > 2
    assert read.n_threads >= 1


class TestSlope:
    def test_of_a_straight_line(self) -> None:
        slope = Slope.of([(1e6 + minute * 60, 500 + 2 * minute) for minute in range(31)], max_rise=100.0)
        assert (slope.level, slope.length_s) == (530, 1800)
        assert slope.rise == pytest.approx(60)
        assert slope.per_hour == pytest.approx(120)
        assert slope.max_per_hour == pytest.approx(200)

    def test_what_goes_to_and_fro_is_flat(self) -> None:
        slope = Slope.of([(second, 16 + second % 5) for second in range(500)], max_rise=1.0)
        assert abs(slope.rise) < 0.2
        assert slope.is_flat

    def test_one_lost_every_minute_is_not(self) -> None:
        points = [(second, 16 + second % 5 + second // 60) for second in range(500)]
        assert not Slope.of(points, max_rise=1.0).is_flat

    def test_what_falls_is_flat_enough(self) -> None:
        assert Slope.of([(0, 10), (1, 9), (2, 2)], max_rise=1.0).is_flat


@pytest.mark.parametrize(
    "more", [{"n_descriptors": 17}, {"n_connections": 1}, {"n_active": 1}, {"n_waiting": 1}], ids=str
)
def test_what_is_held_longer_is_not_settled(more: dict[str, int]) -> None:
    assert has_settled(IDLE, IDLE)
    assert not has_settled(attrs.evolve(IDLE, **more), IDLE)


class TestOurs:
    async def test_settles_when_a_connection_has_gone(self) -> None:
        async with running() as server:
            asked = options(server.port)
            before = await read_vitals(asked)
            async with connect("127.0.0.1", server.port, api_key="first") as session:
                await session.start(voice="female")
                during = await settled(asked, before, timeout_s=0.1)
                assert during.n_connections == 1
                assert during.n_descriptors > before.n_descriptors
            assert has_settled(await settled(asked, before, timeout_s=5.0), before)

    async def test_is_watched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vitals, "SAMPLE_S", 0.05)
        async with running() as server:
            watch, ticks = Watch(options(server.port)), list[None]()
            assert await watch.until(trio.current_time() + 0.5, lambda: ticks.append(None)) is None
        assert len(ticks) == len(watch.seen) >= 2
        times_s = [each.at_s for each in watch.seen]
        assert times_s == sorted(times_s)


async def test_a_server_that_goes_away_ends_the_watch() -> None:
    failure = await Watch(options(free_port())).until(trio.current_time() + 60, print)
    assert isinstance(failure, StateUnknown)
