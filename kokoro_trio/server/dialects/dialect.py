"""The interface of a dialect of the WebSocket."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from attrs import frozen

from kokoro_trio.config import RequestLimits
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.protocol import Request
from kokoro_trio.wire.messages import ClientMessage, Error, ServerMessage

Frame = str | bytes
"""A text frame or a binary frame of the WebSocket."""
Outcome = ClientMessage | Error | Frame


@frozen
class Opening:
    """The server passes this to a dialect when a client has connected."""

    session_id: str
    query: Mapping[str, str]
    """The parameters of the address; the first value of a repeated one."""
    voices: VoiceCatalogue
    limits: RequestLimits
    primer: bytes
    """A dialect with binary frames sends it before the first audio."""
    new_id: Callable[[], str]


class Dialect(ABC):
    """Translates between the frames of one client and the typed messages of `wire.messages`.

    `Protocol` holds the state of the requests: turns, limits, and one end for each. A dialect holds only the
    state that it needs to translate. It does no I/O and reads no clock. The session calls it, passes its
    messages to the protocol, and sends its frames in the order in which the dialect returned them.

    To add a dialect, write a subclass in a file of this package, add it to `DIALECTS`, and test it in one
    file. The server calls the subclass with an `Opening`.
    """

    def open(self) -> list[Frame]:
        """The frames that greet the client. Called once, before everything else."""
        return []

    @abstractmethod
    def receive(self, frame: Frame) -> list[Outcome]:
        """The outcomes of a client's frame, in order: messages for the protocol and frames for the client.

        Must not raise. Bad input becomes an `Error`, which the session passes to `encode`.
        """

    @abstractmethod
    def encode(self, message: ServerMessage) -> list[Frame]:
        """The frames that carry a message of the protocol to the client; none if the dialect has no such
        message.
        """

    @abstractmethod
    def encode_audio(self, request: Request, data: bytes) -> list[Frame]:
        """The frames that carry audio in the format of the request's settings."""

    @property
    def timeout_s(self) -> float:
        """How long the session waits until it calls `time_out`.

        The time runs from when this becomes finite until it becomes infinite again.
        """
        return math.inf

    def time_out(self) -> list[Frame]:
        """The frames to send when `timeout_s` is over."""
        return []
