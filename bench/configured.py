"""The weights that a server on this machine would serve, by KOKORO_WEIGHTS."""

from pathlib import Path

from kokoro_trio.config import DEFAULT_WEIGHTS_FOLDER, Config
from kokoro_trio.weights.prepared import Weights, open_weights, prepared_folder


def weights_folder() -> Path:
    """Raises `BadKnob`."""
    # Nothing listens here: with a loopback host the configuration needs no API_KEY.
    return prepared_folder(Config.load(host="127.0.0.1").model.weights, DEFAULT_WEIGHTS_FOLDER)


def open_configured_weights() -> Weights:
    """Raises `StartError`."""
    return open_weights(weights_folder())
