"""End to end: what the bench reads at /readyz and /metrics, of our own server and of others."""

import argparse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from bench import server_state
from bench.server_state import ServerState, StateUnknown, read_state, wait_until_idle
from bench.vitals import read_vitals
from kokoro_trio.client import connect
from tests.support.benches import options
from tests.support.models import SlowTones
from tests.support.processes import free_port
from tests.support.servers import running, until

NOT_IDLE = b'{"device": "cpu", "active": 1, "waiting": 0, "max_concurrent_jobs": 4}'


@pytest.fixture
def other_server(request: pytest.FixtureRequest) -> Iterator[argparse.Namespace]:
    """Where one is that answers everything with the parameter."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(request.param)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield options(server.server_port)
        server.shutdown()
        thread.join()


class TestOurs:
    async def test_idle(self) -> None:
        async with running() as server:
            state = await read_state(options(server.port))
        assert state == ServerState(device="cpu", active=0, waiting=0, max_concurrent_jobs=4)

    async def test_waits_until_idle(self) -> None:
        async with (
            running(load=SlowTones) as server,
            connect("127.0.0.1", server.port, api_key="first") as session,
            session.speak("Hello."),
        ):
            await until(lambda: server.engine.statistics().active)
            assert not (await read_state(options(server.port))).is_idle
            assert (await wait_until_idle(options(server.port))).is_idle


class TestOthers:
    @pytest.mark.parametrize("other_server", [NOT_IDLE], indirect=True)
    async def test_never_idle(
        self, other_server: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_state, "IDLE_TIMEOUT_S", 0.1)
        assert (await wait_until_idle(other_server)).active == 1

    @pytest.mark.parametrize(
        ("other_server", "reason"),
        [
            (NOT_IDLE.replace(b"max_concurrent_jobs", b"jobs"), "says nothing of max_concurrent_jobs"),
            (b"ok", "Expecting value"),
            (b"[]", "indices must be integers"),
        ],
        indirect=["other_server"],
    )
    async def test_another_answer(self, other_server: argparse.Namespace, reason: str) -> None:
        with pytest.raises(StateUnknown, match=f"does not tell its state at /readyz: .*{reason}"):
            await read_state(other_server)

    @pytest.mark.parametrize(
        ("other_server", "reason"),
        [
            (b"kokoro_active 0", "it says nothing of process_start_time_seconds"),
            (b"kokoro_active many", "could not convert"),
        ],
        indirect=["other_server"],
    )
    async def test_other_metrics(self, other_server: argparse.Namespace, reason: str) -> None:
        with pytest.raises(StateUnknown, match=f"does not tell its state at /metrics: {reason}"):
            await read_vitals(other_server)

    async def test_nobody_there(self) -> None:
        with pytest.raises(StateUnknown, match="refused"):
            await read_state(options(free_port()))
