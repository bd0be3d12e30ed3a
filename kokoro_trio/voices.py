"""Names blends of voices. A running server reads the new names at once.

    kokoro-trio voices add --name my_blend --recipe "af_aoede+af_nicole" --validate
    kokoro-trio voices list
    kokoro-trio voices remove --name my_blend

A recipe mixes the model's own voices in equal parts. To weigh a voice more, repeat it
(af_bella+af_bella+af_sky) or give it a weight: af_bella(2)+af_sky(1) is the same blend.
"""

import argparse
import sys
from collections.abc import Sequence

from kokoro_trio.config import Config
from kokoro_trio.errors import KokoroTrioError
from kokoro_trio.model.custom_voices import CustomVoices, released_voices, usable_blends


def main(arguments: Sequence[str] | None = None) -> None:
    options = _command_line().parse_args(arguments)
    try:
        # With a loopback host the configuration requires no API_KEY, and this command does not listen.
        folder = Config.load(host="127.0.0.1").voices.custom_folder
        custom_voices = CustomVoices(folder, released_voices())
        match options.command:
            case "add":
                custom_voices.add(
                    options.name, options.recipe, validate=options.validate, replace=options.replace
                )
                print(f"{options.name} is {options.recipe} ({custom_voices.path})")
            case "remove":
                custom_voices.remove(options.name)
                print(f"{options.name} is removed ({custom_voices.path})")
            case "list":
                _print_list(custom_voices)
    except (KokoroTrioError, OSError) as error:
        sys.exit(f"error: {error}")


def _print_list(custom_voices: CustomVoices) -> None:
    entries = custom_voices.read()
    blends, ignored = usable_blends(entries, custom_voices.base_voices)
    if not entries:
        print(f"no custom voices in {custom_voices.path}")
    width = max(map(len, blends), default=0)
    for name, blend in sorted(blends.items()):
        print(f"{name:<{width}}  {blend.written}")
    for each in ignored:
        print(f"ignored by the server: {each.name!r}: {each.reason}", file=sys.stderr)


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kokoro-trio voices", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="name a blend")
    add.add_argument("--name", required=True, help="1 to 64 letters, digits, _ and -")
    add.add_argument("--recipe", required=True, help='for example "af_bella(2)+af_sky"')
    add.add_argument("--validate", action="store_true", help="reject voices that the model does not have")
    add.add_argument("--replace", action="store_true", help="replace an existing blend of this name")
    remove = commands.add_parser("remove", help="remove a blend")
    remove.add_argument("--name", required=True)
    commands.add_parser("list", help="list names and recipes")
    return parser


if __name__ == "__main__":
    main()
