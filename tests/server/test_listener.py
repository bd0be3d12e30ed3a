"""End to end: real sockets, third-party clients, tones instead of the model."""

import json
import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, cast

import httpx
import pytest
import structlog
import trio
import trio.testing
import websockets.exceptions
from attrs import evolve
from websockets.sync.client import ClientConnection, connect

from kokoro_trio.engine.engine import EngineStatistics
from kokoro_trio.errors import AddressUnavailable
from kokoro_trio.model.custom_voices import CustomVoices
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.dialects import TOGETHER_PATH
from kokoro_trio.text.reading import Sentence
from kokoro_trio.wire.messages import WEBSOCKET_PATH
from tests.support.clients import (
    HELLO,
    close_code_after,
    ends_of,
    hear,
    masked_text_frame,
    open_raw_websocket,
    status_of_handshake,
    talk,
)
from tests.support.models import SlowTones, Speller
from tests.support.scraping import scraped
from tests.support.servers import CONFIG, IMPATIENT, Server, in_thread, running, until, until_all_are_gone

SILENCE_AT_ENDS_S = 1.0


class TestHttp:
    async def test_healthz_and_readyz(self) -> None:
        async with running() as server:
            assert (await server.get("/healthz")).status_code == 200
            ready = await server.get("/readyz")
            assert ready.status_code == 200
            assert ready.json()["device"] == "cpu"
            assert ready.json()["voices"] == 3
            assert ready.json()["max_concurrent_jobs"] == 4

    async def test_loading_server_is_not_ready(self) -> None:
        async with running(ready=False) as server:
            assert (await server.get("/healthz")).status_code == 200
            answer = await server.get("/readyz")
            assert (answer.status_code, answer.json()["state"]) == (503, "loading")
            status, retry_after = await in_thread(status_of_handshake, server.url())
            assert status == 503
            assert retry_after is not None

    async def test_unknown_path_gets_404(self) -> None:
        async with running() as server:
            assert (await server.get("/nowhere")).status_code == 404
            assert (await in_thread(status_of_handshake, server.url("/nowhere")))[0] == 404

    async def test_two_requests_on_one_connection(self) -> None:
        def twice(port: int) -> list[int]:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                return [client.get("/healthz").status_code for _ in range(2)]

        async with running() as server:
            assert await in_thread(twice, server.port) == [200, 200]

    @pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"])
    async def test_malformed_requests_are_answered(self, head: bytes) -> None:
        def send(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
                peer.sendall(head)
                return peer.recv(1024)

        async with running() as server:
            assert (await in_thread(send, server.port)).startswith(b"HTTP/1.1 4")

    async def test_silent_connection_is_closed(self) -> None:
        def wait(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
                return peer.recv(1024)

        async with running(listen=IMPATIENT) as server:
            assert await in_thread(wait, server.port) == b""

    async def test_port_in_use(self) -> None:
        async with running() as server:
            taken = evolve(CONFIG.listen, port=server.port)
            with pytest.RaisesGroup(AddressUnavailable):
                async with running(listen=taken, ready=False):
                    pass


class TestMetrics:
    LONG = HELLO | {"request_id": "long", "text": "On and on it goes. " * 50}

    async def scrape(self, server: Server) -> dict[str, float]:
        answer = await server.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return scraped(answer.text)

    async def test_done_canceled_and_failed_requests_are_counted(self) -> None:
        async with running() as server:
            cancel = {"type": "cancel", "request_id": "long"}
            mute = HELLO | {"request_id": "mute", "text": "..."}
            await in_thread(talk, server.url(), HELLO)
            heard = await in_thread(talk, server.url(), self.LONG, cancel, mute, until=2)
            steps_run = server.engine.statistics().steps_run
            values = await self.scrape(server)
        assert ends_of(heard) == {("long", "canceled"): 1, ("mute", "error"): 1}
        ended = {series: value for series, value in values.items() if "requests_total" in series and value}
        assert ended == {
            "requests_total{end=done}": 1,
            "requests_total{end=canceled}": 1,
            "requests_total{end=unpronounceable}": 1,
        }
        for name in ("ttfb", "ttfa", "queue"):
            observed = [record for record in server.records if getattr(record, f"{name}_ms") is not None]
            series = "queue_wait" if name == "queue" else name
            assert values[f"{series}_seconds_count"] == len(observed) >= 1
        assert values["audio_seconds_total"] == pytest.approx(sum(r.audio_s for r in server.records))
        assert values["cancel_ack_seconds_count"] == 1
        assert values["cancel_ack_seconds_sum"] > 0
        n_steps = {kind: values[f"step_seconds_count{{kind={kind}}}"] for kind in ("prosody", "vocode")}
        assert min(n_steps.values()) >= 1
        assert sum(n_steps.values()) >= steps_run
        assert (values["sessions"], values["active"], values["queued"]) == (0, 0, 0)
        assert "slack_min_seconds" not in values

    async def test_cancel_of_several_requests_is_acknowledged_for_each(self) -> None:
        async with running(load=SlowTones) as server:
            several = [self.LONG | {"request_id": f"r{number}"} for number in range(3)]
            await in_thread(talk, server.url(), *several, {"type": "cancel"}, until=3)
            values = await self.scrape(server)
        assert values["cancel_ack_seconds_count"] == 3

    async def test_load_is_reported_while_a_client_listens(self) -> None:
        """Eight utterances, four slots, steps of 0.2 s."""

        def listen(url: str, until_heard: threading.Event, until_scraped: threading.Event) -> None:
            with connect(url, close_timeout=0.2) as client:
                for number in range(8):
                    client.send(json.dumps(self.LONG | {"request_id": f"r{number}"}))
                n_audio = -1  # The primer does not count.
                while n_audio < 1:
                    n_audio += isinstance(client.recv(timeout=10), bytes)
                until_heard.set()
                assert until_scraped.wait(10)

        heard, done = threading.Event(), threading.Event()
        async with running(load=SlowTones) as server, trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, listen, server.url(), heard, done)
            await in_thread(heard.wait, 10)
            busy = await self.scrape(server)
            done.set()
            await until_all_are_gone(server)
            idle = await self.scrape(server)
        assert (busy["connections"], idle["connections"]) == (1, 0)
        assert busy["sessions"] == 1
        assert busy["active"] + busy["queued"] == 8
        assert busy["queued"] >= 4
        assert busy["slack_min_seconds"] == busy["slack_median_seconds"]
        n_vocoded = busy["step_seconds_count{kind=vocode}"]
        assert busy["step_seconds_sum{kind=vocode}"] >= 0.2 * n_vocoded > 0
        assert (idle["sessions"], idle["active"], idle["queued"]) == (0, 0, 0)
        assert "slack_min_seconds" not in idle
        assert idle["requests_total{end=disconnected}"] == 8

    async def test_metrics_are_served_while_the_model_loads(self) -> None:
        async with running(ready=False) as server:
            assert (await self.scrape(server))["requests_total{end=done}"] == 0


class TestApiKeys:
    @pytest.mark.parametrize(
        ("key", "headers", "status"),
        [
            ("first", {}, 101),
            ("second", {}, 101),
            (None, {"X-API-Key": "second"}, 101),
            (None, {"Authorization": "Bearer first"}, 101),
            (None, {"Authorization": "bearer first"}, 101),
            (None, {}, 401),
            ("wrong", {}, 401),
            ("firs", {}, 401),
            (None, {"Authorization": "Basic first"}, 401),
        ],
    )
    async def test_api_key_is_checked(self, key: str | None, headers: dict[str, str], status: int) -> None:
        async with running() as server:
            assert (await in_thread(status_of_handshake, server.url(key=key), **headers))[0] == status

    async def test_no_key_is_required_if_none_is_set(self) -> None:
        async with running(listen=evolve(CONFIG.listen, api_keys=())) as server:
            assert (await in_thread(status_of_handshake, server.url(key=None)))[0] == 101

    async def test_connection_over_the_limit_gets_503(self) -> None:
        async with running(listen=evolve(CONFIG.listen, max_connections=1)) as server:
            first = await in_thread(open_raw_websocket, server)
            assert (await in_thread(status_of_handshake, server.url()))[0] == 503
            first.close()


class TestOrigins:
    APP = "https://app.example"

    @pytest.mark.parametrize("path", [WEBSOCKET_PATH, TOGETHER_PATH])
    async def test_handshake_of_a_foreign_page_gets_403(self, path: str) -> None:
        async with running() as server:
            with structlog.testing.capture_logs() as logged:
                for key in ("first", "wrong"):
                    url = server.url(path, key)
                    assert (await in_thread(status_of_handshake, url, Origin=self.APP))[0] == 403
            metrics = scraped((await server.get("/metrics")).text)
        assert metrics["turned_away_total{status=403}"] == 2
        fields = [(each["event"], each["origin"], each["host"]) for each in logged]
        assert fields == [("foreign_origin", self.APP, f"127.0.0.1:{server.port}")] * 2

    @pytest.mark.parametrize("path", [WEBSOCKET_PATH, TOGETHER_PATH])
    async def test_handshake_of_an_allowed_page(self, path: str) -> None:
        listen = evolve(CONFIG.listen, allowed_origins=(self.APP,))
        async with running(listen=listen) as server:
            for origin in (self.APP, f"http://127.0.0.1:{server.port}"):
                assert (await in_thread(status_of_handshake, server.url(path), Origin=origin))[0] == 101
            assert (await in_thread(status_of_handshake, server.url(path, "wrong"), Origin=origin))[0] == 401

    async def test_voices_of_an_allowed_page(self) -> None:
        listen = evolve(CONFIG.listen, allowed_origins=(self.APP,))
        async with running(listen=listen) as server:
            found = await server.get("/v1/audio/voices?api_key=first", Origin=self.APP)
            refused = await server.get("/v1/audio/voices", Origin=self.APP)
        assert (found.status_code, refused.status_code) == (200, 401)
        for answer in (found, refused):
            assert answer.headers["Access-Control-Allow-Origin"] == self.APP


class TestVoices:
    PATH = "/v1/audio/voices"
    NAMES = ("af_aoede", "am_michael", "bf_emma", "ff_siwis", "jm_kumo")

    def catalogue(self, folder: Path) -> VoiceCatalogue:
        return VoiceCatalogue.of(self.NAMES, female="af_aoede", male="am_michael", custom_folder=folder)

    def file(self, folder: Path, **blends: str) -> None:
        for name, recipe in blends.items():
            CustomVoices(folder, self.NAMES).add(name, recipe, replace=True)

    async def test_voices_are_listed(self, tmp_path: Path) -> None:
        self.file(tmp_path, mine="bf_emma(2)+am_michael", hers="ff_siwis+af_aoede")
        async with running(voices=self.catalogue(tmp_path)) as server:
            answer = await server.get(f"{self.PATH}?api_key=first")
        assert answer.status_code == 200
        assert answer.json() == {
            "voices": [
                {
                    "id": "af_aoede",
                    "name": "af_aoede",
                    "language": "en-us",
                    "gender": "female",
                    "is_blend": False,
                },
                {
                    "id": "am_michael",
                    "name": "am_michael",
                    "language": "en-us",
                    "gender": "male",
                    "is_blend": False,
                },
                {
                    "id": "bf_emma",
                    "name": "bf_emma",
                    "language": "en-gb",
                    "gender": "female",
                    "is_blend": False,
                },
                {
                    "id": "ff_siwis",
                    "name": "ff_siwis",
                    "language": "fr-fr",
                    "gender": "female",
                    "is_blend": False,
                },
                {"id": "jm_kumo", "name": "jm_kumo", "language": "ja", "gender": "male", "is_blend": False},
                {
                    "id": "hers",
                    "name": "hers",
                    "language": "en-us",
                    "gender": "female",
                    "is_blend": True,
                    "recipe": "ff_siwis+af_aoede",
                },
                {
                    "id": "mine",
                    "name": "mine",
                    "language": "en-gb",
                    "gender": None,
                    "is_blend": True,
                    "recipe": "bf_emma(2)+am_michael",
                },
            ]
        }

    @pytest.mark.parametrize(
        ("query", "headers", "status"),
        [
            ("?api_key=second", {}, 200),
            ("", {"X-API-Key": "second"}, 200),
            ("", {"Authorization": "bearer first"}, 200),
            ("", {}, 401),
            ("?api_key=firs", {}, 401),
            ("?api_key=", {"X-API-Key": "f\u00fcrst"}, 401),
            ("", {"Authorization": "Basic first"}, 401),
        ],
    )
    async def test_voices_need_a_key(self, query: str, headers: dict[str, str], status: int) -> None:
        async with running() as server:
            answer = await server.get(self.PATH + query, **headers)
        assert answer.status_code == status
        if status == 401:
            assert answer.json()["error"]["message"] == "the API key is wrong or missing"
            assert answer.headers["WWW-Authenticate"] == "Bearer"

    async def test_loading_server_is_not_ready(self) -> None:
        async with running(ready=False) as server:
            assert (await server.get(self.PATH)).status_code == 401
            answer = await server.get(f"{self.PATH}?api_key=first")
        assert answer.status_code == 503
        assert "loaded" in answer.json()["error"]["message"]
        assert answer.headers["Retry-After"]

    async def test_running_server_finds_changed_voices(self, tmp_path: Path) -> None:
        def converse(url: str) -> list[dict[str, object]]:
            with connect(url) as client:

                def ask(**fields: object) -> dict[str, object]:
                    client.send(json.dumps(HELLO | fields))
                    end = hear(client)[-1]
                    assert isinstance(end, dict)
                    return end

                def start(voice: str) -> dict[str, object]:
                    client.send(json.dumps({"type": "start", "voice": voice}))
                    answer: dict[str, object] = json.loads(client.recv(timeout=10))
                    return answer

                ends = [ask(request_id="before", voice="mine")]
                self.file(tmp_path, mine="af_aoede+bf_emma")
                ends += [ask(request_id="there", voice="mine")]
                self.file(tmp_path, mine="am_michael", other="af_aoede(3)+bf_emma")
                ends += [start("mine"), ask(request_id="changed"), ask(request_id="near", voice="min")]
                CustomVoices(tmp_path, self.NAMES).path.write_text('{"mine": ')
                ends += [ask(request_id="damaged"), ask(request_id="inline", voice="af_aoede+bf_emma(2)")]
                CustomVoices(tmp_path, self.NAMES).path.unlink()
                ends += [ask(request_id="gone")]
                return ends

        async with running(voices=self.catalogue(tmp_path)) as server:
            with structlog.testing.capture_logs() as logged:
                answers = await in_thread(converse, server.url())
        assert [(end.get("request_id"), end.get("code", end["type"])) for end in answers] == [
            ("before", "unknown_voice"),
            ("there", "done"),
            (None, "started"),
            ("changed", "done"),
            ("near", "unknown_voice"),
            ("damaged", "done"),
            ("inline", "done"),
            ("gone", "unknown_voice"),
        ]
        assert answers[2]["voice"] == "mine"
        assert answers[4]["close_matches"] == ["mine"]
        assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["file_damaged"]
        assert [record.voice for record in server.records] == ["mine", "mine", "mine", "af_aoede+bf_emma(2)"]

    async def test_text_is_read_in_the_requested_language(self, tmp_path: Path) -> None:
        class Listening(Speller):
            heard: ClassVar[list[str]] = []

            async def sentences(self, text: str, language: str) -> list[Sentence]:
                self.heard.append(language)
                return await super().sentences(text, language)

        phonemizer = Listening()
        spoken = [
            HELLO | {"request_id": "voice", "voice": "bf_emma"},
            HELLO | {"request_id": "speak", "voice": "bf_emma", "language": "es-MX"},
            {"type": "start", "language": "fr"},
            HELLO | {"request_id": "start", "voice": "bf_emma"},
            HELLO | {"request_id": "both", "language": "EN_us"},
            HELLO | {"request_id": "bad", "language": "de"},
        ]
        async with running(voices=self.catalogue(tmp_path), phonemizer=phonemizer) as server:
            heard = await in_thread(talk, server.url(), *spoken, until=5)
        assert sorted(phonemizer.heard) == ["a", "b", "e", "f"]
        bad = next(each for each in heard if isinstance(each, dict) and each.get("request_id") == "bad")
        assert bad["code"] == "bad_language"
        assert "en-gb" in str(bad["allowed"])


class TestSpeaking:
    async def test_sentence_is_spoken_with_its_messages(self) -> None:
        async with running() as server:
            heard = await in_thread(talk, server.url(), {"type": "start"}, HELLO)
        audio = b"".join(each for each in heard[1:] if isinstance(each, bytes))
        words = [each["type"] for each in heard if isinstance(each, dict) and each["type"] != "meta"]
        assert words == ["started", "started_speak", "done"]
        done = heard[-1]
        assert isinstance(done, dict)
        assert done["duration_s"] == pytest.approx((len(audio) - CONFIG.stream.prime_bytes) / 48_000)
        assert [record.end for record in server.records] == ["done"]

    async def test_many_clients_at_once(self) -> None:
        async with running() as server:
            heard: list[int] = []

            async def one() -> None:
                heard.append(
                    len(await in_thread(talk, server.url(), HELLO, HELLO | {"request_id": "r2"}, until=2))
                )

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(one)
            assert len(heard) == 12
            assert len(server.records) == 24
            assert server.engine.statistics().sessions == 0

    async def test_five_hundred_cancels_leave_the_engine_idle(self) -> None:
        """Eight connections cancel at random moments. Every request ends exactly once."""
        text = "Once more from the beginning, if you please. " * 6

        def interrupt(url: str, seed: int) -> Counter[tuple[str, str]]:
            moments = random.Random(seed)
            ends: Counter[tuple[str, str]] = Counter()
            with connect(url) as client:
                for number in range(63):
                    client.send(json.dumps(HELLO | {"request_id": f"r{number}", "text": text}))
                    time.sleep(moments.uniform(0, 0.04))
                    client.send(json.dumps({"type": "cancel", "request_id": f"r{number}"}))
                    if number % 3 == 0:  # Else the next one is asked for before this one's end is heard.
                        ends += ends_of(hear(client, number + 1 - ends.total()))
                ends += ends_of(hear(client, 63 - ends.total()))
                # All other messages come before the answer to this one.
                client.send(json.dumps({"type": "cancel", "request_id": "never asked for"}))
                ends += ends_of(hear(client))
            return ends

        n_threads = threading.active_count()
        all_ends: list[Counter[tuple[str, str]]] = []
        async with running() as server:

            async def one(seed: int) -> None:
                all_ends.append(await in_thread(interrupt, server.url(), seed))

            async with trio.open_nursery() as nursery:
                for seed in range(8):
                    nursery.start_soon(one, seed)
            statistics = evolve(server.engine.statistics(), steps_run=0)
            assert len(await in_thread(talk, server.url(), HELLO)) > 3
        for ends in all_ends:
            assert ends.pop(("never asked for", "error")) == 1
            assert {request_id for request_id, _ in ends} == {f"r{number}" for number in range(63)}
            assert set(ends.values()) == {1}
        assert Counter(end for ends in all_ends for _, end in ends)["canceled"] > 400
        assert statistics == EngineStatistics(0, 0, 0, 0, 0, 0)
        assert len(server.records) == 8 * 63 + 1
        # Idle worker threads of the test's own clients live for some seconds.
        assert threading.active_count() <= n_threads + 8 + 1

    async def test_words_come_before_their_audio(self) -> None:
        text = "Hello **dear** friend. [pause:0.2s] Good bye!"
        async with running() as server:
            start = {"type": "start", "timestamps": True}
            heard = await in_thread(talk, server.url(), start, HELLO | {"text": text})
        words: list[dict[str, Any]] = []
        n_samples = 0
        for frame in heard[3:]:
            if isinstance(frame, bytes):
                n_samples += len(frame) // 2
                assert n_samples <= 24_000 * words[-1]["end_s"] + 24_000 * SILENCE_AT_ENDS_S
            else:
                words += cast("list[dict[str, Any]]", frame.get("words", []))
        assert [word["text"] for word in words] == ["Hello", "dear", "friend", "Good", "bye"]
        assert [text[w["start_char"] : w["end_char"]] for w in words] == [w["text"] for w in words]

    async def test_canceled_has_text_spoken_and_text_remaining(self) -> None:
        text = "First this sentence is spoken. " * 5

        def interrupt(url: str) -> list[bytes | dict[str, object]]:
            with connect(url) as client:
                client.send(json.dumps(HELLO | {"text": text}))
                n_frames = 0
                while n_frames < 60:
                    n_frames += isinstance(client.recv(timeout=10), bytes)
                client.send(json.dumps({"type": "cancel", "request_id": "r1", "played_s": 1.0}))
                return hear(client)

        async with running() as server:
            canceled = (await in_thread(interrupt, server.url()))[-1]
        assert isinstance(canceled, dict)
        assert f"{canceled['text_spoken']}{canceled['text_remaining']}" == text
        # A letter lasts 75 ms, and 0.25 s of silence precedes the first.
        assert canceled["text_spoken"] == "First this"

    async def test_stop_closes_normally(self) -> None:
        def say(client: ClientConnection) -> None:
            client.send(json.dumps(HELLO))
            client.send('{"type":"stop"}')

        async with running() as server:
            assert await in_thread(close_code_after, server.url(), say) == 1000

    async def test_draining_finishes_the_sentence_and_refuses_new_requests(self) -> None:
        async with running(load=SlowTones) as server:
            heard: list[bytes | dict[str, object]] = []

            async def listen() -> None:
                heard.extend(await in_thread(talk, server.url(), HELLO))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await until(lambda: server.engine.statistics().sessions)
                nursery.start_soon(server.listener.drain, 5)
                await trio.testing.wait_all_tasks_blocked()
                ready = await server.get("/readyz")
                assert (ready.status_code, ready.json()["state"]) == (503, "draining")
                assert (await in_thread(status_of_handshake, server.url()))[0] == 503
        last = heard[-1]
        assert isinstance(last, dict)
        assert last["type"] == "done"

    async def test_draining_closes_idle_sessions_at_once(self) -> None:
        async with running() as server:
            codes: list[int] = []

            async def idle() -> None:
                codes.append(await in_thread(close_code_after, server.url(), lambda client: None))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(idle)
                await until(lambda: server.listener.readiness().connections)
                await server.listener.drain(grace_s=5)
            assert codes == [1012]


class TestBadPeers:
    async def test_message_over_the_limit_closes_with_1009(self) -> None:
        def say(client: ClientConnection) -> None:
            client.send(json.dumps(HELLO | {"text": "x" * 100_000}))

        async with running(listen=evolve(CONFIG.listen, max_message_bytes=10_000)) as server:
            assert await in_thread(close_code_after, server.url(), say) == 1009

    async def test_text_that_is_not_utf8_closes_its_own_connection(self) -> None:
        def say(url: str) -> None:
            with connect(url) as client, pytest.raises(websockets.exceptions.ConnectionClosed):
                client.send(b"\xff\xfe", text=True)
                client.recv(timeout=10)

        async with running() as server:
            await in_thread(say, server.url())
            assert len(await in_thread(talk, server.url(), HELLO)) > 2

    async def test_client_that_never_reads_does_not_disturb_another(self) -> None:
        async with running(stream=evolve(CONFIG.stream, send_timeout_s=0.3)) as server:
            deaf = await in_thread(open_raw_websocket, server)
            long = json.dumps(HELLO | {"text": "A sentence that goes on for quite a while. " * 80})
            for _ in range(4):
                deaf.sendall(masked_text_frame(long.replace("r1", f"r{_}")))
            heard = await in_thread(talk, server.url(), HELLO)
            assert isinstance(heard[-1], dict)
            assert heard[-1]["type"] == "done"
            await until_all_are_gone(server)
            assert server.engine.statistics().sessions == 0
            deaf.close()

    async def test_malformed_handshake_is_answered(self) -> None:
        def send(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
                peer.sendall(b"GET /v1/audio HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
                return peer.recv(1024)

        async with running() as server:
            assert (await in_thread(send, server.port)).startswith(b"HTTP/1.1 4")
            assert len(await in_thread(talk, server.url(), HELLO)) > 2

    async def test_peer_that_answers_no_ping_is_dropped(self) -> None:
        listen = evolve(CONFIG.listen, ping_interval_s=0.05, ping_timeout_s=0.1)
        async with running(listen=listen) as server:
            dead = await in_thread(open_raw_websocket, server)
            await until_all_are_gone(server)
            dead.close()

    async def test_peer_that_resets_during_speech(self) -> None:
        async with running() as server:
            peer = await in_thread(open_raw_websocket, server)
            peer.sendall(masked_text_frame(json.dumps(HELLO | {"text": "On and on it goes. " * 50})))
            await in_thread(peer.recv, 1024)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            peer.close()
            await until_all_are_gone(server)
            assert server.engine.statistics().sessions == 0
            assert [record.end for record in server.records] == ["disconnected"]
