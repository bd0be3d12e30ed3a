"""Opus in Ogg, both ways, by the libopus inside of PyAV; each request is an Ogg stream of its own.

Ogg pages are laid out as in RFC 3533 section 6, and hold Opus as RFC 7845 says: a page with the head, one
with tags, then audio, whose granule positions count samples at 48 kHz from before the pre-skip on.
"""

import struct
from collections.abc import Iterator

import av
import numpy as np
from attrs import field, frozen
from av import AudioCodecContext, AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

from kokoro_trio.audio.frames import AudioFrame
from kokoro_trio.audio.pcm import to_pcm16
from kokoro_trio.audio.resampling import Resampler
from kokoro_trio.errors import BadMessage
from kokoro_trio.speech import Samples
from kokoro_trio.wire.formats import OPUS_RATE_HZ

PAGE_US = 20_000
BIT_RATE = 48_000
"""About what libopus makes in the mean; it varies with the sound."""
APPLICATION = "lowdelay"
"""CELT alone: half the work of the other modes, and the waveform is kept, which the speech mode does not."""

_PAGE_HEADER_BYTES = 27
_IS_LAST = 0x04


@frozen
class OggPage:
    data: bytes = field(repr=False)
    body: bytes = field(repr=False)
    granule: int
    is_last: bool


def pages(data: bytes) -> Iterator[OggPage]:
    """The pages that `data` is made of. Raises `BadMessage` where it is anything else."""
    start = 0
    while start < len(data):
        page = _page_at(data, start)
        yield page
        start += len(page.data)


def _page_at(data: bytes, start: int) -> OggPage:
    header = data[start : start + _PAGE_HEADER_BYTES]
    if len(header) < _PAGE_HEADER_BYTES or header[:4] != b"OggS":
        raise BadMessage(field="audio", expected="Ogg pages", got=f"{len(data)} bytes")
    body_at = start + _PAGE_HEADER_BYTES + header[26]
    end = body_at + sum(data[start + _PAGE_HEADER_BYTES : body_at])
    if end > len(data):
        raise BadMessage(field="audio", expected="whole Ogg pages", got=f"{len(data)} bytes")
    (granule,) = struct.unpack_from("<q", header, 6)
    return OggPage(data[start:end], data[body_at:end], granule, bool(header[5] & _IS_LAST))


class Sink:
    """What the muxer takes for a file."""

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
    """A frame of audio is a page of 20 ms; the first one has the two header pages before it.

    `sample_rate_hz` is what libopus is given, and so how much of the treble is kept. libopus and PyAV
    start with the first samples: a request that waits costs nothing.
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
            # Each page goes into the sink at once, else the muxer would gather a second.
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
                self._pre_skip = _pre_skip(page.body)
            if page.granule <= 0:
                self._headers += page.data
                continue
            n_samples = max(0, page.granule - self._pre_skip) * self._rate_hz // OPUS_RATE_HZ
            frames.append(AudioFrame(self._headers + page.data, n_samples - self._n_framed))
            self._headers = b""
            self._n_framed = n_samples
        return frames


class OpusDecoder:
    """Decodes one stream whose pages hold a packet each, as `OpusEncoder` makes them, to 48 kHz."""

    def __init__(self) -> None:
        self._context: AudioCodecContext | None = None
        self._pre_skip = 0
        self._n_decoded = 0

    def decode(self, data: bytes) -> NDArray[np.int16]:
        """Of one or more pages; shape (n,), for the headers alone n is 0. Raises `BadMessage`."""
        pieces = [self._decode_page(page) for page in pages(data)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def _decode_page(self, page: OggPage) -> NDArray[np.int16]:
        if page.body.startswith(b"OpusHead"):
            self._pre_skip = _pre_skip(page.body)
            self._context = AudioCodecContext.create("libopus", "r")
            self._context.extradata = page.body
        if page.granule <= 0:
            return np.zeros(0, np.int16)
        samples = self._decode_packet(page.body)
        if page.is_last:
            # The last packet is filled up with silence, which its granule position leaves out.
            samples = samples[: page.granule - self._pre_skip - self._n_decoded]
        self._n_decoded += len(samples)
        return samples

    def _decode_packet(self, packet: bytes) -> NDArray[np.int16]:
        """The decoder leaves out the pre-skip by itself."""
        if self._context is None:
            raise BadMessage(field="audio", expected="an OpusHead first", got="audio")
        try:
            frames = self._context.decode(av.Packet(packet))
        except av.InvalidDataError as error:
            raise BadMessage(field="audio", expected="Opus", got=str(error)) from error
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def _pre_skip(head: bytes) -> int:
    """How many samples at 48 kHz a decoder is to drop at the start: RFC 7845 section 5.1."""
    (pre_skip,) = struct.unpack_from("<H", head, 10)
    return int(pre_skip)
