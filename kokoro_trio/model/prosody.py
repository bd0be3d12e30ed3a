"""The prosody half: computes durations, pitch and decoder features from phonemes and a style vector.

It consists of BERT, the duration, F0 and energy predictors, the text encoder, and the encode and decode
blocks of the decoder. It needs the whole segment and takes about a tenth of the arithmetic.

Segments of different lengths are batched and padded at their ends. Sums over time exclude the padding, and it
is zeroed before every convolution, so a segment's result does not depend on the batch. All tensors are
(batch, time, channels); time is in tokens first and in frames later.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from attrs import frozen
from kokoro.istftnet import AdaIN1d, AdainResBlk1d  # type: ignore[import-untyped]
from kokoro.modules import AdaLayerNorm  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from kokoro_trio.model.convolution import DirectConvolution
from kokoro_trio.model.network import STYLE_CHANNELS, KokoroNetwork

PADDING_TOKEN = 0
LEAKY_SLOPE = 0.2


@frozen
class SegmentFeatures:
    """The inputs of the vocoder half for one segment of T frames.

    `decoded`: shape (1, 2T, 512), the decoder's features at 80 Hz. `f0_hz`: shape (1, 2T), 0 where
    unvoiced. `decoder_style`: shape (1, 128). `durations_frames`: shape (tokens,), sums to T, on the CPU.
    """

    decoded: Tensor
    f0_hz: Tensor
    decoder_style: Tensor
    durations_frames: Tensor


class ProsodyHalf:
    def __init__(self, network: KokoroNetwork) -> None:
        self._network = network
        predictor, decoder = network.predictor, network.decoder
        self._letters = [
            (DirectConvolution(convolution), norm) for convolution, norm, *_ in network.text_encoder.cnn
        ]
        self._f0 = [_AdainBlock(block) for block in predictor.F0]
        self._energy = [_AdainBlock(block) for block in predictor.N]
        self._encode = _AdainBlock(decoder.encode)
        self._decode = [_AdainBlock(block) for block in decoder.decode]

    def __call__(
        self, token_ids: Sequence[Sequence[int]], styles: Tensor, speeds: Sequence[float]
    ) -> list[SegmentFeatures]:
        """`token_ids` has a padding token at both ends of each segment; `styles` has shape (batch, 256).

        A speed divides the predicted durations: 2.0 speaks in half the time.
        """
        device = styles.device
        decoder_style, predictor_style = styles[:, :STYLE_CHANNELS], styles[:, STYLE_CHANNELS:]
        tokens = _Extent.of([len(ids) for ids in token_ids], device)
        ids = pad_sequence([torch.tensor(ids, device=device) for ids in token_ids], batch_first=True)

        timed = self._timed(ids, predictor_style, tokens)
        durations = self._durations(timed, tokens, speeds)
        frames = _Extent.of([int(each.sum()) for each in durations], device)
        token_of_frame = _token_of_frame(durations).to(device)
        f0_hz, energy = self._melody(_spread(timed, token_of_frame), predictor_style, frames)
        phonetic = _spread(self._letters_of(ids, tokens), token_of_frame)
        decoded = self._decoded(phonetic, f0_hz, energy, decoder_style, frames)
        return [
            SegmentFeatures(
                decoded[row : row + 1, : 2 * n],
                f0_hz[row : row + 1, : 2 * n],
                decoder_style[row : row + 1],
                d,
            )
            for row, (n, d) in enumerate(zip(frames.lengths, durations, strict=True))
        ]

    def _timed(self, ids: Tensor, style: Tensor, tokens: "_Extent") -> Tensor:
        """The output of the duration encoder: (batch, tokens, 640)."""
        attended = torch.ones_like(ids) if tokens.mask is None else tokens.mask[..., 0].long()
        spoken = self._network.bert_encoder(self._network.bert(ids, attention_mask=attended))
        every_style = style[:, None].expand(-1, ids.shape[1], -1)
        x = tokens.masked(torch.cat([spoken, every_style], dim=2))
        for layer in self._network.predictor.text_encoder.lstms:
            if isinstance(layer, nn.LSTM):
                x = _run_lstm(layer, x, tokens)
            else:
                x = tokens.masked(torch.cat([_ada_layer_norm(layer, x, style), every_style], dim=2))
        return x

    def _durations(self, timed: Tensor, tokens: "_Extent", speeds: Sequence[float]) -> list[Tensor]:
        predictor = self._network.predictor
        votes = predictor.duration_proj(_run_lstm(predictor.lstm, timed, tokens)).sigmoid()
        # Each of 50 units gives the probability of one more frame.
        frames = votes.sum(dim=2) / votes.new_tensor(speeds)[:, None]
        # The shapes below depend on the durations, so the host waits for the device, once per batch.
        durations = frames.round().clamp(min=1).long().cpu()
        return [row[:n] for row, n in zip(durations, tokens.lengths, strict=True)]

    def _melody(self, timed: Tensor, style: Tensor, frames: "_Extent") -> tuple[Tensor, Tensor]:
        """F0 in Hz and energy, both of shape (batch, 2T)."""
        predictor = self._network.predictor
        shared = _run_lstm(predictor.shared, timed, frames)
        curves = []
        for blocks, projection in ((self._f0, predictor.F0_proj), (self._energy, predictor.N_proj)):
            x, extent = shared, frames
            for block in blocks:
                x, extent = block(x, style, extent)
            curve = F.linear(x, projection.weight[:, :, 0], projection.bias)
            curves.append(extent.masked(curve)[..., 0])
        return curves[0], curves[1]

    def _letters_of(self, ids: Tensor, tokens: "_Extent") -> Tensor:
        """The output of the text encoder: (batch, tokens, 512)."""
        encoder = self._network.text_encoder
        x = tokens.masked(encoder.embedding(ids))
        for convolution, norm in self._letters:
            normed = F.layer_norm(convolution(x), (norm.channels,), norm.gamma, norm.beta, norm.eps)
            x = tokens.masked(F.leaky_relu(normed, LEAKY_SLOPE))
        return _run_lstm(encoder.lstm, x, tokens)

    def _decoded(
        self, phonetic: Tensor, f0_hz: Tensor, energy: Tensor, style: Tensor, frames: "_Extent"
    ) -> Tensor:
        """(batch, 2T, 512)."""
        decoder = self._network.decoder
        f0, energy = (
            frames.masked(convolution(curve[:, None]).transpose(1, 2))
            for convolution, curve in ((decoder.F0_conv, f0_hz), (decoder.N_conv, energy))
        )
        residual = F.linear(phonetic, decoder.asr_res[0].weight[:, :, 0], decoder.asr_res[0].bias)
        x, _ = self._encode(torch.cat([phonetic, f0, energy], dim=2), style, frames)
        # Every block gets the inputs again. The last one doubles the rate.
        for block in self._decode:
            x, _ = block(torch.cat([x, residual, f0, energy], dim=2), style, frames)
        return x


@frozen
class _Extent:
    """The lengths of the rows of a padded batch. `mask` has shape (batch, longest, 1) and is False in the
    padding; None means no padding."""

    lengths: list[int]
    mask: Tensor | None

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> "_Extent":
        if min(lengths) == max(lengths):
            return cls(lengths, None)
        columns = torch.arange(max(lengths), device=device)
        return cls(lengths, (columns < torch.tensor(lengths, device=device)[:, None])[..., None])

    def masked(self, x: Tensor) -> Tensor:
        """`x` with zeros in the padding: (batch, longest, channels)."""
        return x if self.mask is None else x * self.mask

    def doubled(self) -> "_Extent":
        lengths = [2 * n for n in self.lengths]
        return _Extent(lengths, None if self.mask is None else self.mask.repeat_interleave(2, dim=1))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Variance and mean over time, each of shape (batch, 1, channels)."""
        if self.mask is None:
            return torch.var_mean(x, dim=1, correction=0, keepdim=True)
        n = self.mask.sum(dim=1, keepdim=True)
        mean = self.masked(x).sum(dim=1, keepdim=True) / n
        return self.masked((x - mean).square()).sum(dim=1, keepdim=True) / n, mean


class _AdainBlock:
    """Twice AdaIN, leaky ReLU and convolution, with a shortcut. Some blocks double the rate."""

    def __init__(self, block: AdainResBlk1d) -> None:
        self._block = block
        self._convolutions = (DirectConvolution(block.conv1), DirectConvolution(block.conv2))
        self._doubles = block.upsample_type != "none"

    def __call__(self, x: Tensor, style: Tensor, extent: _Extent) -> tuple[Tensor, _Extent]:
        """The output and its extent. Values past the end of a row are undefined."""
        first, second = self._convolutions
        shortcut = x
        x = extent.masked(F.leaky_relu(_adain(self._block.norm1, x, style, extent), LEAKY_SLOPE))
        if self._doubles:
            extent = extent.doubled()
            x = extent.masked(_doubled(self._block.pool, x))
            shortcut = shortcut.repeat_interleave(2, dim=1)
        x = _adain(self._block.norm2, first(x), style, extent)
        x = second(extent.masked(F.leaky_relu(x, LEAKY_SLOPE)))
        if self._block.learned_sc:
            shortcut = F.linear(shortcut, self._block.conv1x1.weight[:, :, 0])
        return (x + shortcut) * 0.5**0.5, extent


def _adain(norm: AdaIN1d, x: Tensor, style: Tensor, extent: _Extent) -> Tensor:
    """(1 + γ)(x − μ)/√(σ² + ε) + β (Huang and Belongie, 2017)."""
    gamma, beta = norm.fc(style)[:, None].chunk(2, dim=2)
    variance, mean = extent.moments(x)
    scale = (1 + gamma) * torch.rsqrt(variance + norm.norm.eps)
    return torch.addcmul(beta - scale * mean, x, scale)


def _ada_layer_norm(norm: AdaLayerNorm, x: Tensor, style: Tensor) -> Tensor:
    gamma, beta = norm.fc(style)[:, None].chunk(2, dim=2)
    return torch.addcmul(beta, F.layer_norm(x, (norm.channels,), eps=norm.eps), 1 + gamma)


def _doubled(pool: nn.ConvTranspose1d, x: Tensor) -> Tensor:
    """A depthwise transposed convolution with a kernel of 3 and a stride of 2.

    Column 2t depends on column t, and column 2t + 1 on columns t and t + 1.
    """
    left, middle, right = pool.weight[:, 0].unbind(dim=1)
    assert pool.bias is not None
    following = F.pad(x[:, 1:], (0, 0, 0, 1))
    even = torch.addcmul(pool.bias, x, middle)
    odd = torch.addcmul(torch.addcmul(pool.bias, x, right), following, left)
    return torch.stack([even, odd], dim=2).flatten(1, 2)


def _run_lstm(lstm: nn.LSTM, x: Tensor, extent: _Extent) -> Tensor:
    """Zero in the padding. The backward direction begins at the end of each row."""
    if extent.mask is None:
        out: Tensor = lstm(x)[0]
        return out
    packed = pack_padded_sequence(x, torch.tensor(extent.lengths), batch_first=True, enforce_sorted=False)
    padded, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True)
    return padded


def _token_of_frame(durations: Sequence[Tensor]) -> Tensor:
    """The index of the token of each frame: (batch, longest), 0 in the padding."""
    tokens = [torch.repeat_interleave(torch.arange(len(each)), each) for each in durations]
    return pad_sequence(tokens, batch_first=True)


def _spread(of_tokens: Tensor, token_of_frame: Tensor) -> Tensor:
    """Expands (batch, tokens, channels) to (batch, frames, channels)."""
    return of_tokens.gather(1, token_of_frame[..., None].expand(-1, -1, of_tokens.shape[2]))
