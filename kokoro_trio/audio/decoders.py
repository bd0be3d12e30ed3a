"""The decoders of the audio formats of the wire. Only Opus needs PyAV."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kokoro_trio.audio.mulaw import from_mulaw
from kokoro_trio.audio.pcm import from_pcm16

Decode = Callable[[bytes], NDArray[np.int16]]


def decoder_for(audio_format: str) -> Decode:
    """Decodes the binary frames of one request, to `decoded_rate_hz`. The decoder raises `BadMessage`.

    Raises ModuleNotFoundError for Opus without PyAV.
    """
    match audio_format:
        case "pcm":
            return from_pcm16
        case "mulaw":
            return from_mulaw
        case "opus":
            from kokoro_trio.audio.opus_decoder import OpusDecoder

            return OpusDecoder().decode
    raise ValueError(f"there is no format {audio_format!r}")
