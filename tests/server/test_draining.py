"""End to end: SIGTERM to a serving process, with tones instead of the model."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import pytest
import trio
from quart_trio import QuartTrio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from kokoro_trio.server.connection import DeadlineStream
from kokoro_trio.server.http_connection import HttpConnection, HttpServer
from tests.support.processes import Server, running, start
from tests.support.servers import CONFIG
from tests.support.telemetry import RecordingTelemetry

if TYPE_CHECKING:
    from kokoro_trio.server.http_speech import Application

pytestmark = pytest.mark.slow

LONG = "one two three four five six seven. " * 8


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Makes a second of audio in 0.1 s."""
    monkeypatch.setenv("TONES_STEP_S", "0.1")
    with running(tmp_path, "tests.support.tones") as started:
        yield started


def begin_to_speak(client: ClientConnection, text: str = LONG) -> None:
    client.send(json.dumps({"type": "speak", "text": text}))
    while not isinstance(frame := client.recv(timeout=10), str) or "started_speak" not in frame:
        pass


def kinds_until_closed(client: ClientConnection) -> tuple[list[str], int]:
    """The types of the remaining messages, and the close code."""
    kinds = []
    try:
        while True:
            frame = client.recv(timeout=30)
            if isinstance(frame, str):
                kinds.append(json.loads(frame)["type"])
    except ConnectionClosed as closed:
        assert closed.rcvd is not None, "it was dropped without a close frame"
        return kinds, closed.rcvd.code


def test_sigterm_lets_outstanding_requests_finish(server: Server) -> None:
    with connect(server.url) as speaking, connect(server.url) as idle:
        begin_to_speak(speaking)
        server.process.send_signal(signal.SIGTERM)
        assert kinds_until_closed(idle) == ([], 1012)
        readiness = httpx.get(f"http://127.0.0.1:{server.port}/readyz")
        assert (readiness.status_code, readiness.json()["active"]) == (503, 1)
        assert httpx.get(f"http://127.0.0.1:{server.port}/healthz").status_code == 200
        kinds, code = kinds_until_closed(speaking)
    assert (kinds[-1], code) == ("done", 1012)
    assert server.process.wait(timeout=10) == 0


def test_draining_server_refuses_new_requests(server: Server) -> None:
    with connect(server.url) as client:
        begin_to_speak(client)
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 200:
            pass
        client.send(json.dumps({"type": "speak", "text": "Too late."}))
        kinds, code = kinds_until_closed(client)
    assert [kind for kind in kinds if kind != "meta"] == ["error", "done"]
    assert code == 1012


def test_second_sigterm_skips_the_grace_period(server: Server) -> None:
    with connect(server.url) as client:
        begin_to_speak(client)
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 200:
            pass
        signaled_at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        kinds, code = kinds_until_closed(client)
    assert "done" not in kinds
    assert code == 1012
    assert server.process.wait(timeout=10) == 0
    assert time.monotonic() - signaled_at < 10


def test_sigterm_while_the_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONES_LOAD_S", "30")
    server = start(tmp_path, module="tests.support.tones")
    try:
        while b'"listening"' not in (tmp_path / "server.log").read_bytes():
            time.sleep(0.05)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=10) == 0
    finally:
        server.process.kill()
        server.process.wait()


async def test_http_request_is_outstanding_until_it_is_answered() -> None:
    app, may_answer, was_asked = QuartTrio(__name__), trio.Event(), trio.Event()

    @app.get("/slow")
    async def slow() -> str:
        was_asked.set()
        await may_answer.wait()
        return "answered"

    telemetry = RecordingTelemetry()
    http = HttpServer(cast("Application", app), CONFIG.listen, telemetry)
    idle = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        connection = HttpConnection(http, DeadlineStream(stream, b"", 1.0))
        request = await connection.next_request()
        assert request is not None
        await connection.answer(request)
        await stream.aclose()

    async def wait_until_idle() -> None:
        await http.until_idle()
        idle.set()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with await trio.open_tcp_stream(*listener.socket.getsockname()) as client:
            await client.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            await was_asked.wait()
            nursery.start_soon(wait_until_idle)
            await trio.sleep(0.1)
            assert not idle.is_set()
            may_answer.set()
            with trio.fail_after(20):
                answer = b"".join([piece async for piece in client])
        assert answer.endswith(b"answered")
        assert telemetry.http_statuses == []
        with trio.fail_after(1):
            await idle.wait()
        nursery.cancel_scope.cancel()
