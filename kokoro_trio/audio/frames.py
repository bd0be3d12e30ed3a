"""What is sent at a time, and what makes it."""

from typing import Protocol

from attrs import frozen

from kokoro_trio.speech import Samples


@frozen
class AudioFrame:
    """The bytes of one binary frame, and how much audio they hold, at the rate of the request."""

    data: bytes
    n_samples: int


class Encoder(Protocol):
    """The audio of one request, from the model's samples to frames. May be called from any thread, one
    call at a time.
    """

    blocks: bool
    """Whether `push` and `flush` take milliseconds, and so have to run beside the event loop."""

    def push(self, samples: Samples) -> list[AudioFrame]:
        """The frames that are complete with these samples."""

    def flush(self) -> list[AudioFrame]:
        """What is left at the end of the request. Nothing may be pushed after it."""

    def close(self) -> None:
        """Gives back what the encoder holds, at whatever point the request ended."""
