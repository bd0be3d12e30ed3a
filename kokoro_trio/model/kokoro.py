"""Kokoro as a `Synthesizer`: joins both halves, the voice packs and the device."""

import math
import timeit
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np
import structlog
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from torch import Tensor

from kokoro_trio.config import ModelConfig, WindowConfig
from kokoro_trio.model.batching import ROWS, BatchLimit, BatchShape
from kokoro_trio.model.calibration import calibrate, known_statistics
from kokoro_trio.model.closing import closed
from kokoro_trio.model.convolution import ChooseMethods
from kokoro_trio.model.device import (
    allows_tf32,
    choose_dtype,
    choose_methods,
    choose_runner,
    float32_products,
    halving,
    is_lost,
    to_host,
)
from kokoro_trio.model.graphs import Runner
from kokoro_trio.model.network import KokoroNetwork
from kokoro_trio.model.prosody import PADDING_TOKEN, ProsodyHalf, SegmentFeatures
from kokoro_trio.model.source import HarmonicSource
from kokoro_trio.model.spectral_distance import log_spectral_distance_db
from kokoro_trio.model.statistics import Fit, StatisticsPredictor, features_of
from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.model.vocoder import Affine, Material, Statistics, VocoderHalf, WindowBatch
from kokoro_trio.model.voices import VoicePacks
from kokoro_trio.model.windowing import (
    CONTEXT_COST_FRAMES,
    CONTEXT_FRAMES,
    MAX_FRAMES,
    MIN_FIRST_FRAMES,
    SHAPES,
    Pace,
    SegmentWindows,
)
from kokoro_trio.speech import (
    FRAME_SAMPLES,
    FRAME_SECONDS,
    MAX_SEGMENT_PHONEMES,
    Line,
    Prosody,
    Samples,
    Window,
    Windows,
)
from kokoro_trio.weights.prepared import Weights

log = structlog.get_logger()

WARM_UP_PHONEMES = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ."
WARM_UP_REPEATS = (1, 2, 3)
"""From a short sentence to a long one, because torch prepares kernels at the first use of a shape."""
GROWTH_MARGIN = 0.6
"""The part of a listener's slack for the next window. The rest is for the prosody of the next sentence."""
MAX_STEP_S = 0.5
"""How long a window may delay the other listeners. Only a new listener's step interrupts it."""
MAX_WHOLE_STEP_S = 1.0
"""The same for a segment that is vocoded whole."""
MIN_LINE_PHONEMES = 24
"""A word or two. On a machine too slow for that, steps are longer."""
MAX_BATCH = 8
MAX_BATCH_ON_GPU = ROWS[-1]
MIN_BATCH_GAIN = 1.25
"""The least useful speed-up of a batch over single windows. In a batch windows wait for each other, and
padding rows are computed and thrown away."""


@frozen
class _Sounding:
    """The inputs of the vocoder for a segment, computed once for all its windows.

    `affine` is None if the vocoder's statistics are not predicted; then the segment must be vocoded whole.
    `distance`: see `StatisticsPredictor.distances`.
    """

    material: Material
    affine: Affine | None
    distance: float

    @property
    def is_whole(self) -> bool:
        """Whether the segment must be vocoded whole."""
        return self.affine is None


class KokoroSynthesizer:
    """Kokoro-82M on one device. Methods belong on one thread; any thread may read the properties."""

    def __init__(
        self,
        weights: Weights,
        device: torch.device,
        config: WindowConfig,
        predictor: StatisticsPredictor | None,
        dtype: torch.dtype = torch.float32,
        max_batch: int = 1,
        runner: Runner | None = None,
        tf32: bool = False,
        choose_methods: ChooseMethods | None = None,
    ) -> None:
        """Without a predictor every segment is one window. `dtype`, `tf32` and `choose_methods` are the
        vocoder's. `warm_up` may lower a `max_batch` over 1. With a runner, windows are batched in few shapes,
        see `BatchShape`.
        """
        network = KokoroNetwork(weights.config, weights.model).to(device)
        self._prosody_half = ProsodyHalf(network)
        self._source = HarmonicSource(network.decoder.generator)
        self._vocoder_half = VocoderHalf(network, dtype, choose_methods)
        self._voices = VoicePacks({name: pack.to(device) for name, pack in weights.voices.items()})
        self._token_ids: Mapping[str, int] = weights.config["vocab"]
        self._device = device
        self._config = config
        self._predictor = predictor
        self._batch_limit = BatchLimit(max_batch)
        self._runner = runner
        self._tf32 = tf32
        self._pace = Pace(growth=1.0)
        self._max_whole_phonemes = MAX_SEGMENT_PHONEMES
        self._calibration: Iterator[None] | None = None
        self.device_reason = ""
        self._early_audio = EarlyAudio(False, "FIRST_SEGMENT_MAX_WORDS is 0")

    @classmethod
    def of(
        cls,
        weights: Weights,
        device: torch.device,
        config: ModelConfig,
        windows: WindowConfig,
        device_reason: str = "",
    ) -> "KokoroSynthesizer":
        """The synthesizer of a server. Must be called on the inference thread."""
        synthesizer = cls(
            weights,
            device,
            windows,
            None,
            dtype=choose_dtype(config),
            max_batch=MAX_BATCH if device.type == "cpu" else MAX_BATCH_ON_GPU,
            runner=choose_runner(config, device),
            tf32=allows_tf32(config, device),
            choose_methods=choose_methods(config, device),
        )
        if windows.first_max_words:
            synthesizer._find_statistics(weights)
        synthesizer.device_reason = device_reason
        return synthesizer

    def _find_statistics(self, weights: Weights) -> None:
        self._predictor, known = known_statistics(weights, self._device)
        if known is None:
            self._calibration = self._calibrate(weights)
        self._early_audio = known or EarlyAudio(False, "the server is calibrating it for these weights")

    def _calibrate(self, weights: Weights) -> Iterator[None]:
        fit = Fit.load(self._device)
        calibration = yield from calibrate(self, fit, weights.checksum)
        self._predictor, self._early_audio = calibration.applied_to(fit), calibration.record.early_audio
        try:
            calibration.save(weights.folder)
        except OSError as error:
            log.info("calibration_not_kept", folder=str(weights.folder), reason=error.strerror)

    @property
    def early_audio(self) -> EarlyAudio:
        return self._early_audio

    @property
    def is_interruptible(self) -> bool:
        """False on a GPU, where a step takes milliseconds."""
        return self._runner is None

    def interrupt_with(self, work: Callable[[], None]) -> None:
        if self.is_interruptible:
            self._vocoder_half.between_layers = work

    @property
    def has_spare_work(self) -> bool:
        return self._calibration is not None

    def do_spare_work(self) -> None:
        """Runs one line of the calibration. An error leaves early audio off."""
        assert self._calibration is not None
        try:
            next(self._calibration)
            return
        except StopIteration:
            pass
        except Exception:
            log.exception("calibration_failed")
            self._predictor = None
            self._early_audio = EarlyAudio(False, "the calibration failed, see the log")
        self._calibration = None
        log.info("early_audio", is_on=self._early_audio.is_on, reason=self._early_audio.reason)

    def is_broken(self) -> bool:
        return is_lost(self._device)

    @property
    def _max_batch(self) -> int:
        return self._batch_limit.now

    @property
    def max_batch(self) -> int:
        """1 for whole segments, each of which takes as long as a batch of windows."""
        return self._max_batch if self._predictor else 1

    @property
    def max_line_phonemes(self) -> int:
        are_whole_wanted = self._config.first_max_words == 0
        return MAX_SEGMENT_PHONEMES if self._predictor or are_whole_wanted else self._max_whole_phonemes

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
        affine: Affine | None = None
        lengths: set[int] = set()
        for repeats in WARM_UP_REPEATS:
            (prosody,) = self.prosody([Line(0, " ".join([WARM_UP_PHONEMES] * repeats), voice, 1.0)])
            if self._config.first_max_words:
                sounding = _sounding(prosody)
                affine = sounding.affine or affine or self._affine_of_whole(prosody)
                # The statistics of another line do not change how fast windows are made.
                prosody = evolve(prosody, features=evolve(sounding, affine=affine))
            for window in self.windows(prosody):
                length = window.shape_frames or window.end_frame - window.start_frame
                if length not in lengths:
                    lengths.add(length)
                    self.vocode([window])
        if self._config.first_max_words:
            self._warm_up_shapes(prosody)
            self._choose_pace(Window(prosody, 0, min(MIN_FIRST_FRAMES, prosody.n_frames)))
        log.info("early_audio", is_on=self._early_audio.is_on, reason=self._early_audio.reason)

    @torch.inference_mode()
    def _affine_of_whole(self, prosody: Prosody) -> Affine:
        """AdaIN with the statistics of the whole line. Also measures how long a whole line may be."""
        n_phonemes = int(MAX_WHOLE_STEP_S / self._whole_s(prosody) * len(prosody.line.phonemes))
        self._max_whole_phonemes = min(max(n_phonemes, MIN_LINE_PHONEMES), MAX_SEGMENT_PHONEMES)
        material = _sounding(prosody).material
        _, statistics = self._vocoder_half.whole(material)
        return self._vocoder_half.affine(material.style, statistics)

    def _whole_s(self, prosody: Prosody) -> float:
        # The first run of a shape is slow.
        return min(timeit.repeat(lambda: self.vocode_exactly(prosody), number=1, repeat=2))

    def _choose_pace(self, window: Window) -> None:
        """Measures how long windows may be, and whether batches are worthwhile."""
        alone_s = self._seconds([window])
        cost = alone_s / ((window.end_frame + 2 * CONTEXT_COST_FRAMES) * FRAME_SECONDS)
        makeable_frames = round(MAX_STEP_S / cost / FRAME_SECONDS) - 2 * CONTEXT_COST_FRAMES
        self._pace = Pace(GROWTH_MARGIN / cost, min(max(makeable_frames, MIN_FIRST_FRAMES), MAX_FRAMES))
        max_batch, batch_gain = self._max_batch, 1.0
        if max_batch > 1:
            batch_gain = 2 * alone_s / self._seconds([window] * 2)
            longest_s = cost * (self._pace.max_frames + 2 * CONTEXT_COST_FRAMES) * FRAME_SECONDS
            max_batch = batch_of(max_batch, batch_gain, longest_s)
        # A batch that ran out of memory during the warm-up is not tried again.
        self._batch_limit = BatchLimit(max_batch)
        log.info(
            "paced",
            vocoder_dtype=str(self._vocoder_half.dtype),
            vocoder_rtf=round(cost, 3),
            max_window_frames=self._pace.max_frames,
            max_batch=self._max_batch,
            batch_gain=round(batch_gain, 2),
        )

    @torch.inference_mode()
    def _warm_up_shapes(self, prosody: Prosody) -> None:
        """Captures the largest shapes first, because the others can share their memory."""
        sounding = _sounding(prosody)
        if self._runner is None:
            return
        assert sounding.affine is not None
        for frames in sorted(SHAPES, reverse=True):
            batch = self._vocoder_half.batch(
                [sounding.material], [sounding.affine], [0], frames, is_static=True
            )
            for rows in reversed(ROWS):
                for is_masked in (True, False):
                    if rows <= self._max_batch:
                        shape = BatchShape(rows, frames, is_masked)
                        with (
                            suppress(torch.OutOfMemoryError),
                            halving(self._batch_limit, rows),
                            float32_products(self._tf32),  # A graph keeps the precision of its capture.
                        ):
                            self._run(self._runner, shape, evolve(batch, is_masked=is_masked))

    def _seconds(self, windows: Sequence[Window]) -> float:
        """How long the vocoder takes for the windows."""
        # The first run of a shape is slow, and other processes may slow any run.
        return min(timeit.repeat(lambda: self.vocode(windows), number=1, repeat=4))

    def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
        return self._prosody(lines, self._predictor)

    @torch.inference_mode()
    def _prosody(self, lines: Sequence[Line], predictor: StatisticsPredictor | None) -> list[Prosody]:
        spoken = [closed(line.phonemes) for line in lines]
        ids = [
            [PADDING_TOKEN, *(self._token_ids[phoneme] for phoneme in phonemes), PADDING_TOKEN]
            for phonemes in spoken
        ]
        styles = [
            self._voices.style_vector(line.voice, len(phonemes))
            for line, phonemes in zip(lines, spoken, strict=True)
        ]
        # Rounding would change durations and melody.
        with halving(self._batch_limit, len(lines)), float32_products(tf32=False):
            segments = self._prosody_half(ids, torch.stack(styles), [line.speed for line in lines])
            soundings = self._soundings_of([line.voice for line in lines], segments, predictor)
        return [
            Prosody(line, _durations_of(line, features), sounding)
            for line, features, sounding in zip(lines, segments, soundings, strict=True)
        ]

    def windows(self, prosody: Prosody) -> Windows:
        shapes = SHAPES if self._max_batch > 1 or self._runner else ()
        return SegmentWindows.of(
            prosody,
            self._config,
            evolve(self._pace, shapes=shapes),
            is_whole=self.is_vocoded_whole(prosody),
        )

    @torch.inference_mode()
    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        """Vocodes windows of any shapes, and batches those of equal shape."""
        samples: dict[int, Samples] = {}
        for group in _stackable(windows, is_static=self._runner is not None):
            with halving(self._batch_limit, len(group)), float32_products(self._tf32):
                made = self._vocode([windows[n] for n in group])
            samples.update(zip(group, made, strict=True))
        return [samples[n] for n in range(len(windows))]

    def is_vocoded_whole(self, prosody: Prosody) -> bool:
        """Whether the vocoder's statistics are not predicted for this segment."""
        return _sounding(prosody).is_whole

    def distance(self, prosody: Prosody) -> float:
        """The distance of a segment from the fit; see `StatisticsPredictor.distances`."""
        return _sounding(prosody).distance

    @torch.inference_mode()
    def vocode_exactly(self, prosody: Prosody) -> Samples:
        """The whole segment with its own statistics, the reference for windows."""
        samples, _ = self._vocoder_half.whole(_sounding(prosody).material)
        return to_host(samples[0])

    def deviation_db(self, line: Line, predictor: StatisticsPredictor) -> float | None:
        """See `calibration.Vocoder`."""
        (prosody,) = self._prosody([line], predictor)
        if self.is_vocoded_whole(prosody):
            return None
        windows = list(self.windows(prosody))
        made = np.concatenate([self.vocode([window])[0] for window in windows])
        exact = self.vocode_exactly(prosody)[windows[0].start_frame * FRAME_SAMPLES :]
        return log_spectral_distance_db(made, exact)

    @torch.inference_mode()
    def statistics_of(self, line: Line) -> tuple[Tensor, Statistics]:
        """The decoder's features of a line, and the vocoder's statistics of the whole line."""
        (prosody,) = self.prosody([line])
        material = _sounding(prosody).material
        _, statistics = self._vocoder_half.whole(material)
        return material.decoded, statistics

    def _soundings_of(
        self,
        voices: Sequence[str],
        segments: Sequence[SegmentFeatures],
        predictor: StatisticsPredictor | None,
    ) -> list[_Sounding]:
        sources = self._source.spectra([each.f0_hz for each in segments])
        soundings = [
            _Sounding(Material(_kept(each.decoded), _kept(source), each.decoder_style), None, math.inf)
            for each, source in zip(segments, sources, strict=True)
        ]
        if predictor is None or self._config.first_max_words == 0:
            return soundings
        known = torch.cat([features_of(each.material.decoded) for each in soundings])
        distances = predictor.distances(voices, known)
        near = [n for n, distance in enumerate(distances) if distance <= predictor.max_distance]
        affines: dict[int, Affine] = {}
        if near:
            styles = torch.cat([soundings[n].material.style for n in near])
            statistics = predictor.predict([voices[n] for n in near], known[near])
            affines = dict(zip(near, self._vocoder_half.affine(styles, statistics).rows, strict=True))
        return [
            evolve(each, affine=affines.get(n), distance=distances[n]) for n, each in enumerate(soundings)
        ]

    def _vocode(self, windows: Sequence[Window]) -> list[Samples]:
        """Vocodes one group of `_stackable` windows."""
        soundings = [_sounding(window.prosody) for window in windows]
        if soundings[0].is_whole:
            starts = [0]
            samples = self.vocode_exactly(windows[0].prosody)[None]
        else:
            starts, n_frames = _frames_to_vocode(windows, is_static=self._runner is not None)
            materials = [sounding.material for sounding in soundings]
            affines = [sounding.affine for sounding in soundings if sounding.affine]
            samples = to_host(self._vocode_windows(materials, affines, starts, n_frames))
        firsts = [
            (window.start_frame - start) * FRAME_SAMPLES
            for window, start in zip(windows, starts, strict=True)
        ]
        # Copied, so that one slow listener does not keep the whole batch in memory.
        return [
            np.array(row[first : first + window.n_samples])
            for row, first, window in zip(samples, firsts, windows, strict=True)
        ]

    def _vocode_windows(
        self, materials: Sequence[Material], affines: Sequence[Affine], starts: Sequence[int], n_frames: int
    ) -> Tensor:
        half = self._vocoder_half
        if self._runner is None:
            return half.windows(materials, affines, starts, n_frames)
        shape = BatchShape.of([material.n_frames for material in materials], n_frames)
        return self._run(
            self._runner, shape, half.batch(materials, affines, starts, n_frames, is_static=True)
        )

    def _run(self, runner: Runner, shape: BatchShape, batch: WindowBatch) -> Tensor:
        return runner.run(
            shape,
            shape.rows,
            batch.tensors,
            lambda tensors: self._vocoder_half.vocode(batch.with_tensors(tensors)),
        )


def batch_of(max_batch: int, gain: float, window_s: float) -> int:
    """The largest batch of windows.

    `gain`: the speed-up of a batch of two over two single windows. `window_s`: the time for a single window.
    A batch is one step and must take at most `MAX_STEP_S`.
    """
    if gain < MIN_BATCH_GAIN:
        return 1
    return max(1, min(max_batch, int(MAX_STEP_S * gain / window_s)))


def _kept(row: Tensor) -> Tensor:
    """A copy of a batch's row, because a segment may wait for minutes and would keep the whole batch."""
    return row if row.numel() * row.element_size() == row.untyped_storage().nbytes() else row.clone()


def _durations_of(line: Line, features: SegmentFeatures) -> NDArray[np.int64]:
    """The durations of the line's phonemes. An added full stop counts as silence at the end."""
    n_tokens = len(line.phonemes) + 2
    durations: NDArray[np.int64] = features.durations_frames.numpy()
    return np.append(durations[: n_tokens - 1], durations[n_tokens - 1 :].sum())


def _stackable(windows: Sequence[Window], is_static: bool) -> list[list[int]]:
    """Groups the windows that the vocoder computes in one batch, by their indices."""
    groups: dict[Hashable, list[int]] = {}
    for number, window in enumerate(windows):
        groups.setdefault(_stack_of(window, is_static) or (number,), []).append(number)
    return list(groups.values())


def _stack_of(window: Window, is_static: bool) -> tuple[int, int | None] | None:
    """The key of a window's group; None for a whole segment, which is vocoded alone."""
    if window.shape_frames is None or _sounding(window.prosody).is_whole:
        return None
    has_room = is_static or window.prosody.n_frames >= window.shape_frames + 2 * CONTEXT_FRAMES
    return window.shape_frames, None if has_room else window.prosody.n_frames


def _frames_to_vocode(windows: Sequence[Window], is_static: bool) -> tuple[list[int], int]:
    """The start of the frames to vocode for each window, and their number: that of the shape, unless the
    segment is shorter and not `is_static`."""
    shape, n_segment = windows[0].shape_frames, windows[0].prosody.n_frames
    assert shape is not None
    n_frames = shape if is_static else min(shape, n_segment)
    starts = [max(0, min(window.start_frame, window.prosody.n_frames - n_frames)) for window in windows]
    return starts, n_frames


def _sounding(prosody: Prosody) -> _Sounding:
    sounding: _Sounding = prosody.features
    return sounding
