"""Pure: pieces of an utterance through an encoder, without an engine."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
from attrs import define, field

from kokoro_trio.audio.frames import AudioFrame
from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.engine.stream import Piece
from kokoro_trio.server.encoding import ENCODED_AT_ONCE_SAMPLES, encode_utterance
from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples


@define
class Keeper:
    """An encoder that keeps its input."""

    blocks: bool
    pushed: list[Samples] = field(factory=list)

    def push(self, samples: Samples) -> list[AudioFrame]:
        self.pushed.append(samples.copy())
        return [AudioFrame(samples.tobytes(), len(samples))]

    def flush(self) -> list[AudioFrame]:
        return []

    def close(self) -> None:
        pass


async def delivered(*pieces: Piece) -> AsyncIterator[Piece]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("blocks", [False, True])
async def test_pause_is_encoded_in_blocks(blocks: bool) -> None:
    loud, nothing = np.ones(700, np.float32), np.zeros(0, np.float32)
    encoder, head_silence = Keeper(blocks), HeadSilence()
    handed_over: list[tuple[int, int]] = []

    async def hand_over(segment: int, frames: list[AudioFrame]) -> None:
        handed_over.extend((segment, frame.n_samples) for frame in frames)

    pieces = delivered(Piece(0, loud, silence_s=30.0001), Piece(1, loud), Piece(1, nothing, silence_s=0.25))
    await encode_utterance(pieces, encoder, head_silence, hand_over)
    n_silent = round(30.0001 * SAMPLE_RATE_HZ)
    assert max(map(len, encoder.pushed)) == ENCODED_AT_ONCE_SAMPLES == SAMPLE_RATE_HZ // 5
    heard = np.concatenate(encoder.pushed)
    assert len(heard) == n_silent + 700 + 700 + SAMPLE_RATE_HZ // 4
    assert np.flatnonzero(heard).tolist() == list(range(n_silent, n_silent + 1400))
    assert head_silence.seconds == n_silent / SAMPLE_RATE_HZ
    assert sum(n for segment, n in handed_over if segment == 0) == n_silent + 700
