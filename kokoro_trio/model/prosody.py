"""The prosody half: phonemes and a style vector in; durations, pitch and decoder features out.

About a tenth of the arithmetic, and it needs the whole segment: BERT, the duration, F0 and energy
predictors, the text encoder, and the encode and decode blocks of the decoder.
"""

from attrs import frozen
from torch import Tensor, arange, cat, repeat_interleave, tensor, zeros
from torch import bool as torch_bool

from kokoro_trio.model.network import STYLE_CHANNELS, KokoroNetwork

PADDING_TOKEN = 0


@frozen
class SegmentFeatures:
    """What the vocoder half needs to know of one segment of T frames.

    `decoded`: shape (1, 512, 2T), the decoder's features at 80 Hz. `f0_hz`: shape (1, 2T), 0 where
    unvoiced. `decoder_style`: shape (1, 128). `durations_frames`: shape (tokens,), sums to T.
    """

    decoded: Tensor
    f0_hz: Tensor
    decoder_style: Tensor
    durations_frames: Tensor


@frozen
class ProsodyHalf:
    network: KokoroNetwork

    def __call__(self, token_ids: Tensor, style: Tensor, speed: float) -> SegmentFeatures:
        """`token_ids`: shape (n,), with a padding token at each end; `style`: shape (256,).

        `speed` divides the predicted durations: 2.0 speaks in half the time.
        """
        ids, styles = token_ids[None], style[None]
        decoder_style, predictor_style = styles[:, :STYLE_CHANNELS], styles[:, STYLE_CHANNELS:]
        length = tensor([ids.shape[1]])
        mask = zeros(ids.shape, dtype=torch_bool, device=ids.device)
        network, predictor = self.network, self.network.predictor

        spoken = network.bert_encoder(network.bert(ids, attention_mask=(~mask).int()))
        timed = predictor.text_encoder(spoken.transpose(1, 2), predictor_style, length, mask)
        durations = self._durations(timed, speed)
        # One column a frame: which token sounds in it.
        token_of_frame = repeat_interleave(arange(ids.shape[1], device=ids.device), durations)
        f0_hz, energy = predictor.F0Ntrain(timed.transpose(1, 2)[:, :, token_of_frame], predictor_style)
        phonetic = network.text_encoder(ids, length, mask)[:, :, token_of_frame]
        decoded = self._decode(phonetic, f0_hz, energy, decoder_style)
        return SegmentFeatures(decoded, f0_hz, decoder_style, durations)

    def _durations(self, timed: Tensor, speed: float) -> Tensor:
        hidden, _ = self.network.predictor.lstm(timed)
        # 50 units vote, each with a probability, for one more frame.
        frames = self.network.predictor.duration_proj(hidden).sigmoid().sum(dim=-1) / speed
        durations: Tensor = frames.round().clamp(min=1).long()[0]
        return durations

    def _decode(self, phonetic: Tensor, f0_hz: Tensor, energy: Tensor, style: Tensor) -> Tensor:
        decoder = self.network.decoder
        f0 = decoder.F0_conv(f0_hz[:, None])
        energy = decoder.N_conv(energy[:, None])
        residual = decoder.asr_res(phonetic)
        features: Tensor = decoder.encode(cat([phonetic, f0, energy], dim=1), style)
        # All blocks see the inputs again; the last doubles the rate, so nothing follows it.
        for block in decoder.decode:
            features = block(cat([features, residual, f0, energy], dim=1), style)
        return features
