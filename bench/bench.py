"""How fast a running server speaks, by what its listeners see.

    python bench/bench.py --n 60 --concurrency 4
    python bench/bench.py --n 60 --concurrency 4 --json result.json

Each connection has one request outstanding at a time and takes the next one when that has ended. The
sentences are the lines of bench/sentences.txt, in turn. Exits with 1 when a request failed.
"""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import trio
from attrs import AttrsInstance, asdict

if __name__ == "__main__":
    # A script's imports are looked for beside it first, where `bench` would be this very file. With this
    # line it runs from anywhere, without PYTHONPATH, and so does `python -m bench.bench`.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import load
from bench.sentences import SENTENCES, read_sentences
from kokoro_trio.client import connection_options
from kokoro_trio.errors import KokoroTrioError


class Result(AttrsInstance, Protocol):
    """What a mode has measured; its attributes are what --json writes."""

    @property
    def has_failed(self) -> bool: ...

    def report(self) -> Iterator[str]: ...


def main() -> None:
    try:
        options = _command_line().parse_args()
        result = trio.run(_measurement(options))
        print("\n".join(result.report()))
        if options.json is not None:
            options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")
    except (KokoroTrioError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.exit(1 if result.has_failed else 0)


def _measurement(options: argparse.Namespace) -> Callable[[], Awaitable[Result]]:
    """Raises what reading the texts can raise."""
    sentences = read_sentences(options.text_file)
    return partial(load.run, options, sentences, options.n, options.concurrency)


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measures how fast a running server speaks.", parents=[connection_options()]
    )
    parser.add_argument("--proto", choices=["ws"], default="ws", help="default: %(default)s")
    parser.add_argument("--n", type=_count, default=60, help="requests (default: %(default)s)")
    parser.add_argument("--concurrency", type=_count, default=4, help="connections (default: %(default)s)")
    parser.add_argument("--voice", help="female, male, or the name of a voice (default: female)")
    parser.add_argument("--text-file", type=Path, default=SENTENCES, help="one sentence a line")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result there")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 upwards")
    return int(text)


if __name__ == "__main__":
    main()
