"""End to end: `POST /v1/audio/speech` on real sockets, tones instead of the model."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, NoReturn

import httpx
import numpy as np
import pytest
import trio
from attrs import evolve

from kokoro_trio.audio.files import CONTENT_TYPES
from kokoro_trio.audio.pcm import from_pcm16
from kokoro_trio.config import EngineConfig
from kokoro_trio.errors import InferenceBroken
from kokoro_trio.model.synthesizer import ToneSynthesizer
from kokoro_trio.server.openai import MODELS
from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples, Window
from tests.support.http_speech import HELLO, KEY, PATH, is_idle, post, url
from tests.support.models import SlowTones, StumblingSynthesizer
from tests.support.scraping import scraped
from tests.support.servers import CONFIG, IMPATIENT, Server, fill_all_slots, in_thread, listen, running, until
from tests.support.sessions import KOKORO
from tests.support.sounds import MOST_ADDED_S, best_likeness, samples_in

LONG = HELLO | {"input": "On and on it goes. " * 50}
MANY_WORDS = "a a a a a a a a a a. " * 110
"""1100 characters; a WebSocket of these servers may have 1000."""


@contextmanager
def streamed(base: str, **fields: object) -> Iterator[httpx.Response]:
    with httpx.stream("POST", base + PATH, json=HELLO | fields, headers=KEY, timeout=60) as response:
        yield response


def events_in(body: str) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix("data: ")) for event in body.split("\n\n") if event]


class TestSpeaking:
    async def test_every_format_decodes_to_the_same_audio(self) -> None:
        async with running(voices=KOKORO) as server:
            said = from_pcm16((await post(server)).content).astype(np.float32)
            answers = {name: await post(server, response_format=name) for name in CONTENT_TYPES}
        assert len(said) > 0.5 * SAMPLE_RATE_HZ
        for name, answer in answers.items():
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, CONTENT_TYPES[name])
            assert answer.headers["Transfer-Encoding"] == "chunked"
            heard = samples_in(answer.content, name)
            assert -0.001 <= (len(heard) - len(said)) / SAMPLE_RATE_HZ <= MOST_ADDED_S
            assert best_likeness(heard, said) > 0.98

    async def test_default_format_is_mp3(self) -> None:
        async with running(voices=KOKORO) as server:
            answer = await post(server, response_format=None)
        assert answer.headers["Content-Type"] == "audio/mpeg"

    @pytest.mark.parametrize("name", list(CONTENT_TYPES))
    async def test_first_audio_is_sent_before_the_last_is_synthesised(self, name: str) -> None:
        """A window has a second of audio and takes 0.2 s."""

        def arrivals(base: str) -> list[float]:
            with streamed(base, input=f"{'a' * 100}. Over.", response_format=name) as response:
                return [time.monotonic() for _ in response.iter_raw()]

        async with running(voices=KOKORO, load=SlowTones) as server:
            came_at = await in_thread(arrivals, url(server))
        assert came_at[-1] - came_at[0] > 5 * 0.2

    async def test_sse_events_contain_the_same_audio(self) -> None:
        async with running(voices=KOKORO) as server:
            plain = await post(server)
            answer = await post(server, stream_format="sse")
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        *deltas, done = events_in(answer.text)
        assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
        assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == plain.content
        assert done["type"] == "speech.audio.done"

    async def test_text_longer_than_the_websocket_limit(self) -> None:
        async with running(voices=KOKORO) as server:
            answer = await post(server, input=MANY_WORDS)
            over = await post(server, input="a " * 2049)
        # A letter and a space take 150 ms.
        assert len(answer.content) / 2 / SAMPLE_RATE_HZ > 1100 * 0.15
        assert (over.status_code, over.json()["error"]["code"]) == (400, "too_long")

    async def test_several_requests_on_one_connection(self) -> None:
        def converse(base: str) -> list[int]:
            with httpx.Client(base_url=base, headers=KEY, timeout=10) as client:
                posts = [client.post(PATH, json=HELLO | {"voice": voice}) for voice in ("nova", "?", "echo")]
                answers = [*posts, client.get("/v1/models")]
                streams = {id(answer.extensions["network_stream"]) for answer in answers}
                assert len(streams) == 1
                return [answer.status_code for answer in answers]

        async with running(voices=KOKORO) as server:
            assert await in_thread(converse, url(server)) == [200, 400, 200, 200]

    async def test_requests_are_served_concurrently(self) -> None:
        async with running(voices=KOKORO) as server:
            answers: list[httpx.Response] = []

            async def one() -> None:
                answers.append(await post(server))

            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(one)
            assert {answer.status_code for answer in answers} == {200}
            assert len({answer.content for answer in answers}) == 1
            assert len({answer.headers["X-Request-Id"] for answer in answers}) == 8

    async def test_requests_of_one_key_count_as_one_session_and_may_use_all_slots(self) -> None:
        may_leave = threading.Event()

        def post_and_stay(base: str, key: str) -> None:
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.stream("POST", base + PATH, json=LONG, headers=headers, timeout=20):
                assert may_leave.wait(20)

        async with running(voices=KOKORO, load=SlowTones) as server, trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(in_thread, post_and_stay, url(server), "first")
            await until(lambda: server.engine.statistics().waiting == 2)
            assert server.engine.statistics().sessions == 1
            nursery.start_soon(in_thread, post_and_stay, url(server), "second")
            await until(lambda: server.engine.statistics().sessions == 2)
            assert server.engine.statistics().active == 4
            may_leave.set()

    async def test_request_is_recorded_and_counted(self) -> None:
        async with running(voices=KOKORO) as server:
            answer = await post(server, response_format="mp3")
            await post(server, input="...")
            metrics = scraped((await server.get("/metrics")).text)
            (record, mute) = server.records
        assert record.request_id == answer.headers["X-Request-Id"]
        assert (record.voice, record.end, record.canceled) == ("af_alloy", "done", False)
        heard_s = len(samples_in(answer.content, "mp3")) / SAMPLE_RATE_HZ
        assert heard_s - MOST_ADDED_S <= record.audio_s <= heard_s
        assert record.ttfb_ms is not None
        assert record.ttfa_ms is not None
        assert 0 < record.ttfb_ms < record.ttfa_ms
        assert record.queue_ms is not None
        assert (mute.end, mute.audio_s, mute.ttfb_ms) == ("unpronounceable", 0, None)
        assert metrics["requests_total{end=done}"] == metrics["requests_total{end=unpronounceable}"] == 1
        assert metrics["audio_seconds_total"] == pytest.approx(record.audio_s)


class TestOrigins:
    APP = "https://app.example"

    async def ask(self, server: Server, method: str = "POST", **headers: str) -> httpx.Response:
        return await in_thread(httpx.request, method, url(server) + PATH, json=HELLO, headers=headers)

    async def test_allowed_page_may_read_audio_and_errors(self) -> None:
        listen = evolve(CONFIG.listen, allowed_origins=(self.APP,))
        async with running(voices=KOKORO, listen=listen) as server:
            spoken = await self.ask(server, **KEY, Origin=self.APP)
            no_key = await self.ask(server, Origin=self.APP)
        assert (spoken.status_code, no_key.status_code) == (200, 401)
        for answer in (spoken, no_key):
            assert answer.headers["Access-Control-Allow-Origin"] == self.APP
            assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]

    async def test_preflight_without_a_key(self) -> None:
        listen = evolve(CONFIG.listen, allowed_origins=(self.APP,))
        preflight = {"Origin": self.APP, "Access-Control-Request-Method": "POST"}
        async with running(voices=KOKORO, listen=listen) as server:
            answer = await self.ask(server, "OPTIONS", **preflight)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == self.APP

    async def test_plain_text_post_of_a_foreign_page_gets_403(self) -> None:
        """It needs no preflight, and without an API key it needs no header."""
        async with running(voices=KOKORO, listen=evolve(CONFIG.listen, api_keys=())) as server:
            answer = await self.ask(server, **{"Origin": self.APP, "Content-Type": "text/plain"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
            assert server.engine.statistics().steps_run == 0
            assert (await self.ask(server, Origin=url(server))).status_code == 200


class TestErrors:
    @pytest.mark.parametrize(
        ("fields", "status", "code", "param"),
        [
            ({"voice": "aloy"}, 400, "unknown_voice", "voice"),
            ({"input": ""}, 400, "empty_text", "input"),
            ({"speed": 4}, 400, "bad_speed", "speed"),
            # Known only after grapheme-to-phoneme.
            ({"input": "..."}, 400, "unpronounceable", "input"),
            ({"input": "...", "stream_format": "sse"}, 400, "unpronounceable", "input"),
            ({"input": "x."}, 500, "synthesis_failed", None),
            ({"input": "x.", "stream_format": "sse"}, 500, "synthesis_failed", None),
        ],
    )
    async def test_error_before_the_first_audio_has_a_status(
        self, fields: dict[str, object], status: int, code: str, param: str | None
    ) -> None:
        async with running(voices=KOKORO, load=StumblingSynthesizer) as server:
            answer = await post(server, **fields)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/json"
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["code"], error["param"]) == (code, param)

    async def test_error_after_the_first_audio_aborts_the_transfer(self) -> None:
        def listen(base: str, **fields: object) -> bytes:
            body = b""
            with streamed(base, input="Hello there. x.", **fields) as response:
                assert response.status_code == 200
                with pytest.raises(httpx.RemoteProtocolError):
                    for data in response.iter_raw():
                        body += data
            return body

        async with running(voices=KOKORO, load=StumblingSynthesizer) as server:
            whole = await post(server)
            audio = await in_thread(listen, url(server))
            events = events_in((await in_thread(listen, url(server), stream_format="sse")).decode())
            assert is_idle(server)
            ends = [record.end for record in server.records]
        assert whole.content.startswith(audio)
        assert len(audio) > 0.9 * len(whole.content)
        assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "error"]
        assert events[-1]["error"]["code"] == "synthesis_failed"
        assert ends == ["done", "synthesis_failed", "synthesis_failed"]

    @pytest.mark.parametrize("key", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic first"}])
    @pytest.mark.parametrize(("method", "path"), [("POST", PATH), ("GET", "/v1/models"), ("GET", PATH)])
    async def test_wrong_or_missing_key_gets_401(self, method: str, path: str, key: dict[str, str]) -> None:
        async with running(voices=KOKORO) as server:
            answer = await in_thread(httpx.request, method, url(server) + path, headers=key)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["code"] == "invalid_api_key"

    @pytest.mark.parametrize("key", [{"Authorization": "Bearer second"}, {"X-API-Key": "first"}])
    async def test_each_key_is_accepted_in_each_header(self, key: dict[str, str]) -> None:
        async with running(voices=KOKORO) as server:
            answer = await in_thread(httpx.post, url(server) + PATH, json=HELLO, headers=key)
        assert answer.status_code == 200

    async def test_other_method_gets_405(self) -> None:
        async with running(voices=KOKORO) as server:
            answer = await in_thread(httpx.get, url(server) + PATH, headers=KEY)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")

    async def test_too_large_body_gets_413(self) -> None:
        listen = evolve(CONFIG.listen, max_message_bytes=10_000)
        async with running(voices=KOKORO, listen=listen) as server:
            answer = await post(server, instructions="x" * 3_000_000)
            assert (await post(server)).status_code == 200
        assert answer.status_code == 413

    async def test_body_timeout_gets_408(self) -> None:
        def wait(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
                head = f"POST {PATH}?api_key=first HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"
                peer.sendall(head.encode() + b'{"input": ')
                return peer.recv(1024)

        async with running(voices=KOKORO, listen=IMPATIENT) as server:
            assert (await in_thread(wait, server.port)).startswith(b"HTTP/1.1 408")

    async def test_loading_server_gets_503(self) -> None:
        async with running(ready=False) as server:
            answer = await post(server)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["Retry-After"]

    async def test_full_queue_gets_503(self) -> None:
        """Four requests have a slot, and eight may wait."""
        async with running(voices=KOKORO, load=SlowTones) as server, trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(listen, server, number)
            await until(lambda: server.engine.is_full)
            answer = await post(server)
            nursery.cancel_scope.cancel()
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
        assert answer.headers["Retry-After"]
        assert server.records == []

    async def test_stuck_model_gets_503(self) -> None:
        class Stuck(ToneSynthesizer):
            go_on: ClassVar[threading.Event] = threading.Event()

            def vocode(self, windows: Sequence[Window]) -> list[Samples]:
                assert self.go_on.wait(20)
                return super().vocode(windows)

        stalled = EngineConfig(4, 8, stalled_after_s=0.1, stuck_after_s=60)
        answers: list[httpx.Response] = []
        async with running(voices=KOKORO, load=Stuck, engine_config=stalled) as server:
            async with trio.open_nursery() as nursery:

                async def speak() -> None:
                    answers.append(await post(server))

                nursery.start_soon(speak)
                await until(lambda: server.listener.readiness().state == "stalled")
                refused = await post(server)
                Stuck.go_on.set()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"]
        assert [answer.status_code for answer in answers] == [200]

    async def test_errors_are_counted(self) -> None:
        async with running(voices=KOKORO) as server:
            await post(server, voice="aloy")
            await post(server, input="...")
            metrics = scraped((await server.get("/metrics")).text)
        counted = {series: value for series, value in metrics.items() if "refused" in series and value}
        assert counted == {"refused_total{code=unknown_voice}": 1, "http_refused_total{status=400}": 2}
        assert metrics["requests_total{end=unpronounceable}"] == 1

    async def test_internal_fault_fails_one_request_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(audio_format: str, config: object) -> None:
            raise RuntimeError("no such encoder in this build")

        async with running(voices=KOKORO) as server:
            with monkeypatch.context() as patched:
                patched.setattr("kokoro_trio.server.http_speech.file_encoder_for", broken)
                answer = await post(server)
            assert is_idle(server)
            assert (await post(server)).status_code == 200
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "synthesis_failed")
        assert "encoder" not in answer.text


class TestModels:
    async def test_models_are_listed_and_found(self) -> None:
        async with running() as server:
            listed = (await server.get("/v1/models", **KEY)).json()["data"]
            each = [(await server.get(f"/v1/models/{name}", **KEY)).json() for name in MODELS]
            unknown = await server.get("/v1/models/whisper-1", **KEY)
        assert [model["id"] for model in listed] == list(MODELS)
        assert each == listed
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")

    async def test_unknown_address_gets_404(self) -> None:
        async with running() as server:
            answer = await server.get("/v1/audio/transcriptions", **KEY)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


class TestLeaving:
    @pytest.mark.parametrize("name", list(CONTENT_TYPES))
    async def test_client_leaves_during_speech(self, name: str) -> None:
        def leave(base: str) -> None:
            with streamed(base, **LONG | {"response_format": name}) as response:
                next(response.iter_raw())

        async with running(voices=KOKORO, load=SlowTones) as server:
            await in_thread(leave, url(server))
            await until(lambda: is_idle(server) and bool(server.records))
            (record,) = server.records
            n_steps = server.engine.statistics().steps_run
            await trio.sleep(0.5)
            # At most the step that ran when the client left.
            assert server.engine.statistics().steps_run <= n_steps + 1
        assert record.end == "disconnected"
        assert 0 < record.audio_s < 5

    async def test_client_leaves_before_the_first_audio(self) -> None:
        def leave(base: str) -> None:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(base + PATH, json=LONG, headers=KEY, timeout=0.1)

        async with running(voices=KOKORO, load=SlowTones) as server:
            await in_thread(leave, url(server))
            await until(lambda: is_idle(server))
        assert [(record.end, record.audio_s) for record in server.records] == [("disconnected", 0)]

    async def test_client_leaves_while_it_waits_for_a_slot(self) -> None:
        def leave(base: str) -> None:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(base + PATH, json=HELLO, headers=KEY, timeout=0.1)

        async with running(voices=KOKORO, load=SlowTones) as server, trio.open_nursery() as nursery:
            await fill_all_slots(server, nursery)
            await in_thread(leave, url(server))
            await until(lambda: server.engine.statistics().waiting == 0)
            nursery.cancel_scope.cancel()
        assert [(record.end, record.queue_ms) for record in server.records] == [("disconnected", None)]


async def test_fault_of_an_encoder_is_recorded_as_synthesis_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_fault(*arguments: object) -> NoReturn:
        raise ValueError("the encoder has a hole")

    monkeypatch.setattr("kokoro_trio.server.http_speech.file_encoder_for", raise_fault)
    async with running(voices=KOKORO) as server:
        answer = await post(server)
    assert answer.status_code == 500
    assert [record.end for record in server.records] == ["synthesis_failed"]


async def test_fault_of_the_engine_is_recorded_as_synthesis_failed() -> None:
    class Lost(StumblingSynthesizer):
        def is_broken(self) -> bool:
            return True

    with pytest.RaisesGroup(InferenceBroken, flatten_subgroups=True):
        async with running(voices=KOKORO, load=Lost) as server:
            await post(server, input="x.")
    assert [record.end for record in server.records] == ["synthesis_failed"]


class TestSlowClients:
    """The audio is larger than the kernel's buffers."""

    @staticmethod
    def open_deaf(server: Server) -> socket.socket:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", server.port))
        body = json.dumps(HELLO | {"input": MANY_WORDS}).encode()
        head = f"POST {PATH}?api_key=first HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.sendall(head.encode() + body)
        return peer

    @staticmethod
    def is_held(server: Server) -> bool:
        """The engine is far ahead of the client and makes nothing more."""
        statistics = server.engine.statistics()
        return statistics.steps_run > 5 and statistics.in_step == 0

    async def test_client_that_pauses_longer_than_a_websocket_may_gets_everything(self) -> None:
        def pause(server: Server) -> int:
            with self.open_deaf(server) as peer:
                received = peer.recv(4096)
                time.sleep(1.0)
                while not received.endswith(b"\r\n0\r\n\r\n"):
                    received += peer.recv(65_536)
                return len(received)

        async with running(voices=KOKORO, stream=evolve(CONFIG.stream, send_timeout_s=0.2)) as server:
            n_bytes = await in_thread(pause, server)
        assert n_bytes > 1100 * 0.15 * SAMPLE_RATE_HZ * 2
        assert [record.end for record in server.records] == ["done"]

    async def test_client_that_never_reads_is_dropped(self) -> None:
        async with running(voices=KOKORO, listen=evolve(CONFIG.listen, http_send_timeout_s=0.3)) as server:
            with self.open_deaf(server):
                await until(lambda: bool(server.records))
                assert is_idle(server)
        assert [record.end for record in server.records] == ["disconnected"]

    async def test_client_that_never_reads_does_not_delay_the_shutdown(self) -> None:
        with ExitStack() as until_the_end:
            async with running(voices=KOKORO) as server:
                until_the_end.enter_context(self.open_deaf(server))
                await until(lambda: self.is_held(server))
                await trio.sleep(0.2)
                server.scope.cancel()
                stopped_at = trio.current_time()
            # A send may take this long.
            assert trio.current_time() - stopped_at < CONFIG.listen.http_send_timeout_s
        assert [record.end for record in server.records] == ["disconnected"]


class TestDraining:
    async def test_speech_in_progress_finishes_and_new_requests_are_refused(self) -> None:
        answers: list[httpx.Response] = []
        async with running(voices=KOKORO, load=SlowTones) as server, trio.open_nursery() as nursery:

            async def speak() -> None:
                answers.append(await post(server, input="Hello there. Good bye."))

            nursery.start_soon(speak)
            await until(lambda: server.engine.statistics().active == 1)
            async with trio.open_nursery() as draining:
                draining.start_soon(server.listener.drain, 20)
                await until(lambda: server.listener.readiness().state == "draining")
                refused = await post(server)
            # The draining ends after the audio.
            assert [record.end for record in server.records] == ["done"]
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"]
        assert answers[0].status_code == 200
        assert len(answers[0].content) > SAMPLE_RATE_HZ

    async def test_speech_is_aborted_after_the_grace_period(self) -> None:
        broken = threading.Event()

        def listen(base: str) -> None:
            with streamed(base, **LONG) as response, pytest.raises(httpx.RemoteProtocolError):
                for _ in response.iter_raw():
                    pass
            broken.set()

        async with trio.open_nursery() as nursery:
            async with running(voices=KOKORO, load=SlowTones) as server:
                nursery.start_soon(in_thread, listen, url(server))
                await until(lambda: server.engine.statistics().active == 1)
                await server.listener.drain(grace_s=1)
                server.scope.cancel()
            assert await in_thread(broken.wait, 10)
        assert [record.end for record in server.records] == ["disconnected"]
