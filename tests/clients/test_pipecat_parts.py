"""Pure: requests, times and errors of our Pipecat service."""

import asyncio
import re
import warnings
from collections.abc import AsyncIterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus, InvalidURI
from websockets.http11 import Response

from kokoro_trio.clients.resuming import ResumableText
from kokoro_trio.wire.messages import Speak, SpokenWord
from kokoro_trio.wire.words import word_count


@pytest.fixture(scope="module")
def service() -> ModuleType:
    with warnings.catch_warnings():
        # Importing Pipecat's modules raises warnings.
        warnings.simplefilter("ignore")
        from kokoro_trio.clients import pipecat
    return pipecat


def request_of(service: ModuleType, text: str, *ends_s: float) -> Any:  # noqa: ANN401
    """A request whose words end at `ends_s`."""
    request = service.Request(Speak(text, "r"), "c", ResumableText(text))
    request.resumable.add_words(words_of(text, *ends_s))
    return request


def words_of(text: str, *ends_s: float) -> list[SpokenWord]:
    spans = [(found.start(), found.end()) for found in re.finditer(r"\w+", text)]
    return [
        SpokenWord(text[start:end], 0.0, end_s, start, end)
        for (start, end), end_s in zip(spans, ends_s, strict=False)
    ]


def test_only_a_text_over_the_limit_is_split_into_sentences(service: ModuleType) -> None:
    short, long = "Dr. Smith is here. He waits.", "Dr. Smith went on and on, he said. " * 20
    assert service.pieces_of(short, "en") == [short]
    pieces = service.pieces_of(f"{long}Without an end", "en")
    assert [piece.strip() for piece in pieces] == ["Dr. Smith went on and on, he said."] * 20 + [
        "Without an end"
    ]
    assert "".join(pieces) == f"{long}Without an end"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("and so it went on and on, " * 100, "en"),
        ("word " * 1000, "en"),
        ("一" * 1000, "zh"),
        ("今天天气很好，我们去公园散步吧，" * 60, "zh"),
        ("きょうはいいてんきですね、" * 60, "ja"),
        ("ก" * 1000, "th"),
        ("一a " * 300, "zh"),
        ("x" * 20_000, "en"),
        ("Short. " + "and so it went on and on, " * 100 + "end. Short.", "en"),
    ],
)
def test_sentence_over_the_limit_is_split_into_pieces_within_it(
    service: ModuleType, text: str, language: str
) -> None:
    pieces = service.pieces_of(text, language)
    assert "".join(pieces) == text
    assert max(map(word_count, pieces)) <= service.MAX_WORDS
    assert all(piece.strip() for piece in pieces)


def test_long_sentence_is_split_after_a_clause_or_a_word(service: ModuleType) -> None:
    assert all(piece.endswith(", ") for piece in service.pieces_of("and so it went on, " * 100, "en"))
    assert all(piece.endswith("，") for piece in service.pieces_of("我们去公园散步吧，" * 60, "zh"))
    assert all(piece.endswith("word ") for piece in service.pieces_of("word " * 300, "en"))


def message_of_word(**numbers: str) -> str:
    word = {"start_s": "0", "end_s": "0.5", "start_char": "0", "end_char": "5"} | numbers
    fields = ",".join(f'"{name}":{number}' for name, number in word.items())
    return f'{{"type":"meta","request_id":"r","words":[{{"text":"Hello",{fields}}}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"done"',
        "{}",
        '{"type":1}',
        '{"type":["done"]}',
        '{"type":"done","request_id":["r"]}',
        '{"type":"started_speak"}',
        '{"type":"error","code":"too_long"}',
        '{"type":"meta","request_id":"r","words":[{"text":"Hello"}]}',
        '{"type":"meta","request_id":"r","words":["Hello"]}',
        '{"type":"meta","request_id":"r","words":1}',
        message_of_word(start_char="1e400"),
        message_of_word(end_s="1" + "0" * 400),
        "[" * 100_000,
    ],
)
def test_malformed_message_is_an_error(service: ModuleType, text: str) -> None:
    with pytest.raises(service.MalformedMessage, match="malformed message"):
        service.decoded(text)


def test_message_of_an_unknown_type_is_ignored(service: ModuleType) -> None:
    assert service.decoded('{"type":"a_type_of_tomorrow"}') is None


def test_word_is_returned_once_after_all_of_it_was_received(service: ModuleType) -> None:
    request = request_of(service, "One two.", 0.5, 1.0)
    spoken = []
    for received_s in (0.4, 0.5, 0.7, 1.0, 1.1):
        request.received_s = received_s
        spoken.append([word.text for word in request.newly_spoken()])
    assert spoken == [[], ["One"], [], ["two"], []]


def test_request_resumes_where_it_was_lost(service: ModuleType) -> None:
    request = request_of(service, "One two three.", 0.5, 1.0, 1.5)
    assert request.to_send == Speak("One two three.", "r")
    request.received_s = 0.9
    assert [word.text for word in request.newly_spoken()] == ["One"]
    request.resumable.resume(request.received_s, is_first=True)
    assert request.to_send == Speak(" two three.", "r")
    assert request.newly_spoken() == []
    request.resumable.add_words(words_of(" two three.", 0.5, 1.0))
    request.received_s += 0.5
    assert [(word.text, word.end_s) for word in request.newly_spoken()] == [("two", 1.4)]
    assert [word.text for word in request.remaining_words()] == ["three"]
    request.resumable.resume(request.received_s, is_first=True)
    assert request.to_send == Speak(" three.", "r")


def test_early_audio_follows_without_a_gap(service: ModuleType) -> None:
    playhead = service.Playhead()
    assert playhead.place(1.0, 100.0, is_playing=True) == 0.0
    assert playhead.place(0.5, 100.1, is_playing=True) == 1.0
    assert playhead.end_s == 1.5


def test_late_audio_is_heard_late(service: ModuleType) -> None:
    playhead = service.Playhead()
    playhead.place(1.0, 100.0, is_playing=True)
    assert playhead.place(1.0, 103.0, is_playing=True) == 3.0
    assert playhead.end_s == 4.0


def test_audio_of_a_waiting_context_has_no_gaps(service: ModuleType) -> None:
    playhead = service.Playhead()
    playhead.place(1.0, 100.0, is_playing=False)
    assert playhead.place(1.0, 110.0, is_playing=False) == 1.0
    assert playhead.place(1.0, 120.0, is_playing=True) == 2.0
    assert playhead.place(1.0, 125.0, is_playing=True) == 5.0


def refused(status: int, **headers: str) -> InvalidStatus:
    return InvalidStatus(
        Response(status, "", Headers({name.replace("_", "-"): headers[name] for name in headers}))
    )


@pytest.mark.parametrize(
    ("error", "is_worth_retry", "retry_after_s"),
    [
        (None, True, None),
        (ConnectionRefusedError(), True, None),
        (ConnectionClosedError(None, None), True, None),
        (refused(503, Retry_After="5"), True, 5.0),
        (refused(503), True, None),
        (refused(429, Retry_After="²"), True, None),
        (refused(401), False, None),
        (refused(404), False, None),
        (InvalidURI("http://", "no WebSocket"), False, None),
    ],
)
def test_only_temporary_failures_are_retried(
    service: ModuleType, error: Exception | None, is_worth_retry: bool, retry_after_s: float | None
) -> None:
    assert service.is_worth_retry(error) == is_worth_retry
    assert service.retry_after_s(error) == retry_after_s


def test_timeout_of_a_handler_is_not_taken_for_a_silent_server(service: ModuleType) -> None:
    async def frames() -> AsyncIterator[str]:
        yield "{}"

    async def receive(message: str) -> None:
        raise TimeoutError("the handler took too long")

    connected = SimpleNamespace(_websocket=frames(), _connect_timeout_s=60, _receive=receive)
    with pytest.raises(TimeoutError, match="the handler took too long"):
        asyncio.run(service.KokoroTrioTTSService._receive_messages(connected))
