"""Unit and end to end: what the bench reads at /readyz and /metrics, of our own server and of others."""

from http.server import BaseHTTPRequestHandler

import attrs
import pytest

from bench import server_state
from bench.server_state import StateUnknown, read_state, wait_until_idle
from bench.vitals import Slope, has_settled, vitals_in
from kokoro_trio.client import connect
from kokoro_trio.telemetry.prometheus import PrometheusMetrics
from tests.support.benches import IDLE, IDLE_STATE, http_server, options
from tests.support.models import SlowTones
from tests.support.scraping import Load, record
from tests.support.servers import running, until

NOT_IDLE = (
    b'{"device": "cpu", "early_audio": true, "active": 1, "waiting": 0, "max_concurrent_jobs": 4, "other": 1}'
)


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


class TestSlope:
    @pytest.mark.parametrize(("leaks", "is_flat"), [(False, True), (True, False)])
    def test_leak_of_one_a_minute_is_not_flat(self, leaks: bool, is_flat: bool) -> None:
        points = [(second, 16 + second % 5 + leaks * (second // 60)) for second in range(500)]
        assert Slope.of(points, max_rise=1.0).is_flat is is_flat


@pytest.mark.parametrize("more", ["n_descriptors", "n_connections", "n_active", "n_waiting"])
def test_server_has_not_settled_while_it_holds_more(more: str) -> None:
    assert has_settled(IDLE, IDLE)
    assert not has_settled(attrs.evolve(IDLE, **{more: getattr(IDLE, more) + 1}), IDLE)


class TestOurs:
    async def test_state_when_idle_and_active(self) -> None:
        async with (
            running(load=SlowTones) as server,
            connect("127.0.0.1", server.port, api_key="first") as session,
        ):
            assert await read_state(options(server.port)) == IDLE_STATE
            async with session.speak("Hello."):
                await until(lambda: server.engine.statistics().active)
                assert not (await read_state(options(server.port))).is_idle
                assert (await wait_until_idle(options(server.port))).is_idle


class TestOthers:
    async def test_server_that_never_becomes_idle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server_state, "IDLE_TIMEOUT_S", 0.1)
        with http_server(lambda request: send(request, NOT_IDLE)) as port:
            assert (await wait_until_idle(options(port))).active == 1

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (NOT_IDLE.replace(b"max_concurrent_jobs", b"jobs"), "max_concurrent_jobs is missing"),
            (b"ok", "Expecting value"),
            (b"[]", "indices must be integers"),
        ],
    )
    async def test_malformed_state(self, answer: bytes, reason: str) -> None:
        with http_server(lambda request: send(request, answer)) as port:
            with pytest.raises(StateUnknown, match=f"at /readyz: .*{reason}"):
                await read_state(options(port))


def send(request: BaseHTTPRequestHandler, body: bytes) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(body)
