"""A server with OpenAI's interface: `POST /v1/audio/speech`, streamed as PCM."""

import argparse
import http.client
import json
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np
import trio
from attrs import frozen

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.client import Arrival, Timing

from ..load import CONNECTION_LOST, NEVER_ENDED, Failed, Spoken

TIMEOUT_S = 60.0
"""The longest wait for the next piece of an answer."""
READ_BYTES = 65536
BYTES_PER_SAMPLE = 2
"""OpenAI's `pcm` is 16-bit, mono, at 24 kHz."""
NO_AUDIO = "no_audio"


@frozen
class OpenAiServer:
    url: SplitResult
    key: str | None
    model: str
    voice: str

    @property
    def name(self) -> str:
        return self.url.netloc

    async def speak(self, sentence: str) -> Spoken | Failed:
        return await trio.to_thread.run_sync(self._speak, sentence)

    def _speak(self, sentence: str) -> Spoken | Failed:
        """A connection for each request, as servers close idle ones at times of their own."""
        connection = self._connection()
        try:
            # Not part of the measured time: the connections to our own server are open as well.
            connection.connect()
            requested_at = time.perf_counter()
            connection.request("POST", f"{self.url.path}/audio/speech", self._body(sentence), self._headers)
            return _heard(connection.getresponse(), requested_at)
        except TimeoutError:
            return Failed(NEVER_ENDED)
        except (OSError, http.client.HTTPException):
            return Failed(CONNECTION_LOST)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        is_tls = self.url.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        return kind(self.url.hostname or "", self.url.port, timeout=TIMEOUT_S)

    @property
    def _headers(self) -> dict[str, str]:
        authorization = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        return {"Content-Type": "application/json", **authorization}

    def _body(self, sentence: str) -> str:
        request: dict[str, Any] = {"model": self.model, "voice": self.voice, "input": sentence}
        return json.dumps({**request, "response_format": "pcm", "stream": True})


def base_url(text: str) -> SplitResult:
    """A type for argparse. Adds /v1 to a URL without it."""
    url = urlsplit(text.rstrip("/"))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not an HTTP URL")
    return url if url.path.endswith("/v1") else url._replace(path=f"{url.path}/v1")


def _heard(response: http.client.HTTPResponse, requested_at: float) -> Spoken | Failed:
    """Reads the audio as it arrives. Raises OSError and HTTPException."""
    if response.status != http.client.OK:
        return Failed(f"http_{response.status}")
    arrivals: list[Arrival] = []
    silence, rest = HeadSilence(), b""
    while received := response.read1(READ_BYTES):
        audio = rest + received
        n_bytes = len(audio) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
        samples, rest = np.frombuffer(audio[:n_bytes], "<i2"), audio[n_bytes:]
        arrivals.append(Arrival(time.perf_counter(), len(samples)))
        silence.feed(samples)
    if response.length:  # Bytes that were announced and did not come.
        return Failed(CONNECTION_LOST)
    if not arrivals:
        return Failed(NO_AUDIO)
    timing = Timing.of(requested_at, arrivals, silence.seconds, time.perf_counter())
    return Spoken.of(timing, arrivals)
