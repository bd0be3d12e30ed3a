"""The metrics that Prometheus scrapes.

Events update the histograms and counters; the gauges are read at each scrape. Nothing here waits or reads a
clock. Only the event loop's thread may call it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from kokoro_trio.errors import request_error_codes
from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.telemetry.records import DISCONNECTED, RequestRecord
from kokoro_trio.telemetry.telemetry import Telemetry

BUCKETS_S = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""For times that listeners notice; finest around 0.2 s, the usual gap between two speakers."""
FINE_BUCKETS_S = (0.001, 0.0025, 0.005, *BUCKETS_S)
"""For times inside the server: a step on a GPU takes milliseconds, and so does a `canceled`."""
STEP_KINDS = ("prosody", "vocode")
ENDS = ("done", "canceled", DISCONNECTED, *request_error_codes())
OTHER_END = "other"
REFUSING_STATUSES = (401, 403, 404, 503)
HTTP_ERROR_STATUSES = (400, 401, 403, 404, 405, 408, 413, 426, 431, 500, 501, 503, 505)
_OWN_THREADS = Path("/proc/self/task")
"""Includes threads that Python did not start, such as the model's."""

# No query needs the creation times, which would double the number of series.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Load(Protocol):
    """The part of the engine's statistics that the metrics read."""

    @property
    def sessions(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def early_audio(self) -> EarlyAudio | None: ...
    @property
    def slacks_s(self) -> tuple[float, ...]:
        """For each playout that has begun and needs more audio, the seconds until it runs dry."""


class PrometheusMetrics(Telemetry):
    """One server's metrics. Each server has its own registry, so that a process can have several."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._ttfb = self._histogram("ttfb", "From the turn of a request to its first audio frame sent.")
        self._ttfa = self._histogram("ttfa", "TTFB and the silence at the head of the audio.")
        self._turn_wait = self._histogram(
            "turn_wait", "From the speak frame received until the client's earlier requests had ended."
        )
        self._queue_wait = self._histogram(
            "queue_wait", "From the speak frame received until it was given a slot."
        )
        self._cancel_ack = self._histogram(
            "cancel_ack",
            "From the cancel frame received to canceled handed to the connection.",
            buckets=FINE_BUCKETS_S,
        )
        self._step = self._histogram(
            "step",
            "Time of an engine step on the inference thread.",
            buckets=FINE_BUCKETS_S,
            labels=("kind",),
        )
        for kind in STEP_KINDS:
            self._step.labels(kind)
        self._audio = Counter(
            "kokoro_audio_seconds", "Audio sent by ended requests, in seconds.", registry=self._registry
        )
        self._requests = self._counter(
            "requests", "Ended requests, by how they ended.", "end", (*ENDS, OTHER_END)
        )
        self._refused = self._counter(
            "refused", "Messages answered with an error, by its code.", "code", request_error_codes()
        )
        self._handshakes_refused = self._counter(
            "turned_away", "WebSocket handshakes refused, by HTTP status.", "status", REFUSING_STATUSES
        )
        self._http_refused = self._counter(
            "http_refused", "HTTP requests answered with an error, by status.", "status", HTTP_ERROR_STATUSES
        )
        ProcessCollector(registry=self._registry)
        if _OWN_THREADS.is_dir():
            threads = Gauge("process_threads", "Threads of the process.", registry=self._registry)
            threads.set_function(lambda: len(list(_OWN_THREADS.iterdir())))

    def _counter(self, name: str, text: str, label: str, values: Sequence[str | int]) -> Counter:
        counter = Counter(f"kokoro_{name}", text, [label], registry=self._registry)
        # A series must exist, at 0, before its first increase, or Prometheus does not see that increase.
        for value in values:
            counter.labels(str(value))
        return counter

    def _histogram(
        self, name: str, text: str, *, buckets: tuple[float, ...] = BUCKETS_S, labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(f"kokoro_{name}_seconds", text, labels, buckets=buckets, registry=self._registry)

    def watch(self, load: Callable[[], Load], n_connections: Callable[[], int]) -> None:
        """Reads both at each scrape from now on. Called once."""
        self._registry.register(_LoadCollector(load, n_connections))

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an `Accept` header requests, and that format's content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    # Events.

    def request_ended(self, record: RequestRecord) -> None:
        for histogram, milliseconds in (
            (self._ttfb, record.ttfb_ms),
            (self._ttfa, record.ttfa_ms),
            (self._turn_wait, record.turn_wait_ms),
            (self._queue_wait, record.queue_ms),
        ):
            if milliseconds is not None:
                histogram.observe(milliseconds / 1000)
        # The number of series must be bounded.
        self._requests.labels(record.end if record.end in ENDS else OTHER_END).inc()
        self._audio.inc(record.audio_s)

    def cancel_acknowledged(self, seconds: float) -> None:
        self._cancel_ack.observe(seconds)

    def message_refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def handshake_refused(self, status: int) -> None:
        self._handshakes_refused.labels(str(status)).inc()

    def http_refused(self, status: int) -> None:
        self._http_refused.labels(str(status)).inc()

    def step_ended(self, kind: str, seconds: float) -> None:
        self._step.labels(kind).observe(seconds)


class _LoadCollector(Collector):
    def __init__(self, load: Callable[[], Load], n_connections: Callable[[], int]) -> None:
        self._load = load
        self._n_connections = n_connections

    def collect(self) -> Iterator[Metric]:
        load = self._load()
        slacks_s = load.slacks_s
        yield _gauge("kokoro_connections", "WebSockets that are open.", self._n_connections())
        yield _gauge("kokoro_sessions", "Sessions with an utterance in the engine.", load.sessions)
        yield _gauge("kokoro_active", "Utterances that were given a slot.", load.active)
        yield _gauge("kokoro_queued", "Utterances that wait for a slot.", load.waiting)
        yield _gauge(
            "kokoro_early_audio",
            "1 if sentences are vocoded in windows, 0 if they are vocoded whole.",
            None if load.early_audio is None else float(load.early_audio.is_on),
        )
        yield _gauge(
            "kokoro_slack_min_seconds",
            "Seconds until the first of the playouts runs dry; below 0: it is dry.",
            min(slacks_s, default=None),
        )
        yield _gauge(
            "kokoro_slack_median_seconds",
            "The median of the playouts' seconds until they run dry.",
            median(slacks_s) if slacks_s else None,
        )


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """Has no sample if `value` is None: without a playout there is no slack, not a slack of 0."""
    return GaugeMetricFamily(name, text, value)
