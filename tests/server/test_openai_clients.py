"""End to end: OpenAI's client, LiveKit's plugin and curl against a server of tones.

Each runs in its own process, because they use asyncio and have warnings of their own.
"""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from kokoro_trio.audio.files import CONTENT_TYPES
from kokoro_trio.speech import SAMPLE_RATE_HZ
from tests.support.clients import printed_json
from tests.support.http_speech import is_idle, post
from tests.support.models import SlowTones
from tests.support.readme import snippet
from tests.support.servers import in_thread, running, until
from tests.support.sessions import KOKORO
from tests.support.sounds import MOST_ADDED_S, samples_in

FORMATS = list(CONTENT_TYPES)
TEXT = f"{'a' * 60}. Over."
"""Six seconds of tones; a window of one second takes 0.2 s."""
SECONDS_TO_MAKE = 6 * 0.2

SYNC = """
import json, sys, time
from openai import OpenAI

port, text, *formats = sys.argv[1:]
client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="first")
heard = {}
for audio_format in formats:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="coral", input=text, response_format=audio_format
    ) as answer:
        pieces = [(time.monotonic(), piece.hex()) for piece in answer.iter_bytes()]
    heard[audio_format] = {"content_type": answer.headers["content-type"], "pieces": pieces}
print(json.dumps(heard))
"""

ASYNC_EVENTS = """
import asyncio, base64, json, sys, time
from openai import AsyncOpenAI

async def listen(client, text, audio_format):
    pieces, types = [], []
    async with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="ash", input=text, response_format=audio_format,
        instructions="Cheerfully.", stream_format="sse",
    ) as answer:
        async for line in answer.iter_lines():
            if line:
                event = json.loads(line.removeprefix("data: "))
                types.append(event["type"])
                pieces.append((time.monotonic(), base64.b64decode(event.get("audio", "")).hex()))
    return {"content_type": answer.headers["content-type"], "pieces": pieces, "types": types}

async def main(port, text, *formats):
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="first")
    print(json.dumps({each: await listen(client, text, each) for each in formats}))

asyncio.run(main(*sys.argv[1:]))
"""

ERRORS = """
import json, sys
import openai

url = f"http://127.0.0.1:{sys.argv[1]}/v1"
client = openai.OpenAI(base_url=url, api_key="first")
whole = client.audio.speech.create(model="tts-1", voice="nova", input="Hello there.")

def error_of(ask):
    try:
        ask()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.code, error.param]

def speak(client=client, **fields):
    return client.audio.speech.create(**{"model": "tts-1", "voice": "nova", "input": "Hello.", **fields})

print(json.dumps({
    "whole": whole.content.hex(),
    "models": [model.id for model in client.models.list()],
    "model": client.models.retrieve("hexgrad/Kokoro-82M").id,
    "errors": [
        error_of(lambda: speak(voice="novva")),
        error_of(lambda: speak(speed=4.0)),
        error_of(lambda: speak(input="...")),
        error_of(lambda: client.models.retrieve("whisper-1")),
        error_of(lambda: speak(openai.OpenAI(base_url=url, api_key="wrong"))),
    ],
}))
"""

LEAVING = """
import asyncio, sys
from openai import AsyncOpenAI

async def main(port):
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="first")
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="verse", input="On and on it goes. " * 50, response_format="pcm"
    ) as answer:
        async for piece in answer.iter_bytes():
            break
    input()  # Runs until its process ends.

asyncio.run(main(*sys.argv[1:]))
"""

LIVEKIT = """
import asyncio, json, sys, time
from livekit.plugins import openai

async def listen(url, text, options):
    tts = openai.TTS(base_url=url, api_key="first", **options)
    tts.prewarm()
    frames = []
    async with tts.synthesize(text) as speech:
        async for audio in speech:
            assert audio.frame.sample_rate == 24_000
            frames.append((time.monotonic(), audio.frame.samples_per_channel))
    await tts.aclose()
    return frames

async def main(port, text, options):
    url = f"http://127.0.0.1:{port}/v1"
    print(json.dumps([await listen(url, text, each) for each in json.loads(options)]))

asyncio.run(main(*sys.argv[1:]))
"""


class TestOpenAI:
    @pytest.mark.parametrize("program", [SYNC, ASYNC_EVENTS], ids=["audio", "events"])
    async def test_first_audio_arrives_before_the_last_is_synthesised(self, program: str) -> None:
        async with running(voices=KOKORO, load=SlowTones) as server:
            heard = await printed_json(program, server, TEXT, *FORMATS)
        for record, (audio_format, answer) in zip(server.records, heard.items(), strict=True):
            if program is SYNC:
                assert answer["content_type"] == CONTENT_TYPES[audio_format]
            else:
                assert set(answer["types"][:-1]) == {"speech.audio.delta"}
                assert answer["types"][-1] == "speech.audio.done"
            times, pieces = zip(*answer["pieces"], strict=True)
            assert times[-1] - times[0] > SECONDS_TO_MAKE / 2
            n_samples = len(samples_in(b"".join(map(bytes.fromhex, pieces)), audio_format))
            assert record.end == "done"
            assert -0.001 <= n_samples / SAMPLE_RATE_HZ - record.audio_s <= MOST_ADDED_S

    async def test_errors_and_models(self) -> None:
        async with running(voices=KOKORO) as server:
            said = await printed_json(ERRORS, server)
            same = await post(server, voice="nova", response_format="mp3")
        assert bytes.fromhex(said["whole"]) == same.content
        assert "kokoro" in said["models"]
        assert said["model"] == "hexgrad/Kokoro-82M"
        assert said["errors"] == [
            ["BadRequestError", "unknown_voice", "voice"],
            ["BadRequestError", "bad_speed", "speed"],
            ["BadRequestError", "unpronounceable", "input"],
            ["NotFoundError", "model_not_found", "model"],
            ["AuthenticationError", "invalid_api_key", None],
        ]

    async def test_client_that_leaves_frees_the_engine(self) -> None:
        async with running(voices=KOKORO, load=SlowTones) as server, trio.open_nursery() as nursery:
            command = [sys.executable, "-c", LEAVING, str(server.port)]
            run = partial(trio.run_process, command, stdin=subprocess.PIPE)
            client: trio.Process = await nursery.start(run)
            await until(lambda: server.engine.statistics().active, within_s=60)
            await until(lambda: is_idle(server))
            assert client.poll() is None
            assert client.stdin is not None
            await client.stdin.send_all(b"\n")
        assert [record.end for record in server.records] == ["disconnected"]


async def test_livekit_plugin_streams_with_base_url_only() -> None:
    """With each model: the plugin requests audio from tts-1 and events from other models."""
    models = ("tts-1", "gpt-4o-mini-tts")
    formats = [{"model": model, "response_format": each} for model in models for each in FORMATS]
    options = [{}, {"model": "kokoro", "voice": "af_heart"}, *formats]
    async with running(voices=KOKORO, load=SlowTones) as server:
        heard = await printed_json(LIVEKIT, server, TEXT, json.dumps(options))
    for record, frames in zip(server.records, heard, strict=True):
        assert record.end == "done"
        assert frames[-1][0] - frames[0][0] > SECONDS_TO_MAKE / 2
        # The plugin's FLAC decoder drops the last block of 0.1 s.
        heard_s = sum(n_samples for _, n_samples in frames) / SAMPLE_RATE_HZ
        assert heard_s == pytest.approx(record.audio_s, abs=0.15)


LIVEKIT_SPEAKS = """
import asyncio

async def main():
    async with tts.synthesize("Hello there.") as speech:
        sound = await speech.collect()
    with open("hello.wav", "wb") as file:
        file.write(sound.to_wav_bytes())
    await tts.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("name", "use"), [("openai_hello.py", ""), ("livekit_tts.py", LIVEKIT_SPEAKS), ("openai_hello.sh", "")]
)
async def test_readme_programs(name: str, use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOKORO_API_KEY", "first")
    program = snippet(f"# {name}") + use
    async with running(voices=KOKORO) as server:
        assert "127.0.0.1:8000" in program
        program = program.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        (tmp_path / name).write_text(program)
        interpreter = sys.executable if name.endswith(".py") else "bash"
        command = [interpreter, name]
        ended = await in_thread(
            subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        (record,) = server.records
    if name.endswith(".sh"):
        heard_s = len(samples_in((tmp_path / "hello.mp3").read_bytes(), "mp3")) / SAMPLE_RATE_HZ
    else:
        data = (tmp_path / "hello.wav").read_bytes()
        heard_s = len(samples_in(data, "wav")) / SAMPLE_RATE_HZ
    assert heard_s == pytest.approx(record.audio_s, abs=MOST_ADDED_S)
