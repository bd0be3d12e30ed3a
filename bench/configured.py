"""The weights that the server would serve here: those of KOKORO_WEIGHTS."""

from kokoro_trio.config import DEFAULT_WEIGHTS_FOLDER, Config
from kokoro_trio.weights.prepared import Weights, open_weights, prepared_folder


def open_configured_weights() -> Weights:
    """Raises `StartError`."""
    # Nothing listens here: with a loopback host the configuration asks for no API_KEY.
    config = Config.load(host="127.0.0.1").model
    return open_weights(prepared_folder(config.weights, DEFAULT_WEIGHTS_FOLDER))
