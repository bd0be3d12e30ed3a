"""Faults of the server and of clients: real sockets, tones with injected faults.

After each fault the engine must be idle, and other clients must have been served meanwhile.
"""

import json
import math
import signal
import socket
import struct
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

import attrs
import httpx
import numpy as np
import pytest
import trio
import websockets.exceptions
from attrs import evolve
from websockets.sync.client import ClientConnection, connect

import kokoro_trio.server.listener as listener_module
from kokoro_trio.__main__ import EXIT_BROKEN
from kokoro_trio.config import EngineConfig
from kokoro_trio.model.synthesizer import ToneSynthesizer
from kokoro_trio.server.connection import DeadlineStream
from kokoro_trio.speech import Samples, Window
from tests.support.clients import (
    HANDSHAKE,
    HELLO,
    close_code_after,
    ends_of,
    hear,
    masked_text_frame,
    open_raw_websocket,
    others_are_served,
    status_of_handshake,
    talk,
    until_idle,
)
from tests.support.models import SlowTones, StumblingSynthesizer
from tests.support.processes import KEY
from tests.support.processes import Server as Process
from tests.support.processes import running as process_running
from tests.support.scraping import scraped
from tests.support.servers import CONFIG, IMPATIENT, Server, in_thread, running, until

LONG_TEXT = "On and on it goes, and nobody knows why. " * 25


# Of the engine.


@attrs.frozen
class Batches(ToneSynthesizer):
    """Runs out of memory for two windows at once, and for a sentence of 13 letters."""

    max_batch: int = 4

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        if len(windows) > 1 or len(windows[0].prosody.line.phonemes) == 13:
            raise MemoryError("the device is full")
        return super().vocode(windows)


class Noise(ToneSynthesizer):
    """Returns NaN in the third window of every utterance with a z."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        samples = super().vocode(windows)
        for window, of_window in zip(windows, samples, strict=True):
            if "z" in window.prosody.line.phonemes and window.start_frame >= 2 * self.window_frames:
                of_window[7] = math.nan
        return samples


class TestFaultyModel:
    async def test_exception_in_a_step_fails_its_request_only(self) -> None:
        async with running(load=StumblingSynthesizer) as server:
            bad = HELLO | {"request_id": "bad", "text": "x"}
            heard = await in_thread(talk, server.url(), HELLO, bad, HELLO | {"request_id": "r2"}, until=3)
            assert ends_of(heard) == {("r1", "done"): 1, ("bad", "error"): 1, ("r2", "done"): 1}
            await others_are_served(server)
        assert [record.end for record in server.records if record.request_id == "bad"] == ["synthesis_failed"]

    async def test_nan_samples_are_not_played(self) -> None:
        async with running(load=Noise) as server:
            bad = HELLO | {"request_id": "bad", "text": "z" * 60}
            heard = await in_thread(talk, server.url(), bad, HELLO, until=2)
            assert ends_of(heard) == {("bad", "error"): 1, ("r1", "done"): 1}
            audio = np.frombuffer(b"".join(each for each in heard if isinstance(each, bytes)), "<i2")
            # The level of the tones is 0.25.
            assert 8000 < np.abs(audio).max() < 8300
            await others_are_served(server)

    async def test_out_of_memory_batch_is_retried_one_by_one(self) -> None:
        async with running(load=Batches) as server:
            texts = ["a" * 12, "b" * 13, "c" * 14, "d" * 15]
            ends: list[tuple[str, str]] = []

            async def ask(text: str) -> None:
                heard = await in_thread(talk, server.url(), HELLO | {"request_id": text, "text": text})
                ends.extend(ends_of(heard))

            async with trio.open_nursery() as nursery:
                for text in texts:
                    nursery.start_soon(ask, text)
            assert sorted(ends) == sorted((text, "error" if len(text) == 13 else "done") for text in texts)
            await others_are_served(server)


class Stuck(ToneSynthesizer):
    """The first vocode step returns when `go_on` is set."""

    go_on: threading.Event

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        assert self.go_on.wait(30)
        return super().vocode(windows)


@pytest.fixture
def stuck() -> Iterator[type[Stuck]]:
    class OfThisTest(Stuck):
        go_on = threading.Event()

    yield OfThisTest
    OfThisTest.go_on.set()


class TestStuckModel:
    async def test_stuck_step_makes_the_server_not_ready(self, stuck: type[Stuck]) -> None:
        engine = EngineConfig(4, 8, stalled_after_s=0.1, stuck_after_s=60)
        heard: list[bytes | dict[str, object]] = []
        async with running(load=stuck, engine_config=engine) as server, trio.open_nursery() as nursery:

            async def listen() -> None:
                heard.extend(await in_thread(talk, server.url(), HELLO))

            nursery.start_soon(listen)
            await until(lambda: not server.listener.readiness().is_ready)
            answer = await server.get("/readyz")
            assert (answer.status_code, answer.json()["state"]) == (503, "stalled")
            assert (await in_thread(status_of_handshake, server.url()))[0] == 503
            assert (await server.get("/healthz")).status_code == 200
            stuck.go_on.set()
        assert ends_of(heard) == {("r1", "done"): 1}


# Of the process.


def process(model: str, logs: Path, **settings: str) -> AbstractContextManager[Process]:
    return process_running(logs, "tests.support.tones", *([model] if model else []), **settings)


def logged(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


class TestProcess:
    @pytest.mark.parametrize(
        ("fault", "event", "kind"),
        [
            ("stuck", "inference_stuck", "vocode"),
            ("unread", "inference_stuck", "g2p"),
            ("lost", "inference_broken", "vocode"),
        ],
    )
    def test_broken_engine_ends_the_process_for_its_supervisor(
        self, tmp_path: Path, fault: str, event: str, kind: str
    ) -> None:
        with process(fault, tmp_path, WATCHDOG_STALLED="0.2", WATCHDOG_STUCK="0.5") as server:
            assert close_code_after(server.url, lambda client: client.send(json.dumps(HELLO))) == 1011
            assert server.process.wait(30) == EXIT_BROKEN
        last = logged(tmp_path / "server.log")[-1]
        assert (last["event"], last["kind"]) == (event, kind)
        assert [each["end"] for each in logged(tmp_path / "metrics.log")] == ["synthesis_failed"]

    def test_stuck_g2p_does_not_delay_the_exit(self, tmp_path: Path) -> None:
        settings = {"SHUTDOWN_GRACE": "0.2", "TONES_LAST_SENTENCE_S": "0.2"}
        with process("unread", tmp_path, **settings) as server, connect(server.url) as client:
            client.send(json.dumps(HELLO))
            # The answer to this request shows that the first was received.
            client.send(json.dumps(HELLO))
            assert ends_of(hear(client)) == {("r1", "error"): 1}
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0

    def test_dead_inference_thread_ends_the_process(self, tmp_path: Path) -> None:
        with process("dying", tmp_path) as server:
            assert close_code_after(server.url, lambda client: client.send(json.dumps(HELLO))) == 1011
            assert server.process.wait(30) not in (0, None)

    def test_blocked_event_loop_ends_the_process(self, tmp_path: Path) -> None:
        with process("holding", tmp_path, WATCHDOG_STUCK="2") as server:
            with connect(server.url) as client, pytest.raises(websockets.exceptions.ConnectionClosed):
                client.send(json.dumps(HELLO))
                while True:
                    client.recv(timeout=30)
            assert server.process.wait(30) not in (0, None)
        assert "Timeout (0:00:02)!" in (tmp_path / "server.log").read_text()

    def test_full_disk_and_unusable_log_folder_do_not_stop_speech(self, tmp_path: Path) -> None:
        """Neither the log nor the metrics can be written. Clients are served all the same."""
        (tmp_path / "no_folder").write_text("but a file")
        (tmp_path / "server.log").symlink_to("/dev/full")
        # Python buffers standard error unless the environment forbids it.
        with process("", tmp_path, LOG_FOLDER=str(tmp_path / "no_folder"), PYTHONUNBUFFERED="") as server:
            for _ in range(3):
                assert ends_of(talk(server.url, HELLO)) == {("r1", "done"): 1}
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0

    def test_unwritable_metrics_are_logged(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.log").symlink_to("/dev/full")
        with process("", tmp_path) as server:
            assert ends_of(talk(server.url, HELLO)) == {("r1", "done"): 1}
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
        assert "metrics_not_written" in [each["event"] for each in logged(tmp_path / "server.log")]

    def test_api_key_is_not_logged_and_newlines_are_escaped(self, tmp_path: Path) -> None:
        with process("", tmp_path, API_KEY="tell-nobody", LOG_LEVEL="debug") as server:
            url = server.url.replace(f"api_key={KEY}", "api_key=tell-nobody")
            name = 'r\n{"event": "forged"}\u001b[2J'
            assert ends_of(talk(url, HELLO | {"request_id": name})) == {(name, "done"): 1}
            assert status_of_handshake(url.replace("tell", "tall"))[0] == 401
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
        written = (tmp_path / "server.log").read_text() + (tmp_path / "metrics.log").read_text()
        assert "tell-nobody" not in written
        assert "\x1b" not in written
        assert all(json.loads(line).get("event") != "forged" for line in written.splitlines())

    @pytest.mark.parametrize(("host", "n_warnings"), [("0.0.0.0", 1), ("127.0.0.1", 0)])
    def test_default_api_key_is_warned_about_once(self, host: str, n_warnings: int, tmp_path: Path) -> None:
        with process("", tmp_path, API_KEY="dev-key", HOST=host) as server:
            url = server.url.replace(f"api_key={KEY}", "api_key=dev-key")
            assert ends_of(talk(url, HELLO)) == {("r1", "done"): 1}
        warnings = [each for each in logged(tmp_path / "server.log") if each["level"] == "warning"]
        assert [each["event"] for each in warnings] == ["known_api_key"] * n_warnings


# Of the client.


def is_speaking(server: Server) -> bool:
    return server.engine.statistics().active > 0


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


class TestClientThatGoes:
    @pytest.mark.parametrize("leave", [reset, socket.socket.close])
    @pytest.mark.parametrize("n_steps", [0, 1, 2, 3])
    async def test_client_disconnects_in_each_step_of_a_request(
        self, leave: Callable[[socket.socket], None], n_steps: int
    ) -> None:
        """A step takes 0.2 s, so the client leaves during the next one."""
        async with running(load=SlowTones) as server:
            peer = await in_thread(open_raw_websocket, server)
            peer.sendall(masked_text_frame(json.dumps(HELLO | {"text": LONG_TEXT})))
            await until(lambda: is_speaking(server) and server.engine.statistics().steps_run >= n_steps)
            leave(peer)
            await until_idle(server)
            assert [(record.request_id, record.end) for record in server.records] == [("r1", "disconnected")]
            await others_are_served(server)

    @pytest.mark.parametrize("leave", [reset, socket.socket.close])
    async def test_client_disconnects_right_after_a_request(
        self, leave: Callable[[socket.socket], None]
    ) -> None:
        """The server may read the request before it notices the disconnection, or not."""
        async with running(load=SlowTones) as server:
            peer = await in_thread(open_raw_websocket, server)
            peer.sendall(masked_text_frame(json.dumps(HELLO | {"text": LONG_TEXT})))
            leave(peer)
            await until_idle(server)
            assert {(record.request_id, record.end) for record in server.records} <= {("r1", "disconnected")}
            await others_are_served(server)

    @pytest.mark.parametrize("n_bytes", [1, 5, 40])
    async def test_client_disconnects_within_a_frame(self, n_bytes: int) -> None:
        async with running() as server:
            peer = await in_thread(open_raw_websocket, server)
            peer.sendall(masked_text_frame(json.dumps(HELLO))[:n_bytes])
            reset(peer)
            await until_idle(server)
            assert server.records == []
            await others_are_served(server)

    async def test_client_disconnects_between_cancel_and_canceled(self) -> None:
        async with running(load=SlowTones) as server:
            peer = await in_thread(open_raw_websocket, server)
            peer.sendall(masked_text_frame(json.dumps(HELLO | {"text": LONG_TEXT})))
            await until(lambda: is_speaking(server))
            peer.sendall(masked_text_frame(json.dumps({"type": "cancel"})))
            reset(peer)
            await until_idle(server)
            assert [record.request_id for record in server.records] == ["r1"]
            assert server.records[0].end in ("canceled", "disconnected")

    async def test_client_that_reads_a_byte_at_a_time_hits_the_send_timeout(self) -> None:
        """The limit holds for the whole write, although the client reads a little all the time."""

        def sip(peer: socket.socket) -> None:
            with suppress(OSError):
                while peer.recv(1):
                    time.sleep(0.1)

        async with running(stream=evolve(CONFIG.stream, send_timeout_s=0.5)) as server:
            peer = await in_thread(open_raw_websocket, server, 4096)
            peer.sendall(masked_text_frame(json.dumps(HELLO | {"text": LONG_TEXT})))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_thread, sip, peer)
                await others_are_served(server)
                reset(peer)
                nursery.cancel_scope.cancel()
            assert {record.end for record in server.records if record.request_id == "r1"} == {"disconnected"}


# Floods.


class TestFloods:
    async def test_flood_of_cancels_does_not_disturb_another_client(self) -> None:
        n_cancels = 10_000

        def flood(url: str) -> Counter[tuple[str, str]]:
            """Every cancel is answered."""
            with connect(url) as client:
                reader = ThreadPoolExecutor(1).submit(hear, client, n_cancels)
                for _ in range(n_cancels):
                    client.send('{"type":"cancel","request_id":"never asked for"}')
                return ends_of(reader.result())

        answered: list[Counter[tuple[str, str]]] = []
        async with running() as server, trio.open_nursery() as nursery:

            async def one() -> None:
                answered.append(await in_thread(flood, server.url()))

            nursery.start_soon(one)
            for number in range(5):
                heard = await in_thread(talk, server.url(), HELLO | {"request_id": f"r{number}"})
                assert ends_of(heard) == {(f"r{number}", "done"): 1}
            was_over = bool(answered)
        assert not was_over
        assert answered == [{("never asked for", "error"): n_cancels}]

    async def test_flood_of_requests_does_not_disturb_another_client(self) -> None:
        def flood(url: str, queued: threading.Event) -> Counter[tuple[str, str]]:
            with connect(url) as client:
                for number in range(1100):
                    client.send(json.dumps({"type": "speak", "request_id": f"r{number}", "text": "A."}))
                heard = hear(client, 100)
                queued.set()
                return ends_of(heard) + ends_of(hear(client, 1000))

        ends: list[Counter[tuple[str, str]]] = []
        queued = threading.Event()
        coarse = evolve(CONFIG.stream, buffer_bytes=100_000, flush_every=1000)
        async with running(stream=coarse) as server, trio.open_nursery() as nursery:

            async def one() -> None:
                ends.append(await in_thread(flood, server.url(), queued))

            nursery.start_soon(one)
            assert await in_thread(queued.wait, 30)
            n_before = len(server.records)
            heard = await in_thread(talk, server.url(), HELLO | {"request_id": "other"})
            assert ends_of(heard) == {("other", "done"): 1}
            n_meanwhile = len(server.records) - n_before
        assert n_meanwhile < 100
        assert set(ends[0].values()) == {1}
        by_end = Counter(end for _, end in ends[0])
        # Requests over the limit are refused; how many have ended by then depends on the machine.
        assert by_end.total() == 1100
        assert by_end["done"] >= 1000
        assert by_end["error"] >= 1

    async def test_hundred_silent_connections(self) -> None:
        async with running(listen=IMPATIENT) as server:
            silent = [
                await in_thread(socket.create_connection, ("127.0.0.1", server.port)) for _ in range(100)
            ]
            await others_are_served(server)
            for peer in silent:
                with closing(peer):
                    peer.settimeout(10)
                    assert await in_thread(peer.recv, 1) == b""

    async def test_handshake_sent_a_byte_at_a_time_times_out(self) -> None:
        def drip(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
                with suppress(OSError):
                    for byte in b"GET /v1/audio/speech/stream/ws HTTP/1.1\r\nHost: x\r\n" * 20:
                        peer.send(bytes([byte]))
                        time.sleep(0.01)
                with suppress(ConnectionResetError):
                    return peer.recv(1)
                return b""

        async with running(listen=IMPATIENT) as server:
            assert await in_thread(drip, server.port) == b""
            await others_are_served(server)

    async def test_hundreds_of_wrong_api_keys(self) -> None:
        def knock(url: str) -> set[int]:
            return {status_of_handshake(url)[0] for _ in range(150)}

        async with running() as server:
            async with trio.open_nursery() as nursery:
                statuses: list[set[int]] = []

                async def one() -> None:
                    statuses.append(await in_thread(knock, server.url(key="wrong")))

                for _ in range(2):
                    nursery.start_soon(one)
                await others_are_served(server)
            assert statuses == [{401}, {401}]
            assert scraped((await server.get("/metrics")).text)["turned_away_total{status=401}"] == 300


class TestLimits:
    async def test_connection_limit_for_each_key(self) -> None:
        async with running(listen=evolve(CONFIG.listen, max_connections_per_key=1)) as server:
            first = await in_thread(open_raw_websocket, server)
            assert (await in_thread(status_of_handshake, server.url(key="first")))[0] == 503
            assert (await in_thread(status_of_handshake, server.url(key="second")))[0] == 101
            first.close()
            await until_idle(server)
            assert (await in_thread(status_of_handshake, server.url(key="first")))[0] == 101

    async def test_silent_sockets_do_not_lock_out_a_client_with_a_key(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listener_module, "SPARE_SOCKETS", 2)
        listen = evolve(CONFIG.listen, max_connections=1, handshake_timeout_s=600)

        async with running(listen=listen) as server:
            first = await in_thread(socket.create_connection, ("127.0.0.1", server.port))
            await until(lambda: server.listener.n_sockets == 1)
            others = [await in_thread(socket.create_connection, ("127.0.0.1", server.port)) for _ in range(9)]
            assert await in_thread(first.recv, 1) == b"", "the oldest is dropped"
            await others_are_served(server)
            for peer in (first, *others):
                peer.close()

    async def test_sockets_of_clients_with_a_key_are_not_dropped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A socket over the limit is refused, and none of a client with a key is dropped for it."""
        monkeypatch.setattr(listener_module, "SPARE_SOCKETS", 2)

        def keep_alive(port: int) -> socket.socket:
            peer = socket.create_connection(("127.0.0.1", port), timeout=10)
            peer.sendall(b"GET /v1/models?api_key=first HTTP/1.1\r\nHost: x\r\n\r\n")
            assert peer.recv(1024).startswith(b"HTTP/1.1 200")
            return peer

        def knock(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
                return peer.recv(1024)

        async with running(listen=evolve(CONFIG.listen, max_connections=1)) as server:
            known = [await in_thread(keep_alive, server.port) for _ in range(3)]
            assert (await in_thread(knock, server.port)).startswith(b"HTTP/1.1 503 ")
            for peer in known:
                peer.close()
            # The server counts a socket until it notices that the peer is gone.
            await until(lambda: server.listener.n_sockets == 0)
            await others_are_served(server)

    async def test_burst_of_handshakes_stays_within_the_connection_limit(self) -> None:
        """All handshakes arrive before the first is answered."""
        n_handshakes = 30

        def handshake(port: int) -> socket.socket:
            peer = socket.create_connection(("127.0.0.1", port), timeout=10)
            peer.sendall(HANDSHAKE)
            return peer

        async with running(listen=evolve(CONFIG.listen, max_connections_per_key=1)) as server:
            peers = [handshake(server.port) for _ in range(n_handshakes)]
            answers = Counter([(await in_thread(peer.recv, 12)) for peer in peers])
            assert answers == {b"HTTP/1.1 101": 1, b"HTTP/1.1 503": n_handshakes - 1}
            for peer in peers:
                peer.close()
            await until_idle(server)
            await others_are_served(server)

    async def test_http_speech_counts_as_a_connection(self) -> None:
        def ask(port: int, key: str) -> httpx.Response:
            url = f"http://127.0.0.1:{port}/v1/audio/speech"
            return httpx.post(url, json={"input": "Hello."}, headers={"X-API-Key": key}, timeout=10)

        listen = evolve(CONFIG.listen, max_connections_per_key=1)
        async with running(listen=listen) as server:
            with await in_thread(open_raw_websocket, server):
                refused = await in_thread(ask, server.port, "first")
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
                assert refused.headers["Retry-After"]
                assert (await in_thread(ask, server.port, "second")).status_code == 200
            await until_idle(server)
            assert (await in_thread(ask, server.port, "first")).status_code == 200

    async def test_idle_timeout_closes_the_connection(self) -> None:
        async with running(load=SlowTones, listen=evolve(CONFIG.listen, idle_timeout_s=0.5)) as server:
            began_at = trio.current_time()

            def ask(client: ClientConnection) -> None:
                client.send(json.dumps(HELLO))

            assert await in_thread(close_code_after, server.url(), ask) == 1000
            # The utterance ended first, in two steps of 0.2 s.
            assert trio.current_time() - began_at > 0.4 + 0.5
            assert [record.end for record in server.records] == ["done"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (b"\x00\xff", "unexpected_binary"),
            ("[" * 100_000, "bad_json"),
            ('{"type":"speak","text":"Hi.","speed":NaN}', "bad_json"),
            ('{"type":"speak","text":"Hi.","speed":1e999}', "bad_speed"),
            ('{"type":"speak","text":"Hi.","speed":' + "9" * 4000 + "}", "bad_speed"),
            ('{"type":"speak","text":"Hi.","speed":' + "9" * 5000 + "}", "bad_json"),
            ('{"type":"start","sample_rate":' + "9" * 400 + "}", "bad_message"),
            ('{"type":"cancel","played_s":-1e308}', "bad_message"),
            ('{"type":"speak","text":"\\ud800"}', "bad_text"),
            ('{"type":"speak","text":["Hi."]}', "bad_text"),
            ('{"type":{"a":1}}', "unknown_type"),
            ('"speak"', "bad_json"),
            ("", "bad_json"),
        ],
    )
    async def test_malformed_message_does_not_affect_the_session(self, frame: str | bytes, code: str) -> None:
        def say(url: str) -> tuple[dict[str, object], Counter[tuple[str, str]]]:
            with connect(url) as client:
                client.send(frame)
                answer = json.loads(client.recv(timeout=10))
                client.send(json.dumps(HELLO))
                return answer, ends_of(hear(client))

        async with running() as server:
            answer, ends = await in_thread(say, server.url())
            assert (answer["type"], answer["code"]) == ("error", code)
            assert len(json.dumps(answer)) < 1000
            assert ends == {("r1", "done"): 1}

    async def test_message_of_100_megabytes_closes_with_1009(self) -> None:
        def pour(url: str) -> int:
            with (
                connect(url, compression=None) as client,
                pytest.raises(websockets.exceptions.ConnectionClosed),
            ):
                client.send(b"x" * 1_000_000 for _ in range(100))
                client.recv(timeout=10)
            assert client.protocol.close_rcvd is not None
            return client.protocol.close_rcvd.code

        async with running() as server:
            tracemalloc.start()
            try:
                code = await in_thread(pour, server.url())
                peak_bytes = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert code == 1009
            assert peak_bytes < 30_000_000
            await others_are_served(server)

    async def test_closing_bytes_are_sent_when_the_session_ends_first(self) -> None:
        """The task that would send them and close the stream is cancelled before."""
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.settimeout(5)
            stream = DeadlineStream(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), b"", 1.0)
            stream.closing_bytes = lambda: b"farewell"
            with trio.CancelScope() as session:
                session.cancel()
                await stream.aclose()
            assert (theirs.recv(100), theirs.recv(100)) == (b"farewell", b"")

    @pytest.mark.parametrize(
        ("frame", "code"), [(b"\x81\x82\0\0\0\0\xff\xfe", 1007), (b"\x83\x80\0\0\0\0", 1002)]
    )
    async def test_malformed_frame_closes_with_its_code(self, frame: bytes, code: int) -> None:
        """Text that is not UTF-8, and an undefined opcode."""

        def say(server: Server) -> bytes:
            with open_raw_websocket(server) as peer:
                peer.settimeout(10)
                peer.sendall(frame)
                heard = b""
                while data := peer.recv(1024):
                    heard += data
                return heard

        async with running() as server:
            assert await in_thread(say, server) == b"\x88\x02" + code.to_bytes(2, "big")
            await until_idle(server)
