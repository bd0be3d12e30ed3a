"""Pure: encodes samples as files, which players decode while they are being encoded."""

import io
import struct
import wave

import numpy as np
import pytest

from kokoro_trio.audio.files import CONTENT_TYPES, UNKNOWN_BYTES, file_encoder_for, wav_head
from kokoro_trio.audio.pcm import to_pcm16
from kokoro_trio.speech import SAMPLE_RATE_HZ
from tests.support.sounds import (
    MOST_ADDED_S,
    STREAM,
    assert_closing_leaves_nothing_open,
    best_likeness,
    chirp,
    encoded,
    samples_in,
)

FORMATS = list(CONTENT_TYPES)


@pytest.mark.parametrize("audio_format", FORMATS)
class TestEveryFormat:
    PIECES_S = (0.6, 0.2, 0.0, 0.775, 0.31)

    def frames_of(self, audio_format: str) -> list[bytes]:
        ends = np.cumsum([round(seconds * SAMPLE_RATE_HZ) for seconds in self.PIECES_S])[:-1]
        pieces = np.split(chirp(sum(self.PIECES_S)), ends)
        return [frame.data for frame in encoded(file_encoder_for(audio_format, STREAM), pieces)]

    def test_decoded_audio_equals_the_input(self, audio_format: str) -> None:
        heard = samples_in(b"".join(self.frames_of(audio_format)), audio_format)
        said = chirp(sum(self.PIECES_S))
        added_s = (len(heard) - len(said)) / SAMPLE_RATE_HZ
        assert -0.001 <= added_s <= (MOST_ADDED_S if audio_format in ("mp3", "aac") else 0.0)
        assert best_likeness(heard, said) > 0.995

    def test_first_piece_is_playable_before_the_second_is_encoded(self, audio_format: str) -> None:
        frames = file_encoder_for(audio_format, STREAM).push(chirp(0.6))
        heard = samples_in(b"".join(frame.data for frame in frames), audio_format)
        assert 0.45 < len(heard) / SAMPLE_RATE_HZ <= 0.6

    def test_samples_are_counted(self, audio_format: str) -> None:
        frames = encoded(file_encoder_for(audio_format, STREAM), [chirp(0.2)] * 5)
        assert sum(frame.n_samples for frame in frames) == SAMPLE_RATE_HZ

    def test_empty_request_has_no_frames(self, audio_format: str) -> None:
        assert file_encoder_for(audio_format, STREAM).flush() == []

    @pytest.mark.parametrize("n_pieces", [0, 1, 3])
    def test_close_in_the_middle_frees_resources(self, audio_format: str, n_pieces: int) -> None:
        assert_closing_leaves_nothing_open(lambda: file_encoder_for(audio_format, STREAM), n_pieces)


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_lossless_formats_keep_every_sample(audio_format: str) -> None:
    frames = encoded(file_encoder_for(audio_format, STREAM), [chirp(0.7)])
    heard = samples_in(b"".join(frame.data for frame in frames), audio_format)
    assert heard.tolist() == to_pcm16(chirp(0.7)).tolist()


def test_wave_header_equals_that_of_the_standard_library_except_lengths() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        written.writeframes(b"")
    head, expected = wav_head(), file.getvalue()
    riff_length, data_length = slice(4, 8), slice(40, 44)
    unknown = struct.pack("<I", UNKNOWN_BYTES)
    assert head[riff_length] == head[data_length] == unknown
    assert (head[8:40], len(head)) == (expected[8:40], len(expected))
