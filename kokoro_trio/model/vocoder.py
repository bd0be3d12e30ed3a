"""The vocoder half: decoder features in, samples out; nine tenths of the arithmetic.

This is the iSTFTNet generator (Kaneko et al., 2022) with a harmonic-plus-noise source (Wang et al.,
2019). Two upsampling stages bring 80 Hz to 4800 Hz, where each column is one short spectrum of 20
samples at a hop of 5; the inverse STFT gives 24 kHz.
"""

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

from kokoro_trio.model.network import KokoroNetwork

LEAKY_SLOPE = 0.1


@frozen
class VocoderHalf:
    network: KokoroNetwork

    def source(self, f0_hz: Tensor) -> Tensor:
        """The spectrum of the excitation, made once for a whole segment so that its phase runs on.

        `f0_hz`: shape (1, 2T). Returns shape (1, 22, 120T + 1): magnitudes and phases of 11 bins.
        Draws the phases of the overtones and the noise from torch's global generator.
        """
        generator = self.network.decoder.generator
        f0_per_sample = generator.f0_upsamp(f0_hz[:, None]).transpose(1, 2)
        excitation, _noise, _voiced = generator.m_source(f0_per_sample)
        magnitude, phase = generator.stft.transform(excitation.transpose(1, 2).squeeze(1))
        return torch.cat([magnitude, phase], dim=1)

    def __call__(self, decoded: Tensor, source: Tensor, style: Tensor) -> Tensor:
        """`decoded`: shape (1, 512, 2T), `source`: (1, 22, 120T + 1), `style`: (1, 128).

        Returns the samples of the whole segment, shape (600T,), full scale ±1.
        """
        generator = self.network.decoder.generator
        x = decoded
        for stage in range(generator.num_upsamples):
            x = self._stage(stage, x, source, style)
        x = generator.conv_post(F.leaky_relu(x))
        bins = generator.post_n_fft // 2 + 1
        magnitude, phase = x[:, :bins].exp(), x[:, bins:].sin()
        samples: Tensor = generator.stft.inverse(magnitude, phase).squeeze()
        return samples

    def _stage(self, stage: int, x: Tensor, source: Tensor, style: Tensor) -> Tensor:
        """Upsamples, adds the excitation, and averages the residual blocks of three kernel sizes."""
        generator = self.network.decoder.generator
        excitation = generator.noise_res[stage](generator.noise_convs[stage](source), style)
        x = generator.ups[stage](F.leaky_relu(x, LEAKY_SLOPE))
        if stage == generator.num_upsamples - 1:
            x = generator.reflection_pad(x)
        x = x + excitation
        kernels = generator.num_kernels
        blocks = generator.resblocks[stage * kernels : (stage + 1) * kernels]
        averaged: Tensor = sum(block(x, style) for block in blocks) / kernels
        return averaged
