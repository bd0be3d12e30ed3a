"""μ-law, the companded 8-bit samples of telephony: ITU-T Recommendation G.711 (11/88), table 2.

The standard uses 14-bit samples and this module 16-bit ones, so the bias of 33 becomes 132 and the largest
magnitude, 8159, becomes 32636. A code holds the sign, one of eight segments (each twice as long as the
one before), and one of sixteen steps in the segment. All its bits are inverted.
"""

import numpy as np
from numpy.typing import NDArray

from kokoro_trio.audio.pcm import to_pcm16
from kokoro_trio.speech import Samples

BIAS = 33 << 2
LARGEST = (8159 << 2) - 1
_SHORTEST_SEGMENT_BITS = 8
"""The first segment ends at a biased magnitude of 255."""


def to_mulaw(samples: Samples) -> NDArray[np.uint8]:
    """Encodes float32 samples of full scale ±1, one code per sample."""
    pcm = to_pcm16(samples).astype(np.int32)
    biased = np.minimum(np.abs(pcm), LARGEST) + BIAS
    _, n_bits = np.frexp(biased)
    segment = n_bits - _SHORTEST_SEGMENT_BITS
    sixteenth = (biased >> (segment + 3)) & 0x0F
    sign = np.where(pcm < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | segment << 4 | sixteenth)).astype(np.uint8)
    return codes


def from_mulaw(codes: bytes) -> NDArray[np.int16]:
    """Decodes each code to the middle of its interval."""
    return _MEANINGS[np.frombuffer(codes, np.uint8)]


def _meanings() -> NDArray[np.int16]:
    """The samples of all 256 codes."""
    inverted = ~np.arange(256, dtype=np.uint8)
    segment, sixteenth = (inverted >> 4 & 0x07).astype(np.int32), (inverted & 0x0F).astype(np.int32)
    magnitude = (((sixteenth << 3) + BIAS) << segment) - BIAS
    return np.where(inverted & 0x80, -magnitude, magnitude).astype(np.int16)


_MEANINGS = _meanings()
