"""Compares a word spoken alone with the same word in a sentence: `python -m bench.research.short`.

Each voice says each word in four ways: alone with its mark ("Yes."), alone without it ("Yes"), at the end
of a sentence, and inside one. The level is the rms, in dB of full scale, of the 10 ms blocks within 20 dB of
the loudest block. The duration runs from the first to the last block within 30 dB of it. The word is cut
out of a sentence by the phoneme durations; the sound runs ahead of those (`kokoro_trio/engine/timing.py`).
The last column is the level of the last 20 ms.
"""

import argparse
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Line, Samples

from ..configured import open_configured_weights
from .quality import WHOLE, level_db

DEFAULT_VOICES = "af_heart,am_michael,bf_emma,ef_dora,jf_alpha"
SEED = 7
"""For the noise in the excitation."""
LEAD_FRAMES = 3
"""The sound runs ahead of the durations by this."""
BLOCK = SAMPLE_RATE_HZ // 100
LOUD_DB, AUDIBLE_DB = 20, 30
QUIET_ENDS = SAMPLE_RATE_HZ // 50


class Said(NamedTuple):
    """A word, a sentence that ends with it, and a sentence that contains it."""

    word: str
    phonemes: str
    last: str
    inner: str


# Phonemes, so that no G2P is needed and voices of all languages say the same.
WORDS = (
    Said("yes", "jˈɛs", "ænd ðˈɛn ʃi tˈOld mi jˈɛs.", "ʃi sˈɛd jˈɛs ænd lˈɛft ðə ɹˈum."),
    Said("no", "nˈO", "ænd ðˈɛn ʃi tˈOld mi nˈO.", "ʃi sˈɛd nˈO ænd lˈɛft ðə ɹˈum."),
    Said("two", "tˈu", "ænd ɪn ði ˈɛnd ðɛɹ wɜɹ tˈu.", "ðɛɹ wɜɹ tˈu ʌv ðɛm lˈɛft."),
    Said("hi", "hˈI", "ðA ˈɔl kˈAm ˈOvəɹ tə sˈA hˈI.", "ʃi sˈɛd hˈI tə ˈɛvɹiwˌʌn."),
    Said("oh", "ˈO", "ˈɔl ðæt ʃi sˈɛd wʌz ˈO.", "ʃi sˈɛd ˈO ænd lˈɛft ðə ɹˈum."),
    Said("thanks", "θˈæŋks", "ˈɔl ðæt ʃi sˈɛd wʌz θˈæŋks.", "ʃi sˈɛd θˈæŋks ænd lˈɛft ðə ɹˈum."),
)


@frozen
class Measured:
    """`level` in dB, `seconds` of the word, and the level of the first and last 20 ms, in dB."""

    level: float
    seconds: float
    first: float
    last: float

    @classmethod
    def of(cls, samples: Samples) -> "Measured":
        levels = block_levels_db(samples)
        audible = np.flatnonzero(levels > levels.max() - AUDIBLE_DB)
        loud = levels[levels > levels.max() - LOUD_DB]
        return cls(
            level=float(10 * np.log10(np.mean(10 ** (loud / 10)))),
            seconds=float(audible[-1] - audible[0] + 1) * BLOCK / SAMPLE_RATE_HZ,
            first=level_db(samples[:QUIET_ENDS]),
            last=level_db(samples[-QUIET_ENDS:]),
        )


def block_levels_db(samples: Samples) -> NDArray[np.float64]:
    """The level of every 10 ms."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK).astype(np.float64)
    levels: NDArray[np.float64] = 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-12)
    return levels


def spoken(synthesizer: KokoroSynthesizer, voice: str, phonemes: str, word: str) -> Measured:
    """Speaks `phonemes` and measures the part of them that is `word`."""
    torch.manual_seed(SEED)
    (prosody,) = synthesizer.prosody([Line(0, phonemes, voice, 1.0)])
    samples = synthesizer.vocode_exactly(prosody)
    before, found, after = phonemes.partition(word)
    ends = list(accumulate(prosody.durations_frames.tolist()))
    first = ends[len(before)] - LEAD_FRAMES if before else 0
    last = ends[len(before + found)] - LEAD_FRAMES if after.strip(".") else prosody.n_frames
    return Measured.of(samples[first * FRAME_SAMPLES : last * FRAME_SAMPLES])


def row(name: str, alone: Measured, bare: Measured, last: Measured, inner: Measured) -> str:
    shown = "".join(f"{each.level:>8.1f}{each.seconds:>6.2f}" for each in (alone, bare, last, inner))
    return f"{name:<22}{shown}{max(alone.last, bare.last):>8.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voices", default=DEFAULT_VOICES)
    options = parser.parse_args(arguments)
    weights = open_configured_weights()
    synthesizer = KokoroSynthesizer(weights, torch.device("cpu"), WHOLE, predictor=None)
    titles = "".join(f"{title:>14}" for title in ("alone", "bare", "last", "inner"))
    print(f"{'level (dB), seconds':<22}{titles}{'end dB':>8}")
    measured = []
    for voice in options.voices.split(","):
        for said in WORDS:
            ways = (said.phonemes + ".", said.phonemes, said.last, said.inner)
            measured.append([spoken(synthesizer, voice, way, said.phonemes) for way in ways])
            print(row(f"{voice} {said.word}", *measured[-1]), flush=True)
    alone, bare, last, inner = zip(*measured, strict=True)
    print()
    for name, ones, others in (
        ("alone − inner", alone, inner),
        ("alone − last", alone, last),
        ("bare − alone", bare, alone),
    ):
        steps = [one.level - other.level for one, other in zip(ones, others, strict=True)]
        ratios = [one.seconds / other.seconds for one, other in zip(ones, others, strict=True)]
        low, middle, high = np.percentile(steps, [10, 50, 90])
        short, usual, long = np.percentile(ratios, [10, 50, 90])
        print(
            f"{name:<14} level p10/p50/p90 {low:+.1f} {middle:+.1f} {high:+.1f} dB, "
            f"duration ratio {short:.2f} {usual:.2f} {long:.2f}"
        )


if __name__ == "__main__":
    main()
