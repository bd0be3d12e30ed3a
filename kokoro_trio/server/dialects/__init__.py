"""Dialects of the WebSocket: each translates the frames of its clients to our messages and back."""

from collections.abc import Callable, Mapping

from kokoro_trio.server.dialects.dialect import Dialect, Opening
from kokoro_trio.server.dialects.native import Native
from kokoro_trio.server.dialects.together import Together
from kokoro_trio.wire.messages import WEBSOCKET_PATH

TOGETHER_PATH = "/v1/audio/speech/websocket"
DIALECTS: Mapping[str, Callable[[Opening], Dialect]] = {WEBSOCKET_PATH: Native, TOGETHER_PATH: Together}
"""By the path of the WebSocket."""
