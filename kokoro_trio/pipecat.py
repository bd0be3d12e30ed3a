"""The public name of the service for Pipecat; `kokoro_trio.clients.pipecat` implements it."""

from kokoro_trio.clients.pipecat import KokoroTrioTTSService, KokoroTrioTTSSettings

__all__ = ["KokoroTrioTTSService", "KokoroTrioTTSSettings"]
