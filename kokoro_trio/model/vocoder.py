"""The vocoder half: decoder features in, samples out; nine tenths of the arithmetic.

This is the iSTFTNet generator (Kaneko et al., 2022) with a harmonic-plus-noise source (Wang et al.,
2019). Two upsampling stages bring 80 Hz to 4800 Hz, where each column is one short spectrum of 20
samples at a hop of 5; the inverse STFT gives 24 kHz.

48 adaptive instance norms (AdaIN; Huang and Belongie, 2017) stand between its convolutions. With the
statistics of the whole segment given beforehand each is one scale and one shift per channel, nothing
reduces over time any more, and a window of frames comes out as it would in the whole.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from attrs import frozen
from kokoro.istftnet import AdaIN1d, AdaINResBlock1, Generator  # type: ignore[import-untyped]
from torch import Tensor

from kokoro_trio.model.convolution import Convolution, DirectConvolution, convolution_of
from kokoro_trio.model.network import KokoroNetwork
from kokoro_trio.model.windowing import CONTEXT_FRAMES
from kokoro_trio.speech import FRAME_SAMPLES

LEAKY_SLOPE = 0.1
LAST_LEAKY_SLOPE = 0.01
NORM_EPSILON = 1e-5
VARIANCE_FLOOR = 1e-6
LATER_CONTEXT_FRAMES = 1
"""What the second stage needs: its convolutions reach over 68 columns of 120 a frame."""
LATER_SOURCE_CONTEXT_FRAMES = 2
"""Of the excitation, which goes through 60 columns more before it gets there."""

SITES_PER_BLOCK = 6
BLOCKS_PER_STAGE = 4
"""One for the excitation, then those of three kernel sizes."""


@frozen
class Statistics:
    """Mean and variance over time of what enters each AdaIN site of the generator, site after site.

    Both of shape (batch, 9216): 24 sites of 256 channels, then 24 of 128.
    """

    mean: Tensor
    variance: Tensor

    def as_targets(self) -> Tensor:
        """What is predicted: means and log variances, shape (batch, 18432)."""
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


AffineOf = Callable[[int, Tensor], Affine]
"""The AdaIN of one site: (site, what enters it: (batch, time, channels)) → scale and shift."""


@frozen
class Material:
    """What one segment of T frames is vocoded from.

    `decoded`: shape (1, 2T, 512), the decoder's features at 80 Hz. `source`: (1, 120T + 1, 22), the
    spectrum of the excitation. `style`: (1, 128).
    """

    decoded: Tensor
    source: Tensor
    style: Tensor

    @property
    def n_frames(self) -> int:
        return self.decoded.shape[1] // 2


class VocoderHalf:
    """The generator, over a whole segment or over windows of many.

    `dtype` is what it computes in, from the decoder's features to the last convolution; the inverse STFT
    is float32.
    """

    def __init__(self, network: KokoroNetwork, dtype: torch.dtype = torch.float32) -> None:
        self._generator: Generator = network.decoder.generator
        self.dtype = dtype
        blocks = list(_blocks(self._generator))
        sites = list(_adain_sites(blocks))
        ends = accumulate((site.norm.num_features for site in sites), initial=0)
        self._channels_of_site = [slice(start, end) for start, end in pairwise(ends)]
        # All sites see the same style, so all γ and β come out of one product each.
        weights, biases = zip(*((s.fc.weight.chunk(2), s.fc.bias.chunk(2)) for s in sites), strict=True)
        self._gamma_weight, self._beta_weight = (torch.cat(parts) for parts in zip(*weights, strict=True))
        self._gamma_bias, self._beta_bias = (torch.cat(parts) for parts in zip(*biases, strict=True))
        self._blocks = [
            _ResidualBlock.of(block, number * SITES_PER_BLOCK, dtype) for number, block in enumerate(blocks)
        ]
        self._noise_convs = [DirectConvolution(conv, dtype) for conv in self._generator.noise_convs]
        self._ups = self._generator.ups.to(dtype)
        self._last = DirectConvolution(self._generator.conv_post, dtype)

    def whole(self, material: Material) -> tuple[Tensor, Statistics]:
        """A whole segment, exactly, and the statistics that came up in it.

        Returns samples of shape (1, 600T), full scale ±1.
        """
        found: list[tuple[Tensor, Tensor]] = []

        def affine_of(site: int, x: Tensor) -> Affine:
            variance, mean = torch.var_mean(x.float(), dim=1, correction=0)
            found.append((mean, variance))
            return self._folded(material.style, Statistics(mean, variance), self._channels_of_site[site])

        x = self._stage(0, material.decoded, material.source, affine_of)
        samples = self._samples(self._stage(1, x, material.source, affine_of))
        means, variances = zip(*found, strict=True)
        return samples, Statistics(torch.cat(means, dim=1), torch.cat(variances, dim=1))

    def affine(self, style: Tensor, statistics: Statistics) -> Affine:
        """What the AdaIN sites do to a segment of this style (batch, 128) with these statistics."""
        return self._folded(style, statistics, slice(None))

    def windows(
        self, materials: Sequence[Material], affines: Sequence[Affine], starts: Sequence[int], n_frames: int
    ) -> Tensor:
        """The frames from `starts[n]` to `starts[n] + n_frames` of each segment, as it sounds in the whole.

        All that are longer than a window with its context are of one shape, whatever their lengths, and
        go through the network side by side; of the shorter ones only those of equal length may.
        Returns shape (batch, 600 · n_frames).
        """
        affine = Affine(
            torch.cat([each.scale for each in affines]), torch.cat([each.shift for each in affines])
        )

        def affine_of(site: int, _: Tensor) -> Affine:
            channels = self._channels_of_site[site]
            return Affine(affine.scale[..., channels], affine.shift[..., channels])

        def stretches(context: int) -> "list[_Stretch]":
            return [
                _Stretch.around(start, n_frames, context, material.n_frames)
                for start, material in zip(starts, materials, strict=True)
            ]

        wide, narrow, source_of_narrow = (
            stretches(context)
            for context in (CONTEXT_FRAMES, LATER_CONTEXT_FRAMES, LATER_SOURCE_CONTEXT_FRAMES)
        )
        decoded = _cut([material.decoded for material in materials], wide, columns_per_frame=2)
        sources = [material.source for material in materials]
        x = self._stage(0, decoded, _cut_columns(sources, wide), affine_of)
        x = _cut(_rows(x), _within(narrow, wide), columns_per_frame=20)
        excitation = self._excitation(1, _cut_columns(sources, source_of_narrow), affine_of)
        excitation = _cut_columns(_rows(excitation), _within(narrow, source_of_narrow))
        samples = self._samples(self._stage_of(1, x, excitation, affine_of))
        kept = [_Stretch(start, start + n_frames) for start in starts]
        return _cut(_rows(samples), _within(kept, narrow), columns_per_frame=FRAME_SAMPLES)

    def _folded(self, style: Tensor, statistics: Statistics, channels: slice) -> Affine:
        """AdaIN(x) = (1 + γ)(x − μ)/√(σ² + ε) + β, written as one scale and one shift."""
        gamma = F.linear(style, self._gamma_weight[channels], self._gamma_bias[channels])
        beta = F.linear(style, self._beta_weight[channels], self._beta_bias[channels])
        scale = (1 + gamma) * torch.rsqrt(statistics.variance + NORM_EPSILON)
        shift = beta - scale * statistics.mean
        return Affine(scale[:, None].to(self.dtype), shift[:, None].to(self.dtype))

    def _stage(self, stage: int, x: Tensor, source: Tensor, affine_of: AffineOf) -> Tensor:
        return self._stage_of(stage, x, self._excitation(stage, source, affine_of), affine_of)

    def _excitation(self, stage: int, source: Tensor, affine_of: AffineOf) -> Tensor:
        shaped = self._noise_convs[stage](source.to(self.dtype))
        return self._blocks[stage * BLOCKS_PER_STAGE](shaped, affine_of)

    def _stage_of(self, stage: int, x: Tensor, excitation: Tensor, affine_of: AffineOf) -> Tensor:
        """Upsamples, adds the excitation, and averages the residual blocks of three kernel sizes."""
        upsampled = self._ups[stage](F.leaky_relu(x.to(self.dtype).transpose(1, 2), LEAKY_SLOPE))
        if stage == self._generator.num_upsamples - 1:
            upsampled = self._generator.reflection_pad(upsampled)
        x = upsampled.transpose(1, 2) + excitation
        first = stage * BLOCKS_PER_STAGE + 1
        blocks = self._blocks[first : first + self._generator.num_kernels]
        total = blocks[0](x, affine_of)
        for block in blocks[1:]:
            total += block(x, affine_of)
        return total.div_(len(blocks))

    def _samples(self, x: Tensor) -> Tensor:
        """The inverse STFT of what the last convolution says: (batch, 120T + 1, 128) → (batch, 600T)."""
        generator = self._generator
        spectrum = self._last(F.leaky_relu(x, LAST_LEAKY_SLOPE)).float().transpose(1, 2)
        bins = generator.post_n_fft // 2 + 1
        magnitude, phase = spectrum[:, :bins].exp(), spectrum[:, bins:].sin()
        samples: Tensor = generator.stft.inverse(magnitude, phase).squeeze(1)
        return samples


@frozen
class _Layer:
    """AdaIN, the Snake activation and a convolution. `alpha`: shape (1, 1, channels)."""

    site: int
    alpha: Tensor
    convolution: Convolution

    def __call__(self, x: Tensor, affine_of: AffineOf) -> Tensor:
        """Snake is x + sin²(αx)/α (Ziyin et al., 2020); x here is what AdaIN makes of it."""
        affine = affine_of(self.site, x)
        waves = torch.addcmul(self.alpha * affine.shift, x, self.alpha * affine.scale).sin_().square_()
        return self.convolution(torch.addcmul(affine.shift, x, affine.scale).addcmul_(waves, 1 / self.alpha))


@frozen
class _ResidualBlock:
    layers: tuple[tuple[_Layer, _Layer], ...]

    @classmethod
    def of(cls, block: AdaINResBlock1, first_site: int, dtype: torch.dtype) -> "_ResidualBlock":
        def layer(site: int, alpha: Tensor, convolution: torch.nn.Conv1d) -> _Layer:
            snake = alpha.detach().transpose(1, 2).to(dtype).contiguous()
            return _Layer(site, snake, convolution_of(convolution, dtype))

        convolutions, alphas = (block.convs1, block.convs2), (block.alpha1, block.alpha2)
        return cls(
            tuple(
                (
                    layer(first_site + 2 * n, alphas[0][n], convolutions[0][n]),
                    layer(first_site + 2 * n + 1, alphas[1][n], convolutions[1][n]),
                )
                for n in range(len(block.convs1))
            )
        )

    def __call__(self, x: Tensor, affine_of: AffineOf) -> Tensor:
        for first, second in self.layers:
            x = second(first(x, affine_of), affine_of).add_(x)
        return x


@frozen
class _Stretch:
    """The frames `start` to `end` (exclusive) of a segment."""

    start: int
    end: int

    @classmethod
    def around(cls, start: int, n_frames: int, context: int, n_total: int) -> "_Stretch":
        """With context on both sides; at an end of the segment there is more of it on the other side.

        So its length depends on the segment only where that is shorter. What lies at an end of the
        stretch and not of the segment, and only that, is wrong to the depth of the context.
        """
        length = min(n_frames + 2 * context, n_total)
        first = min(max(start - context, 0), n_total - length)
        return cls(first, first + length)


def _rows(batch: Tensor) -> list[Tensor]:
    return [batch[row : row + 1] for row in range(len(batch))]


def _within(inner: Sequence[_Stretch], outer: Sequence[_Stretch]) -> list[_Stretch]:
    """Each inner stretch, counted from the start of the one around it."""
    return [_Stretch(i.start - o.start, i.end - o.start) for i, o in zip(inner, outer, strict=True)]


def _cut(
    tensors: Sequence[Tensor], stretches: Sequence[_Stretch], columns_per_frame: int, extra: int = 0
) -> Tensor:
    """A batch of these frames of tensors of shape (1, time …), with `extra` columns more at the end."""
    columns = (
        slice(columns_per_frame * stretch.start, columns_per_frame * stretch.end + extra)
        for stretch in stretches
    )
    return torch.cat([tensor[:, those] for tensor, those in zip(tensors, columns, strict=True)])


def _cut_columns(tensors: Sequence[Tensor], stretches: Sequence[_Stretch]) -> Tensor:
    """As `_cut`, of spectra: 120 to a frame, and the one at the end of the last."""
    return _cut(tensors, stretches, columns_per_frame=120, extra=1)


def _blocks(generator: Generator) -> Iterator[AdaINResBlock1]:
    """Stage after stage: that of the excitation, then those of three kernel sizes."""
    for stage in range(generator.num_upsamples):
        kernels = generator.num_kernels
        yield generator.noise_res[stage]
        yield from generator.resblocks[stage * kernels : (stage + 1) * kernels]


def _adain_sites(blocks: Sequence[AdaINResBlock1]) -> Iterator[AdaIN1d]:
    for block in blocks:
        for first, second in zip(block.adain1, block.adain2, strict=True):
            yield first
            yield second
