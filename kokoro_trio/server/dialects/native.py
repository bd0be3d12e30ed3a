"""Our own protocol: JSON in text frames, audio in binary frames."""

from attrs import define

from kokoro_trio.errors import UnexpectedBinary
from kokoro_trio.server.dialects.dialect import Dialect, Frame, Opening, Outcome
from kokoro_trio.server.protocol import Request
from kokoro_trio.wire.messages import Error, Refused, ServerMessage, StartedSpeak, decode_client, encode


@define
class Native(Dialect):
    _opening: Opening
    _is_primed: bool = False

    def receive(self, frame: Frame) -> list[Outcome]:
        if isinstance(frame, bytes):
            return [Error.of(UnexpectedBinary(len(frame)))]
        try:
            return [decode_client(frame)]
        except Refused as refused:
            return [Error.of(refused.error, refused.request_id)]

    def encode(self, message: ServerMessage) -> list[Frame]:
        if isinstance(message, StartedSpeak) and self._opening.primer and not self._is_primed:
            # Before `started_speak`, so that no client takes it for audio of the request.
            self._is_primed = True
            return [self._opening.primer, encode(message)]
        return [encode(message)]

    def encode_audio(self, request: Request, data: bytes) -> list[Frame]:
        return [request.tag + data]
