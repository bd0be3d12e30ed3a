"""Encodes samples to Opus in Ogg with PyAV's libopus. Each request is an Ogg stream of its own."""

import av
import numpy as np
from av import AudioStream
from av.container import OutputContainer

from kokoro_trio.audio.frames import AudioFrame
from kokoro_trio.audio.opus_decoder import pages, pre_skip_of
from kokoro_trio.audio.pcm import to_pcm16
from kokoro_trio.audio.resampling import Resampler
from kokoro_trio.speech import Samples
from kokoro_trio.wire.formats import OPUS_RATE_HZ

PAGE_US = 20_000
BIT_RATE = 48_000
"""The target of libopus, whose bit rate is variable."""
APPLICATION = "lowdelay"
"""CELT only: half the work of the other modes, and unlike the speech mode it keeps the waveform."""


class Sink:
    """The file that a muxer writes to; `take` empties it."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        written = bytes(self._written)
        self._written.clear()
        return written


class OpusEncoder:
    """A frame holds a page of 20 ms. The two header pages precede the audio of the first frame.

    libopus gets samples at `sample_rate_hz`, which limits the treble. The codec is opened at the first
    samples, so a waiting request costs nothing.
    """

    blocks = True

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        self._resampler = Resampler.to(sample_rate_hz)
        self._sink = Sink()
        self._container: OutputContainer | None = None
        self._stream: AudioStream | None = None
        self._n_pushed = 0
        self._headers = b""
        self._pre_skip = 0
        self._n_framed = 0

    def push(self, samples: Samples) -> list[AudioFrame]:
        self._encode(self._resampler.push(samples))
        return self._frames()

    def flush(self) -> list[AudioFrame]:
        self._encode(self._resampler.flush())
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()  # Writes the last page.
        return self._frames()

    def close(self) -> None:
        if self._container is not None:
            self._container.close()

    def _encode(self, samples: Samples) -> None:
        if not len(samples):
            return
        container, stream = self._open()
        pcm = to_pcm16(samples)
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis, :], format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self._n_pushed
        self._n_pushed += len(pcm)
        container.mux(stream.encode(frame))

    def _open(self) -> tuple[OutputContainer, AudioStream]:
        if self._container is None or self._stream is None:
            # By default the muxer collects a second of audio before it writes a page.
            options = {"page_duration": str(PAGE_US), "flush_packets": "1"}
            self._container = av.open(self._sink, "w", format="ogg", options=options)
            self._stream = self._container.add_stream(
                "libopus", rate=self._rate_hz, layout="mono", options={"application": APPLICATION}
            )
            self._stream.bit_rate = BIT_RATE
        return self._container, self._stream

    def _frames(self) -> list[AudioFrame]:
        frames = []
        for page in pages(self._sink.take()):
            if page.body.startswith(b"OpusHead"):
                self._pre_skip = pre_skip_of(page.body)
            if page.granule <= 0:
                self._headers += page.data
                continue
            n_samples = max(0, page.granule - self._pre_skip) * self._rate_hz // OPUS_RATE_HZ
            frames.append(AudioFrame(self._headers + page.data, n_samples - self._n_framed))
            self._headers = b""
            self._n_framed = n_samples
        return frames
