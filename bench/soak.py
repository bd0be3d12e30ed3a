"""Checks that a running server stays healthy for minutes or hours, with good and bad clients.

    python bench/soak.py --minutes 10

There are eight kinds of clients: three keep one connection (in PCM, Opus and mu-law), one interrupts, one
disconnects during a request (a reset), one connects for each sentence, one reads so slowly that the server
must drop it, and one has three requests in parallel (tagged). --clients takes them in this order, again
and again. --seed determines their turns. Each quarter of the time has the same turns, so the first and the
last quarter can be compared. No other client should use the server meanwhile.

The load must be constant and far below saturation, or TTFA measures a queue. The defaults are for two
cores; with a GPU start at --clients 64 --pace 5. The load is right if `waiting` is 0.0 and no turn was
skipped: raise it until that fails, then halve it.

The exit status is 1 if one of the answers is no.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import trio
from attrs import evolve, field, frozen
from tqdm import tqdm

if __name__ == "__main__" and not __package__:
    # Run as a script: relative imports need the package's name and its parent folder (PEP 366).
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __package__ = "bench"

from kokoro_trio.client import connect_with, connection_options
from kokoro_trio.config import ClientConfig

from .barge_in import Ends
from .callers import Callers, Heard, Plan, Seen
from .command_line import BULKY, count, exit_on_error, output_options, positive, run
from .load import WARM_UP_SENTENCES, Spread, listed, percentiles_ms, speak
from .report import Report
from .sentences import SENTENCES, read_long_text, read_sentences, read_short_sentences
from .vitals import Slope, Vitals, Watch, has_settled, read_vitals, settled

N_QUARTERS = 4
N_ROWS = 10
MINUTE_S = 60.0
SETTLE_TIMEOUT_S = 30.0
TITLES = [
    *("minutes", "heard", "TTFA p50/p95 ms", "active", "waiting", "cores", "connections"),
    *("MB", "descriptors", "threads"),
]
MAX_TTFA_RATIO = 1.2
MAX_MEMORY_RISE = 0.01
"""As a share of the lowest memory of each quarter, from the second quarter to the last: the C library keeps
freed memory and returns it now and then, so the lowest value shows what is needed. A longer run makes the
limit per hour smaller."""
MAX_COUNT_RISE = 1.0
"""The limit for descriptors and threads over the same time: a leak per disconnect would be dozens."""


@frozen
class Answer:
    question: str
    is_yes: bool
    found: str

    def shown(self, width: int) -> str:
        return f"{'yes' if self.is_yes else 'NO':<4} {self.question:<{width}}  {self.found}".rstrip()


@frozen
class Row:
    """One tenth of the time. The values from `active` on are means over its samples."""

    from_min: float
    to_min: float
    ttfa_s: Spread | None
    n_heard: int
    active: float
    waiting: float
    cores: float
    """CPU seconds per second. If it falls while more is active, other programs use the machine."""
    connections: float
    memory_mb: float
    descriptors: float
    threads: float

    def cells(self) -> list[str]:
        means = [self.active, self.waiting, self.cores, self.connections]
        return [
            f"{self.from_min:g}-{self.to_min:g}",
            str(self.n_heard),
            percentiles_ms(self.ttfa_s),
            *(f"{mean:.2f}" for mean in means),
            *(f"{mean:.1f}" for mean in (self.memory_mb, self.descriptors, self.threads)),
        ]


@frozen
class Soak:
    """A run. The slopes exclude the first quarter; that of the memory uses the lowest of each quarter."""

    minutes: float
    clients: int
    pace_s: float
    seed: int
    load_averages: tuple[float, float]
    """Of the machine of the bench, over one minute, before and after."""
    ends: Ends
    ends_by_kind: dict[str, int]
    errors: dict[str, int]
    n_disconnected: int
    n_disconnected_early: int
    n_dropped: int
    n_skipped: int
    first_ttfa_s: Spread | None
    """Of the first quarter."""
    last_ttfa_s: Spread | None
    memory_mb: Slope
    descriptors: Slope
    threads: Slope
    rows: list[Row]
    answers: list[Answer]
    vitals: list[Vitals] = field(metadata=BULKY)
    """A sample every second."""

    @property
    def has_failed(self) -> bool:
        return not all(answer.is_yes for answer in self.answers)

    def report(self) -> Report:
        before, after = self.load_averages
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.ends_by_kind.items()))
        n_disconnected = self.n_disconnected + self.n_disconnected_early
        width = max(len(answer.question) for answer in self.answers)
        return Report(
            f"{self.minutes:g} min, clients {self.clients}, pace {self.pace_s:g} s, seed {self.seed}; "
            f"load average of this machine {before:.1f} before, {after:.1f} after",
            [TITLES, *(row.cells() for row in self.rows)],
            [
                f"requests: {kinds}; disconnected {n_disconnected}, "
                f"slow readers dropped {self.n_dropped}; turns skipped {self.n_skipped}",
                *(answer.shown(width) for answer in self.answers),
            ],
        )


# How it is measured.


async def measure(
    options: argparse.Namespace, sentences: Sequence[str], short: Sequence[str], long_text: str
) -> Soak:
    """Raises `StateUnknown`, and `ClientError` if the warm-up fails."""
    load_before = os.getloadavg()[0]
    metrics = at_metrics(options)
    await _warm_up(options, metrics, sentences)
    idle = await read_vitals(metrics)
    plan = Plan(options.seed, options.pace, options.minutes * MINUTE_S / N_QUARTERS, N_QUARTERS)
    callers = Callers(options, plan, sentences, short, long_text, trio.current_time())
    watch = Watch(metrics)
    with tqdm(total=int(plan.length_s), unit="s", disable=None) as progress:
        async with trio.open_nursery() as nursery:
            for call in callers.mix(options.clients):
                nursery.start_soon(call)
            failure = await watch.until(callers.began_at + plan.length_s, progress.update)
            if failure is not None:
                nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    after = await settled(metrics, idle, SETTLE_TIMEOUT_S)
    vitals = [evolve(each, at_s=each.at_s - callers.began_at) for each in watch.seen]
    return summed_up(options, callers.seen, idle, vitals, after, (load_before, os.getloadavg()[0]))


def at_metrics(options: argparse.Namespace) -> argparse.Namespace:
    """The options with the port of `/metrics`."""
    return argparse.Namespace(**vars(options) | {"port": options.metrics_port or options.port})


async def _warm_up(
    options: argparse.Namespace, metrics: argparse.Namespace, sentences: Sequence[str]
) -> None:
    """Waits until the server has closed the connection."""
    before = await read_vitals(metrics)
    async with connect_with(options) as session:
        for sentence in sentences[:WARM_UP_SENTENCES]:
            await speak(session, sentence, None)
    await settled(metrics, before, timeout_s=2.0)


# The result.


def summed_up(
    options: argparse.Namespace,
    seen: Seen,
    idle: Vitals,
    vitals: Sequence[Vitals],
    after: Vitals,
    load_averages: tuple[float, float],
) -> Soak:
    """`vitals` have their times since the start. `idle` was read before, `after` at the end."""
    length_s = options.minutes * MINUTE_S
    quarter_s = length_s / N_QUARTERS
    first, last = (_ttfa_of(seen.heard, at_s, at_s + quarter_s) for at_s in (0.0, length_s - quarter_s))
    steady = [each for each in vitals if each.at_s >= quarter_s]
    lowest = list(_lowest_memory(steady, quarter_s))
    memory_mb = _slope(lowest, lambda each: each.memory_mb, MAX_MEMORY_RISE * lowest[0].memory_mb)
    descriptors = _slope(steady, lambda each: each.n_descriptors, MAX_COUNT_RISE)
    threads = _slope(steady, lambda each: each.n_threads, MAX_COUNT_RISE)
    return Soak(
        minutes=options.minutes,
        clients=options.clients,
        pace_s=options.pace,
        seed=options.seed,
        load_averages=load_averages,
        ends=seen.ends,
        ends_by_kind=dict(seen.ends_by_kind),
        errors=dict(seen.errors),
        n_disconnected=seen.n_disconnected,
        n_disconnected_early=seen.n_disconnected_early,
        n_dropped=seen.n_dropped,
        n_skipped=seen.n_skipped,
        first_ttfa_s=first,
        last_ttfa_s=last,
        memory_mb=memory_mb,
        descriptors=descriptors,
        threads=threads,
        rows=list(_rows(length_s, seen.heard, vitals)),
        answers=[
            Answer("every request ended once, and no message followed", seen.ends.are_right, str(seen.ends)),
            _counted_the_same(seen, after.n_ended - idle.n_ended),
            Answer("no errors", not seen.errors, listed(seen.errors) or "none"),
            Answer(
                "every slow reader was dropped",
                seen.n_not_dropped == 0,
                f"{seen.n_dropped} of {seen.n_dropped + seen.n_not_dropped}",
            ),
            _flat("memory is flat", memory_mb, "MB"),
            _flat("descriptors are flat", descriptors, ""),
            _flat("threads are flat", threads, ""),
            _not_slower(first, last),
            Answer("the server holds nothing at the end", has_settled(after, idle), _compared(after, idle)),
            _the_same_process(after, idle),
        ],
        vitals=list(vitals),
    )


def _ttfa_of(heard: Sequence[Heard], from_s: float, to_s: float) -> Spread | None:
    return Spread.of(each.ttfa_s for each in heard if from_s <= each.at_s < to_s)


def _slope(vitals: Sequence[Vitals], value: Callable[[Vitals], float], max_rise: float) -> Slope:
    return Slope.of([(each.at_s, value(each)) for each in vitals], max_rise)


def _lowest_memory(vitals: Sequence[Vitals], quarter_s: float) -> Iterator[Vitals]:
    for _, quarter in groupby(vitals, lambda each: each.at_s // quarter_s):
        yield min(quarter, key=lambda each: each.memory_mb)


def _rows(length_s: float, heard: Sequence[Heard], vitals: Sequence[Vitals]) -> Iterator[Row]:
    """Skips tenths with fewer than two samples, which a very short run has."""
    for number in range(N_ROWS):
        from_s, to_s = length_s * number / N_ROWS, length_s * (number + 1) / N_ROWS
        within = [each for each in vitals if from_s <= each.at_s < to_s]
        if len(within) < 2:
            continue

        def mean(value: Callable[[Vitals], float], within: Sequence[Vitals] = within) -> float:
            return sum(value(each) for each in within) / len(within)

        yield Row(
            from_min=from_s / MINUTE_S,
            to_min=to_s / MINUTE_S,
            ttfa_s=_ttfa_of(heard, from_s, to_s),
            n_heard=sum(from_s <= each.at_s < to_s for each in heard),
            active=mean(lambda each: each.n_active),
            waiting=mean(lambda each: each.n_waiting),
            cores=(within[-1].cpu_s - within[0].cpu_s) / (within[-1].at_s - within[0].at_s),
            connections=mean(lambda each: each.n_connections),
            memory_mb=mean(lambda each: each.memory_mb),
            descriptors=mean(lambda each: each.n_descriptors),
            threads=mean(lambda each: each.n_threads),
        )


def _counted_the_same(seen: Seen, n_ended: int) -> Answer:
    """A client that disconnected early cannot know whether the server has seen its request."""
    at_most = seen.n_sure + seen.n_disconnected_early
    return Answer(
        "the server counts the same number of ends",
        seen.n_sure <= n_ended <= at_most,
        f"{n_ended}, of {seen.n_sure} to {at_most} requests",
    )


def _flat(question: str, slope: Slope, unit: str) -> Answer:
    """`unit`: such as "MB", or empty."""
    unit = unit and f" {unit}"
    return Answer(
        question,
        slope.is_flat,
        f"{slope.per_hour:+.1f}{unit} an hour, limit {slope.max_per_hour:.1f}; "
        f"{slope.rise:+.2f} of {slope.level:.0f}{unit} in {slope.length_s / MINUTE_S:.1f} min",
    )


def _not_slower(first: Spread | None, last: Spread | None) -> Answer:
    ratio = last.p95 / first.p95 if first is not None and last is not None else None
    return Answer(
        "TTFA p95 of the last quarter is within 20% of the first",
        ratio is not None and ratio <= MAX_TTFA_RATIO,
        f"p50/p95 {percentiles_ms(first)} ms, then {percentiles_ms(last)} ms"
        + ("" if ratio is None else f": {ratio - 1:+.0%}"),
    )


def _the_same_process(after: Vitals, idle: Vitals) -> Answer:
    is_the_same = after.process_started_at == idle.process_started_at
    return Answer(
        "the server did not restart", is_the_same, "" if is_the_same else "its process has another start time"
    )


def _compared(after: Vitals, idle: Vitals) -> str:
    return (
        f"active {after.n_active}, waiting {after.n_waiting}, connections {after.n_connections} "
        f"(before {idle.n_connections}), descriptors {after.n_descriptors} (before {idle.n_descriptors})"
    )


# The command line.


def main(arguments: Sequence[str] | None = None) -> None:
    with exit_on_error():
        options = command_line().parse_args(arguments)
        texts = read_sentences(SENTENCES), read_short_sentences(SENTENCES), read_long_text()
    run(options, "soak", partial(measure, options, *texts))


def command_line() -> argparse.ArgumentParser:
    """Raises `BadKnob` and `SettingsUnreadable`."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[connection_options(), output_options()],
        # --save hides the value of the key by the full name of its option.
        allow_abbrev=False,
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=ClientConfig.load().metrics_port,
        help="where the server serves /metrics (default: METRICS_PORT, or else --port)",
    )
    parser.add_argument("--minutes", type=positive, default=10.0, help="default: 10")
    parser.add_argument("--clients", type=count, default=8, help="default: %(default)s, one of each kind")
    parser.add_argument(
        "--pace",
        type=positive,
        default=20.0,
        metavar="SECONDS",
        help="the mean time between two short requests of a client; long texts come a third as often "
        "(default: 20)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default: 0)")
    return parser


if __name__ == "__main__":
    main()
