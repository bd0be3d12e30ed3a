"""Encoders for HTTP: the bytes of a response are an audio file.

The server sends a file's header before it knows the duration, so the header leaves the duration open and
players read to the end. PyAV encodes the compressed formats; each packet is sent as soon as it is encoded.
"""

import struct
from collections.abc import Mapping

import av
import numpy as np
from attrs import field, frozen
from av import AudioStream
from av.container import OutputContainer

from kokoro_trio.audio.codecs import encoder_for
from kokoro_trio.audio.frames import AudioFrame, Encoder
from kokoro_trio.audio.opus import Sink
from kokoro_trio.audio.pcm import to_pcm16
from kokoro_trio.config import BYTES_PER_SAMPLE, StreamConfig
from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""By format. All are at 24 kHz, in mono; `pcm` is signed 16-bit little-endian without a header."""

UNKNOWN_BYTES = 0xFFFFFFFF
"""The length in the WAVE header of a stream: players read to the end."""


@frozen
class _Container:
    """PyAV's container and codec. A lossless format has no `bit_rate`."""

    format: str
    codec: str
    bit_rate: int | None = None
    options: Mapping[str, str] = field(factory=dict)


_CONTAINERS = {
    # Without the ID3 and Xing headers: both precede the audio, and Xing is filled in at the end.
    "mp3": _Container("mp3", "libmp3lame", 64_000, {"write_xing": "0", "id3v2_version": "0"}),
    "aac": _Container("adts", "aac", 64_000),
    "flac": _Container("flac", "flac"),
}


def file_encoder_for(audio_format: str, config: StreamConfig) -> Encoder:
    """The encoder for one request; the format is one of `CONTENT_TYPES`."""
    if audio_format in _CONTAINERS:
        return ContainerEncoder(_CONTAINERS[audio_format])
    if audio_format == "wav":
        return WavEncoder(encoder_for("pcm", SAMPLE_RATE_HZ, config))
    return encoder_for(audio_format, SAMPLE_RATE_HZ, config)


class ContainerEncoder:
    """Compressed audio. A frame holds the bytes that one `push` produced.

    Its `n_samples` also counts earlier pushes that produced no bytes, because PyAV does not tell the
    encoder's look-ahead.
    """

    blocks = True

    def __init__(self, container: _Container) -> None:
        self._settings = container
        self._sink = Sink()
        self._container: OutputContainer | None = None
        self._stream: AudioStream | None = None
        self._n_pushed = 0
        self._n_framed = 0

    def push(self, samples: Samples) -> list[AudioFrame]:
        if len(samples):
            container, stream = self._open()
            frame = av.AudioFrame.from_ndarray(to_pcm16(samples)[np.newaxis, :], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE_HZ
            frame.pts = self._n_pushed
            self._n_pushed += len(samples)
            container.mux(stream.encode(frame))
        return self._frames()

    def flush(self) -> list[AudioFrame]:
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return self._frames()

    def close(self) -> None:
        if self._container is not None:
            self._container.close()

    def _open(self) -> tuple[OutputContainer, AudioStream]:
        if self._container is None or self._stream is None:
            settings = self._settings
            options = {"flush_packets": "1", **settings.options}
            self._container = av.open(self._sink, "w", format=settings.format, options=options)
            stream = self._container.add_stream(settings.codec, rate=SAMPLE_RATE_HZ, layout="mono")
            assert isinstance(stream, AudioStream)
            if settings.bit_rate is not None:
                stream.bit_rate = settings.bit_rate
            self._stream = stream
        return self._container, self._stream

    def _frames(self) -> list[AudioFrame]:
        data = self._sink.take()
        if not data:
            return []
        n_samples = self._n_pushed - self._n_framed
        self._n_framed = self._n_pushed
        return [AudioFrame(data, n_samples)]


class WavEncoder:
    """PCM with a WAVE header before the first frame."""

    blocks = False

    def __init__(self, pcm: Encoder) -> None:
        self._pcm = pcm
        self._head = wav_head()

    def push(self, samples: Samples) -> list[AudioFrame]:
        return self._headed(self._pcm.push(samples))

    def flush(self) -> list[AudioFrame]:
        return self._headed(self._pcm.flush())

    def close(self) -> None:
        self._pcm.close()

    def _headed(self, frames: list[AudioFrame]) -> list[AudioFrame]:
        if frames and self._head:
            frames = [AudioFrame(self._head + frames[0].data, frames[0].n_samples), *frames[1:]]
            self._head = b""
        return frames


def wav_head(sample_rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """The header of 16-bit mono PCM of unknown length: RIFF, `fmt `, and the start of `data`."""
    is_pcm, channels = 1, 1
    sound = struct.pack(
        "<HHIIHH",
        is_pcm,
        channels,
        sample_rate_hz,
        sample_rate_hz * BYTES_PER_SAMPLE,
        BYTES_PER_SAMPLE,
        BYTES_PER_SAMPLE * 8,
    )
    return b"".join(
        [
            struct.pack("<4sI4s", b"RIFF", UNKNOWN_BYTES, b"WAVE"),
            struct.pack("<4sI", b"fmt ", len(sound)),
            sound,
            struct.pack("<4sI", b"data", UNKNOWN_BYTES),
        ]
    )
