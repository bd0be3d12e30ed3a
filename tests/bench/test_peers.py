"""End to end: peers with OpenAI's interface and in processes of their own, beside our own server."""

import json
import sys
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest

from bench.load import CONNECTION_LOST, Failed, Spoken
from bench.peers import comparison
from bench.peers.comparison import PeerFailed, measure
from bench.peers.openai import OpenAiServer, base_url
from bench.peers.process import (
    PROCESS_ENDED,
    NotEnglish,
    PeerMissing,
    ProcessEnded,
    ProcessPeer,
    command_of,
)
from tests.support.benches import http_server, options
from tests.support.environment import TEST_WEIGHTS
from tests.support.servers import running

QUARTER = np.zeros(6000, "<i2").tobytes()
HALF = np.full(12_000, 9000, "<i2").tobytes()
FAKE = """
import json, sys
print(json.dumps({"name": "fake 1.0"}), flush=True)
for line in sys.stdin:
    if json.loads(line) == "Crash.":
        sys.exit(3)
    print(json.dumps({"n_samples": 24000, "silence_s": 0.25}), flush=True)
"""


def stream(request: BaseHTTPRequestHandler, *pieces: bytes, announced: int | None = None) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(announced or sum(map(len, pieces))))
    request.end_headers()
    for piece in pieces:
        request.wfile.write(piece)


async def ask(answer: Callable[[BaseHTTPRequestHandler], None]) -> Spoken | Failed:
    with http_server(answer) as port:
        return await OpenAiServer(base_url(f"http://127.0.0.1:{port}"), "k", "m", "v").speak("Hello.")


class TestOpenAiServer:
    async def test_ttfa_is_the_first_audible_sample(self) -> None:
        requests: list[tuple[str, str, dict[str, object]]] = []

        def answer(request: BaseHTTPRequestHandler) -> None:
            body = request.rfile.read(int(request.headers["Content-Length"]))
            requests.append((request.path, request.headers["Authorization"], json.loads(body)))
            # The pieces split a sample.
            stream(request, QUARTER + HALF[:1], HALF[1:])

        heard = await ask(answer)
        assert isinstance(heard, Spoken)
        assert heard.timing.audio_s == 0.75
        assert heard.timing.ttfb_s is not None
        assert heard.timing.ttfa_s == pytest.approx(heard.timing.ttfb_s + 0.25)
        [(path, authorization, body)] = requests
        assert (path, authorization) == ("/v1/audio/speech", "Bearer k")
        assert body["response_format"] == "pcm"
        assert (body["model"], body["voice"], body["input"]) == ("m", "v", "Hello.")

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (lambda request: request.send_error(401), "http_401"),
            (lambda request: stream(request, QUARTER, announced=50_000), CONNECTION_LOST),
            (stream, "no_audio"),
        ],
        ids=["wrong key", "connection lost", "no audio"],
    )
    async def test_failures(self, answer: Callable[[BaseHTTPRequestHandler], None], code: str) -> None:
        assert await ask(answer) == Failed(code)


class TestProcessPeer:
    async def test_first_audio_of_a_whole_sentence_is_all_of_it(self) -> None:
        async with ProcessPeer.started("fake", [sys.executable, "-c", FAKE]) as peer:
            assert peer.name == "fake 1.0"
            heard = await peer.speak("Hello.")
            assert isinstance(heard, Spoken)
            timing = heard.timing
            assert (timing.audio_s, timing.ttfb_s) == (1.0, timing.wall_s)
            assert timing.ttfa_s == pytest.approx(timing.wall_s + 0.25)
            assert [await peer.speak(text) for text in ("Crash.", "Hello.")] == [Failed(PROCESS_ENDED)] * 2

    async def test_process_that_does_not_start(self) -> None:
        with pytest.raises(ProcessEnded, match="fake ended with status 3"):
            async with ProcessPeer.started("fake", [sys.executable, "-c", "raise SystemExit(3)"]):
                pass

    def test_voice_that_is_not_english(self) -> None:
        with pytest.raises(NotEnglish, match="ff_siwis is not English"):
            command_of("kpipeline", options(1), "ff_siwis", "cpu")

    def test_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(PeerMissing, match=r"setup\.sh --peers"):
            command_of("kokoro-onnx", options(1), "af_heart", "cpu")

    @pytest.mark.model
    async def test_kpipeline_speaks_without_downloads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KOKORO_WEIGHTS", str(TEST_WEIGHTS))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        command = command_of("kpipeline", options(1), "bm_george", "cpu")
        async with ProcessPeer.started("kpipeline", command) as peer:
            heard = await peer.speak("The tea is ready, if you are.")
        assert isinstance(heard, Spoken)
        timing = heard.timing
        assert 1 < timing.audio_s < 4
        assert timing.ttfb_s is not None
        assert timing.ttfa_s is not None
        assert 0.1 < timing.ttfa_s - timing.ttfb_s < 0.6


class TestComparison:
    async def test_all_sides_speak_the_same_sentences(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = [sys.executable, "-c", FAKE]
        monkeypatch.setattr(comparison, "command_of", lambda name, options, voice, device: fake)
        async with running() as server:
            peers = [
                "--openai",
                f"http://127.0.0.1:{server.port}",
                "--openai-key",
                "first",
                "--peer",
                "kpipeline",
            ]
            asked = options(server.port, "--api-key", "first", "--n", "3", "--concurrency", "2", *peers)
            result = await measure(asked, ["One."])
            # By WebSocket and over HTTP, each with one sentence in the warm-up.
            assert [record.voice for record in server.records] == [result.voice] * 2 * (1 + 3)
        names = ["kokoro_trio", f"127.0.0.1:{server.port}", "fake 1.0"]
        assert [side.name for side in result.sides] == names
        assert [side.summary.n for side in result.sides] == [3, 3, 3]
        assert not result.has_failed
        ours, *others = [side.ttfa_ratio for side in result.sides]
        assert ours is None
        assert all(ratio is not None and ratio.p50 > 0 for ratio in others)

    async def test_peer_that_fails_in_the_warm_up(self) -> None:
        async with running() as server:
            refuse = partial(BaseHTTPRequestHandler.send_error, code=503)
            with http_server(lambda request: refuse(request)) as port:
                peer = ["--openai", f"http://127.0.0.1:{port}/v1/"]
                with pytest.raises(PeerFailed, match="failed in the warm-up: http_503"):
                    await measure(options(server.port, "--api-key", "first", *peer), ["One."])
