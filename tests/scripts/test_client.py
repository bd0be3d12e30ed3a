"""End to end: scripts/client.py and scripts/warmup.py as processes, against a scripted server."""

import os
import re
import sys
import wave
from pathlib import Path

import av
import pytest
import trio
import trio_websocket
from attrs import frozen

from kokoro_trio.config import REPOSITORY
from tests.support.peers import Peer, serving, serving_requests
from tests.support.processes import free_port
from tests.support.servers import running

TIMING = r"TTFB \d+ ms, TTFA \d+ ms, time [\d.]+ s, audio 0\.04 s, RTF [\d.]+, xRT [\d.]+"


@frozen
class Ran:
    code: int
    out: str
    err: str


async def run(script: str, port: int, *arguments: str, standard_input: bytes = b"") -> Ran:
    """Runs the script in another folder, with the project installed."""
    ran = await trio.run_process(
        [
            sys.executable,
            str(REPOSITORY / "scripts" / script),
            *("--host", "127.0.0.1", "--port", str(port)),
            *arguments,
        ],
        stdin=standard_input,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "LC_ALL": "C"},
    )
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


async def answer_all_texts(peer: Peer) -> None:
    """Answers every text with 40 ms of audio; there is no voice x."""
    while True:
        speak = await peer.hear("speak")
        if speak.get("voice") == "x":
            message = "there is no voice 'x'"
            await peer.say("error", request_id=speak["request_id"], code="unknown_voice", message=message)
        else:
            await peer.speak(speak["request_id"], 0, 1000)


class TestClient:
    async def test_writes_a_wav_file_and_prints_timing(self, tmp_path: Path) -> None:
        out = tmp_path / "x.wav"
        async with serving(answer_all_texts) as port:
            ran = await run("client.py", port, "--text", "Hello.", "--out", str(out))
        assert (ran.code, ran.err) == (0, "")
        assert re.fullmatch(f"{out}: {TIMING}\n", ran.out)
        with wave.open(str(out)) as file:
            assert file.getnframes() == 960

    async def test_reads_standard_input(self) -> None:
        asked: list[dict[str, object]] = []

        async def script(peer: Peer) -> None:
            asked.append(await peer.hear("speak"))
            await peer.speak(asked[-1]["request_id"], 0, 1000)
            await trio.sleep_forever()

        async with serving(script) as port:
            ran = await run(
                "client.py",
                port,
                *("--voice", "male", "--speed", "1.5", "--language", "fr"),
                standard_input="Hé.\n".encode(),
            )
        assert re.fullmatch(f"{TIMING}\n", ran.out)
        assert (asked[0]["text"], asked[0]["voice"], asked[0]["speed"]) == ("Hé.\n", "male", 1.5)
        assert asked[0]["language"] == "fr"

    async def test_words_prints_start_and_end_of_each_word(self) -> None:
        word = {"text": "Hé.", "start_s": 0.1, "end_s": 0.45, "start_char": 0, "end_char": 3}

        async def script(peer: Peer) -> None:
            await peer.hear("start")
            await peer.say("started", voice="v", format="pcm", sample_rate=24000, timestamps=True)
            request_id = (await peer.hear("speak"))["request_id"]
            await peer.say("meta", request_id=request_id, segment=0, total_samples=0, words=[word])
            await peer.speak(request_id, 0, 1000)
            await trio.sleep_forever()

        async with serving(script) as port:
            ran = await run("client.py", port, "--text", "Hé.", "--words")
        assert re.fullmatch(rf"   0\.100    0\.450  Hé\.\n{TIMING}\n", ran.out)

    async def speak_as(self, audio_format: str, out: Path) -> float:
        """Returns the seconds of audio that the server sent."""
        async with running() as server:
            options = ("--api-key", "first", "--text", "Hello there.", "--format", audio_format)
            ran = await run("client.py", server.port, *options, "--out", str(out))
            (record,) = server.records
        assert (ran.code, ran.err) == (0, "")
        return record.audio_s

    async def test_opus_is_saved_as_received(self, tmp_path: Path) -> None:
        out = tmp_path / "x.ogg"
        audio_s = await self.speak_as("opus", out)
        with av.open(str(out)) as file:
            n_samples = sum(frame.samples for frame in file.decode(audio=0))
        assert n_samples / 48_000 == pytest.approx(audio_s, abs=0.021)

    async def test_mulaw_is_saved_as_wav_at_8_khz(self, tmp_path: Path) -> None:
        out = tmp_path / "x.wav"
        audio_s = await self.speak_as("mulaw", out)
        with wave.open(str(out)) as file:
            assert file.getframerate() == 8000
            assert file.getnframes() / 8000 == pytest.approx(audio_s, abs=0.001)

    async def test_ogg_file_needs_format_opus(self) -> None:
        ran = await run("client.py", 1, "--text", "Hello.", "--out", "x.ogg")
        assert ran.code == 2
        assert "--format opus" in ran.err

    async def test_invalid_utf_8_on_standard_input_is_rejected(self) -> None:
        ran = await run("client.py", 1, "--text", "-", standard_input=b"\xff")
        assert_one_line_of_error(ran, "utf-8")

    async def test_connection_refused_is_one_line_of_error(self) -> None:
        port = free_port()
        ran = await run("client.py", port, "--text", "Hello.")
        assert_one_line_of_error(ran, f"127.0.0.1 port {port}")

    async def test_wrong_api_key_is_one_line_of_error(self) -> None:
        async def handle(request: trio_websocket.WebSocketRequest) -> None:
            assert (b"authorization", b"Bearer wrong-key") in request.headers
            await request.reject(401)

        async with serving_requests(handle) as port:
            ran = await run("client.py", port, "--text", "Hello.", "--api-key", "wrong-key")
        assert_one_line_of_error(ran, "the API key is wrong or missing")

    async def test_request_error_leaves_no_file(self, tmp_path: Path) -> None:
        async with serving(answer_all_texts) as port:
            out = tmp_path / "x.wav"
            ran = await run("client.py", port, "--text", "Hello.", "--voice", "x", "--out", str(out))
        assert_one_line_of_error(ran, "unknown_voice: there is no voice 'x'")
        assert not await trio.Path(out).exists()

    async def test_unwritable_file_is_one_line_of_error(self, tmp_path: Path) -> None:
        async with serving(answer_all_texts) as port:
            ran = await run("client.py", port, "--text", "Hello.", "--out", str(tmp_path / "no" / "x.wav"))
        assert_one_line_of_error(ran, "no/x.wav")


class TestWarmup:
    async def test_prints_a_line_and_saves_a_file_for_each_voice(self, tmp_path: Path) -> None:
        async with serving(answer_all_texts) as port:
            ran = await run("warmup.py", port, "--save", "--folder", str(tmp_path / "here"))
        assert (ran.code, ran.err) == (0, "")
        assert re.fullmatch(f"female: {TIMING}\nmale: {TIMING}\n", ran.out)
        files = sorted(file.name for file in (tmp_path / "here").iterdir())
        assert files == ["warmup_female.wav", "warmup_male.wav"]

    async def test_unknown_voice_does_not_stop_the_others(self) -> None:
        async with serving(answer_all_texts) as port:
            ran = await run("warmup.py", port, "--voices", "x,female")
        assert ran.code == 1
        assert ran.err == "x: unknown_voice: there is no voice 'x'\n"
        assert re.fullmatch(f"female: {TIMING}\n", ran.out)

    async def test_connection_refused_is_one_line_of_error(self) -> None:
        port = free_port()
        assert_one_line_of_error(await run("warmup.py", port), f"127.0.0.1 port {port}")


def assert_one_line_of_error(ran: Ran, part: str) -> None:
    assert (ran.code, ran.out) == (1, "")
    assert re.fullmatch(r"error: .*\n", ran.err)
    assert part in ran.err
