"""From the model's sample rate to that of a request."""

import numpy as np
import soxr
from attrs import define

from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples


@define
class Resampler:
    """One stream of samples. What comes out is `sample_rate_hz` / 24000 times what went in, rounded.

    The filter looks ahead, and works in blocks: of what was pushed, up to 50 ms (at 8 kHz; a quarter of
    that at 48 kHz) come out with the next push, or with `flush`.
    """

    _stream: soxr.ResampleStream | None
    """None where the rates are the same."""

    @classmethod
    def to(cls, sample_rate_hz: int) -> "Resampler":
        if sample_rate_hz == SAMPLE_RATE_HZ:
            return cls(None)
        return cls(soxr.ResampleStream(SAMPLE_RATE_HZ, sample_rate_hz, num_channels=1, dtype="float32"))

    def push(self, samples: Samples) -> Samples:
        return samples if self._stream is None else self._resample(samples)

    def flush(self) -> Samples:
        nothing = np.zeros(0, np.float32)
        return nothing if self._stream is None else self._resample(nothing, last=True)

    def _resample(self, samples: Samples, *, last: bool = False) -> Samples:
        assert self._stream is not None
        resampled: Samples = self._stream.resample_chunk(samples, last=last)
        return resampled
