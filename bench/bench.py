"""Measures how fast a running server speaks, as its clients hear it.

    python bench/bench.py --n 60 --concurrency 4         one load
    python bench/bench.py --ladder 1,2,4,8               several numbers of clients, one row each
    python bench/bench.py --target-p95-ms 1000           how many clients hear the first audio in time
    python bench/bench.py --cancel --n 40                barge-in, and whether every request ends once
    python bench/bench.py --fairness --long 2            short sentences beside long texts
    python bench/bench.py --openai http://HOST:PORT      another server with OpenAI's interface, in turn
    python bench/bench.py --peer kokoro-onnx             a library that speaks whole sentences, in turn

Each connection has one request outstanding at a time and takes the next one when that has ended. The
sentences are the lines of bench/sentences.txt, or of --text-file, in turn. --save stores the figures in
bench/results. The exit status is 1 if a request failed or the target was missed.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a script: relative imports need the package's name and its parent folder (PEP 366).
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __package__ = "bench"

from kokoro_trio.client import connection_options

from . import barge_in, fairness, ladder, load, target
from .command_line import Result, count, counts, exit_on_error, output_options, positive, run
from .peers import comparison
from .peers.openai import base_url
from .peers.process import PEERS
from .sentences import SENTENCES, read_long_text, read_sentences, read_short_sentences

CONCURRENCY, PEERS_CONCURRENCY = 4, 1


def main(arguments: Sequence[str] | None = None) -> None:
    with exit_on_error():
        options = parse(arguments)
        what, measure = _measurement(options)
    run(options, what, measure)


def _measurement(options: argparse.Namespace) -> tuple[str, Callable[[], Awaitable[Result]]]:
    """The mode's name and how to measure it. Raises `NoSentence` and OSError."""
    sentences = read_sentences(options.text_file)
    if options.ladder is not None:
        return "ladder", partial(ladder.climb, options, sentences)
    if options.target_p95_ms is not None:
        return "target", partial(target.measure, options, sentences)
    if options.fairness:
        short = read_short_sentences(options.text_file)
        return "fairness", partial(fairness.measure, options, short, read_long_text())
    if options.cancel:
        return "cancel", partial(barge_in.measure, options, read_long_text())
    if options.has_peers:
        return "peers", partial(comparison.measure, options, sentences)
    return "load", partial(load.run, options, sentences, options.n, options.concurrency)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Raises `BadKnob` and `SettingsUnreadable`."""
    parser = _command_line()
    options = parser.parse_args(arguments)
    options.has_peers = bool(options.openai or options.peer)
    if options.has_peers and (options.ladder or options.target_p95_ms or options.cancel or options.fairness):
        parser.error("--openai and --peer are a mode of their own")
    if options.concurrency is None:
        options.concurrency = PEERS_CONCURRENCY if options.has_peers else CONCURRENCY
    return options


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[connection_options(), output_options()],
        # --save hides the values of the keys by the full names of their options.
        allow_abbrev=False,
    )
    parser.add_argument("--n", type=count, default=60, help="requests (default: %(default)s)")
    parser.add_argument(
        "--concurrency",
        type=count,
        help=f"connections (default: {CONCURRENCY}; with --openai and --peer {PEERS_CONCURRENCY})",
    )
    parser.add_argument("--voice", help="female, male, or the name of a voice (default: female)")
    parser.add_argument("--text-file", type=Path, default=SENTENCES, help="one sentence a line")
    modes = parser.add_argument_group("modes, instead of --n requests at one --concurrency")
    mode = modes.add_mutually_exclusive_group()
    mode.add_argument(
        "--ladder", type=counts, metavar="1,2,4,8", help="one concurrency after the other, --n requests each"
    )
    mode.add_argument(
        "--target-p95-ms",
        type=positive,
        metavar="N",
        help="find the largest MAX_CONCURRENT_JOBS that keeps the p95 of TTFA within N ms",
    )
    mode.add_argument(
        "--cancel", action="store_true", help="interrupt --n long texts over --concurrency connections"
    )
    mode.add_argument(
        "--fairness",
        action="store_true",
        help="--n short sentences on one connection, alone and then beside --long others",
    )
    parser.add_argument(
        "--long", type=count, default=1, help="clients with long texts in --fairness (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random times of --cancel (default: 0)")
    _add_peers(parser)
    return parser


def _add_peers(parser: argparse.ArgumentParser) -> None:
    peers = parser.add_argument_group("peers: --n sentences by this server and by each peer, in turn")
    peers.add_argument(
        "--openai", type=base_url, metavar="URL", help="a server with OpenAI's POST /v1/audio/speech"
    )
    peers.add_argument("--openai-key", metavar="KEY")
    peers.add_argument("--openai-model", metavar="NAME", default="kokoro", help="default: %(default)s")
    peers.add_argument("--openai-voice", metavar="NAME", help="default: the voice of this server")
    peers.add_argument(
        "--peer",
        action="append",
        default=[],
        choices=PEERS,
        help="a library that speaks whole sentences, in a process of its own on this machine; "
        "may be given several times",
    )
    peers.add_argument(
        "--onnx-model",
        type=Path,
        metavar="FILE",
        help="for kokoro-onnx (default: source/model.onnx of the prepared weights)",
    )


if __name__ == "__main__":
    main()
