"""The quality of served audio: how far windows are from whole segments, and a record of it.

`python -m tests.support.quality` renews the record, for the weights of `bash scripts/setup.sh --test`.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from kokoro_trio.config import WindowConfig
from kokoro_trio.model.calibration import load_predictor
from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.model.spectral_distance import log_mel_db
from kokoro_trio.speech import FRAME_SAMPLES, Line
from kokoro_trio.weights.prepared import Weights, open_weights
from tests.support.environment import TEST_WEIGHTS

RECORD = Path(__file__).parents[1] / "model" / "quality.npz"
VOICES = ("af_heart", "am_michael", "bf_emma", "ff_siwis", "zm_yunxi")
LINES = (
    "wˌɛɹ hæv ju bˈɪn ˌɔl dˈA?",
    "həlˈO ðˈɛɹ, hˌW ɑɹ ju?",
    "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ.",
    "wˌi kʊd lˈiv ˌɔn θˈɜɹzdˌA ɪf ðə ɹˈOdz ɑɹ klˈɪɹ.",
    "ˌIl sˈɛnd ði ˈɪnvˌYs əɡˈɛn təmˈɑɹO mˈɔɹnɪŋ, ənd hˌu lˈɛft ðə lˈIt ˌɔn ɪn ðə sˈɛləɹ?",
)
"""Phonemes, so that the text side does not change the audio."""
CASES = tuple(product(VOICES, range(len(LINES))))
SEED = 7
"""Of the noise in the excitation."""
COLUMN_STEP = 4
"""Every fourth column of the spectrum is recorded, so that columns do not overlap."""
LEVEL_STEP_DB = 80 / 255
"""Levels are recorded in 8 bits, from −80 to 0 dB."""


@frozen
class Spoken:
    durations_frames: NDArray[np.int64]
    windows: NDArray[np.uint8]
    """The log-mel spectrum of the audio in windows, shape (columns, 80)."""
    whole: NDArray[np.uint8]
    """That of the segment vocoded whole."""


@frozen
class Expected:
    durations_frames: NDArray[np.int64]
    whole: NDArray[np.uint8]
    distance_db: float
    """Between the served audio and `whole`, when the record was made."""


def served(weights: Weights) -> KokoroSynthesizer:
    """The synthesizer of a server, before it measures how fast the machine is."""
    windows = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)
    predictor = load_predictor(weights, torch.device("cpu"))
    assert predictor is not None, "the statistics were fitted on other weights than those prepared here"
    return KokoroSynthesizer(weights, torch.device("cpu"), windows, predictor)


def speak(synthesizer: KokoroSynthesizer, voice: str, line: int) -> Spoken:
    torch.manual_seed(SEED)
    (prosody,) = synthesizer.prosody([Line(0, LINES[line], voice, 1.0)])
    windows = list(synthesizer.windows(prosody))
    assert len(windows) > 1
    samples = np.concatenate([synthesizer.vocode([window])[0] for window in windows])
    whole = synthesizer.vocode_exactly(prosody)[windows[0].start_frame * FRAME_SAMPLES :]
    return Spoken(prosody.durations_frames, _levels(samples), _levels(whole))


def _levels(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.rint(log_mel_db(samples)[::COLUMN_STEP] / LEVEL_STEP_DB) + 255
    quantized: NDArray[np.uint8] = np.clip(levels, 0, 255).astype(np.uint8)
    return quantized


def distance_db(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The log-spectral distance of two recorded spectra."""
    difference = (one.astype(float) - other) * LEVEL_STEP_DB
    return float(np.sqrt(np.square(difference).mean(axis=1)).mean())


def expected(voice: str, line: int) -> Expected:
    with np.load(RECORD) as record:
        durations, whole, distance = (record[f"{voice} {line} {name}"] for name in Expected.__annotations__)
    return Expected(durations.astype(np.int64), whole, float(distance))


def main() -> None:
    synthesizer = served(open_weights(TEST_WEIGHTS))
    record: dict[str, Any] = {}
    for voice, line in CASES:
        spoken = speak(synthesizer, voice, line)
        distance = distance_db(spoken.windows, spoken.whole)
        values = (spoken.durations_frames.astype(np.uint16), spoken.whole, np.float32(distance))
        for name, value in zip(Expected.__annotations__, values, strict=True):
            record[f"{voice} {line} {name}"] = value
        print(f"{voice} {line}: {distance:.3f} dB")
    np.savez_compressed(RECORD, **record)


if __name__ == "__main__":
    main()
