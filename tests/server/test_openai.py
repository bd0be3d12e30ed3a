"""Pure: requests, answers and errors of OpenAI's interface."""

import base64
import json
from typing import Any

import pytest

from kokoro_trio.errors import (
    Overloaded,
    RequestError,
    SynthesisFailed,
    TooManyCharacters,
    UnknownVoice,
    Unpronounceable,
)
from kokoro_trio.model.custom_voices import CustomVoices
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.openai import (
    MODELS,
    VOICES,
    Refusal,
    SpeechRequest,
    delta_event,
    done_event,
    error_event,
    model_list,
    resolve,
    speech_request,
    unknown_model,
)
from kokoro_trio.speech import Utterance
from tests.support.sessions import KOKORO

OPENAI_VOICES = "alloy, ash, ballad, cedar, coral, echo, fable, marin, nova, onyx, sage, shimmer, verse"
"""From OpenAI's reference, sorted."""


def asked(**fields: object) -> SpeechRequest:
    values = {"model": "tts-1", "voice": "alloy", "input": "Hello there.", **fields}
    return speech_request(json.dumps(values).encode(), KOKORO, max_characters=4096)


class TestRequests:
    def test_minimal_request(self) -> None:
        request = asked()
        assert request == SpeechRequest(Utterance("Hello there.", "af_alloy"), "af_alloy", "mp3", False)
        assert request.content_type == "audio/mpeg"

    def test_request_with_all_fields(self) -> None:
        request = asked(
            voice="bm_lewis",
            response_format="opus",
            speed=1.25,
            stream_format="sse",
            instructions="Whisper.",
            language="fr",
        )
        utterance = Utterance("Hello there.", "bm_lewis", speed=1.25, language="f")
        assert request == SpeechRequest(utterance, "bm_lewis", "opus", True)
        assert request.content_type.startswith("text/event-stream")

    def test_null_fields_count_as_absent(self) -> None:
        fields = ("model", "response_format", "speed", "stream_format", "instructions", "language")
        assert asked(**dict.fromkeys(fields)) == asked()

    def test_any_model_name_is_accepted(self) -> None:
        assert asked(model="tts-9-from-next-year") == asked()

    def test_input_may_have_the_length_of_openais_limit(self) -> None:
        assert len(asked(input="a " * 2048).utterance.text) == 4096
        with pytest.raises(TooManyCharacters, match="4097 characters; the limit is 4096"):
            asked(input="a" * 4097)

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"input": None}, "bad_message", "input"),
            ({"input": ["Hello."]}, "bad_message", "input"),
            ({"input": " \n"}, "empty_text", "input"),
            ({"input": "\ud800"}, "bad_text", "input"),
            ({"input": "a" * 5000}, "too_long", "input"),
            ({"voice": "aloy"}, "unknown_voice", "voice"),
            ({"voice": "af_bella+alloy"}, "unknown_voice", "voice"),
            ({"voice": 7}, "bad_message", "voice"),
            ({"voice": {"name": "alloy"}}, "bad_message", "voice"),
            ({"voice": ["alloy"]}, "bad_message", "voice"),
            ({"response_format": "ogg"}, "unsupported_format", "response_format"),
            ({"response_format": 3}, "bad_message", "response_format"),
            ({"speed": 0.25}, "bad_speed", "speed"),
            ({"speed": 4.0}, "bad_speed", "speed"),
            ({"speed": "fast"}, "bad_speed", "speed"),
            ({"speed": True}, "bad_speed", "speed"),
            ({"stream_format": "chunks"}, "bad_message", "stream_format"),
            ({"language": "de"}, "bad_language", "language"),
            ({"model": 1}, "bad_message", "model"),
        ],
    )
    def test_invalid_fields_are_refused(self, fields: dict[str, Any], code: str, param: str) -> None:
        with pytest.raises(RequestError) as raised:
            asked(**fields)
        refusal = Refusal.of(raised.value, retry_after_s=2)
        assert (refusal.status, refusal.type) == (400, "invalid_request_error")
        assert (refusal.code, refusal.param) == (code, param)
        assert refusal.headers == []
        json.dumps(refusal.body).encode()

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe\xfd", b'{"speed": NaN}', b"[" * 100_000])
    def test_body_that_is_not_an_object_is_refused(self, body: bytes) -> None:
        with pytest.raises(RequestError) as raised:
            speech_request(body, KOKORO, 4096)
        refusal = Refusal.of(raised.value, retry_after_s=2)
        assert (refusal.status, refusal.code, refusal.param) == (400, "bad_json", None)
        assert refusal.message.startswith("the body must be a JSON object")


class TestVoices:
    def test_openais_thirteen_voices_exist_and_differ(self) -> None:
        assert ", ".join(VOICES) == OPENAI_VOICES
        assert len({resolve(name, KOKORO).name for name in VOICES}) == 13

    def test_voice_of_the_same_name_is_used(self) -> None:
        same = {name for name in KOKORO.names if name[3:] in VOICES}
        assert {VOICES[name[3:]] for name in same} == same

    @pytest.mark.parametrize("name", ["af_heart", "female", "male", "af_bella+af_sky(2)"])
    def test_our_own_voice_names(self, name: str) -> None:
        assert resolve(name, KOKORO) == KOKORO.resolve(name)

    def test_custom_voice_object_has_an_id(self) -> None:
        assert asked(voice={"id": "nova"}) == asked(voice="nova")

    def test_missing_voice_is_the_websocket_default(self) -> None:
        body = b'{"input": "Hello there."}'
        assert speech_request(body, KOKORO, 4096).voice_name == "af_aoede"

    def test_blend_may_have_openais_name(self, tmp_path: Any) -> None:  # noqa: ANN401
        CustomVoices(tmp_path, KOKORO.names).add("nova", "af_sky+af_bella", replace=False)
        voices = VoiceCatalogue.of(KOKORO.names, female="af_sky", male="am_puck", custom_folder=tmp_path)
        assert str(resolve("nova", voices).recipe) == "af_bella+af_sky"
        assert resolve("alloy", voices).name == "af_alloy"

    @pytest.mark.parametrize(
        ("name", "near"), [("aloy", "alloy"), ("Nova", "nova"), ("af_haert", "af_heart"), ("femal", "female")]
    )
    def test_unknown_voice_gets_close_matches(self, name: str, near: str) -> None:
        with pytest.raises(UnknownVoice) as raised:
            resolve(name, KOKORO)
        assert raised.value.close_matches[0] == near
        assert f"did you mean {near}" in str(raised.value)


class TestErrors:
    def test_error_has_openais_fields(self) -> None:
        refusal = Refusal.of(Unpronounceable(), retry_after_s=2)
        assert refusal.body == {
            "error": {
                "message": "the text holds nothing that can be pronounced",
                "type": "invalid_request_error",
                "param": "input",
                "code": "unpronounceable",
            }
        }

    def test_server_errors_have_their_own_type(self) -> None:
        overloaded = Refusal.of(Overloaded(reason="it is shutting down"), retry_after_s=7)
        assert (overloaded.status, overloaded.type) == (503, "server_error")
        assert overloaded.headers == [("Retry-After", "7")]
        failed = Refusal.of(SynthesisFailed(), retry_after_s=7)
        assert (failed.status, failed.type, failed.headers) == (500, "server_error", [])

    def test_unknown_model(self) -> None:
        refusal = unknown_model("whisper-1")
        assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")


def test_models() -> None:
    listed = model_list()
    assert listed["object"] == "list"
    data: Any = listed["data"]
    assert [model["id"] for model in data] == list(MODELS)
    assert {model["object"] for model in data} == {"model"}


def test_each_event_is_one_line_of_json() -> None:
    refusal = Refusal.of(SynthesisFailed(), retry_after_s=2)
    events = (delta_event(b"\x00\xff" * 3), done_event(), error_event(refusal))
    values = []
    for event in events:
        assert event.startswith(b"data: ")
        assert event.endswith(b"\n\n")
        assert event.count(b"\n") == 2
        values.append(json.loads(event.removeprefix(b"data: ")))
    assert [value["type"] for value in values] == ["speech.audio.delta", "speech.audio.done", "error"]
    assert base64.b64decode(values[0]["audio"]) == b"\x00\xff" * 3
    assert set(values[1]["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}
    assert values[2]["error"] == refusal.body["error"]
