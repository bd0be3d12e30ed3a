"""Pure: how long a client waits before it connects again, and when it gives up."""

import math

import pytest

from kokoro_trio.clients.backoff import SETTLED_S, Backoff, parse_retry_after


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(patience_s=60.0, since_s=10.0)
    assert [backoff.pause_s(10.0) for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_pauses_stay_the_longest_through_days_of_failures() -> None:
    backoff = Backoff(patience_s=math.inf, since_s=0.0)
    assert [backoff.pause_s(0.0) for _ in range(2000)][-1] == 1.0


def test_retry_after_lengthens_the_pause() -> None:
    backoff = Backoff(patience_s=60.0, since_s=0.0)
    assert backoff.pause_s(0.0, retry_after_s=5.0) == 5.0
    assert backoff.pause_s(0.0) == 0.1


def test_retry_after_0_does_not_shorten_the_pause() -> None:
    assert Backoff(patience_s=60.0, since_s=0.0).pause_s(0.0, retry_after_s=0.0) == 0.05


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), (" 5 ", 5.0), ("0", 0.0), ("", None), ("²", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_retry_after_counts_only_as_a_number(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_pauses_grow_while_the_server_accepts_and_drops() -> None:
    backoff, now_s = Backoff(patience_s=60.0, since_s=100.0), 100.0
    pauses_s = []
    for _ in range(4):
        pause_s = backoff.pause_s(now_s)
        assert pause_s is not None
        pauses_s.append(pause_s)
        now_s += pause_s
        backoff.connected(now_s)
    assert pauses_s == [0.05, 0.1, 0.2, 0.4]
    assert backoff.pause_s(now_s + SETTLED_S) == 0.05, "that connection lasted"


def test_connection_renews_the_patience() -> None:
    backoff = Backoff(patience_s=3.0, since_s=100.0)
    backoff.pause_s(100.0)
    backoff.connected(102.0)
    assert backoff.pause_s(110.0) == 0.05
    assert backoff.pause_s(112.0) == 0.1


def test_gives_up_when_the_patience_is_over() -> None:
    backoff = Backoff(patience_s=3.0, since_s=100.0)
    assert backoff.pause_s(100.0) == 0.05
    assert backoff.pause_s(102.0) == 0.1
    assert backoff.pause_s(102.9) is None


def test_gives_up_when_retry_after_is_beyond_the_patience() -> None:
    assert Backoff(patience_s=3.0, since_s=100.0).pause_s(100.0, retry_after_s=5.0) is None
