"""Converts samples to signed 16-bit PCM, and divides PCM into frames and messages."""

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from kokoro_trio.config import BYTES_PER_SAMPLE, StreamConfig
from kokoro_trio.errors import BadMessage
from kokoro_trio.speech import Samples

FULL_SCALE = 32767


def to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """Converts float32 of full scale ±1 to int16 of the same shape, and clips values beyond ±1."""
    return np.rint(np.clip(samples, -1.0, 1.0) * FULL_SCALE).astype("<i2")


def from_pcm16(pcm: bytes) -> NDArray[np.int16]:
    """Raises `BadMessage` for half a sample."""
    if len(pcm) % BYTES_PER_SAMPLE:
        raise BadMessage(field="audio", expected="whole 16-bit samples", got=f"{len(pcm)} bytes")
    return np.frombuffer(pcm, "<i2")


@define
class PcmFramer:
    """Collects one request's samples into frames of `chunk_samples`, and frames into messages.

    A message is complete at `buffer_bytes` or `flush_every` frames, whichever comes first. With
    `first_immediate` the first frame is a message of its own, so that the first audio leaves early. Frames
    continue across segments, so only the last frame of a request may be short.
    """

    chunk_samples: int
    buffer_bytes: int
    flush_every: int
    first_immediate: bool
    bytes_per_sample: int = BYTES_PER_SAMPLE
    _rest: bytes = b""
    _n_messages: int = field(default=0)

    @classmethod
    def of(
        cls, config: StreamConfig, sample_rate_hz: int, bytes_per_sample: int = BYTES_PER_SAMPLE
    ) -> "PcmFramer":
        return cls(
            chunk_samples=round(config.chunk_seconds * sample_rate_hz),
            buffer_bytes=config.buffer_bytes,
            flush_every=config.flush_every,
            first_immediate=config.first_chunk_immediate,
            bytes_per_sample=bytes_per_sample,
        )

    def push(self, encoded: bytes) -> list[bytes]:
        """The messages that are complete with these samples."""
        pcm = self._rest + encoded
        messages = []
        start = 0
        while len(pcm) - start >= (size := self._message_bytes()):
            messages.append(pcm[start : start + size])
            self._n_messages += 1
            start += size
        self._rest = pcm[start:]
        return messages

    def flush(self) -> list[bytes]:
        """The remaining frames at the end of the request; the last one may be short."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def _message_bytes(self) -> int:
        chunk_bytes = self.chunk_samples * self.bytes_per_sample
        if self.first_immediate and self._n_messages == 0:
            return chunk_bytes
        chunks_to_fill_buffer = -(-self.buffer_bytes // chunk_bytes)
        return min(chunks_to_fill_buffer, self.flush_every) * chunk_bytes
