"""Pure: converts samples to PCM, and PCM to messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.audio.pcm import PcmFramer, to_pcm16


def test_full_scale_is_symmetric_and_clips() -> None:
    samples = np.array([0.0, 1.0, -1.0, 2.0, -2.0, 0.5], np.float32)
    assert to_pcm16(samples).tolist() == [0, 32767, -32767, 32767, -32767, 16384]


def test_pcm_is_little_endian_on_every_machine() -> None:
    assert to_pcm16(np.array([1 / 32767], np.float32)).tobytes() == b"\x01\x00"


def framer(*, buffer_bytes: int = 960, flush_every: int = 1, first_immediate: bool = True) -> PcmFramer:
    return PcmFramer(480, buffer_bytes, flush_every, first_immediate)


def message_sizes(it: PcmFramer, n_samples: int) -> list[int]:
    samples = np.zeros(n_samples, np.float32)
    return [len(message) for message in it.push(to_pcm16(samples).tobytes()) + it.flush()]


@pytest.mark.parametrize(
    ("it", "n_samples", "expected"),
    [
        (framer(), 1440, [960, 960, 960]),
        (framer(), 1500, [960, 960, 960, 120]),
        (framer(), 0, []),
        (framer(buffer_bytes=1, flush_every=9), 960, [960, 960]),
        (framer(buffer_bytes=3000, flush_every=99), 4800, [960, 3840, 3840, 960]),
        (framer(buffer_bytes=99_999, flush_every=2), 2400, [960, 1920, 1920]),
        (framer(buffer_bytes=99_999, flush_every=2, first_immediate=False), 2400, [1920, 1920, 960]),
    ],
)
def test_messages_are_buffered_as_configured(it: PcmFramer, n_samples: int, expected: list[int]) -> None:
    assert message_sizes(it, n_samples) == expected


@given(st.lists(st.integers(0, 3000), max_size=8), st.integers(1, 5000), st.integers(1, 7), st.booleans())
def test_all_samples_are_kept_and_only_the_last_message_is_short(
    pieces: list[int], buffer_bytes: int, flush_every: int, first_immediate: bool
) -> None:
    it = framer(buffer_bytes=buffer_bytes, flush_every=flush_every, first_immediate=first_immediate)
    encoded = [np.arange(n, dtype="<i2").tobytes() for n in pieces]
    messages = [message for piece in encoded for message in it.push(piece)] + it.flush()
    assert b"".join(messages) == b"".join(encoded)
    assert all(len(message) % 960 == 0 for message in messages[:-1])
