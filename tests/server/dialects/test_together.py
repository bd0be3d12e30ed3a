"""Pure: Together's dialect, with frames of the client and messages of the protocol fed by hand."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.config import Config
from kokoro_trio.errors import SynthesisFailed, UnknownVoice, Unpronounceable
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.dialects.buffered_text import ends_sentence
from kokoro_trio.server.dialects.together import (
    CANCELLED,
    CREATED,
    DELTA,
    DONE,
    FAILED,
    RECEIVED,
    TURN_END_TIMEOUT_S,
    UPDATED,
    WORDS,
    Pronunciations,
    Together,
)
from kokoro_trio.server.protocol import Request
from kokoro_trio.speech import Utterance
from kokoro_trio.wire.limits import (
    MAX_BUFFERED_CHARS,
    MAX_CONTEXTS,
    MAX_PARAMETER_CHARS,
    MAX_PRONUNCIATION_CHARS,
    MAX_PRONUNCIATIONS,
    MAX_REQUEST_ID_CHARS,
)
from kokoro_trio.wire.messages import (
    Cancel,
    Canceled,
    Done,
    Error,
    Meta,
    ServerMessage,
    Speak,
    SpokenWord,
    Start,
    StartedSpeak,
)
from kokoro_trio.wire.settings import Settings
from kokoro_trio.wire.words import word_count
from tests.support.sessions import make_opening

VOICES = VoiceCatalogue.of(("af_heart", "am_michael", "bf_emma"), female="af_heart", male="am_michael")
LIMITS = Config.of({"API_KEY": "k"}).requests
PCM = b"\x01\x02\x03\x04"
Event = dict[str, Any]


def events(frames: Sequence[str | bytes]) -> list[Event]:
    return [json.loads(frame) for frame in frames]


def request(request_id: str) -> Request:
    return Request(request_id, Utterance("Hello.", "af_heart"), "af_heart", Settings())


class Client:
    """A client whose events go to the dialect. It keeps the events and messages that come back."""

    def __init__(
        self,
        parameters: Mapping[str, str] | None = None,
        *,
        max_words: int = 150,
        max_characters: int = 10_000,
        **query: str,
    ) -> None:
        limits = evolve(LIMITS, max_words=max_words, max_utterance_characters=max_characters)
        self.together = Together(make_opening(VOICES, limits, query={**(parameters or {}), **query}))
        self.heard = events(self.together.open())
        self.messages: list[Any] = []
        self.ended: set[str] = set()

    def say(self, kind: str, **fields: object) -> list[Speak]:
        return self.say_raw(json.dumps({"type": kind, **fields}))

    def say_raw(self, frame: str | bytes) -> list[Speak]:
        """The requests that result."""
        messages: list[Any] = []
        for outcome in self.together.receive(frame):
            match outcome:
                case str() | bytes():
                    self.heard += events([outcome])
                case Error():
                    self.receive(outcome)
                case _:
                    messages.append(outcome)
        self.messages += messages
        return [message for message in messages if isinstance(message, Speak)]

    def append(self, text: str, **fields: object) -> list[str]:
        return [speak.text for speak in self.say("input_text_buffer.append", text=text, **fields)]

    def commit(self, **fields: object) -> list[str]:
        return [speak.text for speak in self.say("input_text_buffer.commit", **fields)]

    def speak(self, text: str, **fields: object) -> str:
        """The id of the request for the text."""
        self.append(text, **fields)
        self.commit(**fields)
        [*_, last] = (message for message in self.messages if isinstance(message, Speak))
        assert last.request_id is not None
        return last.request_id

    def audio(self, request_id: str, data: bytes = PCM) -> None:
        self.receive(StartedSpeak(request_id))
        self.heard += events(self.together.encode_audio(request(request_id), data))

    def done(self, request_id: str, duration_s: float = 1.0) -> None:
        self.ended.add(request_id)
        self.receive(Done(request_id, duration_s))

    def fails(self, error: Error) -> None:
        self.ended.add(error.request_id or "")
        self.receive(error)

    def receive(self, message: ServerMessage) -> None:
        self.heard += events(self.together.encode(message))

    @property
    def outstanding(self) -> list[str]:
        """The requests that have not ended, in their order."""
        spoken = [each.request_id for each in self.messages if isinstance(each, Speak)]
        canceled = {each.request_id for each in self.messages if isinstance(each, Cancel)}
        return [each for each in spoken if each and each not in canceled | self.ended]

    def new(self, *kinds: str) -> list[Event]:
        """The events since the last call, of these types or of all types."""
        heard, self.heard = self.heard, []
        return [event for event in heard if not kinds or event["type"] in kinds]

    def kinds(self) -> list[str]:
        return [str(event["type"]) for event in self.new()]


def error_of(event: Event) -> Mapping[str, Any]:
    error = event["error"]
    assert isinstance(error, dict)
    return error


def test_session_created_has_the_parameters_of_the_address() -> None:
    client = Client(model="hexgrad/Kokoro-82M", voice="af_heart", language="en")
    [created] = client.new()
    assert created["type"] == CREATED
    assert created["session"] == {
        "id": "session-1",
        "object": "realtime.tts.session",
        "modalities": ["text", "audio"],
        "model": "hexgrad/Kokoro-82M",
        "voice": "af_heart",
    }
    client.speak("Hello there.")
    assert client.messages[0] == Start(format="pcm", sample_rate=24000, timestamps=False)
    assert client.messages[1] == Speak("Hello there.", request_id="id-1", voice="af_heart")


def test_commit_leads_to_audio_and_done() -> None:
    client = Client()
    request_id = client.speak("Hello there.")
    client.audio(request_id)
    client.done(request_id)
    _, received, delta, done = client.new()
    assert received == {"type": RECEIVED, "text": "Hello there."}
    assert (delta["type"], delta["item_id"]) == (DELTA, "tts_1")
    assert base64.b64decode(str(delta["delta"])) == PCM
    assert done == {"type": DONE, "item_id": "tts_1"}
    client.audio(client.speak("Bye."))
    assert [event["item_id"] for event in client.new(DELTA)] == ["tts_2"]


def test_consecutive_commits_share_one_done() -> None:
    client = Client()
    first, second = client.speak("One more thing."), client.speak("And another one.")
    client.audio(first)
    client.done(first)
    assert DONE not in client.kinds()
    client.audio(second)
    client.done(second)
    assert [event["item_id"] for event in client.new(DELTA, DONE)] == ["tts_1", "tts_1"]


def test_client_that_ends_turns_with_an_empty_commit_gets_done_there() -> None:
    client = Client()
    request_id = client.speak("Hello there.")
    client.commit()
    client.done(request_id)
    assert client.kinds()[-1] == DONE
    request_id = client.speak("It is me.")
    client.done(request_id)
    assert DONE not in client.kinds(), "the turn may go on"
    request_id = client.speak("I am back.")
    client.commit()
    assert DONE not in client.kinds(), "the text is not spoken yet"
    client.done(request_id)
    assert client.kinds() == [DONE]
    client.done(client.speak("The turn after that."))
    assert DONE not in client.kinds()
    client.commit()
    assert client.kinds() == [DONE]


def test_client_that_begins_like_pipecat_is_expected_to_end_its_turns() -> None:
    client = Client(voice="af_heart")
    client.say("tts_session.updated", session={"voice": "af_heart"})
    client.done(client.speak("Hello there."))
    assert DONE not in client.kinds()
    assert client.together.timeout_s == TURN_END_TIMEOUT_S
    client.commit()
    assert client.kinds() == [DONE]
    assert client.together.timeout_s == math.inf


def test_timeout_ends_a_turn_without_the_empty_commit() -> None:
    client = Client(voice="af_heart")
    client.say("tts_session.updated", session={"voice": "af_heart"})
    client.done(client.speak("Hello there."))
    client.new()
    assert [event["type"] for event in events(client.together.time_out())] == [DONE]
    client.done(client.speak("It is me."))
    assert client.kinds() == [RECEIVED, DONE]
    assert client.together.time_out() == []


def test_update_of_another_voice_does_not_mark_turns() -> None:
    client = Client(voice="af_heart")
    client.say("tts_session.updated", session={"voice": "am_michael"})
    client.done(client.speak("Hello there."))
    assert client.kinds()[-1] == DONE


def test_commit_of_an_empty_buffer_is_ignored() -> None:
    client = Client()
    client.new()
    assert client.commit() == []
    assert client.append("  ") == []
    assert client.commit() == []
    assert client.kinds() == [RECEIVED]
    client.done(client.speak("Hello there."))
    assert client.kinds()[-1] == DONE, "the empty commit ended no turn"


def test_complete_sentences_are_spoken_before_the_commit() -> None:
    client = Client()
    tokens = [
        "It",
        " is",
        " Dr.",
        " Smith",
        ",",
        " who",
        " has",
        " 3",
        ".",
        "5",
        " cats",
        ".",
        " They",
        " purr",
    ]
    assert [text for token in tokens for text in client.append(token)] == [
        "It is Dr. Smith, who has 3.5 cats."
    ]
    assert client.append(".") == []
    assert client.commit() == ["They purr."]


def test_sentence_appended_at_once_is_spoken_at_once() -> None:
    client = Client()
    assert client.append("Hello, this is a test.") == ["Hello, this is a test."]
    assert client.append("I have seen Dr.") == []
    assert client.append("Smith. And you") == ["I have seen Dr. Smith."]


def test_done_waits_for_the_commit_of_spoken_text() -> None:
    client = Client()
    client.append("Hello, this is a test.")
    client.done("id-1")
    assert DONE not in client.kinds()
    assert client.commit() == []
    assert client.kinds() == [DONE]


def test_missing_space_between_appended_sentences_is_added() -> None:
    client = Client(segment="never")
    client.append("This is one.")
    client.append("This is another.")
    assert client.commit() == ["This is one. This is another."]


def test_segment_parameter() -> None:
    at_once = Client(segment="immediate")
    assert at_once.append("Hello") == ["Hello"]
    late = Client(segment="never")
    assert late.append("One sentence. Two sentences. ") == []
    assert late.commit() == ["One sentence. Two sentences."]


def test_partial_sentence_is_limited_by_max_partial_length() -> None:
    client = Client(max_partial_length="30")
    text = "when the sun goes down, and the moon comes up behind the hills"
    assert client.append(text) == ["when the sun goes down, and the moon comes up behind"]
    assert client.commit() == ["the hills"]


@pytest.mark.parametrize("text", ["😀" * 1_000 + ". Hi. " + "😀" * 300 + " you", "Hi. " + "- " * 700])
def test_long_text_of_few_words_is_cut(text: str) -> None:
    client = Client(max_characters=100, segment="never")
    client.append(text)
    pieces = client.commit()
    assert max(map(len, pieces)) <= 100
    assert "".join("".join(pieces).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "One two three. Four five. Six seven eight nine. Ten.",
        "One. Two three four five six seven. Eight.",
        "one two three four five six seven eight nine ten eleven",
        "昨日は天気がよかったので公園まで散歩に行きました",
    ],
)
def test_long_text_is_cut_into_requests_within_the_limits(text: str) -> None:
    client = Client(max_words=5, segment="never")
    client.append(text)
    pieces = client.commit()
    assert len(pieces) > 1
    assert all(1 <= word_count(piece) <= 5 for piece in pieces)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_word_times_count_from_the_first_sample_of_the_item() -> None:
    client = Client(alignment="word")
    first, second = client.speak("Hello there."), client.speak("It is me.")
    assert client.messages[0].timestamps is True
    words = [SpokenWord("Hello", 0.1, 0.4, 0, 5), SpokenWord("there.", 0.4, 0.9, 6, 12)]
    client.receive(Meta(first, 0, 0, words))
    client.done(first, duration_s=1.5)
    client.receive(Meta(second, 0, 0, [SpokenWord("It", 0.1, 0.2, 0, 2)]))
    client.receive(Meta(second, 0, 4800))
    assert client.new(WORDS) == [
        {
            "type": WORDS,
            "item_id": "tts_1",
            "words": ["Hello", "there."],
            "start_seconds": [0.1, 0.4],
            "end_seconds": [0.4, 0.9],
        },
        {"type": WORDS, "item_id": "tts_1", "words": ["It"], "start_seconds": [1.6], "end_seconds": [1.7]},
    ]


def test_nothing_follows_a_clear() -> None:
    client = Client()
    speaking, waiting = client.speak("Hello there."), client.speak("It is me.")
    client.append("And I am")
    client.audio(speaking)
    client.new()
    client.messages.clear()
    client.say("input_text_buffer.clear")
    assert client.messages == [Cancel(speaking), Cancel(waiting)]
    assert client.together.encode_audio(request(speaking), PCM) == []
    for message in (StartedSpeak(waiting), Done(speaking, 1.0), Canceled(waiting), Error("x", "x", waiting)):
        assert client.together.encode(message) == []
    assert client.commit() == []
    assert client.new() == []
    client.done(client.speak("Something else."))
    assert [event["item_id"] for event in client.new(DONE)] == ["tts_2"]


def test_unpronounceable_part_is_skipped() -> None:
    client = Client()
    words, emoji = client.speak("Great!"), client.speak("😊")
    client.audio(words)
    client.done(words)
    client.fails(Error.of(Unpronounceable(), emoji))
    assert client.kinds() == [CREATED, RECEIVED, RECEIVED, DELTA, DONE]


def test_unpronounceable_item_fails_and_ends() -> None:
    client = Client()
    client.fails(Error.of(Unpronounceable(), client.speak("😊")))
    failed, done = client.new(FAILED, DONE)
    assert error_of(failed)["code"] == "unpronounceable"
    assert (failed["type"], failed["item_id"], done["item_id"]) == (FAILED, "tts_1", "tts_1")


def test_synthesis_failure_skips_its_part_only() -> None:
    client = Client()
    first, second = client.speak("Hello there."), client.speak("It is me.")
    client.fails(Error.of(SynthesisFailed(), first))
    client.audio(second)
    client.done(second)
    failed, delta, done = client.new(FAILED, DELTA, DONE)
    assert error_of(failed)["type"] == "server_error"
    assert (delta["type"], done["type"]) == (DELTA, DONE)


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ({"voice": "tara"}, "unknown_voice", None),
        ({"model": "canopylabs/orpheus-3b-0.1-ft"}, "model_not_available", "model"),
        ({"response_format": "aac"}, "unsupported_format", None),
        ({"response_encoding": "pcm_f32le"}, "unsupported_format", None),
        ({"response_format": "wav", "response_encoding": "pcm_mulaw"}, "unsupported_format", None),
        ({"sample_rate": "11025"}, "unsupported_sample_rate", None),
        ({"sample_rate": "fast"}, "bad_message", "sample_rate"),
        ({"language": "xx"}, "bad_language", None),
        ({"speed": "9"}, "bad_speed", None),
        ({"speed": "fast"}, "bad_speed", None),
        ({"segment": "word"}, "bad_message", "segment"),
        ({"alignment": "char"}, "bad_message", "alignment"),
        ({"max_partial_length": "0"}, "bad_message", "max_partial_length"),
        ({"extra_params": "["}, "bad_json", None),
        ({"extra_params": '{"pronunciation_dict":["omg"]}'}, "bad_message", "pronunciation_dict"),
    ],
)
def test_unusable_parameter_fails_and_nothing_is_spoken(
    query: dict[str, str], code: str, param: str | None
) -> None:
    client = Client(query)
    created, failed = client.new()
    assert (created["type"], failed["type"]) == (CREATED, FAILED)
    assert (error_of(failed)["code"], error_of(failed)["param"]) == (code, param)
    assert error_of(failed)["type"] == "invalid_request_error"
    assert client.append("Hello, this is a test.") == []
    assert client.commit() == []
    assert client.kinds() == [RECEIVED, FAILED, DONE]


def test_update_replaces_an_unusable_parameter() -> None:
    client = Client(voice="tara")
    client.say("tts_session.updated", session={"voice": "af_heart"})
    assert client.kinds() == [CREATED, FAILED, UPDATED]
    client.speak("Hello there.")
    assert client.messages[-1].voice == "af_heart"


class TestRefusedParameterOfTheAddress:
    REFUSED = {"voice": "am_michael", "sample_rate": "16000", "extra_params": "["}  # noqa: RUF012
    CORRECTED = {"extra_params": {"pronunciation_dict": ["omg/oh my god"]}}  # noqa: RUF012

    def test_other_contexts_inherit_the_error(self) -> None:
        client = Client(self.REFUSED)
        client.new()
        assert client.append("Hello, this is a test.", context_id="c") == []
        assert client.commit(context_id="c") == []
        assert client.kinds() == [RECEIVED, FAILED, DONE]

    def test_text_fails_after_another_parameter_is_updated(self) -> None:
        client = Client(self.REFUSED)
        client.new()
        client.say("tts_session.updated", session={"speed": 1.5})
        client.say("tts_session.updated", session={})
        assert [error_of(event)["code"] for event in client.new()] == ["bad_json"] * 2
        assert client.append("Hello, this is a test.") == []

    def test_corrected_parameter_keeps_the_other_ones(self) -> None:
        client = Client(self.REFUSED)
        client.append("omg", context_id="before")
        client.say("tts_session.updated", session=self.CORRECTED)
        for context_id in ("default", "before", "after"):
            client.speak("omg", context_id=context_id)
        start, *spoken = client.messages
        assert start == Start(format="pcm", sample_rate=16000, timestamps=False)
        assert [(each.text, each.voice) for each in spoken] == [
            ("oh my god", "am_michael"),
            ("omgomg", "am_michael"),
            ("oh my god", "am_michael"),
        ]


def test_update_compiles_its_rules_once_for_all_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    for n in range(5):
        client.append("omg", context_id=str(n))
    compiled: list[Mapping[str, str]] = []
    of = Pronunciations.of

    def counted(replacements: Mapping[str, str]) -> Pronunciations:
        compiled.append(replacements)
        return of(replacements)

    monkeypatch.setattr(Pronunciations, "of", counted)
    client.say("tts_session.updated", session={"extra_params": {"pronunciation_dict": ["omg/oh my god"]}})
    client.say("tts_session.updated", session={"speed": 1.5})
    client.commit(context_id="0")
    assert compiled == [{"omg": "oh my god"}]


def test_update_of_unknown_parameters_keeps_the_settings() -> None:
    client = Client(voice="af_heart")
    [context] = client.together._contexts.values()
    settings = context.settings
    client.say("tts_session.updated", session={"foo": 1})
    assert client.kinds() == [CREATED, UPDATED]
    assert context.settings is settings


def test_update_applies_from_the_next_text() -> None:
    client = Client(voice="af_heart")
    session = {
        "voice": "am_michael",
        "speed": 1.5,
        "language": "en-GB",
        "sample_rate": 16000,
        "alignment": "word",
    }
    client.say("tts_session.updated", session=session)
    assert client.new(UPDATED)[0]["session"]["voice"] == "am_michael"
    request_id = client.speak("Hello there.")
    assert client.messages == [
        Start(format="pcm", sample_rate=16000, timestamps=True),
        Speak("Hello there.", request_id=request_id, voice="am_michael", speed=1.5, language="b"),
    ]
    client.speak("It is me.")
    assert client.messages[2:] == [Speak("It is me.", "id-2", "am_michael", 1.5, "b")], "one start is enough"


def test_refused_update_changes_nothing() -> None:
    client = Client(voice="af_heart")
    client.say("tts_session.updated", session={"voice": "nobody", "speed": 1.5})
    assert [error_of(event)["code"] for event in client.new(FAILED)] == [UnknownVoice.code]
    client.speak("Hello there.")
    assert client.messages[-1] == Speak("Hello there.", request_id="id-1", voice="af_heart")


def test_language_of_the_voice_keeps_its_accent() -> None:
    british = Client(voice="bf_emma", language="en")
    british.speak("Hello there.")
    assert british.messages[-1].language is None
    french = Client(voice="af_heart", language="fr")
    french.speak("Bonjour.")
    assert french.messages[-1].language == "f"


def test_pronunciation_dict_replaces_words() -> None:
    client = Client()
    rules = ["omg/oh my god", "AC/DC/ay see dee see", "Kokoro/[Kokoro](/kˈOkəɹO/)"]
    client.say("tts_session.updated", session={"extra_params": {"pronunciation_dict": rules}})
    client.append("omg, Kokoro is no omgosh")
    assert client.commit() == ["oh my god, [Kokoro](/kˈOkəɹO/) is no omgosh"]


@pytest.mark.parametrize(
    "rules",
    [
        ["a/b"] * (MAX_PRONUNCIATIONS + 1),
        ["a/" + "x" * (MAX_PRONUNCIATION_CHARS + 1)],
        ["x" * (MAX_PRONUNCIATION_CHARS + 1) + "/b"],
        ["!" * (MAX_PRONUNCIATION_CHARS - 1) + chr(0x100 + n) + "/x" for n in range(199)] + ["zz/x"],
    ],
    ids=["rules", "replacement", "source", "sources together"],
)
def test_pronunciations_over_the_limits_are_refused(rules: list[str]) -> None:
    client = Client()
    client.new()
    client.say("tts_session.updated", session={"extra_params": {"pronunciation_dict": rules}})
    [failed] = client.new()
    assert (error_of(failed)["code"], error_of(failed)["param"]) == ("bad_message", "pronunciation_dict")


@pytest.mark.parametrize("speed", [10**400, -(10**400), "1e400", "nan", "-0", True, [1], "fast"])
def test_invalid_speed_is_refused(speed: object) -> None:
    client = Client()
    client.new()
    client.say("tts_session.updated", session={"speed": speed})
    [failed] = client.new()
    assert error_of(failed)["code"] in ("bad_speed", "bad_message")


@pytest.mark.parametrize("name", ["sample_rate", "max_partial_length"])
@pytest.mark.parametrize("number", [10**400, 0, -1, 1.5, "9" * 400, "²"])
def test_invalid_whole_number_is_refused(name: str, number: object) -> None:
    client = Client()
    client.new()
    client.say("tts_session.updated", session={name: number})
    [failed] = client.new()
    assert (error_of(failed)["code"], error_of(failed)["param"]) == ("bad_message", name)


@pytest.mark.parametrize("name", ["model", "voice", "context_id", "type", "session"])
def test_deeply_nested_value_is_refused(name: str) -> None:
    client = Client()
    client.new()
    nested = "[" * 900 + "]" * 900
    fields = {"type": '"tts_session.updated"', "session": "{}"}
    if name in ("model", "voice"):
        fields["session"] = f'{{"{name}": {nested}}}'
    else:
        fields[name] = nested
    client.say_raw("{" + ",".join(f'"{key}": {value}' for key, value in fields.items()) + "}")
    [failed] = client.new()
    assert error_of(failed)["code"] in ("bad_message", "unknown_type", "model_not_available")


class TestContextParameters:
    def test_unknown_parameters_are_dropped(self) -> None:
        client = Client()
        rules = ["omg/oh my god"]
        client.say(
            "tts_session.updated",
            session={"voice": "bf_emma", "a": "x", "extra_params": {"pronunciation_dict": rules, "b": "x"}},
        )
        [context] = client.together._contexts.values()
        assert context.parameters.keys() == {"voice", "extra_params"}
        assert context.settings is not None
        assert context.settings.pronunciations.replacements == {"omg": "oh my god"}

    def test_unknown_parameters_of_the_address_are_dropped(self) -> None:
        [context] = Client(voice="bf_emma", a="x").together._contexts.values()
        assert context.parameters == {"voice": "bf_emma"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("language", "es-" + "x" * MAX_PARAMETER_CHARS),
            ("response_encoding", "x" * (MAX_PARAMETER_CHARS + 1)),
            ("response_encoding", ["x"]),
            ("response_encoding", {"x": 1}),
        ],
    )
    def test_large_parameters_are_refused(self, name: str, value: object) -> None:
        client = Client(response_format="opus")
        client.new()
        client.say("tts_session.updated", session={name: value})
        [failed] = client.new()
        assert (error_of(failed)["code"], error_of(failed)["param"]) == ("bad_message", name)
        [context] = client.together._contexts.values()
        assert name not in context.parameters

    def test_long_context_id_is_refused(self) -> None:
        client = Client()
        client.new()
        client.append("Hello", context_id="x" * (MAX_REQUEST_ID_CHARS + 1))
        [failed] = client.new()
        assert (error_of(failed)["code"], error_of(failed)["param"]) == ("bad_message", "context_id")
        assert len(client.together._contexts) == 1


def test_pronunciations_that_expand_a_text_too_much_fail_its_item() -> None:
    client = Client(segment="never")
    rules = ["a/" + "x" * MAX_PRONUNCIATION_CHARS]
    client.say("tts_session.updated", session={"extra_params": {"pronunciation_dict": rules}})
    client.new()
    client.append("a " * 1_000)
    assert client.commit() == []
    received, failed, done = client.new()
    assert [each["type"] for each in (received, failed, done)] == [RECEIVED, FAILED, DONE]
    assert error_of(failed)["code"] == "bad_text"
    client.append("b")
    assert client.commit() == ["b"]


def test_failing_part_of_an_item_with_audio_is_reported() -> None:
    client = Client(segment="immediate")
    rules = ["a/" + "x" * MAX_PRONUNCIATION_CHARS]
    client.say("tts_session.updated", session={"extra_params": {"pronunciation_dict": rules}})
    client.append("b")
    client.new()
    assert client.append("a " * 1_000) == []
    assert [each["type"] for each in client.new()] == [RECEIVED, FAILED]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("It ends.", True),
        ("It ends!” ", True),
        ("(It ends?)\n", True),
        ("Version 3.", False),
        ("Version 3..", True),
        ("終わり。", True),
        ("It goes on", False),
        ("It goes, ", False),
        ("", False),
        (".", True),
    ],
)
def test_ends_sentence(text: str, ends: bool) -> None:
    assert ends_sentence(text) is ends


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ({"response_format": "mulaw"}, Start(format="mulaw", sample_rate=8000, timestamps=False)),
        ({"response_encoding": "pcm_mulaw"}, Start(format="mulaw", sample_rate=8000, timestamps=False)),
        ({"response_format": "raw"}, Start(format="pcm", sample_rate=24000, timestamps=False)),
        (
            {"response_format": "opus", "sample_rate": "48000"},
            Start(format="opus", sample_rate=48000, timestamps=False),
        ),
    ],
)
def test_formats(query: dict[str, str], start: Start) -> None:
    client = Client(query)
    client.speak("Hello there.")
    assert client.messages[0] == start


def test_wav_begins_with_its_header() -> None:
    client = Client(response_format="wav", sample_rate="16000")
    request_id = client.speak("Hello there.")
    client.audio(request_id)
    client.audio(request_id)
    first, second = (base64.b64decode(str(event["delta"])) for event in client.new(DELTA))
    assert (first[:4], first[8:16], first[36:40], first[44:]) == (b"RIFF", b"WAVEfmt ", b"data", PCM)
    assert int.from_bytes(first[24:28], "little") == 16000
    assert second == PCM


def test_contexts_have_their_own_buffers_voices_and_ends() -> None:
    client = Client(voice="af_heart")
    client.say("tts_session.updated", session={"voice": "am_michael"}, context_id="b")
    client.append("This is", context_id="a")
    in_b = client.speak("Hello there.", context_id="b")
    assert client.messages[-1].voice == "am_michael"
    assert client.commit(context_id="a") == ["This is"]
    assert client.messages[-1].voice == "af_heart"
    client.audio(in_b)
    client.done(in_b)
    assert [event["context_id"] for event in client.new(DELTA, DONE)] == ["b", "b"]
    client.say("context.cancel", context_id="a")
    assert client.messages[-1] == Cancel("id-2")
    assert client.new() == [{"type": CANCELLED, "context_id": "a"}]


def test_number_of_contexts_is_limited() -> None:
    client = Client()
    for n in range(MAX_CONTEXTS - 1):
        client.append("Hi", context_id=f"c{n}")
    client.new()
    client.append("Hi", context_id="one too many")
    [failed] = client.new()
    assert error_of(failed)["param"] == "context_id"
    client.say("context.cancel", context_id="c0")
    client.append("Hi", context_id="one too many")
    assert client.kinds() == [CANCELLED, RECEIVED]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"audio", "unexpected_binary"),
        ("{", "bad_json"),
        ('{"type":"response.create"}', "unknown_type"),
        ('{"type":["input_text_buffer.commit"]}', "unknown_type"),
        ('{"type":"input_text_buffer.append"}', "bad_text"),
        ('{"type":"input_text_buffer.append","text":3}', "bad_text"),
        (
            json.dumps({"type": "input_text_buffer.append", "text": "a" * (MAX_BUFFERED_CHARS + 1)}),
            "bad_text",
        ),
        ('{"type":"input_text_buffer.commit","context_id":3}', "bad_message"),
        ('{"type":"tts_session.updated"}', "bad_message"),
        ('{"type":"tts_session.updated","session":{"voice":3}}', "bad_message"),
        ('{"type":"tts_session.updated","session":{"max_partial_length":true}}', "bad_message"),
    ],
)
def test_malformed_message_fails_and_keeps_the_buffer(frame: str | bytes, code: str) -> None:
    client = Client()
    client.append("Hello")
    client.new()
    assert client.say_raw(frame) == []
    [failed] = client.new()
    assert (failed["type"], error_of(failed)["code"]) == (FAILED, code)
    assert client.commit() == ["Hello"]


@st.composite
def _doings(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Actions: kind, context, text."""
    kinds = st.sampled_from(["append", "append", "commit", "commit", "clear", "cancel", "voice", *_ENDS])
    texts = st.sampled_from(
        ["Hello there. ", "One, two", " and three.", "😊", "  ", "It is me, he said. Yes."]
    )
    return draw(st.lists(st.tuples(kinds, st.sampled_from(["default", "b"]), texts), max_size=40))


_ENDS = ["speaks", "speaks", "ends", "ends", "fails", "cannot"]


@given(_doings(), st.booleans())
def test_every_item_ends_once_or_is_cleared(doings: list[tuple[str, str, str]], is_pipecat: bool) -> None:
    client = Client(voice="af_heart", max_words=2)
    if is_pipecat:
        client.say("tts_session.updated", session={"voice": "af_heart"})
    for kind, context, text in doings:
        _do(client, kind, context, text)
    for context in ("default", "b"):
        client.commit(context_id=context)
    while client.outstanding:
        _do(client, "ends", "", "")
    client.heard += events(client.together.time_out())
    items = [(event["type"], event["item_id"]) for event in client.heard if "item_id" in event]
    for item_id in {item_id for _, item_id in items}:
        kinds = [kind for kind, of in items if of == item_id]
        assert DONE not in kinds[:-1], "something followed the end"
        assert kinds[-1] == DONE or any(kind in ("clear", "cancel") for kind, _, _ in doings)


def _do(client: Client, kind: str, context: str, text: str) -> None:
    match kind:
        case "append":
            client.append(text, context_id=context)
        case "commit":
            client.commit(context_id=context)
        case "clear" | "cancel":
            kinds = {"clear": "input_text_buffer.clear", "cancel": "context.cancel"}
            client.say(kinds[kind], context_id=context)
        case "voice":
            client.say("tts_session.updated", session={"voice": "am_michael"}, context_id=context)
        case _ if client.outstanding:
            _end(client, kind, client.outstanding[0])


def _end(client: Client, kind: str, request_id: str) -> None:
    match kind:
        case "speaks":
            client.audio(request_id)
        case "ends":
            client.done(request_id)
        case "fails":
            client.fails(Error.of(SynthesisFailed(), request_id))
        case "cannot":
            client.fails(Error.of(Unpronounceable(), request_id))
