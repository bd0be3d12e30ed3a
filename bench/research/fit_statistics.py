"""Fits the predictor of the vocoder's statistics: `python -m bench.research.fit_statistics`.

Each voice speaks some of the sentences below and each segment is vocoded whole. The program stores the
mean and variance at the generator's AdaIN sites together with the features of the decoder's output. Ridge
regression on these pairs gives the slopes (shared by all voices, of reduced rank) and the means of each
voice. They are written to `kokoro_trio/model/statistics.safetensors` with the checksum of the model.

    --collect FILE   stores the pairs between runs (default: .cache/statistics.npz)
    --report         also holds out voices and texts, and prints the errors of the predictions
    --listen         also lets held-out voices and blends speak texts that are not in the fit, and prints the
                     error of the sound (the columns of bench/research/quality.py) by the distance that the
                     engine knows beforehand
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from tqdm import tqdm

from kokoro_trio.config import REPOSITORY, ModelConfig, WindowConfig
from kokoro_trio.model.calibration import deviations_db, finished, means_of_lines
from kokoro_trio.model.device import choose_device
from kokoro_trio.model.early_audio import FIT_FILE
from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.model.recipes import Recipe
from kokoro_trio.model.statistics import StatisticsPredictor, features_of
from kokoro_trio.model.voices import blend, language_of
from kokoro_trio.speech import Line
from kokoro_trio.text.g2p import ENGLISH as ENGLISH_ACCENTS
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.reading import Sentence
from kokoro_trio.weights.prepared import Weights

from ..configured import open_configured_weights
from . import quality

RANK = 64
RIDGE = 0.3
MAX_DISTANCE = 1.75
"""Segments further than this from the mean of their voice are vocoded whole. They are the shortest, so this
costs little."""
SENTENCES_PER_VOICE = 10
SPEEDS = (1.0, 1.0, 0.8, 1.0, 1.25, 1.0, 1.0, 1.6, 1.0, 0.9)

ENGLISH = (
    "Yes.",
    "Good morning.",
    "I am not sure.",
    "Could you say that again, please?",
    "Thanks, that is all I needed to know.",
    "The train leaves at a quarter past nine.",
    "No, wait, I meant the blue one on the left!",
    "Your table is ready, and the kitchen sends its regards.",
    "What would you like to drink with your supper tonight?",
    "She opened the window and listened to the rain for a while.",
    "If you press the green button twice, the machine will start again.",
    "Nobody had told him that the shop on the corner was closed on Mondays.",
    "Most of the money went into new roofs, and the rest was spent on the garden.",
    "Please hold the line while I look for the letter you sent us in the spring.",
    "It is three degrees below zero, the wind blows from the north, and snow is on its way.",
    "We walked along the river until the lights of the village came up behind the last hill.",
    "The doctor says that you should drink a lot of water, sleep well, and come back in two weeks.",
    "When the music stopped, everybody looked at the old man in the doorway, but he only smiled and "
    "waved his hat.",
    "I have booked a room with two beds for the nights of the fourth and the fifth, breakfast included, "
    "and you can cancel until the evening before.",
    "Although the first experiment had failed in front of the whole committee, she repaired the pump, "
    "changed the mixture a little, and tried again the following day, this time with the door locked.",
    "Really? How wonderful!",
    "My father grows beans, onions, and a few strange kinds of squash.",
    "Turn right after the bridge, then keep going straight for half a mile.",
    "That joke was terrible, and you know it.",
    "The children built a boat out of cardboard, and to everyone's surprise it floated.",
    "Sign here, here, and on the last page.",
    "He whispered something that I could not understand.",
    "In the end, the question is not whether we can afford to wait, but whether anybody else will.",
    "Seven, eight, nine, ten.",
    "Let me check that for you, it will only take a moment.",
)
OTHERS = {
    "e": (
        "Buenos días.",
        "¿Dónde está la estación de tren?",
        "Mañana vamos a comer pescado cerca del puerto.",
        "No sé si la tienda abre los domingos, pero puedo llamar y preguntar.",
        "Mi abuela decía que la lluvia de abril vale más que todo el oro del rey.",
        "Gracias, hasta luego.",
    ),
    "f": (
        "Bonjour, madame.",
        "Est-ce que vous avez une table près de la fenêtre ?",
        "Le bateau part à midi, il faut se dépêcher.",
        "Je ne savais pas que ton frère jouait aussi bien du violon.",
        "Nous avons marché toute la journée dans la forêt sans rencontrer personne.",
        "Merci, à demain.",
    ),
    "h": (
        "नमस्ते।",
        "आप कहाँ जा रहे हैं?",
        "आज मौसम बहुत अच्छा है।",
        "मेरी बहन हर सुबह बगीचे में चाय पीती है।",
        "कृपया थोड़ी देर रुकिए, मैं अभी देखकर बताता हूँ।",
        "धन्यवाद, फिर मिलेंगे।",
    ),
    "i": (
        "Buongiorno.",
        "A che ora apre il mercato?",
        "Il gatto dorme sempre sulla sedia vicino alla porta.",
        "Domani prendiamo il treno delle otto e pranziamo dai nonni.",
        "Non pensavo che una città così piccola avesse un teatro tanto grande.",
        "Grazie mille, arrivederci.",
    ),
    "j": (
        "おはようございます。",
        "駅はどこですか。",
        "明日は港の近くで魚を食べましょう。",
        "日曜日に店が開いているか分かりませんが、電話して聞いてみます。",
        "祖母は毎朝、庭の花に水をやってから、ゆっくりお茶を飲みます。",
        "ありがとう、また今度。",
    ),
    "p": (
        "Bom dia.",
        "Onde fica a farmácia mais próxima?",
        "A chuva começou logo depois do almoço.",
        "Meu vizinho toca violão todas as noites na varanda.",
        "Se você quiser, podemos ir à praia no sábado e voltar no domingo de manhã.",
        "Obrigado, até logo.",
    ),
    "z": (
        "早上好。",
        "请问火车站怎么走?",
        "今天的天气非常好。",
        "我妹妹每天早上都在花园里喝茶。",
        "我不知道那家店星期天开不开门,不过可以打电话问一下。",
        "谢谢,再见。",
    ),
}

TEXTS = (*ENGLISH, *(text for texts in OTHERS.values() for text in texts))

BLENDS = (
    "af_aoede+af_nicole",
    "af_bella+af_sky",
    "am_michael+bm_george",
    "af_heart+am_adam",
    "bf_emma+ff_siwis",
    "ef_dora+af_sarah+im_nicola",
    "zf_xiaoyi+jf_alpha",
    "hm_omega+pm_alex",
)
"""Means of voice packs, as clients blend them. The fit excludes them."""

HELD_OUT: dict[str, Callable[[str], bool]] = {
    "six voices, one whispering": lambda voice: (
        voice in ("af_nicole", "am_onyx", "bf_lily", "ff_siwis", "jm_kumo", "zf_xiaoyi")
    ),
    "Hindi, its voices and texts": lambda voice: voice.startswith("h"),
    "all British voices": lambda voice: voice.startswith("b"),
}


@frozen
class Pairs:
    """One row for each utterance: voice, text, features, and the targets of the prediction.

    `features`: shape (n, 1024), `targets`: (n, 18432), means and then log variances.
    """

    voices: NDArray[np.str_]
    texts: NDArray[np.int64]
    features: NDArray[np.float32]
    targets: NDArray[np.float32]

    def where(self, rows: NDArray[np.bool_]) -> "Pairs":
        return Pairs(self.voices[rows], self.texts[rows], self.features[rows], self.targets[rows])

    @classmethod
    def load(cls, path: Path, model_checksum: str) -> "Pairs":
        with np.load(path) as file:
            if str(file["checksum"]) != model_checksum:
                sys.exit(f"error: {path} was collected with another model; remove it")
            return cls(file["voices"], file["texts"], file["features"], file["targets"])

    @property
    def is_blend(self) -> NDArray[np.bool_]:
        return np.char.find(self.voices, "+") >= 0

    def save(self, path: Path, model_checksum: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            checksum=model_checksum,
            voices=self.voices,
            texts=self.texts,
            features=self.features,
            targets=self.targets,
        )


@frozen
class Means:
    """The means of one voice: `features`, shape (1024,), and `targets`, shape (18432,)."""

    features: NDArray[np.float32]
    targets: NDArray[np.float32]

    @classmethod
    def of(cls, pairs: Pairs) -> "Means":
        return cls(pairs.features.mean(0), pairs.targets.mean(0))

    @classmethod
    def mixed(cls, means: Sequence["Means"]) -> "Means":
        return cls(
            np.mean([each.features for each in means], axis=0),
            np.mean([each.targets for each in means], axis=0),
        )


@frozen
class Slopes:
    """`inner`: shape (1024, rank), `outer`: (rank, 18432), `spread`: (1024,), within a voice."""

    inner: NDArray[np.float32]
    outer: NDArray[np.float32]
    spread: NDArray[np.float32]

    def predict(self, means: Means, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """`features`: shape (n, 1024). Returns shape (n, 18432)."""
        deviations = features - means.features
        return np.asarray(means.targets + deviations @ self.inner @ self.outer, dtype=np.float32)


def with_blends(weights: Weights) -> Weights:
    blends = {name: blend(weights.voices, Recipe.parse(name).weights) for name in BLENDS}
    return evolve(weights, voices={**weights.voices, **blends})


def lines_of(voice: str, number: int, g2p: GraphemeToPhoneme) -> Iterator[tuple[int, Line]]:
    """The texts of a voice with their numbers: its own language first, then English."""
    language = language_of(voice)
    texts = [(language, text) for text in OTHERS.get(language, ())]
    english = language if language in ENGLISH_ACCENTS else "a"
    # Each voice starts at another place in the list, so that voices share all lengths and speeds.
    for n in range(SENTENCES_PER_VOICE - len(texts)):
        texts.append((english, ENGLISH[(7 * number + n) % len(ENGLISH)]))
    for n, (reads, text) in enumerate(texts):
        (segment,) = g2p.segments(Sentence.at(text), reads, 0)
        yield TEXTS.index(text), Line(0, segment.phonemes, voice, SPEEDS[(n + number) % len(SPEEDS)])


@torch.inference_mode()
def collect(synthesizer: KokoroSynthesizer) -> Pairs:
    g2p = GraphemeToPhoneme(synthesizer.alphabet)
    rows: list[tuple[str, int, NDArray[np.float32], NDArray[np.float32]]] = []
    voices = sorted(synthesizer.voice_names)
    with tqdm(total=len(voices) * SENTENCES_PER_VOICE, unit="utterance") as progress:
        for number, voice in enumerate(voices):
            for text, line in lines_of(voice, number, g2p):
                decoded, statistics = synthesizer.statistics_of(line)
                features = features_of(decoded)[0].cpu().numpy()
                rows.append((voice, text, features, statistics.as_targets()[0].cpu().numpy()))
                progress.update()
    voice_column, text_column, features_column, targets_column = zip(*rows, strict=True)
    return Pairs(
        np.array(voice_column), np.array(text_column), np.stack(features_column), np.stack(targets_column)
    )


def fit(pairs: Pairs, means: Mapping[str, Means], rank: int = RANK, ridge: float = RIDGE) -> Slopes:
    """Ridge regression in kernel form, because there are fewer rows than features.

    Fits the deviations from the mean of each voice. The reduction of the rank minimises the error in
    standard deviations of the channels, which is how the vocoder uses the means.
    """
    deviations: NDArray[np.float32] = pairs.features - np.stack(
        [means[voice].features for voice in pairs.voices]
    )
    wanted = pairs.targets - np.stack([means[voice].targets for voice in pairs.voices])
    spread = (deviations.std(axis=0) + 1e-6).astype(np.float32)
    rows = deviations / spread / np.sqrt(deviations.shape[1])
    kernel = rows @ rows.T
    weights = rows.T @ np.linalg.inv(kernel + ridge * np.eye(len(kernel), dtype=np.float32))
    importance = _importance(pairs.targets)
    fitted = rows @ weights @ (wanted * importance)
    _, _, directions = np.linalg.svd(fitted, full_matrices=False)
    kept = directions[:rank]
    inner = (weights @ (wanted * importance) @ kept.T) / spread[:, None] / np.sqrt(deviations.shape[1])
    return Slopes(inner.astype(np.float32), (kept / importance).astype(np.float32), spread)


def _importance(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weight of an error of 1: means in standard deviations, log variances as log deviations."""
    _, log_variances = np.split(targets, 2, axis=1)
    n_channels = log_variances.shape[1]
    importance: NDArray[np.float32] = np.concatenate(
        [np.exp(-log_variances.mean(axis=0) / 2), np.full(n_channels, 0.5, np.float32)]
    )
    return importance


def error(predicted: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rms error of each row over the channels, in standard deviations and their logarithms."""
    errors: NDArray[np.float32] = np.sqrt(
        np.square((predicted - targets) * _importance(targets)).mean(axis=1)
    )
    return errors


def means_of_voices(pairs: Pairs) -> dict[str, Means]:
    return {str(voice): Means.of(pairs.where(pairs.voices == voice)) for voice in np.unique(pairs.voices)}


# Holding out.


@frozen
class HeldOut:
    """Voices that are not in the fit. `means` come from other utterances than `rest`."""

    name: str
    slopes: Slopes
    means: Mapping[str, Means]
    rest: Pairs


def held_out(pairs: Pairs) -> Iterator[HeldOut]:
    """Voices and a language, with the means of one half of their utterances; and blends, with such means and
    with the mean of the means of their voices."""
    base, blends = pairs.where(~pairs.is_blend), pairs.where(pairs.is_blend)
    for name, is_out in HELD_OUT.items():
        out = np.array([is_out(str(voice)) for voice in base.voices])
        calibration, rest = _halves(base.where(out))
        yield HeldOut(name, _slopes_of(base.where(~out)), means_of_voices(calibration), rest)
    slopes, base_means = _slopes_of(base), means_of_voices(base)
    calibration, rest = _halves(blends)
    yield HeldOut("blends, means of their own", slopes, means_of_voices(calibration), rest)
    mixed = {name: Means.mixed([base_means[voice] for voice in name.split("+")]) for name in BLENDS}
    yield HeldOut("blends, means of means", slopes, mixed, rest)


def _slopes_of(pairs: Pairs) -> Slopes:
    return fit(pairs, means_of_voices(pairs))


def _halves(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Every other row of each voice, for its means, and the other rows."""
    calibrates = np.zeros(len(pairs.voices), dtype=bool)
    for voice in np.unique(pairs.voices):
        calibrates[np.flatnonzero(pairs.voices == voice)[::2]] = True
    return pairs.where(calibrates), pairs.where(~calibrates)


def report(pairs: Pairs) -> None:
    """Prints the errors of predictions for texts, voices, a language and blends that are not in the fit."""
    base = pairs.where(~pairs.is_blend)
    print(f"{'held out':<34}{'rows':>6}{'error p50':>11}{'p95':>8}{'worst':>8}")
    _report_row("nothing (the fit itself)", _errors(_slopes_of(base), means_of_voices(base), base))
    folds = [base.texts % 5 == fold for fold in range(5)]
    by_text = [_errors_on_texts(base.where(~fold), base.where(fold)) for fold in folds]
    _report_row("texts, in five folds", np.concatenate(by_text))
    for each in held_out(pairs):
        _report_row(each.name, _errors(each.slopes, each.means, each.rest))


def _report_row(name: str, errors: NDArray[np.float32]) -> None:
    p50, p95 = np.percentile(errors, [50, 95])
    print(f"{name:<34}{len(errors):>6}{p50:>11.3f}{p95:>8.3f}{errors.max():>8.3f}")


def _errors_on_texts(known: Pairs, new: Pairs) -> NDArray[np.float32]:
    means = means_of_voices(known)
    rows = np.array([voice in means for voice in new.voices])
    return _errors(fit(known, means), means, new.where(rows))


def listen(pairs: Pairs, weights: Weights) -> None:
    """Prints the errors of the sound, with each utterance in windows at any distance from the fit.

    The second table groups all utterances by that distance; it shows whether `MAX_DISTANCE` is right.
    """
    cpu = torch.device("cpu")
    weights = with_blends(weights)
    reference = KokoroSynthesizer(weights, cpu, quality.WHOLE, predictor=None)
    rate = quality.dnsmos_rate()
    heard: list[quality.Comparison] = []
    print(quality.head("held out"))
    for each in held_out(pairs):
        predictor = _predictor(each.slopes, each.means, float("inf"))
        synthesizer = KokoroSynthesizer(weights, cpu, quality.WINDOWS, predictor)
        compared = list(quality.comparisons(synthesizer, reference, sorted(each.means), rate))
        these = [comparison for comparison in compared if comparison is not None]
        print(quality.row(each.name, these), flush=True)
        heard += these
    for nearest, farthest in pairwise(LISTENED_DISTANCES):
        between = [each for each in heard if nearest <= each.distance < farthest]
        print(quality.row(f"distance {nearest} to {farthest}", between))


LISTENED_DISTANCES = (0.0, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, float("inf"))


def _predictor(slopes: Slopes, means: Mapping[str, Means], max_distance: float) -> StatisticsPredictor:
    return StatisticsPredictor(
        feature_means={voice: torch.from_numpy(its.features) for voice, its in means.items()},
        target_means={voice: torch.from_numpy(its.targets) for voice, its in means.items()},
        slopes_in=torch.from_numpy(slopes.inner),
        slopes_out=torch.from_numpy(slopes.outer),
        feature_spread=torch.from_numpy(slopes.spread),
        max_distance=max_distance,
    )


def _errors(slopes: Slopes, means: Mapping[str, Means], pairs: Pairs) -> NDArray[np.float32]:
    predicted = [
        slopes.predict(means[str(voice)], features[None])[0]
        for voice, features in zip(pairs.voices, pairs.features, strict=True)
    ]
    return error(np.stack(predicted), pairs.targets)


def save(path: Path, pairs: Pairs, weights: Weights) -> None:
    pairs = pairs.where(~pairs.is_blend)
    means = means_of_voices(pairs)
    slopes = fit(pairs, means)
    voices = sorted(means)
    synthesizer = KokoroSynthesizer(weights, torch.device("cpu"), quality.WINDOWS, predictor=None)
    reference = finished(means_of_lines(synthesizer))
    deviations = finished(deviations_db(synthesizer, _predictor(slopes, means, MAX_DISTANCE)))
    tensors = {
        "feature_means": np.stack([means[voice].features for voice in voices]),
        "target_means": np.stack([means[voice].targets for voice in voices]),
        "slopes_in": slopes.inner,
        "slopes_out": slopes.outer,
        "feature_spread": slopes.spread,
        "reference_features": reference.features.numpy(),
        "reference_targets": reference.targets.numpy(),
    }
    about = {
        "model_checksum": weights.checksum,
        "voices": json.dumps(voices),
        "max_distance": f"{MAX_DISTANCE:.3f}",
        "mean_db": f"{np.mean(deviations):.3f}",
    }
    # Not by save_file, which ignores the umask: only the owner could read the file.
    path.write_bytes(
        safetensors.numpy.save({name: tensor.astype(np.float16) for name, tensor in tensors.items()}, about)
    )
    size_mb = path.stat().st_size / 1e6
    print(f"check lines in windows: {len(deviations)}, {about['mean_db']} dB, worst {max(deviations):.3f}")
    print(f"{path}: {size_mb:.1f} MB; segments beyond {about['max_distance']} are vocoded whole")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--collect", type=Path, default=REPOSITORY / ".cache" / "statistics.npz")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--listen", action="store_true")
    options = parser.parse_args(arguments)
    weights = open_configured_weights()
    if not options.collect.exists():
        device = choose_device(ModelConfig("auto", "auto", "float32", gpu_memory_fraction=0.95)).device
        whole = WindowConfig(first_max_words=0, first_boundaries="", trims_leading_silence=False)
        synthesizer = KokoroSynthesizer(with_blends(weights), device, whole, predictor=None)
        collect(synthesizer).save(options.collect, weights.checksum)
    pairs = Pairs.load(options.collect, weights.checksum)
    save(FIT_FILE, pairs, weights)
    if options.report:
        report(pairs)
    if options.listen:
        listen(pairs, weights)


if __name__ == "__main__":
    main()
