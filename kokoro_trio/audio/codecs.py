"""The encoders of the audio formats of the wire."""

from collections.abc import Callable

from kokoro_trio.audio.frames import AudioFrame, Encoder
from kokoro_trio.audio.mulaw import to_mulaw
from kokoro_trio.audio.opus import OpusEncoder
from kokoro_trio.audio.pcm import PcmFramer, to_pcm16
from kokoro_trio.audio.resampling import Resampler
from kokoro_trio.config import BYTES_PER_SAMPLE, StreamConfig
from kokoro_trio.speech import Samples


def encoder_for(audio_format: str, sample_rate_hz: int, config: StreamConfig) -> Encoder:
    """The encoder for one request. The format must offer the rate."""
    match audio_format:
        case "pcm":
            return SampleEncoder(_pcm_bytes, BYTES_PER_SAMPLE, sample_rate_hz, config)
        case "mulaw":
            return SampleEncoder(_mulaw_bytes, 1, sample_rate_hz, config)
        case "opus":
            return OpusEncoder(sample_rate_hz)
    raise ValueError(f"there is no format {audio_format!r}")


class SampleEncoder:
    """The formats in which every sample has a fixed number of bytes."""

    blocks = False

    def __init__(
        self,
        encode: Callable[[Samples], bytes],
        bytes_per_sample: int,
        sample_rate_hz: int,
        config: StreamConfig,
    ) -> None:
        self._encode = encode
        self._bytes_per_sample = bytes_per_sample
        self._resampler = Resampler.to(sample_rate_hz)
        self._framer = PcmFramer.of(config, sample_rate_hz, bytes_per_sample)

    def push(self, samples: Samples) -> list[AudioFrame]:
        return self._framed(self._framer.push(self._encode(self._resampler.push(samples))))

    def flush(self) -> list[AudioFrame]:
        rest = self._framer.push(self._encode(self._resampler.flush()))
        return self._framed(rest + self._framer.flush())

    def close(self) -> None:
        pass

    def _framed(self, messages: list[bytes]) -> list[AudioFrame]:
        return [AudioFrame(message, len(message) // self._bytes_per_sample) for message in messages]


def _pcm_bytes(samples: Samples) -> bytes:
    return to_pcm16(samples).tobytes()


def _mulaw_bytes(samples: Samples) -> bytes:
    return to_mulaw(samples).tobytes()
