"""The console script `kokoro-trio`: each of its commands is the `main` of another module."""

import argparse
import sys
from importlib import import_module

from attrs import frozen

from kokoro_trio import __version__
from kokoro_trio.installation import install_command


@frozen
class Command:
    module: str
    extra: str
    """The optional dependencies that it needs beyond the client's."""
    help: str


COMMANDS = {
    "serve": Command("kokoro_trio.__main__", "server", "serve speech over WebSockets and HTTP"),
    "weights": Command("kokoro_trio.model.weights", "server", "prepare and check the model's weights"),
    "speak": Command("kokoro_trio.speak", "opus", "send one text to a server and save the audio"),
    "voices": Command("kokoro_trio.voices", "server", "name blends of voices"),
    "metrics": Command("kokoro_trio.metrics", "server", "summarize the requests in the metrics log"),
    "bench": Command("kokoro_trio.bench.bench", "bench", "measure how fast a server speaks"),
}


def main() -> None:
    options, arguments = _command_line().parse_known_args()
    command = COMMANDS[options.command]
    sys.argv = [f"kokoro-trio {options.command}", *arguments]
    try:
        sys.exit(import_module(command.module).main())
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("kokoro_trio"):
            raise
        sys.exit(f"error: {error.name} is not installed; run: {install_command(command.extra)}")


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kokoro-trio", description="Text-to-speech with Kokoro-82M: the server and its tools."
    )
    parser.add_argument("--version", action="version", version=f"kokoro-trio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help, add_help=False)
    return parser
