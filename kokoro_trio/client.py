"""The public names of the plain client; `kokoro_trio.clients` implements it."""

from kokoro_trio.clients.connecting import PING_INTERVAL_S, connect, connect_with, connection_options
from kokoro_trio.clients.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    DecoderMissing,
    HandshakeRejected,
    RequestFailed,
)
from kokoro_trio.clients.session import ClientSession as Session
from kokoro_trio.clients.speech import Arrival, Speech, Timing, save_wav

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
    "connect_with",
    "connection_options",
    "save_wav",
]
