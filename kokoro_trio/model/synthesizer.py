"""What the engine asks of a model, and a model of tones that answers without weights.

Both halves of a synthesizer are called from one thread only, the engine's inference thread.
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

    Prosody is made for a whole segment at once; sound is made window by window. The windows of one
    prosody may be vocoded in any batch, beside those of others, but in the order of their frames.
    """

    @property
    def max_batch(self) -> int:
        """The most segments, or windows of one shape, that are worth taking together. Known once warm;
        less after a call that raised because they were too many."""

    @property
    def voice_names(self) -> tuple[str, ...]: ...

    @property
    def alphabet(self) -> frozenset[str]:
        """The phonemes that a line may hold, one character each."""

    @property
    def max_line_phonemes(self) -> int:
        """The longest line, at a speed of 1, that does not hold up the others for long."""

    @property
    def device(self) -> str: ...

    @property
    def device_reason(self) -> str:
        """Why it is not the GPU, where there is one."""

    @property
    def early_audio(self) -> EarlyAudio: ...

    @property
    def is_interruptible(self) -> bool:
        """Whether `vocode` does other work in between, see `interrupt_with`."""

    def interrupt_with(self, work: Callable[[], None]) -> None:
        """`vocode` is to call `work` every few milliseconds, if it is interruptible.

        `work` may call the synthesizer. It raises nothing.
        """

    @property
    def has_spare_work(self) -> bool:
        """Whether work is left that should run only while no step is queued."""

    def do_spare_work(self) -> None:
        """Does one piece of that work, about a second long. Raises nothing."""

    def is_broken(self) -> bool:
        """Whether its device is lost, so that all further calls will raise. Asked after one that raised."""

    def warm_up(self) -> None:
        """Does once what the first request would otherwise wait for."""

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        """Durations and features of each line, in order."""

    def windows(self, prosody: Prosody) -> Windows:
        """The windows that `prosody` is to be vocoded in: in order, without gaps.

        Any thread may take them.
        """

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        """The samples of each window, in order: float32, shape (window.n_samples,)."""


@define(eq=False)
class EqualWindows(Windows):
    """Of `length` frames each, however much time there is; the last may be shorter."""

    length: int

    def next(self, within_s: float = math.inf) -> Window:
        return Window(
            self.prosody, self.start_frame, min(self.start_frame + self.length, self.prosody.n_frames)
        )


@frozen
class ToneSynthesizer:
    """Speaks every phoneme as a tone of its own pitch; for tests and for load without a model.

    Deterministic, and the windows of a segment join without a seam. `padding_frames` of silence lie
    at both ends, as the real model has them.
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
        # Where there is no pitch the phase stands still, which would leave a constant, not silence.
        tones = np.where(pitch_hz > 0, self.level * np.sin(phase), 0.0)
        return tones[window.start_frame * FRAME_SAMPLES :][: window.n_samples].astype(np.float32)


def _pitch_hz(phoneme: str) -> float:
    return 0.0 if phoneme == " " else 110.0 + ord(phoneme) % 48 * 10.0
