"""The public names of the plain client; `kokoro_trio.clients` implements it."""

from kokoro_trio.clients.session import (
    PING_INTERVAL_S,
    Arrival,
    ClientError,
    ConnectFailed,
    ConnectionLost,
    HandshakeRejected,
    RequestFailed,
    Session,
    Speech,
    Timing,
    connect,
    connect_with,
    connection_options,
    save_wav,
)

__all__ = [
    "PING_INTERVAL_S",
    "Arrival",
    "ClientError",
    "ConnectFailed",
    "ConnectionLost",
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
