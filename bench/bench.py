"""How fast a running server speaks, by what its listeners see.

    python bench/bench.py --n 60 --concurrency 4         one load
    python bench/bench.py --ladder 1,2,4,8 --plot p.png  several, one row each
    python bench/bench.py --target-p95-ms 1000           how many clients are served in time
    python bench/bench.py --cancel --n 40                barge-in, and whether every request ends once
    python bench/bench.py --fairness --long 2            short sentences beside long texts
    python bench/bench.py --pipeline                     beside kokoro's own KPipeline

Each connection has one request outstanding at a time and takes the next one when that has ended. The
sentences are the lines of bench/sentences.txt, or of --text-file, in turn. Exits with 1 when a request
failed, or the answer is no.
"""

import argparse
import json
import math
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import trio
from attrs import AttrsInstance, asdict

if __name__ == "__main__" and not __package__:
    # Run as a script: relative imports need the package's name and its parent folder (PEP 366).
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __package__ = "bench"

from kokoro_trio.client import connection_options
from kokoro_trio.errors import KokoroTrioError

from . import barge_in, fairness, ladder, load, pipeline, plot, target
from .sentences import SENTENCES, read_long_text, read_sentences, read_short_sentences


class Result(AttrsInstance, Protocol):
    """What a mode has measured; its attributes are what --json writes."""

    @property
    def has_failed(self) -> bool: ...

    def report(self) -> Iterator[str]: ...


def main() -> None:
    try:
        options = _parse()
        result = trio.run(_measurement(options))
        print("\n".join(result.report()))
        if options.json is not None:
            options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")
        if options.plot is not None and isinstance(result, ladder.Ladder):
            plot.draw(result, options.plot)
    except (KokoroTrioError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.exit(1 if result.has_failed else 0)


def _measurement(options: argparse.Namespace) -> Callable[[], Awaitable[Result]]:
    """Raises what reading the texts can raise."""
    sentences = read_sentences(options.text_file)
    if options.ladder is not None:
        return partial(ladder.climb, options, sentences)
    if options.target_p95_ms is not None:
        return partial(target.measure, options, sentences)
    if options.pipeline:
        return partial(pipeline.measure, options, sentences)
    if options.fairness:
        short = read_short_sentences(options.text_file)
        return partial(fairness.measure, options, short, read_long_text())
    if options.cancel:
        return partial(barge_in.measure, options, read_long_text())
    return partial(load.run, options, sentences, options.n, options.concurrency)


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Raises `BadKnob`, `SettingsUnreadable`, and `MatplotlibMissing` where a picture is asked for."""
    parser = _command_line()
    options = parser.parse_args(arguments)
    if options.plot is not None:
        if options.ladder is None:
            parser.error("--plot draws what --ladder measures")
        plot.require_matplotlib()
    return options


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
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the ladder")
    modes = parser.add_argument_group("what is measured, instead of --n requests at one --concurrency")
    mode = modes.add_mutually_exclusive_group()
    mode.add_argument(
        "--ladder", type=_counts, metavar="1,2,4,8", help="one concurrency after the other, --n requests each"
    )
    mode.add_argument(
        "--target-p95-ms",
        type=_positive,
        metavar="N",
        help="the largest MAX_CONCURRENT_JOBS that keeps the p95 of TTFA within N ms",
    )
    mode.add_argument(
        "--cancel", action="store_true", help="--n long texts interrupted, over --concurrency connections"
    )
    mode.add_argument(
        "--fairness",
        action="store_true",
        help="--n short sentences on one connection, alone and then beside --long others",
    )
    mode.add_argument(
        "--pipeline",
        action="store_true",
        help="--n sentences, each by kokoro's KPipeline in this process and by the server in turn",
    )
    parser.add_argument(
        "--long", type=_count, default=1, help="who speak long texts in --fairness (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments of --cancel (default: 0)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 upwards")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _counts(text: str) -> list[int]:
    return [_count(part.strip()) for part in text.split(",")]


if __name__ == "__main__":
    main()
