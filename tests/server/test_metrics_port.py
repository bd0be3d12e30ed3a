"""End to end: `/metrics` on a port of its own, by a process with tones instead of the model."""

import socket
from pathlib import Path

import httpx
import pytest

from bench.soak import at_metrics, command_line
from bench.vitals import read_vitals
from tests.support.processes import free_port, running, start


def test_metrics_port_serves_metrics_only(tmp_path: Path) -> None:
    metrics_port = free_port()
    with running(tmp_path, "tests.support.tones", METRICS_PORT=str(metrics_port)) as server:
        main, metrics = (f"http://127.0.0.1:{port}" for port in (server.port, metrics_port))
        assert httpx.get(f"{main}/metrics").status_code == 404
        assert "kokoro_connections 0.0" in httpx.get(f"{metrics}/metrics").text
        for path in ("/", "/healthz", "/v1/models", "/v1/audio/speech"):
            assert httpx.get(f"{metrics}{path}").status_code == 404


@pytest.mark.parametrize("metrics_port", ["", "0"])
def test_metrics_are_on_the_main_port_by_default(metrics_port: str, tmp_path: Path) -> None:
    with running(tmp_path, "tests.support.tones", METRICS_PORT=metrics_port) as server:
        assert "kokoro_connections" in httpx.get(f"http://127.0.0.1:{server.port}/metrics").text


def test_port_in_use_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start(tmp_path, None, "tests.support.tones", METRICS_PORT=str(port))
        assert server.process.wait(60) == 1
    last_line = (tmp_path / "server.log").read_text().splitlines()[-1]
    assert last_line.startswith(f"error: cannot listen on 127.0.0.1 port {port}: ")


async def test_soak_reads_the_metrics_port(tmp_path: Path) -> None:
    metrics_port = free_port()
    with running(tmp_path, "tests.support.tones", METRICS_PORT=str(metrics_port)) as server:
        at = ["--host", "127.0.0.1", "--port", str(server.port), "--metrics-port", str(metrics_port)]
        assert (await read_vitals(at_metrics(command_line().parse_args(at)))).n_connections == 0
