"""Compares windowed with whole synthesis on a fixed list: `python -m bench.research.quality`.

The reference is the same segment with the same excitation, vocoded at once with its own statistics, so the
only difference is the prediction of the statistics. LSD: log-spectral distance over 80 mel bands. OVRL: the
overall score of DNSMOS (Reddy et al., 2022), from 1 to 5, less that of the reference.
`bash scripts/setup.sh --bench` installs DNSMOS; --no-dnsmos leaves it out.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from attrs import frozen
from tqdm import tqdm

from kokoro_trio.config import WindowConfig
from kokoro_trio.model.calibration import load_predictor
from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.model.spectral_distance import log_spectral_distance_db
from kokoro_trio.model.voices import language_of
from kokoro_trio.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Line, Samples

from ..configured import open_configured_weights

DEFAULT_VOICES = "af_heart,am_michael,bf_emma,af_nicole,bm_george,ef_dora,ff_siwis,hm_omega,jf_alpha,zm_yunxi"
SEED = 7
"""For the noise in the excitation, which must be the same on both sides."""
WHOLE = WindowConfig(first_max_words=0, first_boundaries="", trims_leading_silence=False)
WINDOWS = WindowConfig(first_max_words=2, first_boundaries=".,?!;:", trims_leading_silence=True)

# The predictor is fitted on other sentences.
ENGLISH = (
    "Sure.",
    "Where have you been all day?",
    "The parcel came back because nobody was at home.",
    "I would rather walk, if it is all the same to you, than wait another hour for the bus.",
    "There are two ways to get to the lighthouse: over the beach when the tide is out, or, if you do not "
    "mind climbing, along the old wall behind the church.",
)
SENTENCES = {
    "a": ENGLISH,
    "b": ENGLISH,
    "e": (
        "Claro.",
        "¿Cuánto cuesta el billete de ida y vuelta?",
        "El paquete volvió porque no había nadie en casa.",
        "Prefiero ir andando, si no te importa, que esperar otra hora al autobús.",
        "Hay dos caminos para llegar al faro: por la playa cuando baja la marea, o, si no os cansa subir, "
        "por la vieja muralla que hay detrás de la iglesia.",
    ),
    "f": (
        "Bien sûr.",
        "Où étais-tu pendant toute la journée ?",
        "Le colis est revenu parce qu'il n'y avait personne à la maison.",
        "Je préfère marcher, si cela ne te dérange pas, plutôt que d'attendre le bus encore une heure.",
        "Il y a deux chemins pour aller au phare : par la plage à marée basse, ou bien, si la montée ne vous "
        "fait pas peur, le long du vieux mur derrière l'église.",
    ),
    "h": (
        "ज़रूर।",
        "तुम सारा दिन कहाँ थे?",
        "पार्सल वापस आ गया क्योंकि घर पर कोई नहीं था।",
        "अगर तुम्हें कोई परेशानी न हो तो मैं एक घंटा और बस का इंतज़ार करने से पैदल जाना पसंद करूँगा।",
        "पुल तक जाने के दो रास्ते हैं, एक नदी के किनारे से होकर जाता है और दूसरा पुराने मंदिर के पीछे की "
        "दीवार के साथ साथ चलता है।",
    ),
    "i": (
        "Certo.",
        "Dove sei stato tutto il giorno?",
        "Il pacco è tornato indietro perché non c'era nessuno in casa.",
        "Preferisco camminare, se per te è lo stesso, piuttosto che aspettare l'autobus per un'altra ora.",
        "Ci sono due strade per arrivare al faro: lungo la spiaggia quando c'è la bassa marea, oppure, se "
        "non vi pesa salire, accanto al vecchio muro dietro la chiesa.",
    ),
    "j": (
        "もちろん。",
        "一日中どこにいたの?",
        "家に誰もいなかったので、荷物が戻ってきました。",
        "もしよければ、もう一時間バスを待つより、歩いて行きたいと思います。",
        "灯台へ行く道は二つあります。一つは潮が引いた時に砂浜を歩く道で、もう一つは教会の裏の古い壁に沿って登る道です。",
    ),
    "p": (
        "Claro.",
        "Onde você esteve o dia inteiro?",
        "O pacote voltou porque não havia ninguém em casa.",
        "Prefiro ir a pé, se para você tanto faz, a esperar mais uma hora pelo ônibus.",
        "Há dois caminhos para chegar ao farol: pela praia, quando a maré está baixa, ou, se vocês não se "
        "importam de subir, ao longo do velho muro atrás da igreja.",
    ),
    "z": (
        "当然。",
        "你一整天都去哪儿了?",
        "因为家里没有人,包裹又被退了回去。",
        "如果你不介意的话,我宁愿走路,也不想再等一个小时的公共汽车。",
        "去灯塔有两条路,退潮的时候可以走沙滩,要是你们不怕爬山,也可以沿着教堂后面的那堵老墙走上去。",
    ),
}
"""Five in each language, from one word to two lines."""

Rate = Callable[[Samples], float]


@frozen
class Comparison:
    """One utterance. Distances and levels in dB; `first`: of the first window alone."""

    voice: str
    lsd: float
    lsd_first: float
    level: float
    level_first: float
    joins: tuple[float, ...]
    """By how much the level changes more at each join than at the same place in the reference."""
    distance: float
    """The distance to the fit, which the engine knows beforehand."""
    overall: float | None
    """DNSMOS OVRL less that of the reference; None without DNSMOS."""

    @classmethod
    def of(
        cls, voice: str, distance: float, pieces: Sequence[Samples], exact: Samples, rate: Rate | None
    ) -> "Comparison":
        """`pieces`: the windows. `exact`: the reference for the same stretch."""
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


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def level_step_db(samples: Samples, join: int, n_samples: int = SAMPLE_RATE_HZ // 50) -> float:
    """The change from the 20 ms before a join to the 20 ms after it."""
    return level_db(samples[join : join + n_samples]) - level_db(samples[max(0, join - n_samples) : join])


def dnsmos_rate() -> Rate:
    """Rates samples at 24 kHz. Exits if a package is missing."""
    try:
        from scipy.signal import resample_poly
        from speechmos import dnsmos
    except ImportError as error:
        sys.exit(f"error: {error.name} is not installed; run: bash scripts/setup.sh --bench")

    def rate(samples: Samples) -> float:
        at_16_khz = resample_poly(samples.astype(np.float64), 2, 3)
        return float(dnsmos.run(np.clip(at_16_khz, -1, 1), 16_000)["ovrl_mos"])

    return rate


def compare(
    synthesizer: KokoroSynthesizer, reference: KokoroSynthesizer, line: Line, rate: Rate | None
) -> Comparison | None:
    """Returns None if the engine vocodes the segment whole."""
    torch.manual_seed(SEED)
    (prosody,) = synthesizer.prosody([line])
    torch.manual_seed(SEED)
    (same,) = reference.prosody([line])
    windows = list(synthesizer.windows(prosody))
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
    # Imported here: a program that needs only the distance may run without the G2P.
    from kokoro_trio.text.g2p import GraphemeToPhoneme
    from kokoro_trio.text.reading import Sentence

    g2p = GraphemeToPhoneme(synthesizer.alphabet)
    with tqdm(total=len(voices) * len(ENGLISH), unit="utterance") as progress:
        for voice in voices:
            language = language_of(voice)
            for text in SENTENCES[language]:
                (segment,) = g2p.segments(Sentence.at(text), language, 0)
                yield compare(synthesizer, reference, Line(0, segment.phonemes, voice, 1.0), rate)
                progress.update()


COLUMNS = ("n", "LSD", "worst", "1st", "worst", "level", "1st", "join", "p90", "OVRL", "worst")


def head(name: str) -> str:
    """The titles of `row`: mean and worst in dB (levels: rms; joins: median and 90th percentile), and the
    difference of OVRL."""
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
    weights, cpu = open_configured_weights(), torch.device("cpu")
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
