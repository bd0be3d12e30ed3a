"""μ-law, the companded 8-bit samples of telephony: ITU-T Recommendation G.711 (11/88), table 2.

The standard counts in 14 bits; here all is in 16, so its bias of 33 is 132 and its largest magnitude,
8159, 32636. A code holds, all bits inverted, the sign, which of eight segments the biased magnitude
lies in (each twice as long as the one before), and which sixteenth of the segment.
"""

import numpy as np
from numpy.typing import NDArray

from kokoro_trio.audio.pcm import to_pcm16
from kokoro_trio.speech import Samples

BIAS = 33 << 2
LARGEST = (8159 << 2) - 1
_SHORTEST_SEGMENT_BITS = 8
"""The first segment ends at 255, biased."""


def to_mulaw(samples: Samples) -> NDArray[np.uint8]:
    """float32 at full scale ±1 → one code a sample."""
    pcm = to_pcm16(samples).astype(np.int32)
    biased = np.minimum(np.abs(pcm), LARGEST) + BIAS
    _, n_bits = np.frexp(biased)
    segment = n_bits - _SHORTEST_SEGMENT_BITS
    sixteenth = (biased >> (segment + 3)) & 0x0F
    sign = np.where(pcm < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | segment << 4 | sixteenth)).astype(np.uint8)
    return codes


def from_mulaw(codes: bytes) -> NDArray[np.int16]:
    """Each code as the middle of the interval that it stands for."""
    return _MEANINGS[np.frombuffer(codes, np.uint8)]


def _meanings() -> NDArray[np.int16]:
    """Of all 256 codes."""
    inverted = ~np.arange(256, dtype=np.uint8)
    segment, sixteenth = (inverted >> 4 & 0x07).astype(np.int32), (inverted & 0x0F).astype(np.int32)
    magnitude = (((sixteenth << 3) + BIAS) << segment) - BIAS
    return np.where(inverted & 0x80, -magnitude, magnitude).astype(np.int16)


_MEANINGS = _meanings()
