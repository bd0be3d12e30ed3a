"""Kokoro behind the `Synthesizer` interface: both halves, the voice packs and the device."""

from collections.abc import Mapping, Sequence

import torch
from attrs import frozen
from torch import Tensor

from kokoro_trio.config import ModelConfig
from kokoro_trio.errors import DeviceUnavailable
from kokoro_trio.model.network import KokoroNetwork
from kokoro_trio.model.prosody import PADDING_TOKEN, ProsodyHalf, SegmentFeatures
from kokoro_trio.model.vocoder import VocoderHalf
from kokoro_trio.model.voices import VoicePacks
from kokoro_trio.model.weights import Weights
from kokoro_trio.speech import Line, Prosody, Samples, Window

WARM_UP_PHONEMES = (20, 60, 120)
"""From a word to a long sentence: torch picks its kernels by shape the first time it sees one."""


@frozen
class _Sounding:
    """The features of a segment with its excitation, which is made once for all its windows."""

    features: SegmentFeatures
    source: Tensor


class KokoroSynthesizer:
    """Kokoro-82M on one device. Every method belongs on one thread."""

    max_batch = 1

    def __init__(self, weights: Weights, device: torch.device) -> None:
        network = KokoroNetwork(weights.config, weights.model).to(device)
        self._prosody_half = ProsodyHalf(network)
        self._vocoder_half = VocoderHalf(network)
        self._voices = VoicePacks({name: pack.to(device) for name, pack in weights.voices.items()})
        self._token_ids: Mapping[str, int] = weights.config["vocab"]
        self._device = device

    @property
    def voice_names(self) -> tuple[str, ...]:
        return tuple(self._voices.packs)

    @property
    def alphabet(self) -> frozenset[str]:
        return frozenset(self._token_ids)

    @property
    def device(self) -> str:
        return str(self._device)

    def warm_up(self) -> None:
        voice = next(iter(self._voices.packs))
        phoneme = next(iter(self._token_ids))
        for n_phonemes in WARM_UP_PHONEMES:
            (prosody,) = self.prosody([Line(0, phoneme * n_phonemes, voice, 1.0)])
            self.vocode(self.windows(prosody))

    @torch.inference_mode()
    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        return [self._prosody(line) for line in lines]

    def windows(self, prosody: Prosody) -> list[Window]:
        """One window over everything: instance norm in the vocoder needs the whole segment."""
        return [Window(prosody, 0, prosody.n_frames)]

    @torch.inference_mode()
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        return [self._vocode(window) for window in windows]

    def _prosody(self, line: Line) -> Prosody:
        ids = [PADDING_TOKEN, *(self._token_ids[phoneme] for phoneme in line.phonemes), PADDING_TOKEN]
        style = self._voices.style_vector(line.voice, len(line.phonemes))
        features = self._prosody_half(torch.tensor(ids, device=self._device), style, line.speed)
        source = self._vocoder_half.source(features.f0_hz)
        return Prosody(line, features.durations_frames.cpu().numpy(), _Sounding(features, source))

    def _vocode(self, window: Window) -> Samples:
        if (window.start_frame, window.end_frame) != (0, window.prosody.n_frames):
            raise ValueError(f"the vocoder takes whole segments only, not {window}")
        sounding: _Sounding = window.prosody.features
        features = sounding.features
        samples = self._vocoder_half(features.decoded, sounding.source, features.decoder_style)
        vocoded: Samples = samples.float().cpu().numpy()
        return vocoded


def choose_device(config: ModelConfig) -> torch.device:
    """The device that `KOKORO_DEVICE` names, with the memory cap set. Raises `DeviceUnavailable`."""
    if config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda:0" if config.device in ("auto", "cuda") else config.device)
    if not torch.cuda.is_available():
        raise DeviceUnavailable(config.device, "torch finds no usable CUDA device or driver")
    if (device.index or 0) >= torch.cuda.device_count():
        raise DeviceUnavailable(config.device, f"there are {torch.cuda.device_count()} CUDA devices")
    torch.cuda.set_per_process_memory_fraction(config.gpu_memory_fraction, device)
    return device
