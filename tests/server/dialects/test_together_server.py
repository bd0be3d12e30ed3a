"""End to end: Together's dialect on real sockets, with a client of our own and with Pipecat's; tones."""

import base64
import hashlib
import io
import json
import wave
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from websockets.sync.client import ClientConnection, connect

from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.server.dialects import TOGETHER_PATH
from kokoro_trio.server.dialects.together import CREATED, DELTA, DONE, FAILED, WORDS
from tests.support.bots import GREETING, LATER, REPLY, STORY
from tests.support.clients import status_of_handshake, talk
from tests.support.models import SlowTones
from tests.support.processes import output_of
from tests.support.readme import snippet
from tests.support.servers import Server, in_thread, running

Event = dict[str, Any]
SENTENCES = ["It is a fine day.", "The sun is out!", "Shall we go for a walk in the park?"]


@attrs.frozen
class Client:
    websocket: ClientConnection

    def say(self, kind: str, **fields: object) -> None:
        self.websocket.send(json.dumps({"type": kind, **fields}))

    def speak(self, text: str) -> None:
        self.say("input_text_buffer.append", text=text)
        self.say("input_text_buffer.commit")

    def hear_until(self, kind: str) -> list[Event]:
        heard: list[Event] = []
        while not heard or heard[-1]["type"] != kind:
            heard.append(json.loads(self.websocket.recv(timeout=10)))
        return heard


def audio_of(heard: list[Event]) -> bytes:
    return b"".join(base64.b64decode(event["delta"]) for event in heard if event["type"] == DELTA)


def conversation(server: Server, act: Callable[[Client], Any], **query: str) -> Any:  # noqa: ANN401
    """The result of `act`, with a client that has received the greeting."""
    parameters = "".join(f"&{name}={value}" for name, value in query.items())
    with connect(server.url(TOGETHER_PATH) + parameters) as websocket:
        client = Client(websocket)
        assert client.hear_until(CREATED)[0]["session"]["id"]
        return act(client)


def in_our_protocol(server: Server, *texts: str, voice: str = "af_heart", **start: object) -> bytes:
    speaks: list[dict[str, object]] = [{"type": "speak", "text": text, "voice": voice} for text in texts]
    heard = talk(server.url(), {"type": "start", **start}, *speaks, until=len(texts))
    first = next(
        n for n, each in enumerate(heard) if isinstance(each, dict) and each["type"] == "started_speak"
    )
    return b"".join(each for each in heard[first:] if isinstance(each, bytes))


async def test_audio_is_the_same_as_in_our_own_protocol() -> None:
    def act(client: Client) -> list[Event]:
        client.speak(REPLY)
        return client.hear_until(DONE)

    async with running() as server:
        heard = await in_thread(conversation, server, act, voice="af_heart", alignment="word")
        assert audio_of(heard) == await in_thread(in_our_protocol, server, REPLY)
        words = [word for event in heard if event["type"] == WORDS for word in event["words"]]
        assert words[:4] == ["It", "is", "a", "fine"]
        assert {event["item_id"] for event in heard if "item_id" in event} == {"tts_1"}
        assert [record.end for record in server.records] == ["done", "done"]


async def test_formats() -> None:
    def act(client: Client) -> bytes:
        client.speak(GREETING)
        return audio_of(client.hear_until(DONE))

    async with running() as server:
        heard = await in_thread(
            conversation, server, act, voice="af_heart", response_format="wav", sample_rate="16000"
        )
        with wave.open(io.BytesIO(heard)) as wav:
            assert (wav.getframerate(), wav.getsampwidth(), wav.getnchannels()) == (16000, 2, 1)
        assert heard[44:] == await in_thread(in_our_protocol, server, GREETING, sample_rate=16000)
        mulaw = await in_thread(conversation, server, act, voice="af_heart", response_format="mulaw")
        assert mulaw == await in_thread(in_our_protocol, server, GREETING, format="mulaw", sample_rate=8000)


async def test_clear_during_a_sentence_frees_the_engine_and_stops_the_audio() -> None:
    def act(client: Client) -> list[Event]:
        client.speak(STORY)
        client.hear_until(DELTA)
        client.say("input_text_buffer.clear")
        # The answer to this follows all frames that were on the way at the clear.
        client.say("context.cancel", context_id="other")
        client.hear_until("context.cancelled")
        client.speak(LATER)
        return client.hear_until(DONE)

    async with running(load=SlowTones) as server:
        heard = await in_thread(conversation, server, act, voice="af_heart")
        assert {event["item_id"] for event in heard if "item_id" in event} == {"tts_2"}
        assert audio_of(heard) == await in_thread(in_our_protocol, server, LATER)
        assert [record.end for record in server.records] == ["canceled", "done", "done"]
        assert server.engine.statistics().active == 0


async def test_error_skips_its_own_text_and_keeps_the_connection() -> None:
    def act(client: Client) -> list[Event]:
        client.say("tts_session.updated", session={"voice": "af_aoedd"})
        [refused] = client.hear_until(FAILED)
        assert refused["error"]["close_matches"] == ["af_aoede"]
        client.speak("(...)")
        [*_, failed, done] = client.hear_until(DONE)
        assert (failed["type"], failed["error"]["code"]) == (FAILED, "unpronounceable")
        client.speak(GREETING)
        return [done, *client.hear_until(DONE)]

    async with running() as server:
        heard = await in_thread(conversation, server, act, voice="af_heart")
        assert audio_of(heard) == await in_thread(in_our_protocol, server, GREETING)


async def test_api_key_is_required() -> None:
    async with running() as server:
        url = server.url(TOGETHER_PATH, key=None)
        assert (await in_thread(status_of_handshake, url))[0] == 401
        assert (await in_thread(status_of_handshake, url, Authorization="Bearer wrong"))[0] == 401
        assert (await in_thread(status_of_handshake, url, Authorization="Bearer second"))[0] == 101
        assert (await in_thread(status_of_handshake, server.url(TOGETHER_PATH)))[0] == 101


async def test_draining_lets_the_item_finish() -> None:
    def act(client: Client) -> bytes:
        client.speak(REPLY)
        heard = client.hear_until(DELTA)
        trio.from_thread.run_sync(nursery.start_soon, server.listener.drain, 20.0)
        return audio_of(heard + client.hear_until(DONE))

    async with running(load=SlowTones) as server, trio.open_nursery() as nursery:
        expected = await in_thread(in_our_protocol, server, REPLY)
        assert await in_thread(conversation, server, act, voice="af_heart") == expected


@pytest.mark.parametrize("load", [ToneSynthesizer, SlowTones])
async def test_pipecats_together_service_in_a_running_pipeline(load: Callable[[], Synthesizer]) -> None:
    async with running(load=load) as server:
        url = server.url(TOGETHER_PATH, key=None)
        turns = await in_thread(output_of, "-m", "tests.support.pipecat_together", url, "first")
        greeting, reply, reply_again, story, later, nothing, at_last = json.loads(turns)
        ends = [record.end for record in server.records]
        expected = {
            text: await in_thread(in_our_protocol, server, *parts)
            for text, parts in ((GREETING, [GREETING]), (REPLY, SENTENCES), (LATER, [LATER]))
        }
        assert server.engine.statistics().active == 0

    def is_heard(turn: Event, text: str) -> None:
        assert turn["sha256"] == hashlib.sha256(expected[text]).hexdigest()
        assert turn["n_contexts"] == turn["n_started"] == 1
        assert turn["rates_hz"] == [24000]
        assert turn["errors"] == []
        assert len(turn["ttfb_s"]) == 1

    is_heard(greeting, GREETING)
    is_heard(reply, REPLY)
    is_heard(reply_again, REPLY)
    assert reply["texts"] == SENTENCES
    assert story["audio_bytes"] > 0
    assert story["audio_after_interruption_s"] == 0.0
    # Only slow tones take long enough to be interrupted.
    assert load is not SlowTones or "canceled" in ends
    is_heard(later, LATER)
    assert nothing["audio_bytes"] == 0
    assert "unpronounceable" in nothing["errors"][0]
    is_heard(at_last, LATER)


async def test_readme_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOKORO_API_KEY", "first")
    program = snippet("# pipecat_together.py")
    here = "127.0.0.1:8000"
    assert here in program
    speak_once = """
import asyncio, json
from tests.support.pipecat_together import greet, in_pipeline
print(json.dumps(asyncio.run(in_pipeline(tts, greet))))
"""
    async with running() as server:
        program = program.replace(here, f"127.0.0.1:{server.port}")
        [turn] = json.loads(await in_thread(output_of, "-c", program + speak_once))
        expected = await in_thread(in_our_protocol, server, GREETING, voice="am_michael")
    assert turn["sha256"] == hashlib.sha256(expected).hexdigest()
    assert turn["errors"] == []
