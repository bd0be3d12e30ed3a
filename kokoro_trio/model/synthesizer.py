"""The engine's interface of a model, and a model of tones that needs no weights.

Only the engine's inference thread calls a synthesizer's methods.
"""

import math
import string
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from attrs import define, frozen

from kokoro_trio.speech import (
    FRAME_SAMPLES,
    MAX_SEGMENT_PHONEMES,
    SAMPLE_RATE_HZ,
    Line,
    Prosody,
    Samples,
    Window,
    Windows,
)


@frozen
class EarlyAudio:
    """Whether sentences are vocoded in windows, so that their first audio comes early, and why (not)."""

    is_on: bool
    reason: str


class Synthesizer(Protocol):
    """The prosody half and the vocoder half of a text-to-speech model.

    Prosody is computed for a whole segment, audio window by window. The windows of a segment may be vocoded
    in batches with those of other segments, but in the order of their frames.
    """

    @property
    def max_batch(self) -> int:
        """The largest useful batch of segments, or of windows of one shape. Measured by `warm_up`, and
        reduced when memory runs out."""

    @property
    def voice_names(self) -> tuple[str, ...]: ...

    @property
    def alphabet(self) -> frozenset[str]:
        """The phonemes that a line may contain, one character each."""

    @property
    def max_line_phonemes(self) -> int:
        """The longest line, at speed 1, that does not delay other listeners for long."""

    @property
    def device(self) -> str: ...

    @property
    def device_reason(self) -> str:
        """Why the model does not use the machine's GPU; else empty."""

    @property
    def early_audio(self) -> EarlyAudio: ...

    @property
    def is_interruptible(self) -> bool:
        """Whether `vocode` can run other work in between, see `interrupt_with`."""

    def interrupt_with(self, work: Callable[[], None]) -> None:
        """Makes an interruptible `vocode` call `work` every few milliseconds.

        `work` may call the synthesizer, and raises nothing.
        """

    @property
    def has_spare_work(self) -> bool:
        """Whether work is left that should run only while no step is queued."""

    def do_spare_work(self) -> None:
        """Does one piece of that work, about a second long. Raises nothing."""

    def is_broken(self) -> bool:
        """Whether the device is lost, so that all further calls fail. Called after a failed call."""

    def warm_up(self) -> None:
        """Does the one-time work that would delay the first request."""

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        """Durations and features of each line, in order."""

    def windows(self, prosody: Prosody) -> Windows:
        """The windows of `prosody`, in order and without gaps. Any thread may take them."""

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        """The samples of each window, in order: float32, shape (window.n_samples,)."""


@define(eq=False)
class EqualWindows(Windows):
    """Windows of `length` frames, whatever the slack. The last may be shorter."""

    length: int

    def next(self, within_s: float = math.inf) -> Window:
        return Window(
            self.prosody, self.start_frame, min(self.start_frame + self.length, self.prosody.n_frames)
        )


@frozen
class ToneSynthesizer:
    """Speaks every phoneme as a tone of its own pitch, for tests and for load tests without a model.

    It is deterministic, and the windows of a segment join without a seam. Like the real model it pads both
    ends of a segment with silence, `padding_frames` long.
    """

    max_batch: int = 1
    window_frames: int = 40
    frames_per_phoneme: int = 3
    padding_frames: int = 10
    level: float = 0.25
    voice_names: tuple[str, ...] = ("af_aoede", "am_michael")
    alphabet: frozenset[str] = frozenset(string.ascii_lowercase + " .,!?")
    max_line_phonemes: int = MAX_SEGMENT_PHONEMES
    device: str = "cpu"
    device_reason: str = ""
    early_audio: EarlyAudio = EarlyAudio(True, "tones need no statistics")

    @property
    def is_interruptible(self) -> bool:
        return False

    def interrupt_with(self, work: Callable[[], None]) -> None:
        pass

    @property
    def has_spare_work(self) -> bool:
        return False

    def do_spare_work(self) -> None:
        pass

    def is_broken(self) -> bool:
        return False

    def warm_up(self) -> None:
        pass

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        return [self._prosody(line) for line in lines]

    def windows(self, prosody: Prosody) -> Windows:
        return EqualWindows(prosody, 0, self.window_frames)

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        return [self._tones(window) for window in windows]

    def _prosody(self, line: Line) -> Prosody:
        if not line.phonemes:
            raise ValueError("a line without phonemes has no sound")
        frames = max(1, round(self.frames_per_phoneme / line.speed))
        durations = [self.padding_frames, *[frames] * len(line.phonemes), self.padding_frames]
        pitches_hz = [0.0, *(_pitch_hz(phoneme) for phoneme in line.phonemes), 0.0]
        return Prosody(line, np.array(durations, np.int64), features=np.array(pitches_hz))

    def _tones(self, window: Window) -> Samples:
        pitch_hz = np.repeat(window.prosody.features, window.prosody.durations_frames * FRAME_SAMPLES)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
        # Without a pitch the phase is constant, and its sine is not silence.
        tones = np.where(pitch_hz > 0, self.level * np.sin(phase), 0.0)
        return tones[window.start_frame * FRAME_SAMPLES :][: window.n_samples].astype(np.float32)


def _pitch_hz(phoneme: str) -> float:
    return 0.0 if phoneme == " " else 110.0 + ord(phoneme) % 48 * 10.0
