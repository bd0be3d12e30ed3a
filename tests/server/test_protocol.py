"""Pure: the state of a session, with messages and events fed by hand."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from kokoro_trio.errors import SynthesisFailed
from kokoro_trio.server import protocol as protocol_module
from kokoro_trio.server.protocol import Begin, Close, Effect, GiveTurn, Protocol, Request, Send, Silence
from kokoro_trio.speech import WordTime
from kokoro_trio.wire.limits import REMEMBERED_REQUESTS
from kokoro_trio.wire.messages import (
    Cancel,
    Canceled,
    Done,
    Error,
    Meta,
    Queue,
    Speak,
    SpokenWord,
    Start,
    Started,
    StartedSpeak,
    Stop,
)
from tests.support.sessions import make_protocol

TEXT = "Hello there."


@pytest.fixture
def protocol() -> Protocol:
    return make_protocol()


def speak(protocol: Protocol, request_id: str, text: str = TEXT) -> Request:
    effects = protocol.receive(Speak(request_id=request_id, text=text))
    assert isinstance(effects[0], Begin)
    return effects[0].request


def sent(effects: list[Effect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def error_code(effects: list[Effect]) -> str:
    (message,) = sent(effects)
    assert isinstance(message, Error)
    return message.code


class TestStart:
    def test_start_without_fields_uses_the_defaults(self, protocol: Protocol) -> None:
        expected = Started("af_aoede", "pcm", 24000, False, "plain", "session-1")
        assert sent(protocol.receive(Start())) == [expected]

    def test_start_sets_the_voice_of_later_requests(self, protocol: Protocol) -> None:
        protocol.receive(Start(voice="male"))
        assert speak(protocol, "r1").utterance.voice == "am_michael"

    def test_second_start_keeps_the_fields_it_leaves_out(self, protocol: Protocol) -> None:
        protocol.receive(Start(voice="af_heart"))
        (started,) = sent(protocol.receive(Start(timestamps=True)))
        assert started == Started("af_heart", "pcm", 24000, True, "plain", "session-1")

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"voice": "nobody"}, "unknown_voice"),
            ({"format": "flac"}, "unsupported_format"),
            ({"sample_rate": 44101}, "unsupported_sample_rate"),
            ({"format": "mulaw"}, "unsupported_sample_rate"),
            ({"format": "opus", "sample_rate": 44100}, "unsupported_sample_rate"),
            ({"framing": "wrapped"}, "bad_message"),
            ({"language": "de"}, "bad_language"),
            ({"language": ""}, "bad_language"),
            ({"voice": ""}, "unknown_voice"),
            ({"voice": "af_heart+af_nobody"}, "unknown_voice"),
            ({"voice": "af_heart+"}, "unknown_voice"),
        ],
    )
    def test_refused_start_changes_nothing(
        self, protocol: Protocol, fields: dict[str, Any], code: str
    ) -> None:
        assert error_code(protocol.receive(Start(**{"voice": "male"} | fields))) == code
        assert speak(protocol, "r1").utterance.voice == "af_aoede"


class TestFormats:
    @pytest.mark.parametrize(
        ("given", "allowed"),
        [
            ({"sample_rate": 11_025}, ["8000", "16000", "22050", "24000", "44100", "48000"]),
            ({"format": "mulaw", "sample_rate": 16_000}, ["8000"]),
            ({"format": "opus", "sample_rate": 22_050}, ["8000", "16000", "24000", "48000"]),
        ],
    )
    def test_unsupported_sample_rate(
        self, protocol: Protocol, given: dict[str, Any], allowed: list[str]
    ) -> None:
        (message,) = sent(protocol.receive(Start(**given)))
        assert isinstance(message, Error)
        assert (message.code, message.facts["allowed"]) == ("unsupported_sample_rate", allowed)

    def test_unsupported_format_lists_the_formats(self, protocol: Protocol) -> None:
        (message,) = sent(protocol.receive(Start(format="flac")))
        assert isinstance(message, Error)
        assert (message.code, message.facts["allowed"]) == ("unsupported_format", ["pcm", "mulaw", "opus"])

    def test_changed_format_applies_to_later_requests(self, protocol: Protocol) -> None:
        before = speak(protocol, "before")
        protocol.receive(Start(format="mulaw", sample_rate=8000))
        after = speak(protocol, "after")
        for request in (before, after):
            protocol.sends_audio(request, 12_000, 0)
        assert (before.duration_s, after.duration_s) == (0.5, 1.5)


class TestTagged:
    @pytest.fixture
    def protocol(self) -> Protocol:
        protocol = make_protocol()
        protocol.receive(Start(framing="tagged"))
        return protocol

    def test_every_request_gets_the_turn_at_once(self, protocol: Protocol) -> None:
        for request_id in ("r1", "r2"):
            effects = protocol.receive(Speak(request_id=request_id, text="Hi."))
            request = protocol.outstanding[-1]
            assert effects == [Begin(request), GiveTurn(request)]
        assert protocol.is_done(protocol.outstanding[0]) == [Send(Done("r1", 0.0))]

    @pytest.mark.parametrize("request_id", ["r", "x" * 128, "é" * 127])
    def test_tag_is_the_length_of_the_id_and_the_id(self, protocol: Protocol, request_id: str) -> None:
        name = request_id.encode()
        assert speak(protocol, request_id).tag == bytes([len(name)]) + name

    def test_request_id_too_long_for_a_tag_is_refused(self, protocol: Protocol) -> None:
        request_id = "é" * 128
        (message,) = sent(protocol.receive(Speak(request_id=request_id, text="Hi.")))
        assert isinstance(message, Error)
        assert (message.code, message.request_id) == ("bad_message", request_id)
        assert protocol.outstanding == []

    def test_plain_framing_accepts_a_long_request_id(self) -> None:
        assert speak(make_protocol(), "é" * 128).tag == b""

    def test_framing_does_not_change_while_requests_are_outstanding(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        assert error_code(protocol.receive(Start(framing="plain"))) == "bad_message"
        (started,) = sent(protocol.receive(Start(framing="tagged", voice="male")))
        assert isinstance(started, Started)
        protocol.is_done(request)
        (started,) = sent(protocol.receive(Start(framing="plain")))
        assert started == Started("am_michael", "pcm", 24000, False, "plain", "session-1")


class TestVoiceAndLanguage:
    def test_equal_mixtures_are_one_voice(self, protocol: Protocol) -> None:
        (started,) = sent(protocol.receive(Start(voice="am_michael(2)+af_heart(2)")))
        assert isinstance(started, Started)
        assert started.voice == "af_heart+am_michael"
        request = speak(protocol, "r1")
        assert (request.voice_name, request.utterance.voice) == (started.voice, started.voice)

    def test_default_language_is_that_of_the_voice(self, protocol: Protocol) -> None:
        assert speak(protocol, "r1").utterance.language == "a"

    @pytest.mark.parametrize(
        ("in_start", "in_speak", "language"),
        [("es-MX", None, "e"), ("es", "en_GB", "b"), (None, "fr", "f"), (None, "ja", "j")],
    )
    def test_speak_overrides_the_language_of_start(
        self, protocol: Protocol, in_start: str | None, in_speak: str | None, language: str
    ) -> None:
        (started,) = sent(protocol.receive(Start(language=in_start)))
        assert isinstance(started, Started)
        effects = protocol.receive(Speak(text=TEXT, language=in_speak))
        assert isinstance(effects[0], Begin)
        assert effects[0].request.utterance.language == language


class TestSpeak:
    def test_speak_without_start(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        assert (request.utterance.voice, request.utterance.speed) == ("af_aoede", 1.0)

    def test_missing_request_id_is_generated(self, protocol: Protocol) -> None:
        effects = protocol.receive(Speak(text="Hello."))
        assert isinstance(effects[0], Begin)
        assert sent(protocol.starts_speaking(effects[0].request)) == [StartedSpeak("made-up-0")]

    def test_speak_sets_voice_and_speed(self, protocol: Protocol) -> None:
        effects = protocol.receive(Speak(text="Hello.", voice="af_heart", speed=1.5))
        assert isinstance(effects[0], Begin)
        assert effects[0].request.utterance.voice == "af_heart"
        assert effects[0].request.utterance.speed == 1.5

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"text": "one two three four five six"}, "too_long"),
            ({"text": "Hi " + "😀" * 9_998}, "too_long"),
            ({"voice": "af_haert"}, "unknown_voice"),
            ({"voice": ""}, "unknown_voice"),
            ({"voice": "af_heart(0)+af_aoede"}, "unknown_voice"),
            ({"language": "klingon"}, "bad_language"),
        ],
    )
    def test_refused_speak_has_its_request_id_and_changes_nothing(
        self, protocol: Protocol, fields: dict[str, Any], code: str
    ) -> None:
        effects = protocol.receive(Speak(**{"request_id": "bad", "text": "Hello."} | fields))
        (message,) = sent(effects)
        assert isinstance(message, Error)
        assert (message.code, message.request_id) == (code, "bad")
        assert protocol.outstanding == []
        speak(protocol, "bad")

    def test_unknown_voice_has_close_matches(self, protocol: Protocol) -> None:
        (message,) = sent(protocol.receive(Speak(text="Hello.", voice="af_haert")))
        assert isinstance(message, Error)
        assert message.facts["close_matches"][0] == "af_heart"  # type: ignore[index]

    def test_duplicate_request_id_is_refused(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        assert error_code(protocol.receive(Speak(request_id="r1", text="Hi."))) == "duplicate_request"
        protocol.is_done(request)
        speak(protocol, "r1")


class TestLimits:
    def refused(self, protocol: Protocol, text: str, request_id: str | None = None) -> Error:
        (error,) = sent(protocol.receive(Speak(text, request_id)))
        assert isinstance(error, Error)
        return error

    def test_limit_of_characters_in_a_request(self) -> None:
        error = self.refused(make_protocol(max_utterance_characters=11), text=TEXT)
        assert (error.code, error.facts) == ("too_long", {"max_characters": 11, "got_characters": 12})

    def test_cheap_limits_are_checked_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counted: list[str] = []

        def count_words(text: str) -> int:
            counted.append(text)
            return 1

        monkeypatch.setattr(protocol_module, "word_count", count_words)
        protocol = make_protocol(max_requests=1, max_utterance_characters=12, max_characters=20)
        speak(protocol, "r1")
        assert self.refused(protocol, text=TEXT).code == "overloaded"
        protocol = make_protocol(max_utterance_characters=12, max_characters=20)
        speak(protocol, "r1")
        assert self.refused(protocol, text=TEXT).code == "overloaded"
        assert self.refused(protocol, text=TEXT + "!").code == "too_long"
        assert counted == [TEXT, TEXT]

    def test_limit_of_outstanding_requests(self) -> None:
        protocol = make_protocol(max_requests=2)
        first, _ = speak(protocol, "r1"), speak(protocol, "r2")
        error = self.refused(protocol, request_id="r3", text=TEXT)
        assert (error.code, error.request_id) == ("overloaded", "r3")
        assert (error.facts["limit"], error.facts["allowed"]) == ("requests", 2)
        protocol.is_done(first)
        speak(protocol, "r3")

    def test_limit_of_characters_in_all_requests(self) -> None:
        protocol = make_protocol(max_characters=3 * len(TEXT) - 1)
        first, _ = speak(protocol, "r1"), speak(protocol, "r2")
        error = self.refused(protocol, text=TEXT)
        assert error.code == "overloaded"
        assert (error.facts["limit"], error.facts["allowed"]) == ("characters", 35)
        speak(protocol, "r3", TEXT[:-1])
        protocol.receive(Cancel(request_id=first.request_id))
        speak(protocol, "r4")


class TestTurns:
    def test_turn_passes_when_the_first_request_has_ended(self, protocol: Protocol) -> None:
        effects = protocol.receive(Speak(request_id="r1", text="Hi."))
        first = protocol.outstanding[0]
        assert effects == [Begin(first), GiveTurn(first)]
        second = speak(protocol, "r2")
        assert protocol.is_done(first) == [Send(Done("r1", 0.0)), GiveTurn(second)]

    def test_failure_of_a_later_request_gives_no_turn(self, protocol: Protocol) -> None:
        speak(protocol, "r1")
        second = speak(protocol, "r2")
        assert [type(effect) for effect in protocol.has_failed(second, SynthesisFailed())] == [Send]

    def test_cancel_of_the_speaking_request_passes_the_turn(self, protocol: Protocol) -> None:
        first, second = speak(protocol, "r1"), speak(protocol, "r2")
        effects = protocol.receive(Cancel(request_id="r1"))
        assert effects == [Silence(first), Send(Canceled("r1", 0.0, "", TEXT)), GiveTurn(second)]


class TestAudio:
    def test_meta_every_ten_frames_counts_the_samples(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        messages = [sent(protocol.sends_audio(request, 480, segment=2)) for _ in range(20)]
        assert messages[9] == [Meta("r1", 2, 4800)]
        assert messages[19] == [Meta("r1", 2, 9600)]
        assert sum(len(each) for each in messages) == 2

    def test_done_has_the_duration_of_the_audio(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        protocol.sends_audio(request, 36_000, 0)
        assert sent(protocol.is_done(request)) == [Done("r1", 1.5)]


class TestCancel:
    def test_cancel_without_an_id_cancels_everything(self, protocol: Protocol) -> None:
        first, second = speak(protocol, "r1"), speak(protocol, "r2")
        protocol.sends_audio(first, 24_000, 0)
        effects = protocol.receive(Cancel())
        assert effects == [
            Silence(first),
            Send(Canceled("r1", 1.0, "", TEXT)),
            Silence(second),
            Send(Canceled("r2", 0.0, "", TEXT)),
        ]
        assert protocol.outstanding == []

    def test_cancel_without_an_id_and_without_requests_is_ignored(self, protocol: Protocol) -> None:
        assert protocol.receive(Cancel()) == []

    def test_cancel_of_an_unknown_request(self, protocol: Protocol) -> None:
        (message,) = sent(protocol.receive(Cancel(request_id="r1")))
        assert isinstance(message, Error)
        assert (message.code, message.request_id) == ("unknown_request", "r1")

    def test_cancel_that_crosses_the_end_is_ignored(self, protocol: Protocol) -> None:
        protocol.is_done(speak(protocol, "r1"))
        assert protocol.receive(Cancel(request_id="r1")) == []

    def test_second_cancel_is_ignored(self, protocol: Protocol) -> None:
        speak(protocol, "r1")
        protocol.receive(Cancel(request_id="r1"))
        assert protocol.receive(Cancel(request_id="r1")) == []

    def test_ended_requests_are_remembered_up_to_a_limit(self, protocol: Protocol) -> None:
        for n in range(REMEMBERED_REQUESTS + 1):
            protocol.is_done(speak(protocol, f"r{n}"))
        assert error_code(protocol.receive(Cancel(request_id="r0"))) == "unknown_request"
        assert protocol.receive(Cancel(request_id="r1")) == []


WORDS = [WordTime(0, 0, 5, 0.1, 0.5), WordTime(0, 6, 11, 0.6, 1.0)]


class TestWords:
    """The words of "Hello there." end at 0.5 s and at 1.0 s."""

    @pytest.fixture
    def request_(self, protocol: Protocol) -> Request:
        protocol.receive(Start(timestamps=True))
        return speak(protocol, "r1")

    def test_words_are_sent_as_soon_as_they_are_known(self, protocol: Protocol, request_: Request) -> None:
        protocol.starts_speaking(request_)
        protocol.sends_audio(request_, 480, 0)
        (meta,) = sent(protocol.knows_words(request_, WORDS))
        hello, there = SpokenWord("Hello", 0.1, 0.5, 0, 5), SpokenWord("there", 0.6, 1.0, 6, 11)
        assert meta == Meta("r1", 0, 480, [hello, there])

    def test_words_are_sent_after_started_speak(self, protocol: Protocol, request_: Request) -> None:
        assert protocol.knows_words(request_, WORDS[:1]) == []
        assert protocol.knows_words(request_, WORDS[1:]) == []
        started, meta = sent(protocol.starts_speaking(request_))
        assert started == StartedSpeak("r1")
        assert isinstance(meta, Meta)
        assert [word.text for word in meta.words or ()] == ["Hello", "there"]

    def test_words_are_sent_only_with_timestamps(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        protocol.starts_speaking(request)
        assert protocol.knows_words(request, WORDS) == []

    def test_words_are_not_sent_after_the_end(self, protocol: Protocol, request_: Request) -> None:
        protocol.starts_speaking(request_)
        protocol.receive(Cancel())
        assert protocol.knows_words(request_, WORDS) == []

    @pytest.mark.parametrize(
        ("sent_s", "played_s", "spoken", "remaining"),
        [
            (0.0, None, "", "Hello there."),
            (0.4, None, "", "Hello there."),
            (0.5, None, "Hello", " there."),
            (0.9, None, "Hello", " there."),
            (1.0, None, "Hello there.", ""),
            (1.2, 0.7, "Hello", " there."),
            (1.2, 0.0, "", "Hello there."),
            (0.6, 1.2, "Hello", " there."),  # no more than was sent can have been heard
        ],
    )
    def test_canceled_splits_the_text_at_the_heard_word(
        self, protocol: Protocol, sent_s: float, played_s: float | None, spoken: str, remaining: str
    ) -> None:
        request = speak(protocol, "r1")
        protocol.knows_words(request, WORDS)
        protocol.sends_audio(request, round(sent_s * 24_000), 0)
        (canceled,) = sent(protocol.receive(Cancel(request_id="r1", played_s=played_s)))
        assert canceled == Canceled("r1", sent_s, spoken, remaining)

    def test_played_s_refers_to_the_speaking_request(self, protocol: Protocol) -> None:
        first, second = speak(protocol, "r1"), speak(protocol, "r2")
        for request in (first, second):
            protocol.knows_words(request, WORDS)
        protocol.sends_audio(first, 24_000, 0)
        spoken = [
            message.text_spoken
            for message in sent(protocol.receive(Cancel(played_s=1.0)))
            if isinstance(message, Canceled)
        ]
        assert spoken == ["Hello there.", ""]


class TestEnding:
    def test_nothing_follows_an_end(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        protocol.receive(Cancel(request_id="r1"))
        assert protocol.is_done(request) == []
        assert protocol.has_failed(request, SynthesisFailed()) == []
        assert protocol.waits_for_slot(request) == []
        assert protocol.starts_speaking(request) == []

    def test_queue_is_sent_while_outstanding(self, protocol: Protocol) -> None:
        assert sent(protocol.waits_for_slot(speak(protocol, "r1"))) == [Queue("r1")]

    def test_stop_closes_when_all_requests_have_ended(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        assert protocol.receive(Stop()) == []
        effects = protocol.is_done(request)
        assert isinstance(effects[-1], Close)
        assert effects[-1].code == 1000

    def test_stop_of_an_idle_connection_closes_at_once(self, protocol: Protocol) -> None:
        (close,) = protocol.receive(Stop())
        assert isinstance(close, Close)

    def test_after_stop_only_cancel_is_accepted(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        protocol.receive(Stop())
        assert error_code(protocol.receive(Speak(text="More."))) == "bad_message"
        effects = protocol.receive(Cancel())
        assert effects[0] == Silence(request)
        assert isinstance(effects[-1], Close)

    def test_draining_finishes_outstanding_requests_and_refuses_new_ones(self, protocol: Protocol) -> None:
        request = speak(protocol, "r1")
        assert protocol.drain() == []
        assert error_code(protocol.receive(Speak(text="More."))) == "overloaded"
        effects = protocol.is_done(request)
        assert isinstance(effects[-1], Close)
        assert effects[-1].code == 1012

    def test_draining_an_idle_connection_closes_it(self, protocol: Protocol) -> None:
        (close,) = protocol.drain()
        assert isinstance(close, Close)


class AnyOrderOfEvents(RuleBasedStateMachine):
    """In any order of events, each request ends once and speaks only in its turn.

    In tagged framing each request has the turn at once.
    """

    requests: Bundle[Request] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.protocol = make_protocol()
        self.framing = "plain"
        self.ends: dict[str, int] = {}
        self.turns: list[str] = []
        self.accepted: list[str] = []

    @property
    def is_tagged(self) -> bool:
        return self.framing == "tagged"

    @rule(framing=st.sampled_from(["plain", "tagged"]))
    def start(self, framing: str) -> None:
        (effect,) = self.protocol.receive(Start(framing=framing))
        assert isinstance(effect, Send)
        may_change = framing == self.framing or not self.protocol.outstanding
        assert isinstance(effect.message, Started if may_change else Error)
        self.framing = framing if may_change else self.framing

    def note(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, GiveTurn):
                assert effect.request.end is None
                self.turns.append(effect.request.request_id)
            if isinstance(effect, Send) and isinstance(effect.message, Done | Canceled | Error):
                request_id = effect.message.request_id or ""
                self.ends[request_id] = self.ends.get(request_id, 0) + 1

    @rule(target=requests)
    def speak(self) -> Request:
        effects = self.protocol.receive(Speak(text="Hello."))
        self.note(effects)
        assert isinstance(effects[0], Begin)
        self.accepted.append(effects[0].request.request_id)
        assert bool(effects[0].request.tag) == self.is_tagged
        return effects[0].request

    @rule(request=requests)
    def cancel(self, request: Request) -> None:
        self.note(self.protocol.receive(Cancel(request_id=request.request_id)))

    @rule()
    def cancel_all(self) -> None:
        self.note(self.protocol.receive(Cancel()))

    @rule(request=consumes(requests))
    def done(self, request: Request) -> None:
        self.note(self.protocol.is_done(request))

    @rule(request=consumes(requests))
    def failed(self, request: Request) -> None:
        self.note(self.protocol.has_failed(request, SynthesisFailed()))

    @rule(request=requests, target=requests)
    def audio(self, request: Request) -> MultipleResults[Request]:
        if request.end is None:
            self.protocol.sends_audio(request, 480, 0)
        return multiple()

    @invariant()
    def each_ends_once(self) -> None:
        ended = set(self.accepted) - {request.request_id for request in self.protocol.outstanding}
        assert {name: 1 for name in ended} == self.ends

    @invariant()
    def the_oldest_outstanding_has_the_turn_or_all_have(self) -> None:
        outstanding = [request.request_id for request in self.protocol.outstanding]
        if self.is_tagged:
            assert set(outstanding) <= set(self.turns)
        elif outstanding:
            assert self.turns[-1] == outstanding[0]
        assert self.turns == [name for name in self.accepted if name in self.turns]


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
TestAnyOrderOfEvents.settings = settings(
    max_examples=settings().max_examples, stateful_step_count=25, deadline=None
)
