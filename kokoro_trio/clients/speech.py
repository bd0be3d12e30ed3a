"""One `speak` request of a client: its audio, the server's messages about it, and its times."""

import math
import uuid
import wave
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np
import trio
from attrs import evolve, frozen
from numpy.typing import NDArray

from kokoro_trio.audio.decoders import Decode, decoder_for
from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.clients.errors import ClientError, DecoderMissing, RequestFailed
from kokoro_trio.config import BYTES_PER_SAMPLE
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire.formats import decoded_rate_hz
from kokoro_trio.wire.messages import (
    Cancel,
    Canceled,
    ClientMessage,
    Done,
    Error,
    Meta,
    Queue,
    Speak,
    SpokenWord,
    StartedSpeak,
)

Send = Callable[[ClientMessage], Awaitable[None]]
SpeechMessage = StartedSpeak | Queue | Meta | Done | Canceled | Error
"""The server's messages about one request."""


class Speech:
    """One request and its audio; `ClientSession.speak` makes it.

    Iterate it once: int16 arrays of shape (n,), mono at `sample_rate_hz`, one for each frame that arrives
    (those of PCM are read-only). μ-law and Opus are decoded, Opus to 48 kHz; `encoded` holds the frames as
    they arrived: for Opus, an Ogg file. The iteration ends with `done` or `canceled`. If the server answers
    with an error, it raises `RequestFailed` after the audio that came before; it also raises
    `ConnectionLost`.

    Times are those of `trio.current_time()`, in seconds, taken when frames arrive, not when they are read.
    `end` is None, then "done", "canceled", "connection_lost" or the server's error code; `duration_s` is the
    length of the audio as the server counts it; `segment` the sentence that the last `meta` named; `words`
    those whose times are known, if the session was started with `timestamps`. `text_spoken` and
    `text_remaining` come with "canceled".
    """

    def __init__(self, request: Speak, audio_format: str, sample_rate_hz: int) -> None:
        self.request_id = request.request_id or uuid.uuid4().hex
        self.text = request.text
        self.sample_rate_hz = decoded_rate_hz(audio_format, sample_rate_hz)
        self.encoded = bytearray()
        self.requested_at = trio.current_time()
        self.was_queued = False
        self.started_at: float | None = None
        self.arrivals: list[Arrival] = []
        self.segment: int | None = None
        self.words: list[SpokenWord] = []
        self.text_spoken: str | None = None
        self.text_remaining: str | None = None
        self.ended_at: float | None = None
        self.end: str | None = None
        self.duration_s: float | None = None
        self._request = evolve(request, request_id=self.request_id)
        self._audio_format = audio_format
        self._error: ClientError | None = None
        self._head_silence = HeadSilence(self.sample_rate_hz)
        self._is_silenced = False
        self._is_over = trio.Event()
        # Unbounded: a player takes a minute for a minute of audio. A bounded channel would stop the reading
        # from the connection meanwhile: the server would drop the client after WS_SEND_TIMEOUT, and the
        # other speeches would wait. At most one utterance is queued: three minutes, 10 MB.
        self._audio_in, self._audio_out = trio.open_memory_channel[NDArray[np.int16]](math.inf)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> NDArray[np.int16]:
        # `EndOfChannel` after the end of the request, `ClosedResourceError` after `cancel`.
        with suppress(trio.EndOfChannel, trio.ClosedResourceError):
            return await self._audio_out.receive()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def read_all(self) -> NDArray[np.int16]:
        """The samples that are still to come, in one array. Raises as the iteration does."""
        pieces = [samples async for samples in self]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    async def cancel(self, played_s: float | None = None) -> None:
        """Barge-in: ends the iteration at once and sends `cancel`. Raises `ConnectionLost`.

        `played_s`: the seconds of this speech that the listener heard; without it, all audio that was sent
        counts as heard. `wait_until_over` returns when the server has answered. Does nothing after the end.
        """
        if self.end is None and not self._is_silenced:
            self._silence(played_s)
            if self.end is None:
                await self._send(Cancel(self.request_id, played_s))

    async def wait_until_over(self) -> None:
        """Waits for `done` or `canceled`, whether the audio is read or not.

        Raises `RequestFailed` and `ConnectionLost`.
        """
        await self._is_over.wait()
        if self._error is not None:
            raise self._error

    @property
    def error(self) -> ClientError | None:
        """The iteration raises it at its end; None without an error."""
        return self._error

    @property
    def n_samples(self) -> int:
        """Samples received."""
        return sum(arrival.n_samples for arrival in self.arrivals)

    @property
    def audio_s(self) -> float:
        """Seconds of audio received."""
        return self.n_samples / self.sample_rate_hz

    @property
    def timing(self) -> "Timing":
        """The times so far; they are final when the speech has ended."""
        ended_at = trio.current_time() if self.ended_at is None else self.ended_at
        return Timing.of(
            self.requested_at,
            self.arrivals,
            self._head_silence.seconds,
            ended_at,
            sample_rate_hz=self.sample_rate_hz,
        )

    # For the session.

    def _begin(self, send: Send) -> Speak:
        """The request to send on the connection of `send`."""
        self._send = send
        self._decode = new_decoder(self._audio_format)
        return self._request

    def _take(self, message: SpeechMessage, at: float) -> None:
        match message:
            case Queue():
                self.was_queued = True
            case StartedSpeak():
                self.started_at = at
            case Meta(segment=segment, words=words):
                self.words += words or ()
                # A message with words comes before the audio of its segment.
                self.segment = self.segment if words else segment
            case Done(duration_s=duration_s):
                self.duration_s = duration_s
                self._finish("done", at)
            case Canceled(duration_s=duration_s):
                self.duration_s = duration_s
                self.text_spoken, self.text_remaining = message.text_spoken, message.text_remaining
                self._finish("canceled", at)
            case Error():
                self._fail(RequestFailed.of(message), at)

    def _take_audio(self, audio: bytes, at: float) -> None:
        self.encoded += audio
        samples = self._decode(audio)
        self.arrivals.append(Arrival(at, len(samples)))
        self._head_silence.feed(samples)
        if not self._is_silenced:
            self._audio_in.send_nowait(samples)

    def _silence(self, played_s: float | None) -> None:
        self._is_silenced = True
        self._audio_out.close()

    def _fail(self, error: ClientError, at: float) -> None:
        self._error = error
        self._finish(error.code if isinstance(error, RequestFailed) else "connection_lost", at)

    def _finish(self, end: str, at: float) -> None:
        self.end = end
        self.ended_at = at
        self._audio_in.close()
        self._is_over.set()


def new_decoder(audio_format: str) -> Decode:
    """A decoder for the audio of one request. Raises `DecoderMissing`."""
    try:
        return decoder_for(audio_format)
    except ModuleNotFoundError as error:
        raise DecoderMissing(audio_format) from error


@frozen
class Arrival:
    """A frame of audio: when it arrived, and its length."""

    at: float
    n_samples: int


@frozen
class Timing:
    """The times of one request at its client, in seconds. None: the client received nothing to measure.

    `ttfb_s`: from `speak` sent to the first frame of audio received. `ttfa_s`: the same plus the silence at
    the head of the audio, so the time until a listener hears something. `audio_s`: audio received.
    """

    ttfb_s: float | None
    ttfa_s: float | None
    wall_s: float
    audio_s: float

    @classmethod
    def of(
        cls,
        requested_at: float,
        arrivals: Sequence[Arrival],
        head_silence_s: float | None,
        ended_at: float,
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
    ) -> Self:
        ttfb_s = arrivals[0].at - requested_at if arrivals else None
        return cls(
            ttfb_s=ttfb_s,
            ttfa_s=None if ttfb_s is None or head_silence_s is None else ttfb_s + head_silence_s,
            wall_s=ended_at - requested_at,
            audio_s=sum(arrival.n_samples for arrival in arrivals) / sample_rate_hz,
        )

    @property
    def rtf(self) -> float | None:
        return self.wall_s / self.audio_s if self.audio_s else None

    @property
    def xrt(self) -> float | None:
        return self.audio_s / self.wall_s if self.audio_s and self.wall_s else None

    def __str__(self) -> str:
        return (
            f"TTFB {_shown(self.ttfb_s, 1000, '.0f')} ms, TTFA {_shown(self.ttfa_s, 1000, '.0f')} ms, "
            f"time {self.wall_s:.2f} s, audio {self.audio_s:.2f} s, "
            f"RTF {_shown(self.rtf, 1, '.3f')}, xRT {_shown(self.xrt, 1, '.2f')}"
        )


def _shown(value: float | None, scale: float, form: str) -> str:
    return "-" if value is None else format(value * scale, form)


def save_wav(path: str | Path, samples: NDArray[np.int16], sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """`samples`: int16, mono. Raises OSError."""
    # `wave` prints a traceback from its finalizer if it cannot open a file by itself.
    with Path(path).open("wb") as file, wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(BYTES_PER_SAMPLE)
        wav.setframerate(sample_rate_hz)
        wav.writeframes(samples.astype("<i2").tobytes())
