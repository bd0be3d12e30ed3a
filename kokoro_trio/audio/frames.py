"""The unit of encoded audio, and the interface of the encoders."""

from typing import Protocol

from attrs import frozen

from kokoro_trio.speech import Samples


@frozen
class AudioFrame:
    """The bytes of one binary frame, and how much audio they hold, at the rate of the request."""

    data: bytes
    n_samples: int


class Encoder(Protocol):
    """Encodes the samples of one request into frames. Any thread may call it, one call at a time."""

    blocks: bool
    """Whether `push` and `flush` take milliseconds and must therefore run in a thread."""

    def push(self, samples: Samples) -> list[AudioFrame]:
        """The frames that are complete with these samples."""

    def flush(self) -> list[AudioFrame]:
        """The rest of the audio, at the end of the request. Nothing may be pushed afterwards."""

    def close(self) -> None:
        """Frees the encoder's resources. May be called at any time, also twice."""
