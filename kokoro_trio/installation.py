"""The folder where this installation keeps its data, and the commands that install missing parts.

A checkout keeps its data in its own folder, an installed wheel in the user's data folder; KOKORO_HOME names
another one for both.
"""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
"""The checkout, or the folder in which the wheel is installed."""
IS_CHECKOUT = (REPOSITORY / "scripts" / "setup.sh").is_file()
PREPARE_WEIGHTS = "bash scripts/setup.sh" if IS_CHECKOUT else "kokoro-trio weights"
INSTALL_CUDA_TORCH = (
    "bash scripts/setup.sh --cuda" if IS_CHECKOUT else "pip install torch, as https://pytorch.org says"
)


def install_command(extra: str) -> str:
    """Installs `extra`, one of the optional dependencies in pyproject.toml."""
    if not IS_CHECKOUT:
        return f'pip install "kokoro-trio[{extra}]"'
    return "bash scripts/setup.sh" if extra == "server" else f"bash scripts/setup.sh --{extra}"


def _data_folder() -> Path:
    if named := os.environ.get("KOKORO_HOME", "").strip():
        return Path(named).expanduser().absolute()
    if IS_CHECKOUT:
        return REPOSITORY
    default = "~/Library/Application Support" if sys.platform == "darwin" else "~/.local/share"
    return Path(os.environ.get("XDG_DATA_HOME") or default, "kokoro-trio").expanduser()


DATA_FOLDER = _data_folder()
"""Holds `.env`, `weights`, `logs` and `custom_voices`, unless a knob names another place."""
