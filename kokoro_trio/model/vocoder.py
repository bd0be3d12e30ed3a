"""The vocoder half: computes samples from decoder features. It takes nine tenths of the arithmetic.

This is the iSTFTNet generator (Kaneko et al., 2022) with a harmonic-plus-noise source (Wang et al.,
2019). Two upsampling stages bring 80 Hz to 4800 Hz, where each column is one short spectrum of 20
samples at a hop of 5; the inverse STFT gives 24 kHz.

48 adaptive instance norms (AdaIN; Huang and Belongie, 2017) lie between its convolutions. With given
statistics of the whole segment, each is a scale and a shift per channel. Then no operation reduces over time,
and the samples of a window equal those of the whole segment.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from attrs import evolve, frozen
from kokoro.istftnet import AdaIN1d, AdaINResBlock1, Generator  # type: ignore[import-untyped]
from torch import Tensor

from kokoro_trio.model.batching import Stretch
from kokoro_trio.model.convolution import (
    ChooseMethods,
    Convolution,
    DirectConvolution,
    Method,
    TorchConvolution,
    Workload,
    convolution_of,
    methods_in,
)
from kokoro_trio.model.network import KokoroNetwork
from kokoro_trio.model.overlap_add import InverseTransform
from kokoro_trio.model.windowing import CONTEXT_FRAMES
from kokoro_trio.speech import FRAME_SAMPLES

LEAKY_SLOPE = 0.1
LAST_LEAKY_SLOPE = 0.01
NORM_EPSILON = 1e-5
VARIANCE_FLOOR = 1e-6
LATER_CONTEXT_FRAMES = 1
"""The context of the second stage, whose convolutions span 68 columns, at 120 per frame."""
LATER_SOURCE_CONTEXT_FRAMES = 2
"""The context of its excitation, whose convolutions span 60 columns more."""

DECODED_COLUMNS = 2
"""The columns of the decoder's features per frame."""

SITES_PER_BLOCK = 6
BLOCKS_PER_STAGE = 4
"""One block for the excitation, then one per kernel size."""


@frozen
class Statistics:
    """Mean and variance over time of the input of each AdaIN site of the generator, in order.

    Both of shape (batch, 9216): 24 sites of 256 channels, then 24 of 128.
    """

    mean: Tensor
    variance: Tensor

    def as_targets(self) -> Tensor:
        """The targets of the predictor: means and log variances, shape (batch, 18432)."""
        return torch.cat([self.mean, torch.log(self.variance + VARIANCE_FLOOR)], dim=1)

    @classmethod
    def of_targets(cls, targets: Tensor) -> "Statistics":
        mean, log_variance = targets.chunk(2, dim=1)
        return cls(mean, torch.exp(log_variance) - VARIANCE_FLOOR)


@frozen
class Affine:
    """AdaIN with its statistics folded in: one scale and one shift per channel.

    Both of shape (batch, 1, 9216) for all sites of a segment, or (batch, 1, channels) for one.
    """

    scale: Tensor
    shift: Tensor

    @property
    def rows(self) -> "list[Affine]":
        """One per segment."""
        pairs = zip(self.scale.split(1), self.shift.split(1), strict=True)  # type: ignore[no-untyped-call]
        return [Affine(scale, shift) for scale, shift in pairs]


Convolutions = Mapping[TorchConvolution, Convolution]
AffineOf = Callable[[int, Tensor], Affine]
"""The AdaIN of a site: maps the site and its input (batch, time, channels) to scale and shift."""


@frozen
class Material:
    """The inputs of the vocoder for a segment of T frames.

    `decoded`: shape (1, 2T, 512), the decoder's features at 80 Hz. `source`: (1, 120T + 1, 22), the
    spectrum of the excitation. `style`: (1, 128).
    """

    decoded: Tensor
    source: Tensor
    style: Tensor

    @property
    def n_frames(self) -> int:
        return self.decoded.shape[1] // 2


@frozen
class WindowBatch:
    """The inputs of the vocoder for windows of equal length, one row per window.

    `decoded`, `source`: as in `Material`, for the stretches around the windows; zero past the ends of
    segments. `scale`, `shift`: see `Affine`. `places`: integers of shape (batch, 4), see `_Places`.
    `is_masked`: whether some stretch is longer than its segment.
    """

    decoded: Tensor
    source: Tensor
    scale: Tensor
    shift: Tensor
    places: Tensor
    n_frames: int
    is_masked: bool

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.decoded, self.source, self.scale, self.shift, self.places

    def with_tensors(self, tensors: Sequence[Tensor]) -> "WindowBatch":
        decoded, source, scale, shift, places = tensors
        return evolve(self, decoded=decoded, source=source, scale=scale, shift=shift, places=places)


@frozen
class _Places:
    """Positions in the stretches of a batch, in frames; each of shape (batch,).

    `real`: the frames of the first stage's stretch that lie in the segment. `excitation`: the start of the
    stretch of the second stage's excitation, relative to the first stage's stretch. `later`: the start of the
    second stage's stretch, relative to that of the excitation; `later_first`: relative to the first stage's.
    `kept`: the start of the window, relative to the second stage's stretch.
    """

    real: Tensor
    excitation: Tensor
    later: Tensor
    kept: Tensor

    @property
    def later_first(self) -> Tensor:
        return self.excitation + self.later


class VocoderHalf:
    """The generator, for a whole segment or for windows of several.

    The large convolutions multiply in `dtype`, unless `choose_methods` chooses a method for each. Everything
    else is float32. On a CPU, bfloat16 between the convolutions saves no time (110 ms for a window of 160
    frames in both). bfloat16 in the last convolution, which computes phases and log magnitudes, costs 0.6 dB
    of log-spectral distance; in all large ones it costs 0.07 dB.
    """

    def __init__(
        self,
        network: KokoroNetwork,
        dtype: torch.dtype = torch.float32,
        choose_methods: ChooseMethods | None = None,
    ) -> None:
        self._generator: Generator = network.decoder.generator
        workloads = list(_workloads(self._generator))
        methods = (choose_methods or methods_in(dtype))(workloads)
        convolutions = {
            workload.conv: convolution_of(workload.conv, method)
            for workload, method in zip(workloads, methods, strict=True)
        }
        self.between_layers: Callable[[], None] = lambda: None
        """Called before each layer. It may do other work on this thread."""
        self.dtype = torch.bfloat16 if Method.BFLOAT16 in methods else torch.float32
        blocks = list(_blocks(self._generator))
        sites = list(_adain_sites(blocks))
        ends = accumulate((site.norm.num_features for site in sites), initial=0)
        self._channels_of_site = [slice(start, end) for start, end in pairwise(ends)]
        # All sites have the same style, so one product computes all γ, and another all β.
        weights, biases = zip(*((s.fc.weight.chunk(2), s.fc.bias.chunk(2)) for s in sites), strict=True)
        self._gamma_weight, self._beta_weight = (torch.cat(parts) for parts in zip(*weights, strict=True))
        self._gamma_bias, self._beta_bias = (torch.cat(parts) for parts in zip(*biases, strict=True))
        self._blocks = [
            _ResidualBlock.of(block, number * SITES_PER_BLOCK, convolutions)
            for number, block in enumerate(blocks)
        ]
        self._noise_convs = [DirectConvolution(conv) for conv in self._generator.noise_convs]
        self._ups = [convolutions[conv] for conv in self._generator.ups]
        self._last = DirectConvolution(self._generator.conv_post)
        stft = self._generator.stft
        self._inverse = InverseTransform(stft.window.to(self._gamma_weight.device), stft.hop_length)

    def whole(self, material: Material) -> tuple[Tensor, Statistics]:
        """The exact samples of a whole segment, and its statistics.

        Returns samples of shape (1, 600T), full scale ±1.
        """
        found: list[tuple[Tensor, Tensor]] = []

        def affine_of(site: int, x: Tensor) -> Affine:
            self.between_layers()
            variance, mean = torch.var_mean(x, dim=1, correction=0)
            found.append((mean, variance))
            return self._folded(material.style, Statistics(mean, variance), self._channels_of_site[site])

        x = self._stage(0, material.decoded, self._excitation(0, material.source, affine_of), affine_of)
        x = self._stage(1, x, self._excitation(1, material.source, affine_of), affine_of)
        samples = self._samples(x)
        means, variances = zip(*found, strict=True)
        return samples, Statistics(torch.cat(means, dim=1), torch.cat(variances, dim=1))

    def affine(self, style: Tensor, statistics: Statistics) -> Affine:
        """The AdaIN of all sites for a style (batch, 128) and given statistics."""
        return self._folded(style, statistics, slice(None))

    def windows(
        self, materials: Sequence[Material], affines: Sequence[Affine], starts: Sequence[int], n_frames: int
    ) -> Tensor:
        """The samples of frames `starts[n]` to `starts[n] + n_frames` of each segment.

        Segments shorter than a window with its context must have equal lengths. Returns shape
        (batch, 600 · n_frames).
        """
        return self.vocode(self.batch(materials, affines, starts, n_frames, is_static=False))

    def batch(
        self,
        materials: Sequence[Material],
        affines: Sequence[Affine],
        starts: Sequence[int],
        n_frames: int,
        is_static: bool,
    ) -> WindowBatch:
        """Joins the inputs of the windows that begin at `starts`, for `vocode`.

        If `is_static`, its shapes depend only on `n_frames`. Then a window may exceed its segment, and its
        samples past the end are undefined.
        """

        def stretches(context: int) -> list[Stretch]:
            return [
                Stretch.around(start, n_frames, context, material.n_frames, is_static)
                for start, material in zip(starts, materials, strict=True)
            ]

        wide, excited, narrow = (
            stretches(context)
            for context in (CONTEXT_FRAMES, LATER_SOURCE_CONTEXT_FRAMES, LATER_CONTEXT_FRAMES)
        )
        real = [stretch.real(material.n_frames) for stretch, material in zip(wide, materials, strict=True)]
        places = [
            (n_real, e.within(w).start, n.within(e).start, start - n.start)
            for n_real, w, e, n, start in zip(real, wide, excited, narrow, starts, strict=True)
        ]
        decoded = (material.decoded for material in materials)
        sources = (material.source for material in materials)
        device = materials[0].decoded.device
        return WindowBatch(
            torch.cat([_cut(x, stretch, 2) for x, stretch in zip(decoded, wide, strict=True)]),
            torch.cat([_cut(x, stretch, 120, extra=1) for x, stretch in zip(sources, wide, strict=True)]),
            torch.cat([each.scale for each in affines]),
            torch.cat([each.shift for each in affines]),
            torch.tensor(places, device=device),
            n_frames,
            any(n_real < stretch.end - stretch.start for n_real, stretch in zip(real, wide, strict=True)),
        )

    def vocode(self, batch: WindowBatch) -> Tensor:
        """Samples, shape (batch, 600 · n_frames). Reads no values on the host, so that a CUDA graph can
        capture it."""
        places = _Places(*batch.places.unbind(dim=1))

        def affine_of(site: int, _: Tensor) -> Affine:
            self.between_layers()
            channels = self._channels_of_site[site]
            return Affine(batch.scale[..., channels], batch.shift[..., channels])

        def mask(begin: Tensor | int, per_frame: int, n_columns: int) -> Tensor | None:
            return _mask(per_frame, places.real - begin, n_columns) if batch.is_masked else None

        n_wide = batch.decoded.shape[1] // 2
        n_excited = min(n_wide, batch.n_frames + 2 * LATER_SOURCE_CONTEXT_FRAMES)
        n_later = min(n_wide, batch.n_frames + 2 * LATER_CONTEXT_FRAMES)
        mask_wide = mask(0, 20, 20 * n_wide)
        x = self._stage(
            0, batch.decoded, self._excitation(0, batch.source, affine_of, mask_wide), affine_of, mask_wide
        )
        x = _taken(x, 20 * places.later_first, 20 * n_later)
        source = _taken(batch.source, 120 * places.excitation, 120 * n_excited + 1)
        mask_excited = mask(places.excitation, 120, 120 * n_excited + 1)
        excitation = self._excitation(1, source, affine_of, mask_excited)
        excitation = _taken(excitation, 120 * places.later, 120 * n_later + 1)
        mask_later = mask(places.later_first, 120, 120 * n_later + 1)
        x = _masked(x, mask(places.later_first, 20, 20 * n_later))
        x = self._stage(1, x, excitation, affine_of, mask_later)
        samples = self._samples(x, mask_later)
        n_kept = min(n_wide, batch.n_frames) * FRAME_SAMPLES
        return _taken(samples[..., None], FRAME_SAMPLES * places.kept, n_kept)[..., 0]

    def _folded(self, style: Tensor, statistics: Statistics, channels: slice) -> Affine:
        """AdaIN(x) = (1 + γ)(x − μ)/√(σ² + ε) + β as a scale and a shift."""
        gamma = F.linear(style, self._gamma_weight[channels], self._gamma_bias[channels])
        beta = F.linear(style, self._beta_weight[channels], self._beta_bias[channels])
        scale = (1 + gamma) * torch.rsqrt(statistics.variance + NORM_EPSILON)
        shift = beta - scale * statistics.mean
        return Affine(scale[:, None], shift[:, None])

    def _excitation(
        self, stage: int, source: Tensor, affine_of: AffineOf, mask: Tensor | None = None
    ) -> Tensor:
        shaped = self._noise_convs[stage](source)
        return self._blocks[stage * BLOCKS_PER_STAGE](shaped, affine_of, mask)

    def _stage(
        self, stage: int, x: Tensor, excitation: Tensor, affine_of: AffineOf, mask: Tensor | None = None
    ) -> Tensor:
        """Upsamples, adds the excitation, and averages the residual blocks of three kernel sizes.

        `x` is zero past the end of a row. `mask` is that of the result.
        """
        x = self._ups[stage](F.leaky_relu(x, LEAKY_SLOPE))
        if stage == self._generator.num_upsamples - 1:
            # Padding by reflection.
            x = torch.cat([x[:, 1:2], x], dim=1)
        x = x.add_(excitation)
        first = stage * BLOCKS_PER_STAGE + 1
        blocks = self._blocks[first : first + self._generator.num_kernels]
        total = blocks[0](x, affine_of, mask)
        for block in blocks[1:]:
            total += block(x, affine_of, mask)
        return total.div_(len(blocks))

    def _samples(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last convolution and the inverse STFT: (batch, 120T + 1, 128) to (batch, 600T)."""
        spectrum = self._last(_masked(F.leaky_relu(x, LAST_LEAKY_SLOPE), mask))
        magnitude, phase = spectrum.chunk(2, dim=2)
        return self._inverse(magnitude.exp(), phase.sin(), mask)


@frozen
class _Layer:
    """AdaIN, the Snake activation and a convolution. `alpha`: shape (1, 1, channels)."""

    site: int
    alpha: Tensor
    convolution: Convolution

    def __call__(self, x: Tensor, affine_of: AffineOf, mask: Tensor | None) -> Tensor:
        """Snake is x + sin²(αx)/α (Ziyin et al., 2020), applied to the result of AdaIN."""
        affine = affine_of(self.site, x)
        waves = torch.addcmul(self.alpha * affine.shift, x, self.alpha * affine.scale).sin_().square_()
        bent = torch.addcmul(affine.shift, x, affine.scale).addcmul_(waves, 1 / self.alpha)
        return self.convolution(_masked(bent, mask))


@frozen
class _ResidualBlock:
    layers: tuple[tuple[_Layer, _Layer], ...]

    @classmethod
    def of(cls, block: AdaINResBlock1, first_site: int, convolutions: Convolutions) -> "_ResidualBlock":
        def layer(site: int, alpha: Tensor, conv: torch.nn.Conv1d) -> _Layer:
            return _Layer(site, alpha.detach().transpose(1, 2).contiguous(), convolutions[conv])

        convs, alphas = (block.convs1, block.convs2), (block.alpha1, block.alpha2)
        return cls(
            tuple(
                (
                    layer(first_site + 2 * n, alphas[0][n], convs[0][n]),
                    layer(first_site + 2 * n + 1, alphas[1][n], convs[1][n]),
                )
                for n in range(len(block.convs1))
            )
        )

    def __call__(self, x: Tensor, affine_of: AffineOf, mask: Tensor | None) -> Tensor:
        """Values past the end of a row are undefined; each layer masks them before its convolution."""
        for first, second in self.layers:
            x = second(first(x, affine_of, mask), affine_of, mask).add_(x)
        return x


def _mask(columns_per_frame: int, n_frames: Tensor, n_columns: int) -> Tensor:
    """(batch, columns, 1): True up to the end of the last frame, including a column at the very end."""
    columns = torch.arange(n_columns, device=n_frames.device)
    extra = n_columns % columns_per_frame
    return (columns < columns_per_frame * n_frames[:, None] + extra)[..., None]


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """In place."""
    return x if mask is None else x.mul_(mask)


def _cut(x: Tensor, stretch: Stretch, columns_per_frame: int, extra: int = 0) -> Tensor:
    """The columns of a stretch and `extra` more, from (1, time, channels), with zeros past its end."""
    begin, end = columns_per_frame * stretch.start, columns_per_frame * stretch.end + extra
    beyond = max(0, end - x.shape[1])
    return F.pad(x[:, begin:end], (0, 0, 0, beyond)) if beyond else x[:, begin:end]


def _taken(x: Tensor, begins: Tensor, n_columns: int) -> Tensor:
    """`n_columns` of each row of (batch, time, channels), from the row's own begin."""
    batch, n_time, n_channels = x.shape
    rows = torch.arange(batch, device=x.device)
    columns = (rows * n_time + begins)[:, None] + torch.arange(n_columns, device=x.device)
    taken = x.reshape(-1, n_channels).index_select(0, columns.flatten())
    return taken.view(batch, n_columns, n_channels)


def _workloads(generator: Generator) -> Iterator[Workload]:
    """The upsamplings and the convolutions of the residual blocks, which take 96% of the time."""
    columns_per_frame = DECODED_COLUMNS
    blocks = list(_blocks(generator))
    for stage, up in enumerate(generator.ups):
        yield Workload(up, columns_per_frame)
        columns_per_frame *= up.stride[0]
        for block in blocks[stage * BLOCKS_PER_STAGE :][:BLOCKS_PER_STAGE]:
            for conv in (*block.convs1, *block.convs2):
                yield Workload(conv, columns_per_frame)


def _blocks(generator: Generator) -> Iterator[AdaINResBlock1]:
    """Per stage: the block of the excitation, then one per kernel size."""
    for stage in range(generator.num_upsamples):
        kernels = generator.num_kernels
        yield generator.noise_res[stage]
        yield from generator.resblocks[stage * kernels : (stage + 1) * kernels]


def _adain_sites(blocks: Sequence[AdaINResBlock1]) -> Iterator[AdaIN1d]:
    for block in blocks:
        for first, second in zip(block.adain1, block.adain2, strict=True):
            yield first
            yield second
