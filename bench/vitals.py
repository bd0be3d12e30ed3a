"""Memory, descriptors, threads and load of the server's process over time, read at /metrics."""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import trio
from attrs import define, field, frozen
from prometheus_client.parser import text_string_to_metric_families

from .server_state import StateUnknown, fetch

PATH = "/metrics"
SAMPLE_S = 1.0
HOUR_S = 3600.0


@frozen
class Vitals:
    """One sample. `n_ended` counts the requests that ended or were refused since the server started."""

    at_s: float
    """On the clock of the bench."""
    process_started_at: float
    cpu_s: float
    """The CPU time of all threads since the process started."""
    memory_mb: float
    """Resident, in 10⁶ bytes."""
    n_descriptors: int
    n_threads: int
    n_connections: int
    n_active: int
    n_waiting: int
    n_ended: int

    @property
    def is_idle(self) -> bool:
        return self.n_active == self.n_waiting == 0


async def read_vitals(options: argparse.Namespace) -> Vitals:
    """Raises `StateUnknown`, also if the server's system has no process metrics."""
    text = await trio.to_thread.run_sync(fetch, options, PATH)
    try:
        return vitals_in(text.decode(), trio.current_time())
    except (ValueError, TypeError) as error:
        raise StateUnknown(options.host, options.port, str(error), PATH) from error
    except KeyError as error:
        raise StateUnknown(options.host, options.port, f"{error.args[0]} is missing", PATH) from error


def vitals_in(prometheus: str, at_s: float) -> Vitals:
    """Raises ValueError for text in another format, KeyError for a missing metric."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(prometheus):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value  # The sum over all labels.
    return Vitals(
        at_s=at_s,
        process_started_at=values["process_start_time_seconds"],
        cpu_s=values["process_cpu_seconds_total"],
        memory_mb=values["process_resident_memory_bytes"] / 1e6,
        n_descriptors=int(values["process_open_fds"]),
        n_threads=int(values["process_threads"]),
        n_connections=int(values["kokoro_connections"]),
        n_active=int(values["kokoro_active"]),
        n_waiting=int(values["kokoro_queued"]),
        n_ended=int(values["kokoro_requests_total"] + values["kokoro_refused_total"]),
    )


@define
class Watch:
    """Takes a sample every second."""

    options: argparse.Namespace
    seen: list[Vitals] = field(factory=list)

    async def until(self, at_s: float, on_sample: Callable[[], object]) -> StateUnknown | None:
        """Returns the error that ended the watch early, or None."""
        next_at_s = trio.current_time()
        while next_at_s < at_s:
            await trio.sleep_until(next_at_s)
            try:
                self.seen.append(await read_vitals(self.options))
            except StateUnknown as error:
                return error
            on_sample()
            next_at_s = max(next_at_s + SAMPLE_S, trio.current_time())
        return None


async def settled(options: argparse.Namespace, before: Vitals, timeout_s: float) -> Vitals:
    """The first sample in which the server holds no more than `before`, or the last one after `timeout_s`.

    Raises `StateUnknown`.
    """
    give_up_at = trio.current_time() + timeout_s
    while True:
        vitals = await read_vitals(options)
        if has_settled(vitals, before) or trio.current_time() >= give_up_at:
            return vitals
        await trio.sleep(SAMPLE_S / 4)


def has_settled(vitals: Vitals, before: Vitals) -> bool:
    return (
        vitals.is_idle
        and vitals.n_connections <= before.n_connections
        and vitals.n_descriptors <= before.n_descriptors
    )


@frozen
class Slope:
    """The slope of a line fitted by least squares. It may rise by `max_rise` over its length."""

    level: float
    """In the middle of the line."""
    rise: float
    max_rise: float
    length_s: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]], max_rise: float) -> "Slope":
        """`points`: times in seconds, and values; at least two."""
        times_s, values = np.array(points).T
        length_s = float(times_s[-1] - times_s[0])
        # Centred: the squares of large clock times would lose digits.
        middle_s = times_s - times_s.mean()
        per_s = float(middle_s @ values / (middle_s @ middle_s))
        return cls(float(values.mean()), per_s * length_s, max_rise, length_s)

    @property
    def is_flat(self) -> bool:
        return self.rise <= self.max_rise

    @property
    def per_hour(self) -> float:
        return self.rise / self.length_s * HOUR_S

    @property
    def max_per_hour(self) -> float:
        return self.max_rise / self.length_s * HOUR_S
