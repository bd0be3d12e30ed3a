"""What the command lines of bench.py and soak.py share: types of arguments, output, and exit status."""

import argparse
import json
import math
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol

import trio
from attrs import Attribute, AttrsInstance, asdict

from kokoro_trio.errors import KokoroTrioError

from . import plot, results
from .report import Report
from .server_state import read_state

BULKY = {"is_bulky": True}
"""The metadata of an attribute that --save leaves out."""


class Result(AttrsInstance, Protocol):
    """What a mode has measured; --json and --save write its attributes."""

    @property
    def has_failed(self) -> bool: ...

    def report(self) -> Report: ...


def run(options: argparse.Namespace, what: str, measure: Callable[[], Awaitable[Result]]) -> NoReturn:
    """Measures, reports, and exits with 1 if the result has failed. `what` names the file of --save."""
    with exit_on_error():
        if options.save is not None:
            if what in plot.PLOTTED:
                plot.require_matplotlib()
            record = results.Record.begin(options, what, trio.run(read_state, options))
        result = trio.run(measure)
        report = result.report()
        print(report.text())
        if options.json is not None:
            options.json.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
        if options.save is not None:
            path = record.write(options.save, report, asdict(result, filter=_is_small))
            plot.draw(result, path.with_suffix(".png"))
            print(f"saved as {path}")
    sys.exit(1 if result.has_failed else 0)


def _is_small(attribute: "Attribute[Any]", _: object) -> bool:
    return "is_bulky" not in attribute.metadata


@contextmanager
def exit_on_error() -> Iterator[None]:
    try:
        yield
    except (KokoroTrioError, OSError) as error:
        sys.exit(f"error: {error}")


def output_options() -> argparse.ArgumentParser:
    """A parent parser."""
    parser = argparse.ArgumentParser(add_help=False)
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    output.add_argument(
        "--save",
        type=Path,
        metavar="FOLDER",
        nargs="?",
        const=results.FOLDER,
        help="also write the figures with date, machine and commit, and a plot, to the folder "
        "(default: %(const)s)",
    )
    output.add_argument("--note", default="", help="a remark to store with --save, such as 'busy machine'")
    return parser


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 upwards")
    return int(text)


def counts(text: str) -> list[int]:
    return [count(part.strip()) for part in text.split(",")]


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number
