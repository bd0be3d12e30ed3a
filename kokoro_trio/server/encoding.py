"""Encodes the audio of an utterance to frames, for WebSockets and HTTP."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator

import numpy as np
import trio

from kokoro_trio.audio.frames import AudioFrame, Encoder
from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.engine.stream import Piece
from kokoro_trio.speech import SAMPLE_RATE_HZ, Samples

ENCODED_AT_ONCE_SAMPLES = SAMPLE_RATE_HZ // 5
"""Some milliseconds of Opus: this bounds the work before the first frame and after a cancel."""

_SILENCE = np.zeros(ENCODED_AT_ONCE_SAMPLES, np.float32)

HandOver = Callable[[int, list[AudioFrame]], Awaitable[None]]
"""Called with a segment's index and frames, maybe none; returns when the frames are sent."""


async def encode_utterance(
    pieces: AsyncIterable[Piece], encoder: Encoder, head_silence: HeadSilence, hand_over: HandOver
) -> None:
    """Encodes the pieces as they come. Raises the `RequestError` of an utterance that fails."""
    segment = 0
    async for piece in pieces:
        segment = piece.segment
        head_silence.feed_silence(piece.silence_s)
        head_silence.feed(piece.samples)
        for samples in _blocks(piece):
            # A cancel waits here for the thread, so that `close` never runs during a `push`.
            frames = (
                await trio.to_thread.run_sync(encoder.push, samples)
                if encoder.blocks
                else encoder.push(samples)
            )
            await hand_over(segment, frames)
    frames = await trio.to_thread.run_sync(encoder.flush) if encoder.blocks else encoder.flush()
    await hand_over(segment, frames)


def _blocks(piece: Piece) -> Iterator[Samples]:
    n_silent = round(piece.silence_s * SAMPLE_RATE_HZ)
    for start in range(0, n_silent, ENCODED_AT_ONCE_SAMPLES):
        yield _SILENCE[: n_silent - start]
    for start in range(0, len(piece.samples), ENCODED_AT_ONCE_SAMPLES):
        yield piece.samples[start : start + ENCODED_AT_ONCE_SAMPLES]
