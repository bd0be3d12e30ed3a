"""Pure: what our Pipecat service knows of requests, times and connections."""

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus, InvalidURI
from websockets.http11 import Response

from kokoro_trio.text.segmentation import word_count


@pytest.fixture(scope="module")
def service() -> ModuleType:
    with warnings.catch_warnings():
        # Pipecat's own imports.
        warnings.simplefilter("ignore")
        from kokoro_trio.clients import pipecat
    return pipecat


TEXT = 'He said: "Hello, [Kokoro](/kˈOkəɹO/)!" And left.'


def words_of(service: ModuleType, text: str, *spans: tuple[str, float]) -> Sequence[Any]:
    """Words of the text in its order, each ending so many seconds in."""
    words, at, start_s = [], 0, 0.0
    for word, end_s in spans:
        at = text.index(word, at)
        words.append(service.Word(word, start_s, end_s, at, at + len(word)))
        at, start_s = at + len(word), end_s
    return words


@pytest.mark.parametrize(
    ("n_spoken", "remaining"),
    [
        (0, TEXT),
        (1, ' said: "Hello, [Kokoro](/kˈOkəɹO/)!" And left.'),
        (2, ' "Hello, [Kokoro](/kˈOkəɹO/)!" And left.'),
        (3, ' [Kokoro](/kˈOkəɹO/)!" And left.'),
        (4, " And left."),
        (5, " left."),
        (6, ""),
    ],
)
def test_what_remains_begins_behind_the_last_word_and_its_marks(
    service: ModuleType, n_spoken: int, remaining: str
) -> None:
    words = words_of(
        service, TEXT, *[(word, 0.0) for word in ("He", "said", "Hello", "Kokoro", "And", "left")]
    )
    assert service.remaining_text(TEXT, words, n_spoken) == remaining
    # What is known of the words that follow changes nothing.
    assert service.remaining_text(TEXT, words[:n_spoken], n_spoken) == remaining


def test_words_without_a_space_between_them_are_cut_where_the_next_begins(service: ModuleType) -> None:
    words = words_of(service, "一二三", ("一", 1.0), ("二", 2.0), ("三", 3.0))
    assert service.remaining_text("一二三", words, 2) == "三"


def test_only_a_text_that_is_too_long_is_cut_into_its_sentences(service: ModuleType) -> None:
    short, long = "Dr. Smith is here. He waits.", "Dr. Smith went on and on, he said. " * 20
    assert service.pieces_of(short, "en") == [short]
    pieces = service.pieces_of(f"{long}Without an end", "en")
    assert [piece.strip() for piece in pieces] == ["Dr. Smith went on and on, he said."] * 20 + [
        "Without an end"
    ]
    assert "".join(pieces) == f"{long}Without an end"


# The server's count is what decides, so it is the one that the pieces are measured with.
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
def test_a_sentence_that_is_too_long_is_cut_into_pieces_that_the_server_takes(
    service: ModuleType, text: str, language: str
) -> None:
    pieces = service.pieces_of(text, language)
    assert "".join(pieces) == text
    assert max(map(word_count, pieces)) <= service.MAX_WORDS
    assert all(piece.strip() for piece in pieces)


def test_a_long_sentence_is_cut_behind_a_clause_or_a_word(service: ModuleType) -> None:
    assert all(piece.endswith(", ") for piece in service.pieces_of("and so it went on, " * 100, "en"))
    assert all(piece.endswith("，") for piece in service.pieces_of("我们去公园散步吧，" * 60, "zh"))
    assert all(piece.endswith("word ") for piece in service.pieces_of("word " * 300, "en"))


def message_of_word(**numbers: str) -> str:
    told = {"start_s": "0", "end_s": "0.5", "start_char": "0", "end_char": "5"} | numbers
    fields = ",".join(f'"{name}":{number}' for name, number in told.items())
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
def test_malformed_message_raises_bad_message(service: ModuleType, text: str) -> None:
    with pytest.raises(service.BadMessage, match="malformed message"):
        service.parsed_message(text)


def test_a_message(service: ModuleType) -> None:
    word = {"text": "Hello", "start_s": 0, "end_s": 0.5, "start_char": 0, "end_char": 5}
    text = json.dumps({"type": "meta", "request_id": "r", "segment": 1, "words": [word]})
    message = service.parsed_message(text)
    assert message["words"] == [service.Word("Hello", 0.0, 0.5, 0, 5)]
    assert (message["request_id"], message["segment"]) == ("r", 1)


def test_a_word_is_told_once_when_all_of_it_was_received(service: ModuleType) -> None:
    request = service.Request("r", "c", "One two.", {})
    request.words += words_of(service, "One two.", ("One", 0.5), ("two", 1.0))
    told = []
    for received_s in (0.4, 0.5, 0.7, 1.0, 1.1):
        request.received_s = received_s
        told.append([word.text for word in request.newly_spoken()])
    assert told == [[], ["One"], [], ["two"], []]


def test_a_request_goes_on_where_it_was_lost(service: ModuleType) -> None:
    request = service.Request("r", "c", "One two three.", {})
    request.go_on()
    assert (request.text, request.is_rest) == ("One two three.", False)
    request.words += words_of(service, request.text, ("One", 0.5), ("two", 1.0), ("three", 1.5))
    request.received_s = 0.9
    request.newly_spoken()
    request.go_on()
    assert (request.text, request.is_rest) == (" two three.", True)
    assert (request.words, request.received_s, request.newly_spoken()) == ([], 0.0, [])
    request.words += words_of(service, request.text, ("two", 0.5))
    request.received_s = 0.5
    request.newly_spoken()
    request.go_on()
    assert (request.text, request.is_rest) == (" three.", True)


def test_audio_that_comes_early_follows_without_a_gap(service: ModuleType) -> None:
    playhead = service.Playhead()
    assert playhead.place(1.0, 100.0, is_playing=True) == 0.0
    assert playhead.place(0.5, 100.1, is_playing=True) == 1.0
    assert playhead.end_s == 1.5


def test_audio_that_comes_late_is_heard_late(service: ModuleType) -> None:
    playhead = service.Playhead()
    playhead.place(1.0, 100.0, is_playing=True)
    assert playhead.place(1.0, 103.0, is_playing=True) == 3.0
    assert playhead.end_s == 4.0


def test_audio_that_waits_for_its_turn_has_no_gaps(service: ModuleType) -> None:
    playhead = service.Playhead()
    playhead.place(1.0, 100.0, is_playing=False)
    assert playhead.place(1.0, 110.0, is_playing=False) == 1.0
    assert playhead.place(1.0, 120.0, is_playing=True) == 2.0
    assert playhead.place(1.0, 125.0, is_playing=True) == 5.0


def refused(status: int, **headers: str) -> InvalidStatus:
    return InvalidStatus(
        Response(status, "", Headers({name.replace("_", "-"): headers[name] for name in headers}))
    )


def test_waits_longer_from_try_to_try(service: ModuleType) -> None:
    backoff = service.Backoff(patience_s=60.0)
    error = ConnectionRefusedError()
    assert [backoff.delay_s(error, 10.0) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    backoff.reset()
    assert backoff.delay_s(ConnectionClosedError(None, None), 10.0) == 0.1
    assert backoff.delay_s(None, 10.0) == 0.2


def test_waits_as_long_as_the_server_says(service: ModuleType) -> None:
    backoff = service.Backoff(patience_s=60.0)
    assert backoff.delay_s(refused(503, Retry_After="5"), 0.0) == 5.0
    assert backoff.delay_s(refused(503), 0.0) == 0.2
    assert backoff.delay_s(refused(503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), 0.0) == 0.4


def test_a_retry_after_that_is_no_number_is_left_out(service: ModuleType) -> None:
    assert service.Backoff(patience_s=60.0).delay_s(refused(503, Retry_After="²"), 0.0) == 0.1


def test_waits_longer_for_a_server_that_accepts_and_drops(service: ModuleType) -> None:
    backoff, now_s, delays_s = service.Backoff(patience_s=60.0), 100.0, []
    for _ in range(4):
        delays_s.append(backoff.delay_s(None, now_s))
        now_s += delays_s[-1]
        backoff.connected(now_s)
    assert delays_s == [0.1, 0.2, 0.4, 0.8]
    assert backoff.delay_s(None, now_s + service.SETTLED_S) == 0.1, "that connection lasted"


def test_a_connection_that_lasted_gives_the_whole_patience_back(service: ModuleType) -> None:
    backoff = service.Backoff(patience_s=3.0)
    backoff.delay_s(OSError(), 100.0)
    backoff.connected(102.0)
    assert backoff.delay_s(OSError(), 110.0) == 0.1


def test_stops_when_the_patience_is_over(service: ModuleType) -> None:
    backoff = service.Backoff(patience_s=3.0)
    assert backoff.delay_s(OSError(), 100.0) == 0.1
    assert backoff.delay_s(OSError(), 102.0) == 0.2
    assert backoff.delay_s(OSError(), 102.9) is None


@pytest.mark.parametrize("error", [refused(401), refused(404), InvalidURI("http://", "no WebSocket")])
def test_does_not_try_again_what_cannot_help(service: ModuleType, error: Exception) -> None:
    assert service.Backoff(patience_s=60.0).delay_s(error, 0.0) is None


def test_timeout_of_a_handler_is_not_taken_for_a_silent_server(service: ModuleType) -> None:
    async def frames() -> AsyncIterator[str]:
        yield "{}"

    async def receive(message: str) -> None:
        raise TimeoutError("the handler took too long")

    connected = SimpleNamespace(_websocket=frames(), _connect_timeout_s=60, _receive=receive)
    with pytest.raises(TimeoutError, match="the handler took too long"):
        asyncio.run(service.KokoroTrioTTSService._receive_messages(connected))
