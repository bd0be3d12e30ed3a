"""Pure: wire messages to JSON and back, and malformed messages."""

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.errors import BadMessage, RequestError, TooLong, UnknownVoice
from kokoro_trio.wire.messages import (
    Cancel,
    Canceled,
    ClientMessage,
    Done,
    Error,
    Meta,
    Queue,
    Refused,
    ServerMessage,
    Speak,
    SpokenWord,
    Start,
    Started,
    StartedSpeak,
    Stop,
    decode_client,
    decode_server,
    encode,
)


@pytest.mark.parametrize(
    "message",
    [
        Start(),
        Start(voice="female", format="pcm", sample_rate=24000, timestamps=True, framing="plain"),
        Start(language="en-GB"),
        Speak("Hello."),
        Speak("Hola.", language="es"),
        Speak("Grüße, 你好", request_id="r1", voice="am_michael", speed=1.25),
        Cancel(),
        Cancel("r1"),
        Cancel("r1", played_s=0.5),
        Stop(),
    ],
)
def test_client_messages_round_trip(message: ClientMessage) -> None:
    assert decode_client(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        Started("af_aoede", "pcm", 24000, False, "plain", "s1"),
        StartedSpeak("r1"),
        Meta("r1", 0, 4800),
        Meta("r1", 1, 0, [SpokenWord("Hello,", 0.025, 0.4, 0, 6), SpokenWord("你好", 0.5, 0.9, 7, 9)]),
        Queue("r1"),
        Done("r1", 1.52),
        Canceled("r1", 0.4),
        Canceled("r1", 0.4, "Hello", " there."),
        Error.of(TooLong(max_words=150, got_words=151), "r1"),
        Error.of(UnknownVoice(got="af_haert", close_matches=["af_heart"])),
    ],
)
def test_server_messages_round_trip(message: ServerMessage) -> None:
    decoded = decode_server(encode(message))
    assert decoded == message


@pytest.mark.parametrize("words", [[{"text": "Hello"}], ["Hello"], 5])
def test_incomplete_words_are_refused(words: object) -> None:
    with pytest.raises(BadMessage):
        decode_server(encode(Meta("r1", 0, 0)).replace("}", f', "words": {json.dumps(words)}}}'))


def test_facts_of_an_error_are_fields_beside_its_code() -> None:
    wire = json.loads(encode(Error.of(TooLong(max_words=150, got_words=151), "r1")))
    assert wire == {
        "type": "error",
        "code": "too_long",
        "message": "the text has 151 words; the limit is 150",
        "request_id": "r1",
        "max_words": 150,
        "got_words": 151,
    }


@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        '{"type":7}',
        '{"type":"done"}',
        '{"type":"done","request_id":["r"],"duration_s":1}',
        '{"type":"done","request_id":"r","duration_s":"1"}',
        '{"type":"done","request_id":"r","duration_s":1e400}',
        '{"type":"meta","request_id":"r","segment":0,"total_samples":0,"words":1}',
        '{"type":"meta","request_id":"r","segment":0,"total_samples":0,"words":[{"text":"Hi"}]}',
        '{"type":"error","code":7,"message":"m"}',
    ],
)
def test_malformed_server_message_raises_bad_message(frame: str) -> None:
    with pytest.raises(BadMessage):
        decode_server(frame)


def test_unknown_fields_are_ignored() -> None:
    assert decode_client('{"type":"speak","text":"Hi","mood":"sunny"}') == Speak("Hi")
    assert decode_server('{"type":"done","request_id":"r","duration_s":1,"mood":"sunny"}') == Done("r", 1)


@pytest.mark.parametrize(
    ("frame", "code", "request_id"),
    [
        ("", "bad_json", None),
        ("{", "bad_json", None),
        ("[]", "bad_json", None),
        ('"speak"', "bad_json", None),
        ('{"type":"speak","text":"Hi","speed":NaN}', "bad_json", None),
        ("[" * 100_000, "bad_json", None),
        ('{"type":' * 100_000, "bad_json", None),
        ('{"n":' + "9" * 5000 + "}", "bad_json", None),
        ("{}", "unknown_type", None),
        ('{"type":"sing"}', "unknown_type", None),
        ('{"type":7,"request_id":"r1"}', "unknown_type", "r1"),
        ('{"type":"speak","request_id":"r1"}', "bad_text", "r1"),
        ('{"type":"speak","request_id":"r1","text":7}', "bad_text", "r1"),
        ('{"type":"speak","request_id":"r1","text":"\\ud800"}', "bad_text", "r1"),
        ('{"type":"speak","request_id":"r1","text":" \\n"}', "empty_text", "r1"),
        ('{"type":"speak","text":"Hi","request_id":7}', "bad_message", None),
        ('{"type":"speak","text":"Hi","request_id":""}', "bad_message", None),
        ('{"type":"speak","text":"Hi","request_id":"\\udfff"}', "bad_message", None),
        ('{"type":"speak","text":"Hi","request_id":"%s"}' % ("x" * 129), "bad_message", None),
        ('{"type":"speak","request_id":"r1","text":"Hi","voice":["a"]}', "bad_message", "r1"),
        ('{"type":"speak","request_id":"r1","text":"Hi","speed":"fast"}', "bad_speed", "r1"),
        ('{"type":"speak","request_id":"r1","text":"Hi","speed":true}', "bad_speed", "r1"),
        ('{"type":"speak","request_id":"r1","text":"Hi","speed":0.49}', "bad_speed", "r1"),
        ('{"type":"speak","request_id":"r1","text":"Hi","speed":2.01}', "bad_speed", "r1"),
        ('{"type":"speak","request_id":"r1","text":"Hi","speed":1e999}', "bad_speed", "r1"),
        ('{"type":"start","sample_rate":true}', "bad_message", None),
        ('{"type":"start","sample_rate":24000.5}', "bad_message", None),
        ('{"type":"start","timestamps":"yes"}', "bad_message", None),
        ('{"type":"cancel","request_id":{}}', "bad_message", None),
        ('{"type":"cancel","request_id":"r1","played_s":1%s}' % ("0" * 400), "bad_message", "r1"),
        ('{"type":"cancel","request_id":"r1","played_s":1e400}', "bad_message", "r1"),
        ('{"type":"cancel","request_id":"r1","played_s":-1}', "bad_message", "r1"),
        ('{"type":"cancel","request_id":"r1","played_s":true}', "bad_message", "r1"),
        ('{"type":"speak","request_id":"r1","text":"Hi","speed":1%s}' % ("0" * 400), "bad_speed", "r1"),
        ('{"type":"start","sample_rate":1%s}' % ("0" * 400), "bad_message", None),
        ('{"type":%s}' % ("[" * 900 + "]" * 900), "unknown_type", None),
    ],
)
def test_malformed_messages_are_refused_with_code_and_request_id(
    frame: str, code: str, request_id: str | None
) -> None:
    with pytest.raises(Refused) as caught:
        decode_client(frame)
    assert (caught.value.error.code, caught.value.request_id) == (code, request_id)
    assert json.loads(encode(Error.of(caught.value.error)))["code"] == code


@pytest.mark.parametrize("request_id", ["x", "x" * 128, "é"])
def test_request_id_of_1_to_128_characters_is_accepted(request_id: str) -> None:
    assert decode_client(encode(Speak("Hi", request_id))) == Speak("Hi", request_id)


def test_last_one_of_duplicate_keys_counts() -> None:
    assert decode_client('{"type":"speak","text":7,"text":"Hi"}') == Speak("Hi")


@pytest.mark.parametrize("played", ["-0", "-0.0", "0", "1e-400", str(2**53)])
def test_played_s_from_0_is_accepted(played: str) -> None:
    assert decode_client(f'{{"type":"cancel","played_s":{played}}}') == Cancel(None, float(played))


@pytest.mark.parametrize("speed", [0.5, 1, 2.0])
def test_speed_within_the_range_is_accepted(speed: float) -> None:
    assert decode_client(encode(evolve(Speak("Hi"), speed=speed))) == Speak("Hi", speed=float(speed))


numbers = st.integers() | st.sampled_from([10**400, -(10**400)]) | st.floats(allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["type", "text", "voice", "speed", "request_id", "sample_rate", "timestamps", "played_s"]
)
kinds = st.sampled_from(["start", "speak", "cancel", "stop"])


@given(st.dictionaries(fields, json_values | kinds, max_size=6), kinds | st.none())
def test_any_object_is_decoded_or_refused(values: dict[str, object], kind: str | None) -> None:
    frame = json.dumps(values | ({"type": kind} if kind else {}))
    try:
        message = decode_client(frame)
    except Refused as refused:
        assert isinstance(refused.error, RequestError)
        encode(Error.of(refused.error, refused.request_id)).encode()
    else:
        assert decode_client(encode(message)) == message


@given(st.text())
def test_any_text_is_decoded_or_refused(frame: str) -> None:
    try:
        decode_client(frame)
    except Refused as refused:
        encode(Error.of(refused.error, refused.request_id)).encode()
