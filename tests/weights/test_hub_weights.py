"""End to end with the real model: weights without a fit, from the hub to the first audio."""

import json
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from bench.research.quality import SENTENCES
from kokoro_trio.model.calibration import load_predictor
from kokoro_trio.model.early_audio import CALIBRATION_FILE, CalibrationRecord
from kokoro_trio.model.kokoro import KokoroSynthesizer
from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.model.weights import WINDOWS, calibrate_prepared
from kokoro_trio.speech import Line
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.reading import Sentence
from kokoro_trio.weights.preparation import Preparation
from kokoro_trio.weights.prepared import Weights, open_weights
from kokoro_trio.weights.release import HubPins, Release
from tests.support.environment import TEST_WEIGHTS
from tests.support.hub import REVISION, RecordedProgress, StandInHub, pickled, sha256
from tests.support.processes import running
from tests.support.scraping import scraped
from tests.support.stand_in import original_like

pytestmark = pytest.mark.model
CPU = torch.device("cpu")
VOICES = ("af_heart", "jf_alpha", "zm_yunxi")


@frozen
class Prepared:
    folder: Path
    early_audio: EarlyAudio
    """The output of the preparation."""


def hub_files_of(weights: Weights, config: bytes) -> dict[str, bytes]:
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.model.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    voices = {f"voices/{name}.pt": pickled(pack[:, None].clone()) for name, pack in weights.voices.items()}
    return {"config.json": config, "kokoro-v1_0.pth": pickled(parts), **voices}


@pytest.fixture(scope="module")
def registry_weights() -> Weights:
    return open_weights(TEST_WEIGHTS)


@pytest.fixture(scope="module")
def prepared(registry_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Prepared as by `setup.sh` on a machine that reaches the hub."""
    release, folder = Release.load(), tmp_path_factory.mktemp("hub")
    files = hub_files_of(original_like(registry_weights), release.config)
    pins = HubPins("some/model", REVISION, "Apache-2.0", {name: sha256(c) for name, c in files.items()})
    with StandInHub(files).serving() as hub:
        preparation = Preparation(evolve(release, hub=pins), RecordedProgress(), hub.url, folder / "cache")
        assert preparation.ensure("auto", folder / "weights").source == "hub"
    return Prepared(folder / "weights", calibrate_prepared(folder / "weights", RecordedProgress()))


def test_windows_are_as_near_to_the_whole_as_with_the_weights_of_the_fit(prepared: Prepared) -> None:
    record = CalibrationRecord.read(prepared.folder)
    assert record is not None
    assert record.mean_db <= 0.9
    assert max(record.deviations_db) <= 1.5
    assert prepared.early_audio == EarlyAudio(True, f"calibrated for these weights, {record.mean_db:.1f} dB")


def test_no_additional_segments_are_vocoded_whole(prepared: Prepared, registry_weights: Weights) -> None:
    n_whole = []
    for weights in (registry_weights, open_weights(prepared.folder)):
        synthesizer = KokoroSynthesizer(weights, CPU, WINDOWS, load_predictor(weights, CPU))
        g2p = GraphemeToPhoneme(synthesizer.alphabet)
        lines = [
            Line(0, g2p.segments(Sentence.at(text), voice[0], 0)[0].phonemes, voice, 1.0)
            for voice in VOICES
            for text in SENTENCES[voice[0]]
        ]
        prosodies = [synthesizer.prosody([line])[0] for line in lines]
        n_whole.append(sum(map(synthesizer.is_vocoded_whole, prosodies)))
    assert n_whole[1] <= n_whole[0] < len(VOICES) * 2


def test_weights_are_calibrated_once(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: object) -> None:
        raise AssertionError("it was calibrated again")

    monkeypatch.setattr("kokoro_trio.model.calibration.calibrate", again)
    assert calibrate_prepared(prepared.folder, RecordedProgress()) == prepared.early_audio
    before = (prepared.folder / CALIBRATION_FILE).read_bytes()
    with pytest.raises(AssertionError, match="again"):
        calibrate_prepared(prepared.folder, RecordedProgress(), force=True)
    assert (prepared.folder / CALIBRATION_FILE).read_bytes() == before, "the old one stays until then"


def test_failed_calibration_is_left_to_the_server(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr("kokoro_trio.model.calibration.calibrate", fail)
    for path in prepared.folder.iterdir():
        if path.name != CALIBRATION_FILE:
            (tmp_path / path.name).symlink_to(path)
    early_audio = calibrate_prepared(tmp_path, RecordedProgress())
    assert early_audio == EarlyAudio(
        False, "the calibration failed (no memory); the server repeats it after each start"
    )
    with pytest.raises(torch.OutOfMemoryError):
        calibrate_prepared(tmp_path, RecordedProgress(), force=True)


def test_server_sends_early_audio(prepared: Prepared, tmp_path: Path) -> None:
    with running(tmp_path, KOKORO_WEIGHTS=str(prepared.folder)) as server:
        with urlopen(f"http://127.0.0.1:{server.port}/readyz") as answer:
            ready = json.load(answer)
        audio, end = server.speak("The parcel came back because nobody was at home.")
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            metrics = scraped(answer.read().decode())
    assert (ready["early_audio"], ready["early_audio_reason"]) == (True, prepared.early_audio.reason)
    assert metrics["early_audio"] == 1
    assert end["type"] == "done"
    assert metrics["step_seconds_count{kind=vocode}"] >= 2, "the sentence is made in windows"
    assert np.sqrt(np.mean(audio**2)) > 0.01
