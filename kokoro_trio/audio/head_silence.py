"""The silence at the head of a request's audio, which a listener waits through."""

import numpy as np
from attrs import define
from numpy.typing import NDArray

from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples

AUDIBLE_LEVEL = 10 ** (-40 / 20)
"""−40 dBFS: a listener hears something from the first sample above this level."""
INT16_FULL_SCALE = 32_768


@define
class HeadSilence:
    """Finds how much silence lies at the head of a request's audio, piece by piece."""

    sample_rate_hz: int = SAMPLE_RATE_HZ
    _n_silent: int = 0
    _is_over: bool = False

    def feed(self, samples: Samples | NDArray[np.int16]) -> None:
        """The next samples of the request, shape (n,): float32 at full scale ±1, or int16."""
        if self._is_over:
            return
        level = AUDIBLE_LEVEL * (INT16_FULL_SCALE if samples.dtype.kind == "i" else 1)
        # Not abs(): that of the lowest int16 is negative.
        audible = np.flatnonzero((samples > level) | (samples < -level))
        self._is_over = len(audible) > 0
        self._n_silent += int(audible[0]) if self._is_over else len(samples)

    def feed_silence(self, seconds: float) -> None:
        """Counts a pause that is delivered as a length instead of samples."""
        if not self._is_over:
            self._n_silent += round(seconds * self.sample_rate_hz)

    @property
    def seconds(self) -> float | None:
        """None until something audible came."""
        return self._n_silent / self.sample_rate_hz if self._is_over else None
