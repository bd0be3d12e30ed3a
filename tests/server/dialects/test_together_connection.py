"""Session: a connection in Together's dialect over memory channels, on virtual time."""

import json
from itertools import count

import pytest
import trio

from kokoro_trio.config import Config
from kokoro_trio.server.dialects.together import Together
from kokoro_trio.server.dialects.together_connection import TURN_END_TIMEOUT_S, TogetherConnection
from kokoro_trio.wire.messages import Done, Speak, Start, StartedSpeak, decode_client, encode
from tests.support.sessions import VOICES, MemoryConnection

LIMITS = Config.of({"API_KEY": "k"}).requests


async def opened(**query: str) -> tuple[MemoryConnection, TogetherConnection]:
    names = (f"id-{n}" for n in count())
    peer = MemoryConnection()
    dialect = Together("session-1", query, VOICES, LIMITS, lambda: next(names))
    return peer, await TogetherConnection.open(peer, dialect)


def speak(peer: MemoryConnection, text: str) -> None:
    peer.say("input_text_buffer.append", text=text)
    peer.say("input_text_buffer.commit")


async def test_the_session_hears_its_own_protocol_and_the_client_his_own() -> None:
    peer, connection = await opened(voice="af_heart")
    speak(peer, "Hello")
    assert decode_client(await connection.receive()) == Start(
        format="pcm", sample_rate=24000, timestamps=False
    )
    assert decode_client(await connection.receive()) == Speak("Hello", "id-1", "af_heart")
    for message in (b"primer", encode(StartedSpeak("id-1")), b"audio", encode(Done("id-1", 1.0))):
        await connection.send(message)
    heard = peer.hear_rest()
    assert [event["type"] for event in heard if isinstance(event, dict)] == [
        "session.created",
        "conversation.item.input_text.received",
        "conversation.item.audio_output.delta",
        "conversation.item.audio_output.done",
    ]


@pytest.mark.parametrize(("ends_after_s", "hears_after_s"), [(1.0, 1.0), (100.0, TURN_END_TIMEOUT_S)])
async def test_done_waits_for_the_end_of_a_turn_but_not_for_ever(
    autojump_clock: trio.testing.MockClock, ends_after_s: float, hears_after_s: float
) -> None:
    peer, connection = await opened(voice="af_heart")
    peer.say("tts_session.updated", session={"voice": "af_heart"})
    speak(peer, "Hello there.")

    async def serve() -> None:
        while True:
            message = decode_client(await connection.receive())
            if isinstance(message, Speak):
                await trio.sleep(10)
                await connection.send(encode(Done(message.request_id or "", 1.0)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.sleep(10)
        spoken_at = trio.current_time()
        nursery.start_soon(_end_turn, peer, ends_after_s)
        await peer.hear_until("conversation.item.audio_output.done")
        assert trio.current_time() - spoken_at == pytest.approx(hears_after_s)
        nursery.cancel_scope.cancel()


async def _end_turn(peer: MemoryConnection, after_s: float) -> None:
    await trio.sleep(after_s)
    peer.say_raw(json.dumps({"type": "input_text_buffer.commit"}))
