"""The public names of the client that reconnects; `kokoro_trio.clients.reconnecting` implements it."""

from kokoro_trio.clients.connecting import PING_INTERVAL_S
from kokoro_trio.clients.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    DecoderMissing,
    HandshakeRejected,
    RequestFailed,
)
from kokoro_trio.clients.reconnecting import Session, Speech, connect
from kokoro_trio.clients.speech import Arrival, Timing, save_wav

__all__ = [
    "PING_INTERVAL_S",
    "Arrival",
    "ClientError",
    "ConnectFailed",
    "ConnectionLost",
    "DecoderMissing",
    "HandshakeRejected",
    "RequestFailed",
    "Session",
    "Speech",
    "Timing",
    "connect",
    "save_wav",
]
