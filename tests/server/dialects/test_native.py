"""Pure: our own protocol, with frames of the client and messages of the protocol fed by hand."""

import json

from kokoro_trio.server.dialects.native import Native
from kokoro_trio.server.protocol import Request
from kokoro_trio.speech import Utterance
from kokoro_trio.wire.messages import Done, Error, Speak, StartedSpeak, encode
from kokoro_trio.wire.settings import Settings
from tests.support.sessions import make_opening


def refused(frame: str | bytes) -> Error:
    [outcome] = Native(make_opening()).receive(frame)
    assert isinstance(outcome, Error)
    return outcome


def test_text_frame_is_decoded() -> None:
    frame = json.dumps({"type": "speak", "request_id": "r1", "text": "Hi."})
    assert Native(make_opening()).receive(frame) == [Speak("Hi.", "r1")]


def test_malformed_message_is_refused_with_its_request_id() -> None:
    error = refused('{"type": "speak", "request_id": "r1"}')
    assert (error.code, error.request_id) == ("bad_text", "r1")


def test_binary_frame_is_refused() -> None:
    assert refused(b"\x00\x01").code == "unexpected_binary"


def test_primer_is_sent_once_before_the_first_started_speak() -> None:
    dialect = Native(make_opening(prime_bytes=4))
    assert dialect.encode(Done("r0", 0.0)) == [encode(Done("r0", 0.0))]
    for request_id, primer in (("r1", [bytes(4)]), ("r2", [])):
        started = StartedSpeak(request_id)
        assert dialect.encode(started) == [*primer, encode(started)]


def test_audio_follows_the_tag_of_its_request() -> None:
    request = Request("r", Utterance("Hi.", "af_heart"), "af_heart", Settings(), tag=b"\x01r")
    assert Native(make_opening()).encode_audio(request, b"audio") == [b"\x01raudio"]
