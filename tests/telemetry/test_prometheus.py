"""Pure: the result of a scrape after made-up events."""

import resource
import threading
from http import HTTPStatus
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics

from kokoro_trio.telemetry.prometheus import BUCKETS_S, FINE_BUCKETS_S, PrometheusMetrics
from tests.support.scraping import Load, record, scraped


@pytest.fixture
def prometheus() -> PrometheusMetrics:
    return PrometheusMetrics()


def no_connection() -> int:
    return 0


def of(prometheus: PrometheusMetrics) -> dict[str, float]:
    return scraped(prometheus.scrape("")[0].decode())


def buckets(values: dict[str, float], histogram: str) -> dict[float, float]:
    """The count of each bucket alone, by its upper end, without empty buckets."""
    start = f"{histogram}_bucket{{le="
    upper_ends = sorted(float(each.removeprefix(start)[:-1]) for each in values if each.startswith(start))
    sums = [values[f"{start}{'+Inf' if end == float('inf') else end}}}"] for end in upper_ends]
    counts = [after - before for before, after in zip([0.0, *sums], sums, strict=False)]
    return {end: count for end, count in zip(upper_ends, counts, strict=True) if count}


class TestRequests:
    def test_times_are_counted_in_buckets_in_seconds(self, prometheus: PrometheusMetrics) -> None:
        prometheus.request_ended(record(ttfb_ms=200.0, ttfa_ms=450.0, queue_ms=0.0, turn_wait_ms=4000.0))
        prometheus.request_ended(record(ttfb_ms=200.1, ttfa_ms=12_000.0, queue_ms=10.0))
        values = of(prometheus)
        assert buckets(values, "ttfb_seconds") == {0.2: 1, 0.3: 1}
        assert buckets(values, "ttfa_seconds") == {0.5: 1, float("inf"): 1}
        assert buckets(values, "queue_wait_seconds") == {0.01: 2}
        assert buckets(values, "turn_wait_seconds") == {0.01: 1, 5.0: 1}
        assert values["ttfa_seconds_sum"] == pytest.approx(12.45)

    def test_missing_times_are_not_observed(self, prometheus: PrometheusMetrics) -> None:
        prometheus.request_ended(
            record(end="canceled", ttfb_ms=None, ttfa_ms=None, queue_ms=40.0, turn_wait_ms=None)
        )
        values = of(prometheus)
        counts = [values[f"{name}_seconds_count"] for name in ("ttfb", "ttfa", "turn_wait", "queue_wait")]
        assert counts == [0, 0, 0, 1]

    def test_requests_are_counted_by_their_end(self, prometheus: PrometheusMetrics) -> None:
        for end in ("done", "done", "canceled", "disconnected", "synthesis_failed"):
            prometheus.request_ended(record(end=end, audio_s=0.5))
        values = of(prometheus)
        counted = {series: value for series, value in values.items() if "requests_total" in series and value}
        assert counted == {
            "requests_total{end=done}": 2,
            "requests_total{end=canceled}": 1,
            "requests_total{end=disconnected}": 1,
            "requests_total{end=synthesis_failed}": 1,
        }
        assert values["audio_seconds_total"] == 2.5

    def test_all_series_exist_from_the_start(self, prometheus: PrometheusMetrics) -> None:
        before = of(prometheus)
        assert before["requests_total{end=unpronounceable}"] == 0
        for number in range(100):
            prometheus.request_ended(record(end=f"made up {number}"))
        after = of(prometheus)
        assert after.keys() == before.keys()
        assert after["requests_total{end=other}"] == 100


def test_refusals_are_counted_by_code_and_status(prometheus: PrometheusMetrics) -> None:
    for code in ("too_long", "overloaded", "overloaded"):
        prometheus.message_refused(code)
    prometheus.handshake_refused(HTTPStatus.UNAUTHORIZED)
    prometheus.http_refused(HTTPStatus.NOT_FOUND)
    values = of(prometheus)
    refusals = ("refused_total", "turned_away_total", "http_refused_total")
    assert {series: value for series, value in values.items() if series.startswith(refusals) and value} == {
        "refused_total{code=too_long}": 1,
        "refused_total{code=overloaded}": 2,
        "turned_away_total{status=401}": 1,
        "http_refused_total{status=404}": 1,
    }
    assert values.keys() == of(PrometheusMetrics()).keys()


class TestSteps:
    def test_steps_are_counted_by_kind_in_fine_buckets(self, prometheus: PrometheusMetrics) -> None:
        for kind, seconds in (("prosody", 0.004), ("vocode", 0.0005), ("vocode", 0.25)):
            prometheus.step_ended(kind, seconds)
        values = of(prometheus)
        assert values["step_seconds_count{kind=prosody}"] == 1
        assert values["step_seconds_sum{kind=vocode}"] == 0.2505
        assert values["step_seconds_bucket{kind=vocode,le=0.001}"] == 1
        assert values["step_seconds_bucket{kind=vocode,le=0.2}"] == 1
        assert values["step_seconds_bucket{kind=vocode,le=0.3}"] == 2


def test_cancel_acknowledgements_have_fine_buckets(prometheus: PrometheusMetrics) -> None:
    for seconds in (0.0008, 0.002, 0.004, 0.02):
        prometheus.cancel_acknowledged(seconds)
    assert buckets(of(prometheus), "cancel_ack_seconds") == {0.001: 1, 0.0025: 1, 0.005: 1, 0.02: 1}


@pytest.mark.parametrize("bounds", [BUCKETS_S, FINE_BUCKETS_S])
def test_buckets_reach_from_ten_milliseconds_to_ten_seconds(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
    assert {0.01, 10.0} <= set(bounds)


class TestLoad:
    def test_gauges_are_read_at_each_scrape(self) -> None:
        now = [Load(sessions=3, active=4, waiting=2, slacks_s=(2.0, -0.5, 1.0, 8.0))]
        prometheus = PrometheusMetrics()
        prometheus.watch(lambda: now[0], no_connection)
        values = of(prometheus)
        assert (values["sessions"], values["active"], values["queued"]) == (3, 4, 2)
        assert (values["slack_min_seconds"], values["slack_median_seconds"]) == (-0.5, 1.5)
        now[0] = Load()
        values = of(prometheus)
        assert (values["sessions"], values["active"], values["queued"]) == (0, 0, 0)

    def test_connections_and_sessions_are_separate(self, prometheus: PrometheusMetrics) -> None:
        prometheus.watch(lambda: Load(sessions=1), lambda: 5)
        values = of(prometheus)
        assert (values["connections"], values["sessions"]) == (5, 1)

    def test_no_slack_series_without_a_playout(self, prometheus: PrometheusMetrics) -> None:
        prometheus.watch(Load, no_connection)
        assert not [series for series in of(prometheus) if "slack" in series]


class TestProcess:
    def test_open_files_are_counted(self, prometheus: PrometheusMetrics) -> None:
        before = of(prometheus)["process_open_fds"]
        with Path("/dev/null").open():
            assert of(prometheus)["process_open_fds"] == before + 1
        assert of(prometheus)["process_open_fds"] == before

    def test_threads_are_counted(self, prometheus: PrometheusMetrics) -> None:
        before = of(prometheus)["process_threads"]
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        assert of(prometheus)["process_threads"] == before + 1
        done.set()
        thread.join()

    def test_memory_is_in_bytes(self) -> None:
        exposed = of(PrometheusMetrics())["process_resident_memory_bytes"]
        n_pages = int(Path("/proc/self/statm").read_text().split()[1])
        assert exposed == pytest.approx(n_pages * resource.getpagesize(), rel=0.05)


def test_two_servers_in_a_process_have_separate_metrics() -> None:
    first, second = PrometheusMetrics(), PrometheusMetrics()
    first.watch(lambda: Load(active=1), no_connection)
    second.watch(lambda: Load(active=2), no_connection)
    first.request_ended(record())
    assert (of(first)["active"], of(first)["requests_total{end=done}"]) == (1, 1)
    assert (of(second)["active"], of(second)["requests_total{end=done}"]) == (2, 0)


def test_accept_header_selects_openmetrics(prometheus: PrometheusMetrics) -> None:
    prometheus.watch(lambda: Load(slacks_s=(1.0,)), no_connection)
    prometheus.request_ended(record())
    text, content_type = prometheus.scrape("application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name for family in read_openmetrics(text.decode())}  # type: ignore[no-untyped-call]
    assert {"kokoro_requests", "kokoro_ttfa_seconds", "kokoro_slack_min_seconds"} <= families
    assert prometheus.scrape("")[1].startswith("text/plain")
