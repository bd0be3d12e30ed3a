"""The public names of the client that reconnects; `kokoro_trio.clients.reconnecting` implements it."""

from kokoro_trio.clients.reconnecting import Session, Speech, connect

__all__ = ["Session", "Speech", "connect"]
