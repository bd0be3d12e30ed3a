"""Resamples from the model's sample rate to the rate of a request."""

import numpy as np
import soxr
from attrs import define

from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples


@define
class Resampler:
    """One stream of samples, `sample_rate_hz` / 24000 times as many as were pushed, rounded.

    The filter looks ahead and works in blocks: it holds back up to 50 ms at 8 kHz, and a quarter of that
    at 48 kHz, until the next push or `flush`.
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
