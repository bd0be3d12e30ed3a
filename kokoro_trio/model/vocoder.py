"""The vocoder half: decoder features in, samples out; nine tenths of the arithmetic.

This is the iSTFTNet generator (Kaneko et al., 2022) with a harmonic-plus-noise source (Wang et al.,
2019). Two upsampling stages bring 80 Hz to 4800 Hz, where each column is one short spectrum of 20
samples at a hop of 5; the inverse STFT gives 24 kHz.

48 adaptive instance norms (AdaIN; Huang and Belongie, 2017) stand between its convolutions. With the
statistics of the whole segment given beforehand each is one scale and one shift per channel, nothing
reduces over time any more, and a window of frames comes out as it would in the whole.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from attrs import frozen
from kokoro.istftnet import AdaIN1d, AdaINResBlock1, Generator  # type: ignore[import-untyped]
from torch import Tensor

from kokoro_trio.model.network import KokoroNetwork

LEAKY_SLOPE = 0.1
NORM_EPSILON = 1e-5
KEPT_IN_FLOAT32 = ("m_source", "f0_upsamp", "stft")
VARIANCE_FLOOR = 1e-6
COLUMNS_PER_FRAME = 120
FEATURES_PER_FRAME = 2

SITES_PER_BLOCK = 6
BLOCKS_PER_STAGE = 4
"""One for the excitation, then those of three kernel sizes."""

Normalise = Callable[[int, Tensor], Tensor]
"""The AdaIN of one site: (site, (batch, channels, time)) → the same shape."""


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
    """All AdaIN of one segment with its statistics folded in; both of shape (batch, 9216, 1)."""

    scale: Tensor
    shift: Tensor


class VocoderHalf:
    """The generator, over a whole segment or over windows of it.

    `dtype` is what it computes in, from the decoder's features to the last convolution. The excitation
    is made in float32, because its phase runs over the whole segment, and so is the inverse STFT.
    """

    def __init__(self, network: KokoroNetwork, dtype: torch.dtype = torch.float32) -> None:
        self._generator: Generator = network.decoder.generator
        self.dtype = dtype
        sites = list(_adain_sites(self._generator))
        ends = accumulate((site.norm.num_features for site in sites), initial=0)
        self._channels_of_site = [slice(start, end) for start, end in pairwise(ends)]
        # All sites see the same style, so all γ and β come out of one product each.
        weights, biases = zip(*((s.fc.weight.chunk(2), s.fc.bias.chunk(2)) for s in sites), strict=True)
        self._gamma_weight, self._beta_weight = (torch.cat(parts) for parts in zip(*weights, strict=True))
        self._gamma_bias, self._beta_bias = (torch.cat(parts) for parts in zip(*biases, strict=True))
        for name, module in self._generator.named_children():
            if name not in KEPT_IN_FLOAT32:
                module.to(dtype)

    def source(self, f0_hz: Tensor) -> Tensor:
        """The spectrum of the excitation, made once for a whole segment so that its phase runs on.

        `f0_hz`: shape (1, 2T). Returns shape (1, 22, 120T + 1): magnitudes and phases of 11 bins.
        Draws the phases of the overtones and the noise from torch's global generator.
        """
        generator = self._generator
        f0_per_sample = generator.f0_upsamp(f0_hz[:, None]).transpose(1, 2)
        excitation, _noise, _voiced = generator.m_source(f0_per_sample)
        magnitude, phase = generator.stft.transform(excitation.transpose(1, 2).squeeze(1))
        return torch.cat([magnitude, phase], dim=1)

    def whole(self, decoded: Tensor, source: Tensor, style: Tensor) -> tuple[Tensor, Statistics]:
        """A whole segment, exactly, and the statistics that came up in it.

        `decoded`: shape (batch, 512, 2T), `source`: (batch, 22, 120T + 1), `style`: (batch, 128).
        Returns samples of shape (batch, 600T), full scale ±1.
        """
        found: list[tuple[Tensor, Tensor]] = []

        def normalise(site: int, x: Tensor) -> Tensor:
            variance, mean = torch.var_mean(x.float(), dim=2, correction=0)
            found.append((mean, variance))
            channels = self._channels_of_site[site]
            return _normalised(x, self._folded(style, Statistics(mean, variance), channels))

        samples = self._samples(decoded, source, normalise)
        means, variances = zip(*found, strict=True)
        return samples, Statistics(torch.cat(means, dim=1), torch.cat(variances, dim=1))

    def affine(self, style: Tensor, statistics: Statistics) -> Affine:
        """What the AdaIN sites do to a segment of this style (batch, 128) with these statistics."""
        return self._folded(style, statistics, slice(None))

    def windows(self, decoded: Tensor, source: Tensor, affine: Affine) -> Tensor:
        """Windows of equal length W, context included, cut out of their segments by `cut`.

        `decoded`: shape (batch, 512, 2W), `source`: (batch, 22, 120W + 1). Returns (batch, 600W); the
        context at both ends is to be cut off again.
        """

        def normalise(site: int, x: Tensor) -> Tensor:
            channels = self._channels_of_site[site]
            return _normalised(x, Affine(affine.scale[:, channels], affine.shift[:, channels]))

        return self._samples(decoded, source, normalise)

    def _folded(self, style: Tensor, statistics: Statistics, channels: slice) -> Affine:
        """AdaIN(x) = (1 + γ)(x − μ)/√(σ² + ε) + β, written as one scale and one shift."""
        gamma = F.linear(style, self._gamma_weight[channels], self._gamma_bias[channels])
        beta = F.linear(style, self._beta_weight[channels], self._beta_bias[channels])
        scale = (1 + gamma) * torch.rsqrt(statistics.variance + NORM_EPSILON)
        shift = beta - scale * statistics.mean
        return Affine(scale[:, :, None].to(self.dtype), shift[:, :, None].to(self.dtype))

    def _samples(self, decoded: Tensor, source: Tensor, normalise: Normalise) -> Tensor:
        generator = self._generator
        x, source = decoded.to(self.dtype), source.to(self.dtype)
        for stage in range(generator.num_upsamples):
            x = self._stage(stage, x, source, normalise)
        x = generator.conv_post(F.leaky_relu(x)).float()
        bins = generator.post_n_fft // 2 + 1
        magnitude, phase = x[:, :bins].exp(), x[:, bins:].sin()
        samples: Tensor = generator.stft.inverse(magnitude, phase).squeeze(1)
        return samples

    def _stage(self, stage: int, x: Tensor, source: Tensor, normalise: Normalise) -> Tensor:
        """Upsamples, adds the excitation, and averages the residual blocks of three kernel sizes."""
        generator = self._generator
        site = stage * BLOCKS_PER_STAGE * SITES_PER_BLOCK
        excitation = generator.noise_convs[stage](source)
        excitation = _residual_block(generator.noise_res[stage], excitation, site, normalise)
        x = generator.ups[stage](F.leaky_relu(x, LEAKY_SLOPE))
        if stage == generator.num_upsamples - 1:
            x = generator.reflection_pad(x)
        x = x + excitation
        kernels = generator.num_kernels
        blocks = generator.resblocks[stage * kernels : (stage + 1) * kernels]
        total = torch.zeros_like(x)
        for number, block in enumerate(blocks, start=1):
            total += _residual_block(block, x, site + number * SITES_PER_BLOCK, normalise)
        averaged: Tensor = total / kernels
        return averaged


def cut(decoded: Tensor, source: Tensor, start_frame: int, end_frame: int) -> tuple[Tensor, Tensor]:
    """The stretch of a segment's features and of its source that these frames are made from."""
    features = slice(FEATURES_PER_FRAME * start_frame, FEATURES_PER_FRAME * end_frame)
    columns = slice(COLUMNS_PER_FRAME * start_frame, COLUMNS_PER_FRAME * end_frame + 1)
    return decoded[:, :, features], source[:, :, columns]


def _adain_sites(generator: Generator) -> Iterator[AdaIN1d]:
    """In the order in which `_samples` comes by them."""
    for stage in range(generator.num_upsamples):
        kernels = generator.num_kernels
        blocks = generator.resblocks[stage * kernels : (stage + 1) * kernels]
        for block in (generator.noise_res[stage], *blocks):
            for first, second in zip(block.adain1, block.adain2, strict=True):
                yield first
                yield second


def _residual_block(block: AdaINResBlock1, x: Tensor, site: int, normalise: Normalise) -> Tensor:
    for n in range(len(block.convs1)):
        inner = block.convs1[n](_snake(normalise(site + 2 * n, x), block.alpha1[n]))
        inner = block.convs2[n](_snake(normalise(site + 2 * n + 1, inner), block.alpha2[n]))
        x = x + inner
    return x


def _snake(x: Tensor, alpha: Tensor) -> Tensor:
    """x + sin²(αx)/α (Ziyin et al., 2020)."""
    return x + torch.sin(alpha * x).square() / alpha


def _normalised(x: Tensor, affine: Affine) -> Tensor:
    return torch.addcmul(affine.shift, x, affine.scale)
