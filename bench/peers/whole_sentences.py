"""Speaks each line of standard input, a sentence in JSON, whole; the program behind `bench.py --peer`.

It writes a line of JSON with its name when the model is loaded, and then one for each sentence: how many
samples it has and how much silence comes first. Nothing is downloaded.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from kokoro_trio.audio.head_silence import HeadSilence

# Before torch, which kokoro imports: this module sets environment variables that libgomp reads on load.
from kokoro_trio.model.voices import language_of
from kokoro_trio.speech import Samples
from kokoro_trio.text.english import load_misaki
from kokoro_trio.weights.prepared import VOICES_FILE, Weights, open_weights

if TYPE_CHECKING:
    import torch
    from kokoro import KModel, KPipeline  # type: ignore[import-untyped]

HUB_ID = "hexgrad/Kokoro-82M"
ESPEAK_LANGUAGES = {"a": "en-us", "b": "en-gb"}

Speak = Callable[[str], Samples]


def load_kpipeline(options: argparse.Namespace) -> Speak:
    import torch

    return partial(
        speak_with_kpipeline,
        kpipeline_of(open_weights(options.weights), options.voice, torch.device(options.device)),
        options.voice,
    )


def speak_with_kpipeline(pipeline: "KPipeline", voice: str, sentence: str) -> Samples:
    parts = [result.audio.numpy() for result in pipeline(sentence, voice=voice)]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def kpipeline_of(weights: Weights, voice: str, device: "torch.device") -> "KPipeline":
    from kokoro import KPipeline

    with TemporaryDirectory() as folder:
        model = kmodel_of(weights, Path(folder)).to(device)

    class PreparedPipeline(KPipeline):  # type: ignore[misc]
        """Takes its parts as they are: KPipeline's own __init__ downloads what English needs."""

        def __init__(self) -> None:
            self.repo_id = HUB_ID
            self.lang_code = language_of(voice)
            self.model = model
            self.voices = {voice: weights.voices[voice][:, None]}
            self.g2p = load_misaki(is_british=self.lang_code == "b")

    return PreparedPipeline()


def kmodel_of(weights: Weights, folder: Path) -> "KModel":
    """kokoro's own model with the same weights; it reads them only as a pickle of its five parts."""
    import torch
    from kokoro import KModel

    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.model.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    torch.save(parts, folder / "kokoro.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KModel(HUB_ID, dict(weights.config), str(folder / "kokoro.pth")).eval()


def load_kokoro_onnx(options: argparse.Namespace) -> Speak:
    from kokoro_onnx import Kokoro  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from safetensors.numpy import load_file

    style = load_file(options.weights / VOICES_FILE)[options.voice][:, None]
    language = ESPEAK_LANGUAGES[language_of(options.voice)]
    with TemporaryDirectory() as folder:
        # kokoro-onnx does not start without a file of voices.
        np.savez(Path(folder) / "voices.npz", style)
        kokoro = Kokoro(str(options.onnx_model), f"{folder}/voices.npz")

    def speak(sentence: str) -> Samples:
        samples, _ = kokoro.create(sentence, style, lang=language)
        return np.asarray(samples, np.float32)

    return speak


def answer(speak: Speak, sentence: str) -> dict[str, float | None]:
    samples = speak(sentence)
    silence = HeadSilence()
    silence.feed(samples)
    return {"n_samples": len(samples), "silence_s": silence.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["kpipeline", "kokoro-onnx"])
    parser.add_argument("--voice", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--onnx-model", type=Path)
    options = parser.parse_args()
    load, package = {
        "kpipeline": (load_kpipeline, "kokoro"),
        "kokoro-onnx": (load_kokoro_onnx, "kokoro-onnx"),
    }[options.peer]
    # Libraries print to standard output; the answers have a copy of it for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    speak = load(options)
    print(json.dumps({"name": f"{options.peer} {version(package)}"}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(speak, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
