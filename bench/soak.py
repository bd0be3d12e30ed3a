"""Hours of bad and good callers, or ten minutes: whether a server stays as it was.

    python bench/soak.py --minutes 10

Callers of eight kinds come to a running server, in turn as many as --clients says: three who talk on one
connection (in PCM, Opus and mu-law), one who interrupts, one who dies in the middle (a reset), one with a
connection for each sentence, one who reads so slowly that the server must drop it, and one with three
requests side by side (tagged). Their turns are those of --seed, the same ones in each quarter of the time,
so the first and the last quarter can be compared. Nobody else should use the server meanwhile.

The load is to be the same all the time and far from what saturates the server, else the times to the first
audio are those of a queue. The defaults are for two cores; with a GPU start at --clients 64 --pace 5. It is
right where `waiting` is 0.0 and no turn was skipped: more clients or a shorter pace until that is not so,
then half of it.

Exits with 1 where one of the answers is no.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import trio
from attrs import asdict, evolve, frozen
from tqdm import tqdm

if __name__ == "__main__" and not __package__:
    # Run as a script: relative imports need the package's name and its parent folder (PEP 366).
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    __package__ = "bench"

from kokoro_trio.client import connect_with, connection_options
from kokoro_trio.config import ClientConfig
from kokoro_trio.errors import KokoroTrioError

from .barge_in import Ends
from .bench import _count, _positive
from .callers import Callers, Heard, Plan, Seen
from .load import Spread, percentiles_ms, speak
from .sentences import SENTENCES, read_long_text, read_sentences, read_short_sentences
from .vitals import Slope, Vitals, Watch, has_settled, read_vitals, settled

N_QUARTERS = 4
N_ROWS = 10
MINUTE_S = 60.0
WARM_UP_SENTENCES = 3
SETTLE_TIMEOUT_S = 30.0
MAX_TTFA_RATIO = 1.2
MAX_MEMORY_RISE = 0.01
"""Of the memory, from the second quarter to the last, at its lowest in each: the C library keeps what was
freed and gives it back now and then, so what is needed shows where it is lowest. The limit per hour is the
closer the longer it runs."""
MAX_COUNT_RISE = 1.0
"""Of descriptors and of threads over that time: a leak with every death would be dozens."""


@frozen
class Answer:
    question: str
    is_yes: bool
    found: str


@frozen
class Row:
    """A tenth of the time."""

    from_min: float
    to_min: float
    ttfa_s: Spread | None
    n_heard: int
    active: float
    waiting: float
    """In the mean of the samples, as all below."""
    cores: float
    """Seconds of CPU a second: where it falls while more is active, others have taken the machine."""
    connections: float
    memory_mb: float
    descriptors: float
    threads: float


@frozen
class Soak:
    """A run. `vitals` are those of every second; slopes are of those after the first quarter, that of the
    memory through the lowest of each quarter."""

    minutes: float
    clients: int
    pace_s: float
    seed: int
    load_averages: tuple[float, float]
    """Of the machine that ran the bench, of a minute, before and after."""
    ends: Ends
    ends_by_kind: dict[str, int]
    errors: dict[str, int]
    n_died: int
    n_died_early: int
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
    vitals: list[Vitals]

    @property
    def has_failed(self) -> bool:
        return not all(answer.is_yes for answer in self.answers)

    def report(self) -> Iterator[str]:
        before, after = self.load_averages
        yield (
            f"{self.minutes:g} min, clients {self.clients}, pace {self.pace_s:g} s, seed {self.seed}; "
            f"load average here {before:.1f} before, {after:.1f} after"
        )
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.ends_by_kind.items()))
        yield (
            f"requests: {kinds}; died {self.n_died + self.n_died_early}, "
            f"slow readers dropped {self.n_dropped}; turns skipped {self.n_skipped}"
        )
        yield _ROW.format(
            "minutes", "heard", "TTFA p50/p95", "active", "waiting", "cores", "open", "MB", "files", "threads"
        )
        yield from (_shown(row) for row in self.rows)
        width = max(len(answer.question) for answer in self.answers)
        for answer in self.answers:
            yield f"{'yes' if answer.is_yes else 'NO':<4} {answer.question:<{width}}  {answer.found}".rstrip()


_ROW = "{:>11} {:>6} {:>13} {:>7} {:>8} {:>6} {:>6} {:>8} {:>6} {:>8}"


def _shown(row: Row) -> str:
    return _ROW.format(
        f"{row.from_min:g}-{row.to_min:g}",
        row.n_heard,
        percentiles_ms(row.ttfa_s),
        f"{row.active:.1f}",
        f"{row.waiting:.1f}",
        f"{row.cores:.2f}",
        f"{row.connections:.1f}",
        f"{row.memory_mb:.1f}",
        f"{row.descriptors:.1f}",
        f"{row.threads:.1f}",
    )


# How it is measured.


async def measure(
    options: argparse.Namespace, sentences: Sequence[str], short: Sequence[str], long_text: str
) -> Soak:
    """Raises `StateUnknown`, and `ClientError` where the warm-up fails."""
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
    """The options with the port at which the server serves `/metrics`."""
    return argparse.Namespace(**vars(options) | {"port": options.metrics_port or options.port})


async def _warm_up(
    options: argparse.Namespace, metrics: argparse.Namespace, sentences: Sequence[str]
) -> None:
    """And waits until the server has closed what that needed."""
    before = await read_vitals(metrics)
    async with connect_with(options) as session:
        for sentence in sentences[:WARM_UP_SENTENCES]:
            await speak(session, sentence, None)
    await settled(metrics, before, timeout_s=2.0)


# What it comes to.


def summed_up(
    options: argparse.Namespace,
    seen: Seen,
    idle: Vitals,
    vitals: Sequence[Vitals],
    after: Vitals,
    load_averages: tuple[float, float],
) -> Soak:
    """`vitals` with their times since the start, `idle` before and `after` it."""
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
        n_died=seen.n_died,
        n_died_early=seen.n_died_early,
        n_dropped=seen.n_dropped,
        n_skipped=seen.n_skipped,
        first_ttfa_s=first,
        last_ttfa_s=last,
        memory_mb=memory_mb,
        descriptors=descriptors,
        threads=threads,
        rows=list(_rows(length_s, seen.heard, vitals)),
        answers=[
            Answer("every request ended once, and nothing followed", seen.ends.are_right, str(seen.ends)),
            _counted_the_same(seen, after.n_ended - idle.n_ended),
            Answer("no errors", not seen.errors, _listed(seen.errors)),
            Answer(
                "every slow reader was dropped",
                seen.n_not_dropped == 0,
                f"{seen.n_dropped} of {seen.n_dropped + seen.n_not_dropped}",
            ),
            _flat("memory is flat", memory_mb, "MB"),
            _flat("descriptors are flat", descriptors, ""),
            _flat("threads are flat", threads, ""),
            _not_slower(first, last),
            Answer("all was given back at the end", has_settled(after, idle), _compared(after, idle)),
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
    """Without those tenths of a very short run that have no two samples."""
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
    """Those who died took with them whether they were heard; the server still ends each request once."""
    at_most = seen.n_sure + seen.n_died_early
    return Answer(
        "the server counts as many ends",
        seen.n_sure <= n_ended <= at_most,
        f"{n_ended}, of {seen.n_sure} to {at_most} requests",
    )


def _listed(errors: dict[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in errors.items()) or "none"


def _flat(question: str, slope: Slope, unit: str) -> Answer:
    """Unit as in "MB", or none."""
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
        "it was one process all the time", is_the_same, "" if is_the_same else "it was started again"
    )


def _compared(after: Vitals, idle: Vitals) -> str:
    return (
        f"active {after.n_active}, waiting {after.n_waiting}, connections {after.n_connections} "
        f"(before {idle.n_connections}), descriptors {after.n_descriptors} (before {idle.n_descriptors})"
    )


# The command line.


def main() -> None:
    try:
        options = command_line().parse_args()
        sentences = read_sentences(SENTENCES), read_short_sentences(SENTENCES), read_long_text()
        result = trio.run(measure, options, *sentences)
        print("\n".join(result.report()))
        if options.json is not None:
            options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")
    except (KokoroTrioError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.exit(1 if result.has_failed else 0)


def command_line() -> argparse.ArgumentParser:
    """Raises `BadKnob` and `SettingsUnreadable`."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[connection_options()],
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=ClientConfig.load().metrics_port,
        help="where the server serves /metrics (default: METRICS_PORT, or else --port)",
    )
    parser.add_argument("--minutes", type=_positive, default=10.0, help="default: 10")
    parser.add_argument("--clients", type=_count, default=8, help="default: %(default)s, one of each kind")
    parser.add_argument(
        "--pace",
        type=_positive,
        default=20.0,
        metavar="SECONDS",
        help="between two sentences of one who talks; long texts come a third as often (default: 20)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is left to chance (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result there")
    return parser


if __name__ == "__main__":
    main()
