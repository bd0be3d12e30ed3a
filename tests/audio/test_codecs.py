"""Pure: encodes samples in each audio format of the wire, and decodes them again."""

import io
from collections.abc import Sequence

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kokoro_trio.audio.codecs import encoder_for
from kokoro_trio.audio.decoders import decoder_for
from kokoro_trio.audio.frames import AudioFrame
from kokoro_trio.audio.mulaw import LARGEST, from_mulaw, to_mulaw
from kokoro_trio.audio.opus import OpusEncoder
from kokoro_trio.audio.opus_decoder import OpusDecoder, pages
from kokoro_trio.audio.pcm import from_pcm16
from kokoro_trio.errors import BadMessage
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire.formats import OPUS_RATE_HZ, SAMPLE_RATES_HZ, decoded_rate_hz
from tests.support.sounds import STREAM, assert_closing_leaves_nothing_open, chirp, encoded, likeness

ALL = [(name, rate) for name, rates in SAMPLE_RATES_HZ.items() for rate in rates]


def decoded(audio_format: str, frames: Sequence[AudioFrame]) -> NDArray[np.int16]:
    decode = decoder_for(audio_format)
    return np.concatenate([decode(frame.data) for frame in frames])


@pytest.mark.parametrize(("audio_format", "rate_hz"), ALL)
class TestEveryFormatAtEveryRate:
    PIECES = (0.6, 0.2, 0.0, 0.775, 0.31)

    def frames(self, audio_format: str, rate_hz: int) -> list[AudioFrame]:
        samples = chirp(sum(self.PIECES))
        ends = np.cumsum([round(seconds * SAMPLE_RATE_HZ) for seconds in self.PIECES])[:-1]
        return encoded(encoder_for(audio_format, rate_hz, STREAM), np.split(samples, ends))

    def test_decoded_audio_equals_the_input(self, audio_format: str, rate_hz: int) -> None:
        heard = decoded(audio_format, self.frames(audio_format, rate_hz))
        heard_hz = decoded_rate_hz(audio_format, rate_hz)
        expected = chirp(sum(self.PIECES), heard_hz)
        assert abs(len(heard) - len(expected)) <= 1
        assert likeness(heard[: len(expected)], expected[: len(heard)]) > 0.995

    def test_samples_are_counted_at_the_requested_rate(self, audio_format: str, rate_hz: int) -> None:
        n_samples = sum(frame.n_samples for frame in self.frames(audio_format, rate_hz))
        assert abs(n_samples - sum(self.PIECES) * rate_hz) <= 1

    def test_encoder_delay_is_below_50_ms(self, audio_format: str, rate_hz: int) -> None:
        frames = encoder_for(audio_format, rate_hz, STREAM).push(chirp(0.6))
        frame_s = 0.02
        assert sum(frame.n_samples for frame in frames) / rate_hz > 0.6 - 0.05 - 2 * frame_s
        assert all(0 < frame.n_samples <= frame_s * rate_hz for frame in frames)


class TestMulaw:
    def test_every_code_decodes_as_in_another_decoder(self) -> None:
        codes = bytes(range(256))
        context = av.AudioCodecContext.create("pcm_mulaw", "r")
        context.sample_rate, context.layout = 8000, "mono"
        (frame,) = context.decode(av.Packet(codes))
        assert from_mulaw(codes).tolist() == frame.to_ndarray()[0].tolist()

    def test_quantization_error_is_at_most_half_a_step(self) -> None:
        pcm = np.arange(-32_767, 32_768)
        codes = to_mulaw((pcm / 32_767).astype(np.float32))
        meanings = from_mulaw(codes.tobytes()).astype(int)
        steps = 8 << (~codes >> 4 & 0x07).astype(int)
        # The last segment has steps of 1024 and ends at the largest magnitude.
        assert (np.abs(meanings - np.clip(pcm, -LARGEST, LARGEST)) <= steps // 2).all()
        assert (np.diff(meanings) >= 0).all()
        assert len(set(codes.tolist())) == 256

    def test_silence_is_coded_as_ff(self) -> None:
        assert to_mulaw(np.zeros(2, np.float32)).tobytes() == b"\xff\xff"


class TestPcm:
    def test_odd_number_of_bytes_is_rejected(self) -> None:
        with pytest.raises(BadMessage, match="3 bytes"):
            from_pcm16(bytes(3))


class TestOpus:
    @pytest.fixture
    def frames(self) -> list[AudioFrame]:
        return encoded(OpusEncoder(24_000), [chirp(1.23)])

    def test_other_decoders_read_the_ogg_file(self, frames: list[AudioFrame]) -> None:
        with av.open(io.BytesIO(b"".join(frame.data for frame in frames)), "r") as file:
            assert file.format.name == "ogg"
            assert file.streams.audio[0].codec_context.name in ("opus", "libopus")
            heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
        expected = chirp(1.23, OPUS_RATE_HZ)
        assert len(heard) == len(expected)
        assert likeness(heard, expected) > 0.995

    def test_frame_is_a_20_ms_page_and_the_first_has_the_headers(self, frames: list[AudioFrame]) -> None:
        per_frame = [list(pages(frame.data)) for frame in frames]
        assert [len(its_pages) for its_pages in per_frame] == [3] + [1] * (len(frames) - 1)
        assert per_frame[0][0].body.startswith(b"OpusHead")
        assert [page.is_last for page in per_frame[-1]] == [True]
        steps = np.diff([its_pages[-1].granule for its_pages in per_frame[:-1]])
        assert set(steps.tolist()) == {OPUS_RATE_HZ // 50}

    def test_empty_request_has_no_frames(self) -> None:
        assert OpusEncoder(48_000).flush() == []

    @pytest.mark.parametrize("n_pieces", [0, 1, 3])
    def test_close_in_the_middle_frees_resources(self, n_pieces: int) -> None:
        assert_closing_leaves_nothing_open(lambda: OpusEncoder(24_000), n_pieces)

    @pytest.mark.parametrize("cut", [slice(1, None), slice(None, -1), slice(10)])
    def test_truncated_page_is_rejected(self, frames: list[AudioFrame], cut: slice) -> None:
        with pytest.raises(BadMessage, match="Ogg pages"):
            OpusDecoder().decode(frames[0].data[cut])

    def test_audio_before_the_opus_head_is_rejected(self, frames: list[AudioFrame]) -> None:
        with pytest.raises(BadMessage, match="OpusHead"):
            OpusDecoder().decode(frames[1].data)

    def test_page_with_malformed_opus_is_rejected(self, frames: list[AudioFrame]) -> None:
        decoder = OpusDecoder()
        decoder.decode(frames[0].data)
        (page,) = pages(frames[1].data)
        header = page.data[: -len(page.body)]
        with pytest.raises(BadMessage, match="Opus"):
            # A code 3 packet has a frame count, which must not be 0: RFC 6716 section 3.2.5.
            decoder.decode(header + b"\xff" + bytes(len(page.body) - 1))
