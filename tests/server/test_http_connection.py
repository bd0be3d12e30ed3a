"""End to end: HTTP and WebSocket on one connection. Raw sockets, tones instead of the model."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import structlog
import trio
import trio.testing
from attrs import define, evolve, field

from kokoro_trio.server.connection import DeadlineStream
from kokoro_trio.server.dialects import TOGETHER_PATH
from kokoro_trio.server.http_speech import Event, HttpSpeech, Receive, Send
from kokoro_trio.telemetry.prometheus import HTTP_ERROR_STATUSES
from kokoro_trio.wire.messages import WEBSOCKET_PATH
from tests.support.clients import HANDSHAKE, HELLO, masked_text_frame
from tests.support.models import SlowTones
from tests.support.scraping import scraped
from tests.support.servers import CONFIG, IMPATIENT, Server, fill_all_slots, in_thread, running, until
from tests.support.sessions import KOKORO

PATIENT = evolve(CONFIG.listen, handshake_timeout_s=600)
"""A request refused for its head is answered although its body does not come."""
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = json.dumps({"voice": "alloy", "input": "Hello there.", "response_format": "pcm"}).encode()
KEY = "X-API-Key: first"
SPEAK = masked_text_frame(json.dumps(HELLO | {"text": "Hello there. " * 10}))


def post(*headers: str, method: str = "POST", length: int | None = None) -> bytes:
    """The head of a speech request. `length` of its body; None: it is chunked."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"{method} /v1/audio/speech HTTP/1.1", "Host: x", framing, *headers, "", ""]
    return "\r\n".join(lines).encode()


@define
class Peer:
    """A client on a raw socket."""

    socket: socket.socket
    _received: bytes = field(default=b"")

    async def send(self, data: bytes) -> None:
        await in_thread(self.socket.sendall, data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        head, _, self._received = await self._until(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if headers.get("transfer-encoding") == "chunked":
            body, _, self._received = await self._until(b"\r\n0\r\n\r\n")
        else:
            length = int(headers.get("content-length", "0"))
            while len(self._received) < length:
                await self._receive()
            body, self._received = self._received[:length], self._received[length:]
        return int(status_line.split()[1]), headers, body

    async def status(self) -> int:
        return (await self.answer())[0]

    async def is_closed(self) -> bool:
        with suppress(ConnectionResetError):
            return await in_thread(self.socket.recv, 1) == b""
        return True

    async def speaks_until_done(self) -> None:
        await self.send(SPEAK)
        await self._until(b'"done"')

    async def _until(self, end: bytes) -> tuple[bytes, bytes, bytes]:
        while end not in self._received:
            await self._receive()
        return self._received.partition(end)

    async def _receive(self) -> None:
        data = await in_thread(self.socket.recv, 65_536)
        assert data, self._received
        self._received += data


@contextmanager
def peer_of(server: Server) -> Iterator[Peer]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connected:
        yield Peer(connected)


class TestWebSocketOnAUsedConnection:
    async def test_websocket_after_a_get(self) -> None:
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(HEALTHZ)
                assert await peer.status() == 200
                await peer.send(HANDSHAKE)
                assert await peer.status() == 101
                await peer.speaks_until_done()

    async def test_websocket_pipelined_after_gets(self) -> None:
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(HEALTHZ * 3 + HANDSHAKE)
                assert [await peer.status() for _ in range(4)] == [200, 200, 200, 101]
                await peer.speaks_until_done()

    async def test_websocket_after_speech(self) -> None:
        async with running(voices=KOKORO) as server:
            with peer_of(server) as peer:
                await peer.send(post(KEY, length=len(BODY)) + BODY)
                assert await peer.status() == 200
                await peer.send(HANDSHAKE)
                assert await peer.status() == 101
                await peer.speaks_until_done()

    async def test_websocket_with_a_wrong_key_is_refused(self) -> None:
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(HEALTHZ + HANDSHAKE.replace(b"first", b"wrong"))
                assert await peer.status() == 200
                status, headers, _ = await peer.answer()
                assert (status, headers["connection"]) == (401, "close")
                assert await peer.is_closed()

    @pytest.mark.parametrize("path", [WEBSOCKET_PATH, TOGETHER_PATH])
    async def test_websocket_path_without_upgrade_gets_426(self, path: str) -> None:
        async with running() as server:
            answer = await server.get(path)
        assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
        assert "Upgrade" in answer.headers["Connection"]
        assert "WebSocket" in answer.json()["error"]["message"]


class TestHttp11Only:
    async def test_http_2_preface_is_refused(self) -> None:
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                assert await peer.status() == 505
                assert await peer.is_closed()

    async def test_upgrade_to_http_2_is_ignored(self) -> None:
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(HEALTHZ[:-2] + upgrade + HEALTHZ)
                assert [await peer.status() for _ in range(2)] == [200, 200]

    async def test_http_1_0_is_served(self) -> None:
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert await peer.status() == 200
                assert await peer.is_closed()


class TestRefusedByItsHead:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (post(), 401),
            (post("X-API-Key: wrong", length=1_000_000), 401),
            (post(KEY, method="PUT"), 405),
            (post(KEY, "Origin: https://elsewhere.example"), 403),
            (post().replace(b"speech", b"transcriptions"), 404),
            (post().replace(b"POST /v1/audio/speech", b"POST /v1/models"), 405),
        ],
    )
    async def test_error_comes_before_the_body_and_is_json(self, head: bytes, status: int) -> None:
        async with running(listen=PATIENT) as server:
            with peer_of(server) as peer:
                await peer.send(head)
                got, headers, body = await peer.answer()
        assert (got, headers["content-type"]) == (status, "application/json")
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}

    async def test_speech_while_loading_gets_503(self) -> None:
        async with running(listen=PATIENT, ready=False) as server:
            with peer_of(server) as peer:
                await peer.send(post(KEY))
                assert await peer.status() == 503

    @pytest.mark.parametrize(("key", "status"), [("X-API-Key: wrong", 401), (KEY, 413)])
    async def test_client_that_sends_its_body_gets_the_error_and_keeps_the_connection(
        self, key: str, status: int
    ) -> None:
        n_bytes = 5_000_000
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(post(key, length=n_bytes) + bytes(n_bytes))
                assert await peer.status() == status
                await peer.send(HEALTHZ)
                assert await peer.status() == 200

    async def test_client_that_never_ends_its_body_is_closed(self) -> None:
        def pour(peer: Peer) -> None:
            with suppress(OSError):
                while True:
                    peer.socket.sendall(b"1\r\nx\r\n")

        async with running(listen=IMPATIENT) as server:
            with peer_of(server) as peer:
                await peer.send(post())
                assert await peer.status() == 401
                await in_thread(pour, peer)
            await until(lambda: server.listener.n_sockets == 0)

    @pytest.mark.parametrize(("key", "statuses"), [("X-API-Key: wrong", [401]), (KEY, [100, 200])])
    async def test_expect_100_continue(self, key: str, statuses: list[int]) -> None:
        async with running(voices=KOKORO) as server:
            with peer_of(server) as peer:
                await peer.send(post(key, "Expect: 100-continue", length=len(BODY)))
                assert await peer.status() == statuses[0]
                if len(statuses) > 1:
                    await peer.send(BODY)
                    assert await peer.status() == statuses[1]


class TestNoDeadlockWhileRefusing:
    async def test_body_that_arrives_while_the_refusal_is_written(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The body has more pieces than a queue between reader and application would hold."""
        send_all, is_answered, may_send = DeadlineStream.send_all, trio.Event(), trio.Event()

        async def held_up(stream: DeadlineStream, data: bytes) -> None:
            is_answered.set()
            await may_send.wait()
            await send_all(stream, data)

        monkeypatch.setattr(DeadlineStream, "send_all", held_up)
        async with running(listen=IMPATIENT) as server:
            with peer_of(server) as peer:
                await peer.send(post() + b"1\r\nx\r\n")
                await is_answered.wait()
                await peer.send(b"1\r\nx\r\n" * 100)
                await trio.testing.wait_all_tasks_blocked(0.1)
                may_send.set()
                assert await peer.status() in (401, 408)
            await until(lambda: server.listener.n_sockets == 0)

    async def test_client_that_pipelines_and_does_not_read(self) -> None:
        listen = evolve(IMPATIENT, http_send_timeout_s=0.3)
        async with running(listen=listen) as server:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(("127.0.0.1", server.port))
                deaf.settimeout(5)
                with suppress(OSError):
                    while True:
                        await in_thread(deaf.sendall, HEALTHZ * 50 + post() + b"1\r\nx\r\n" * 50)
                await until(lambda: server.listener.n_sockets == 0)


class TestLeaving:
    @pytest.mark.parametrize("behind", [b"", b"\r\n", HEALTHZ])
    async def test_client_leaves_while_it_waits_for_a_slot(self, behind: bytes) -> None:
        async with running(voices=KOKORO, load=SlowTones) as server, trio.open_nursery() as nursery:
            await fill_all_slots(server, nursery)
            with peer_of(server) as peer:
                await peer.send(post(KEY, length=len(BODY)) + BODY + behind)
                await until(lambda: server.engine.statistics().waiting == 1)
            await until(lambda: server.engine.statistics().waiting == 0)
            nursery.cancel_scope.cancel()
        assert [(record.end, record.queue_ms) for record in server.records] == [("disconnected", None)]

    async def test_client_leaves_with_pipelined_bytes_beyond_the_read_ahead(self) -> None:
        body = json.dumps({"voice": "alloy", "input": "On and on it goes. " * 100, "response_format": "pcm"})
        async with running(voices=KOKORO, load=SlowTones) as server:
            with peer_of(server) as peer:
                await peer.send(post(KEY, length=len(body)) + body.encode() + b"x" * 20_000)
                await until(lambda: server.engine.statistics().active == 1)
            await until(lambda: server.engine.statistics().active == 0)
        assert [record.end for record in server.records] == ["disconnected"]


class TestHalfClosed:
    """The client closes its sending side and reads on."""

    @pytest.mark.parametrize("get", [HEALTHZ, HEALTHZ.replace(b"1.1", b"1.0"), HEALTHZ * 3])
    async def test_half_closed_client_gets_the_whole_answer(self, get: bytes) -> None:
        async with running() as server:
            for _ in range(10):
                with peer_of(server) as peer:
                    await peer.send(get)
                    peer.socket.shutdown(socket.SHUT_WR)
                    for _ in range(get.count(b"GET")):
                        assert await peer.status() == 200
                    assert await peer.is_closed()

    async def test_half_closed_client_gets_the_refusal(self) -> None:
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(post(length=10))
                peer.socket.shutdown(socket.SHUT_WR)
                assert await peer.status() == 401

    async def test_half_closed_client_cancels_its_speech(self) -> None:
        async with running(voices=KOKORO) as server:
            with peer_of(server) as peer:
                await peer.send(post(KEY, length=len(BODY)) + BODY)
                peer.socket.shutdown(socket.SHUT_WR)
                await until(lambda: len(server.records) == 1)
                assert await peer.is_closed()
            metrics = scraped((await server.get("/metrics")).text)
        assert [record.end for record in server.records] == ["disconnected"]
        assert metrics["http_refused_total{status=500}"] == 0


class TestDraining:
    async def test_draining_server_closes_the_connection_after_each_response(self) -> None:
        async with running(voices=KOKORO, load=SlowTones) as server, trio.open_nursery() as nursery:
            with peer_of(server) as speaking, peer_of(server) as pooled:
                await pooled.send(HEALTHZ)
                assert "connection" not in (await pooled.answer())[1]
                await speaking.send(post(KEY, length=len(BODY)) + BODY)
                await until(lambda: server.engine.statistics().active == 1)
                nursery.start_soon(server.listener.drain, 20)
                await until(lambda: server.listener.readiness().state == "draining")
                await pooled.send(HEALTHZ)
                status, headers, _ = await pooled.answer()
                assert (status, headers["connection"]) == (200, "close")
                assert await pooled.is_closed()
                assert await speaking.status() == 200


class TestFaults:
    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (b"nonsense\r\n\r\n", 400),
            (post(KEY) + b"no size\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"HEAD x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"HEAD / HTTP/1.2\r\nHost: x\r\n\r\n", 505),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000, 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 17_000 + b"\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
            (post(KEY).replace(b"chunked", b"gzip"), 501),
        ],
    )
    async def test_malformed_request_is_refused(self, request_: bytes, status: int) -> None:
        async with running() as server:
            with peer_of(server) as peer:
                await peer.send(request_)
                got, headers, _ = await peer.answer()
                assert (got, headers["connection"]) == (status, "close")
                assert await peer.is_closed()
        assert status in HTTP_ERROR_STATUSES, "its series would begin with the first one"

    async def test_long_body_in_the_same_read_does_not_count_as_head(self) -> None:
        body = json.dumps({"voice": "alloy", "input": "Hello.", "user": "x" * 40_000}).encode()
        async with running(voices=KOKORO) as server:
            with peer_of(server) as peer:
                await peer.send(post(KEY, length=len(body)) + body)
                assert await peer.status() == 200

    async def test_client_that_leaves_during_the_handshake_logs_no_fault(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(stream: DeadlineStream, data: bytes) -> None:
            raise trio.BrokenResourceError

        monkeypatch.setattr(DeadlineStream, "send_all", broken)
        async with running() as server:
            with structlog.testing.capture_logs() as logged:
                for handshake in (HANDSHAKE, HANDSHAKE.replace(b"first", b"wrong")):
                    with peer_of(server) as peer:
                        await peer.send(handshake)
                        assert await peer.is_closed()
        assert [each for each in logged if each["log_level"] == "error"] == []

    @pytest.mark.parametrize("target", [b"?x", b"http://[/", b"//[", b"*", b"http://x/healthz"])
    async def test_malformed_targets_log_no_fault(self, target: bytes) -> None:
        async with running() as server:
            with structlog.testing.capture_logs() as logged:
                for request_ in (HEALTHZ, HANDSHAKE):
                    _, _, rest = request_.partition(b" HTTP/")
                    with peer_of(server) as peer:
                        await peer.send(b"GET " + target + b" HTTP/" + rest)
                        assert await peer.status() in (200, 400, 404)
        assert [each for each in logged if each["log_level"] == "error"] == []

    async def test_exception_in_a_view_is_logged_and_answered_in_json(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken() -> None:
            raise RuntimeError("no such model")

        monkeypatch.setattr("kokoro_trio.server.http.model_list", broken)
        async with running() as server:
            with structlog.testing.capture_logs() as logged:
                answer = await server.get("/v1/models", **{"X-API-Key": "first"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
        assert "no such model" not in answer.text
        [entry] = [each for each in logged if each["log_level"] == "error"]
        assert (entry["event"], entry["path"]) == ("http_view_failed", "/v1/models")
        assert str(entry["exc_info"]) == "no such model"

    async def test_exception_in_the_application_is_logged_and_ends_its_request(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(speech: HttpSpeech, scope: Event, receive: Receive, send: Send) -> None:
            raise RuntimeError("a hole")

        monkeypatch.setattr(HttpSpeech, "__call__", broken)
        async with running() as server:
            with structlog.testing.capture_logs() as logged, peer_of(server) as peer:
                await peer.send(post(KEY, length=0))
                assert await peer.status() == 500
            assert (await server.get("/healthz")).status_code == 200
        assert [(each["event"], each.get("path")) for each in logged if each["log_level"] == "error"] == [
            ("http_request_failed", "/v1/audio/speech")
        ]


async def test_refusals_are_counted_by_status() -> None:
    async with running() as server:
        for request_ in (post(), post(KEY, method="PUT"), b"nonsense\r\n\r\n"):
            with peer_of(server) as peer:
                await peer.send(request_)
                await peer.status()
        metrics = scraped((await server.get("/metrics")).text)
    counted = {series: value for series, value in metrics.items() if series.startswith("http_") and value}
    assert counted == {f"http_refused_total{{status={status}}}": 1 for status in (401, 405, 400)}
