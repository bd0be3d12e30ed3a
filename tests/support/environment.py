"""Removes the developer's settings, proxies and accounts from the environment of the tests."""

import os
import re

from kokoro_trio.config import REPOSITORY

TEST_WEIGHTS = REPOSITORY / "weights-test"
"""Prepared by `bash scripts/setup.sh --test`, with the ONNX export. The statistics are fitted on them."""
KNOBS = frozenset(re.findall(r'"([A-Z][A-Z0-9_]+)"', (REPOSITORY / "kokoro_trio" / "config.py").read_text()))
OTHERS = ("KOKORO_", "START_TIMEOUT_S", "TONES_", "HF_", "OPENAI_", "LIVEKIT_")
"""Prefixes of other settings: those of scripts, of the server with tones, and of libraries."""


def forget_settings(data_folder: str) -> None:
    """Changes the environment of this process and its children. Servers write to `data_folder`."""
    for name in list(os.environ):
        if name in KNOBS or name.startswith(OTHERS) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ |= {
        "KOKORO_ENV_FILE": os.devnull,
        "KOKORO_WEIGHTS": str(TEST_WEIGHTS),
        "LOG_FOLDER": os.path.join(data_folder, "logs"),
        "CUSTOM_VOICES_FOLDER": os.path.join(data_folder, "custom_voices"),
    }
