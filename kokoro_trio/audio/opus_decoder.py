"""Decodes Opus in Ogg to samples with PyAV's libopus.

RFC 3533 section 6 defines the layout of Ogg pages, RFC 7845 their content: one page with the OpusHead, one
with tags, then audio. Granule positions count samples at 48 kHz, including the pre-skip.
"""

import struct
from collections.abc import Iterator

import av
import numpy as np
from attrs import field, frozen
from av import AudioCodecContext
from numpy.typing import NDArray

from kokoro_trio.errors import BadMessage

_PAGE_HEADER_BYTES = 27
_IS_LAST = 0x04


@frozen
class OggPage:
    data: bytes = field(repr=False)
    body: bytes = field(repr=False)
    granule: int
    is_last: bool


def pages(data: bytes) -> Iterator[OggPage]:
    """The Ogg pages in `data`. Raises `BadMessage` for malformed pages."""
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


class OpusDecoder:
    """Decodes one stream to 48 kHz. Each page must hold one packet, as those of `OpusEncoder` do."""

    def __init__(self) -> None:
        self._context: AudioCodecContext | None = None
        self._pre_skip = 0
        self._n_decoded = 0

    def decode(self, data: bytes) -> NDArray[np.int16]:
        """Decodes whole pages to shape (n,). Headers decode to no samples. Raises `BadMessage`."""
        pieces = [self._decode_page(page) for page in pages(data)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def _decode_page(self, page: OggPage) -> NDArray[np.int16]:
        if page.body.startswith(b"OpusHead"):
            self._pre_skip = pre_skip_of(page.body)
            self._context = AudioCodecContext.create("libopus", "r")
            self._context.extradata = page.body
        if page.granule <= 0:
            return np.zeros(0, np.int16)
        samples = self._decode_packet(page.body)
        if page.is_last:
            # libopus pads the last packet; the granule position excludes the padding.
            samples = samples[: page.granule - self._pre_skip - self._n_decoded]
        self._n_decoded += len(samples)
        return samples

    def _decode_packet(self, packet: bytes) -> NDArray[np.int16]:
        """libopus drops the pre-skip itself."""
        if self._context is None:
            raise BadMessage(field="audio", expected="an OpusHead first", got="audio")
        try:
            frames = self._context.decode(av.Packet(packet))
        except av.InvalidDataError as error:
            raise BadMessage(field="audio", expected="Opus", got=str(error)) from error
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def pre_skip_of(head: bytes) -> int:
    """The samples at 48 kHz that a decoder drops at the start: RFC 7845 section 5.1."""
    (pre_skip,) = struct.unpack_from("<H", head, 10)
    return int(pre_skip)
