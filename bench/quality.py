"""How much is lost by windows: windowed against whole, on a fixed list: `python -m bench.quality`.

The reference is the same segment with the same excitation, vocoded at once with its own statistics, so
what differs is the prediction of the statistics alone. LSD: log-spectral distance over 80 mel bands.
OVRL: the overall score of DNSMOS (Reddy et al., 2022), from 1 to 5, and how much it is lower or higher than
that of the reference; `bash scripts/setup.sh --bench` installs it, and --no-dnsmos goes without.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from tqdm import tqdm

from kokoro_trio.config import DEFAULT_WEIGHTS_FOLDER, WindowConfig
from kokoro_trio.model.kokoro import KokoroSynthesizer, load_predictor
from kokoro_trio.model.weights import open_weights
from kokoro_trio.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Line, Samples

N_FFT, HOP = 1024, 256
N_MELS = 80
POWER_FLOOR = 1e-8
"""−80 dB of a full-scale bin: below it differences are not heard."""
DEFAULT_VOICES = "af_heart,am_michael,bf_emma,af_nicole,bm_george,ef_dora,ff_siwis,hm_omega,jf_alpha,zm_yunxi"
SEED = 7
"""For the noise in the excitation, which is to be the same on both sides."""
WHOLE = WindowConfig(first_max_words=0, first_boundaries="", trims_leading_silence=False)
WINDOWS = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)

# None of them is in the list that the predictor is fitted on.
SENTENCES = (
    "Sure.",
    "Where have you been all day?",
    "The parcel came back because nobody was at home.",
    "I would rather walk, if it is all the same to you, than wait another hour for the bus.",
    "There are two ways to get to the lighthouse: over the beach when the tide is out, or, if you do not "
    "mind climbing, along the old wall behind the church.",
)


Rate = Callable[[Samples], float]


@frozen
class Comparison:
    """One utterance. Distances and levels in dB; `first` is the first window alone."""

    voice: str
    lsd: float
    lsd_first: float
    level: float
    level_first: float
    joins: tuple[float, ...]
    """How much further the level jumps at each join than it does in the reference there."""
    distance: float
    """To what the statistics were fitted on: what the engine knows beforehand."""
    overall: float | None
    """DNSMOS OVRL, less that of the reference; None where it was not asked for."""

    @classmethod
    def of(
        cls, voice: str, distance: float, pieces: Sequence[Samples], exact: Samples, rate: Rate | None
    ) -> "Comparison":
        """`pieces`: the windows; `exact`: the same stretch as it should be."""
        got, n_first = np.concatenate(pieces), len(pieces[0])
        joins = np.cumsum([len(piece) for piece in pieces])[:-1]
        return cls(
            voice=voice,
            lsd=log_spectral_distance_db(got, exact),
            lsd_first=log_spectral_distance_db(got[:n_first], exact[:n_first]),
            level=level_db(got) - level_db(exact),
            level_first=level_db(got[:n_first]) - level_db(exact[:n_first]),
            distance=distance,
            joins=tuple(abs(level_step_db(got, join) - level_step_db(exact, join)) for join in joins),
            overall=None if rate is None else rate(got) - rate(exact),
        )


def mel_filters() -> NDArray[np.float64]:
    """Triangles on the mel scale 2595·log10(1 + f/700), shape (80, 513)."""
    top_mel = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, N_MELS + 2) / 2595) - 1)
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)
    rising = (bins_hz - edges_hz[:-2, None]) / (edges_hz[1:-1] - edges_hz[:-2])[:, None]
    falling = (edges_hz[2:, None] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])[:, None]
    filters: NDArray[np.float64] = np.clip(np.minimum(rising, falling), 0, None)
    return filters


def log_mel_db(samples: Samples) -> NDArray[np.float64]:
    """Shape (frames, 80)."""
    padded = np.pad(samples.astype(np.float64), N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP] * np.hanning(N_FFT)
    power = np.abs(np.fft.rfft(frames) / N_FFT) ** 2
    decibels: NDArray[np.float64] = 10 * np.log10(power @ mel_filters().T + POWER_FLOOR)
    return decibels


def log_spectral_distance_db(one: Samples, other: Samples) -> float:
    """Root mean square over bands, mean over time."""
    difference = log_mel_db(one) - log_mel_db(other)
    return float(np.sqrt(np.square(difference).mean(axis=1)).mean())


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def level_step_db(samples: Samples, join: int, n_samples: int = SAMPLE_RATE_HZ // 50) -> float:
    """From the 20 ms before a join to the 20 ms after it."""
    return level_db(samples[join : join + n_samples]) - level_db(samples[max(0, join - n_samples) : join])


def dnsmos_rate() -> Rate:
    """Rates samples at 24 kHz. Exits where the packages for it are not there."""
    try:
        from scipy.signal import resample_poly
        from speechmos import dnsmos
    except ImportError as error:
        sys.exit(f"error: {error.name} is not installed; bash scripts/setup.sh --bench installs it")

    def rate(samples: Samples) -> float:
        at_16_khz = resample_poly(samples.astype(np.float64), 2, 3)
        return float(dnsmos.run(np.clip(at_16_khz, -1, 1), 16_000)["ovrl_mos"])

    return rate


def compare(
    synthesizer: KokoroSynthesizer, reference: KokoroSynthesizer, line: Line, rate: Rate | None
) -> Comparison | None:
    """None where the engine itself knows that the segment has to be vocoded whole."""
    torch.manual_seed(SEED)
    (prosody,) = synthesizer.prosody([line])
    torch.manual_seed(SEED)
    (same,) = reference.prosody([line])
    windows = synthesizer.windows(prosody, 1)
    if synthesizer.is_vocoded_whole(prosody):
        return None
    pieces = synthesizer.vocode(windows)
    exact = reference.vocode_exactly(same)[windows[0].start_frame * FRAME_SAMPLES :]
    return Comparison.of(line.voice, synthesizer.distance(prosody), pieces, exact, rate)


def comparisons(
    synthesizer: KokoroSynthesizer,
    reference: KokoroSynthesizer,
    voices: Sequence[str],
    rate: Rate | None = None,
) -> Iterator[Comparison | None]:
    # Here, because who wants the distance alone may have no G2P.
    from kokoro_trio.text.g2p import GraphemeToPhoneme
    from kokoro_trio.text.reading import Sentence

    g2p = GraphemeToPhoneme(synthesizer.alphabet)
    with tqdm(total=len(voices) * len(SENTENCES), unit="utterance") as progress:
        for voice in voices:
            reads = voice[0] if voice[0] in "ab" else "a"
            for text in SENTENCES:
                (segment,) = g2p.segments(Sentence.at(text), reads, 0)
                yield compare(synthesizer, reference, Line(0, segment.phonemes, voice, 1.0), rate)
                progress.update()


COLUMNS = ("n", "LSD", "worst", "1st", "worst", "level", "1st", "join", "p90", "OVRL", "worst")


def head(name: str) -> str:
    """What the columns of `row` are: means and worst in dB (levels: root mean square; joins: median and
    90th percentile), and the difference of OVRL."""
    return f"{name:<28}{COLUMNS[0]:>4}" + "".join(f"{title:>7}" for title in COLUMNS[1:])


def row(name: str, of: Sequence[Comparison]) -> str:
    if not of:
        return f"{name:<28}{0:>4}"
    lsd, first = [each.lsd for each in of], [each.lsd_first for each in of]
    joins = [join for each in of for join in each.joins] or [0.0]
    overall = [each.overall for each in of if each.overall is not None]
    figures = [
        *(np.mean(lsd), max(lsd), np.mean(first), max(first)),
        _rms([each.level for each in of]),
        _rms([each.level_first for each in of]),
        *np.percentile(joins, [50, 90]),
    ]
    rated = [np.mean(overall), min(overall)] if overall else []
    shown = [f"{figure:>7.2f}" for figure in figures] + [f"{figure:>+7.2f}" for figure in rated]
    return f"{name:<28}{len(of):>4}" + "".join(shown)


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voices", default=DEFAULT_VOICES)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the windows")
    parser.add_argument("--no-dnsmos", action="store_true")
    options = parser.parse_args(arguments)
    rate = None if options.no_dnsmos else dnsmos_rate()
    weights, cpu = open_weights(DEFAULT_WEIGHTS_FOLDER), torch.device("cpu")
    dtype: torch.dtype = getattr(torch, options.dtype)
    synthesizer = KokoroSynthesizer(weights, cpu, WINDOWS, load_predictor(weights, cpu), dtype)
    reference = KokoroSynthesizer(weights, cpu, WHOLE, predictor=None)
    results = list(comparisons(synthesizer, reference, options.voices.split(","), rate))
    done = [each for each in results if each is not None]
    print(head("voice"))
    for voice in options.voices.split(","):
        print(row(voice, [each for each in done if each.voice == voice]))
    print(row("all", done))
    print(f"vocoded whole: {len(results) - len(done)}")


if __name__ == "__main__":
    main()
