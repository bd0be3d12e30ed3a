"""Kokoro behind the `Synthesizer` interface: both halves, the voice packs and the device."""

import timeit
from collections.abc import Mapping, Sequence
from itertools import pairwise

import structlog
import torch
from attrs import evolve, frozen
from torch import Tensor

from kokoro_trio.config import ModelConfig, WindowConfig
from kokoro_trio.errors import DeviceUnavailable
from kokoro_trio.model.network import KokoroNetwork
from kokoro_trio.model.prosody import PADDING_TOKEN, ProsodyHalf, SegmentFeatures
from kokoro_trio.model.statistics import STATISTICS_FILE, StatisticsOfAnotherModel, StatisticsPredictor
from kokoro_trio.model.vocoder import Affine, Statistics, VocoderHalf, cut
from kokoro_trio.model.voices import VoicePacks
from kokoro_trio.model.weights import Weights
from kokoro_trio.model.windowing import CONTEXT_FRAMES, MAX_FRAMES, MIN_FIRST_FRAMES, Pace, window_edges
from kokoro_trio.speech import FRAME_SAMPLES, FRAME_SECONDS, Line, Prosody, Samples, Window

log = structlog.get_logger()

WARM_UP_PHONEMES = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ."
WARM_UP_REPEATS = (1, 2, 3)
"""From a short sentence to a long one: torch picks its kernels by shape the first time it sees one."""
GROWTH_MARGIN = 0.6
"""The part of the time that a window is heard for in which the next should be made: other listeners,
and the prosody of the next sentence, want the rest."""
MAX_STEP_S = 0.5
"""What a newcomer, or the engine after a cancel, waits at most for a window in flight to be done."""
MIN_GAIN = 1.2
"""How much faster bfloat16 must be to be worth its 1 dB of log-spectral distance."""


@frozen
class _Sounding:
    """The features of a segment with what is made of them once for all its windows.

    `affine` is None where the vocoder's statistics cannot be known beforehand: then only the whole
    segment at once sounds right.
    """

    features: SegmentFeatures
    source: Tensor
    affine: Affine | None


class KokoroSynthesizer:
    """Kokoro-82M on one device. Every method belongs on one thread."""

    max_batch = 1

    def __init__(
        self,
        weights: Weights,
        device: torch.device,
        config: WindowConfig,
        predictor: StatisticsPredictor | None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Without a predictor every segment is one window. `dtype` is the vocoder's."""
        network = KokoroNetwork(weights.config, weights.model).to(device)
        self._prosody_half = ProsodyHalf(network)
        self._vocoder_half = VocoderHalf(network, dtype)
        self._voices = VoicePacks({name: pack.to(device) for name, pack in weights.voices.items()})
        self._token_ids: Mapping[str, int] = weights.config["vocab"]
        self._device = device
        self._config = config
        self._predictor = predictor
        self._pace = Pace(growth=1.0)

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
        for repeats in WARM_UP_REPEATS:
            (prosody,) = self.prosody([Line(0, " ".join([WARM_UP_PHONEMES] * repeats), voice, 1.0)])
            self.vocode(self.windows(prosody, listeners=1))
        cost = self._seconds_per_second(prosody)
        makeable_frames = round(MAX_STEP_S / cost / FRAME_SECONDS) - 2 * CONTEXT_FRAMES
        max_frames = min(max(makeable_frames, MIN_FIRST_FRAMES), MAX_FRAMES)
        self._pace = Pace(GROWTH_MARGIN / cost, max_frames)
        log.info("warmed_up", vocoder_dtype=str(self._vocoder_half.dtype), vocoder_rtf=round(cost, 3))

    def _seconds_per_second(self, prosody: Prosody) -> float:
        """How long the vocoder takes for a second of sound, context included."""
        window = Window(prosody, 0, min(MIN_FIRST_FRAMES, prosody.n_frames))
        n_seconds = (window.end_frame + CONTEXT_FRAMES) * FRAME_SECONDS
        # The best of a few: the first of a shape is slow, and so is any that a neighbour disturbs.
        return min(timeit.repeat(lambda: self.vocode([window]), number=1, repeat=4)) / n_seconds

    @torch.inference_mode()
    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        return [self._prosody(line) for line in lines]

    def windows(self, prosody: Prosody, listeners: int) -> list[Window]:
        durations = prosody.durations_frames.tolist()
        pace = evolve(self._pace, growth=self._pace.growth / listeners)
        edges = window_edges(prosody.line, durations, self._config, pace)
        if _sounding(prosody).affine is None:
            edges = [edges[0], edges[-1]]
        return [Window(prosody, start, end) for start, end in pairwise(edges)]

    @torch.inference_mode()
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        return [self._vocode(window) for window in windows]

    @torch.inference_mode()
    def vocode_exactly(self, prosody: Prosody) -> Samples:
        """The whole segment with its own statistics: what windows are measured against."""
        samples, _ = self._whole(_sounding(prosody))
        exact: Samples = samples[0].float().cpu().numpy()
        return exact

    @torch.inference_mode()
    def statistics_of(self, line: Line) -> tuple[Tensor, Statistics]:
        """The decoder's features of a line, and the vocoder's statistics over the whole of it."""
        sounding = _sounding(self._prosody(line))
        _, statistics = self._whole(sounding)
        return sounding.features.decoded, statistics

    def _prosody(self, line: Line) -> Prosody:
        ids = [PADDING_TOKEN, *(self._token_ids[phoneme] for phoneme in line.phonemes), PADDING_TOKEN]
        style = self._voices.style_vector(line.voice, len(line.phonemes))
        features = self._prosody_half(torch.tensor(ids, device=self._device), style, line.speed)
        source = self._vocoder_half.source(features.f0_hz)
        affine = self._affine(line.voice, features)
        return Prosody(line, features.durations_frames.cpu().numpy(), _Sounding(features, source, affine))

    def _affine(self, voice: str, features: SegmentFeatures) -> Affine | None:
        if self._predictor is None or self._config.first_max_words == 0:
            return None
        statistics = self._predictor.predict(voice, features.decoded)
        if statistics is None:
            return None
        return self._vocoder_half.affine(features.decoder_style, statistics)

    def _vocode(self, window: Window) -> Samples:
        sounding = _sounding(window.prosody)
        if sounding.affine is None:
            samples, _ = self._whole(sounding)
            start = 0
        else:
            start = max(0, window.start_frame - CONTEXT_FRAMES)
            end = min(window.prosody.n_frames, window.end_frame + CONTEXT_FRAMES)
            pieces = cut(sounding.features.decoded, sounding.source, start, end)
            samples = self._vocoder_half.windows(*pieces, sounding.affine)
        first = (window.start_frame - start) * FRAME_SAMPLES
        vocoded: Samples = samples[0, first : first + window.n_samples].float().cpu().numpy()
        return vocoded

    def _whole(self, sounding: _Sounding) -> tuple[Tensor, Statistics]:
        features = sounding.features
        return self._vocoder_half.whole(features.decoded, sounding.source, features.decoder_style)


def _sounding(prosody: Prosody) -> _Sounding:
    sounding: _Sounding = prosody.features
    return sounding


def load_predictor(weights: Weights, device: torch.device) -> StatisticsPredictor | None:
    """None, and a warning, where the coefficients at hand are not for this model."""
    try:
        return StatisticsPredictor.load(STATISTICS_FILE, weights.checksum, device)
    except StatisticsOfAnotherModel:
        log.warning("whole_segments_only", reason="the vocoder's statistics were fitted on another model")
        return None


def choose_dtype(config: ModelConfig, device: torch.device) -> torch.dtype:
    """What `KOKORO_DTYPE` names. `auto`: bfloat16 on processors that compute in it, by measurement."""
    if config.dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.dtype]
    if device.type != "cpu":
        return torch.float32
    gain = _convolution_seconds(torch.float32) / _convolution_seconds(torch.bfloat16)
    return torch.bfloat16 if gain >= MIN_GAIN else torch.float32


@torch.inference_mode()
def _convolution_seconds(dtype: torch.dtype) -> float:
    """The best of a few runs of one of the vocoder's convolutions."""
    convolution = torch.nn.Conv1d(128, 128, 7, padding=3).to(dtype)
    x = torch.zeros(1, 128, 4800, dtype=dtype)
    return min(timeit.repeat(lambda: convolution(x), number=1, repeat=7))


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
