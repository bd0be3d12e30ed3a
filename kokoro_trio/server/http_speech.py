"""`POST /v1/audio/speech`: one request is one utterance, whose audio is streamed.

This is plain ASGI instead of a Quart view, because one task and one cancel scope must do all the work for a
request; Quart runs a view and its response body in two. The response begins with the first audio, so that an
error before it gets its own status. A later error aborts the transfer, so that no client takes truncated
audio for complete audio.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing
from http import HTTPStatus
from typing import Any

import structlog
import trio
from attrs import define

from kokoro_trio.audio.files import file_encoder_for
from kokoro_trio.audio.frames import AudioFrame
from kokoro_trio.config import ListenConfig, StreamConfig
from kokoro_trio.engine.engine import Engine
from kokoro_trio.errors import Overloaded, RequestError, SynthesisFailed
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.encoding import encode_utterance
from kokoro_trio.server.keys import ApiKeys, Seats
from kokoro_trio.server.openai import (
    Refusal,
    SpeechRequest,
    delta_event,
    done_event,
    error_event,
    speech_request,
    too_large,
    too_slow,
    wrong_key,
    wrong_method,
)
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.telemetry.records import DISCONNECTED
from kokoro_trio.telemetry.telemetry import Telemetry
from kokoro_trio.telemetry.times import RequestTimes

log = structlog.get_logger()

RETRY_AFTER_S = 2
DONE = "done"
JSON_CONTENT_TYPE = "application/json"

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Event, Receive, Send], Awaitable[None]]


class ClientLeft(Exception):
    """The client left before its request was complete."""


@define(eq=False)
class _Answer:
    """The response to one request: `begin` once, then `write`, then `end`, without which it is aborted."""

    _send: Send
    request_id: str
    has_begun: bool = False

    async def begin(
        self, status: HTTPStatus, content_type: str, headers: list[tuple[str, str]] | None = None
    ) -> None:
        self.has_begun = True
        fields = [
            ("Content-Type", content_type),
            # Proxies must neither buffer nor cache a streamed response.
            ("Cache-Control", "no-store"),
            ("X-Accel-Buffering", "no"),
            ("X-Request-Id", self.request_id),
            *(headers or []),
        ]
        raw = [(name.lower().encode(), value.encode()) for name, value in fields]
        await self._send({"type": "http.response.start", "status": int(status), "headers": raw})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, refusal: Refusal) -> None:
        body = json.dumps(refusal.body).encode()
        length = ("Content-Length", str(len(body)))
        await self.begin(refusal.status, JSON_CONTENT_TYPE, [length, *refusal.headers])
        await self.write(body)
        await self.end()


@define(eq=False)
class _Speech:
    """A request that is being spoken."""

    request: SpeechRequest
    answer: _Answer
    times: RequestTimes
    key: int
    """The number of its API key."""
    n_samples_sent: int = 0
    end: str = DISCONNECTED
    error: RequestError | None = None

    async def hand_over(self, segment: int, frames: list[AudioFrame]) -> None:
        if not frames:
            return
        data = b"".join(frame.data for frame in frames)
        if not self.answer.has_begun:
            await self.answer.begin(HTTPStatus.OK, self.request.content_type)
        await self.answer.write(delta_event(data) if self.request.is_sse else data)
        self.times.frame_sent()
        self.n_samples_sent += sum(frame.n_samples for frame in frames)

    async def conclude(self) -> None:
        """Ends the answer, or leaves it without an end if its audio is not complete."""
        if self.error is not None:
            await self._fail(Refusal.of(self.error, RETRY_AFTER_S))
        elif self.end == DONE:
            if self.request.is_sse:
                await self.answer.write(done_event())
            await self.answer.end()

    async def _fail(self, refusal: Refusal) -> None:
        if not self.answer.has_begun:
            await self.answer.refuse(refusal)
        elif self.request.is_sse:
            await self.answer.write(error_event(refusal))


@define(eq=False)
class HttpSpeech:
    """An ASGI application."""

    _config: ListenConfig
    _stream_config: StreamConfig
    _api_keys: ApiKeys
    _seats: Seats
    _engine: Engine
    _telemetry: Telemetry
    _voices: Callable[[], VoiceCatalogue]
    _overloaded: Callable[[], Overloaded | None]
    """The error for new requests while they cannot be accepted, else None: `_voices` may be called then."""

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Handles every exception, so that a fault affects only this request."""
        answer = _Answer(send, uuid.uuid4().hex)
        try:
            await self._serve(scope, receive, answer)
        except* Exception:
            log.exception("http_speech_failed", request_id=answer.request_id)
            if not answer.has_begun:
                await answer.refuse(Refusal.of(SynthesisFailed(), RETRY_AFTER_S))

    async def _serve(self, scope: Event, receive: Receive, answer: _Answer) -> None:
        now = trio.current_time()
        times = RequestTimes(now, turn_at=now)
        try:
            # No `await` between check and seat, or concurrent requests would take the same seat.
            key = self._admitted_key(scope)
            with self._seats.taken_by(key):
                request = self._request(await self._body(receive))
                await self._speak(_Speech(request, answer, times, key), receive)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except RequestError as error:
            self._telemetry.message_refused(error.code)
            await answer.refuse(Refusal.of(error, RETRY_AFTER_S))
        except ClientLeft:
            pass

    def _admitted_key(self, scope: Event) -> int:
        """Checks the head of a request, the key first, and returns the key's number.

        Raises `Refusal` or `RequestError`.
        """
        key = self._api_keys.key_for(scope["query_string"].decode("latin-1"), scope["headers"])
        if key is None:
            raise wrong_key()
        if scope["method"] != "POST":
            raise wrong_method("POST")
        if (error := self._overloaded()) is not None:
            raise error
        if not self._seats.is_free_for(key):
            raise Overloaded(reason="the limit of connections is reached")
        return key

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        with trio.move_on_after(self._config.handshake_timeout_s):
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise ClientLeft
                body += event["body"]
                if len(body) > self._config.max_message_bytes:
                    raise too_large(self._config.max_message_bytes)
                if not event["more_body"]:
                    return bytes(body)
        raise too_slow(self._config.handshake_timeout_s)

    def _request(self, body: bytes) -> SpeechRequest:
        """Raises `RequestError`."""
        request = speech_request(body, self._voices(), self._config.max_input_characters)
        if self._engine.is_full:
            raise Overloaded(reason="the limit of waiting requests is reached")
        return request

    async def _speak(self, speech: _Speech, receive: Receive) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
                await self._synthesize(speech)
                nursery.cancel_scope.cancel()
            await speech.conclude()
        finally:
            if self._engine.has_failed and speech.end == DISCONNECTED:
                speech.end = SynthesisFailed.code
            self._telemetry.request_ended(
                speech.times.record(
                    request_id=speech.answer.request_id,
                    voice=speech.request.voice_name,
                    end=speech.end,
                    audio_s=speech.n_samples_sent / SAMPLE_RATE_HZ,
                    ended_at=trio.current_time(),
                )
            )

    async def _synthesize(self, speech: _Speech) -> None:
        try:
            # The requests of one key count as one session, so that many of them get no larger share of slots.
            session, playout = ("http", speech.key), speech.answer.request_id
            async with self._engine.open(speech.request.utterance, session, playout) as stream:
                await stream.wait_for_slot()
                speech.times.slot_at = trio.current_time()
                with closing(file_encoder_for(speech.request.format, self._stream_config)) as encoder:
                    await encode_utterance(stream, encoder, speech.times.head_silence, speech.hand_over)
            speech.end = DONE
        except RequestError as error:
            speech.end, speech.error = error.code, error
        except Exception:
            speech.end = SynthesisFailed.code
            raise


async def _cancel_when_gone(receive: Receive, speaking: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    speaking.cancel()
