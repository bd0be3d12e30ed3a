"""Unit and end to end: the answers of the soak to invented samples, and to our own server with tones."""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from attrs import evolve

from bench import callers, vitals
from bench import soak as soak_module
from bench.barge_in import Ends
from bench.callers import Heard, Seen
from bench.soak import N_ROWS, Soak, command_line, measure, summed_up
from bench.vitals import Vitals
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.speech import Samples, Window
from tests.support.benches import IDLE
from tests.support.servers import CONFIG, running


def options(port: int, *more: str) -> argparse.Namespace:
    return command_line().parse_args(["--host", "127.0.0.1", "--port", str(port), *more])


def sample(second: int) -> Vitals:
    """Connections, descriptors and memory vary a little."""
    return evolve(
        IDLE,
        at_s=float(second),
        cpu_s=50 + 1.5 * second,
        memory_mb=1000.0 + second % 2,
        n_descriptors=18 + second % 3,
        n_connections=2 + second % 3,
        n_active=1,
    )


STEADY = [sample(second) for second in range(600)]
SEEN = Seen(
    heard=[Heard(float(second), 0.2 + 0.01 * (second % 10)) for second in range(600)],
    ends=Ends(n_once=700),
    ends_by_kind=Counter(done=650, canceled=50),
    n_disconnected=10,
    n_disconnected_early=5,
    n_dropped=20,
)
AFTER = evolve(IDLE, at_s=605.0, n_ended=IDLE.n_ended + 733)
"""The server saw all requests but two of those that were disconnected early."""


def sums(seen: Seen = SEEN, samples: list[Vitals] = STEADY, after: Vitals = AFTER) -> Soak:
    return summed_up(options(1), seen, IDLE, samples, after, (0.5, 1.5))


def refused(soak: Soak) -> list[str]:
    return [answer.question for answer in soak.answers if not answer.is_yes]


class TestAnswers:
    def test_healthy_server(self) -> None:
        soak = sums()
        assert refused(soak) == []
        assert not soak.has_failed
        report = soak.report()
        assert report.rows[1][:3] == ["0-1", "60", "245/290"]
        assert len(report.rows) == 1 + N_ROWS
        assert len(report.remarks) == 1 + len(soak.answers)

    @pytest.mark.parametrize(
        ("seen", "question"),
        [
            ({"ends": Ends(n_once=699, n_again=1)}, "every request ended once, and no message followed"),
            ({"ends": Ends(n_once=690)}, "the server counts the same number of ends"),
            ({"n_disconnected_early": 2}, "the server counts the same number of ends"),
            ({"errors": Counter(overloaded=1)}, "no errors"),
            ({"n_dropped": 19, "n_not_dropped": 1}, "every slow reader was dropped"),
            ({"heard": []}, "TTFA p95 of the last quarter is within 20% of the first"),
        ],
        ids=str,
    )
    def test_what_the_clients_saw(self, seen: dict[str, Any], question: str) -> None:
        soak = sums(evolve(SEEN, **seen))
        assert refused(soak) == [question]
        assert soak.has_failed

    @pytest.mark.parametrize(
        ("name", "per_s", "question"),
        [
            ("memory_mb", 0.04, "memory is flat"),
            ("n_descriptors", 1 / 60, "descriptors are flat"),
            ("n_threads", 1 / 60, "threads are flat"),
        ],
    )
    def test_leak(self, name: str, per_s: float, question: str) -> None:
        leaking = [evolve(each, **{name: getattr(each, name) + per_s * each.at_s}) for each in STEADY]
        assert refused(sums(samples=leaking)) == [question]

    @pytest.mark.parametrize(("factor", "is_slower"), [(1.1, False), (1.3, True), (0.5, False)])
    def test_slower_first_audio(self, factor: float, is_slower: bool) -> None:
        heard = [evolve(each, ttfa_s=each.ttfa_s * (factor if each.at_s > 450 else 1)) for each in SEEN.heard]
        assert sums(evolve(SEEN, heard=heard)).has_failed == is_slower

    @pytest.mark.parametrize(
        ("after", "question"),
        [
            ({"n_descriptors": 17}, "the server holds nothing at the end"),
            ({"n_waiting": 1}, "the server holds nothing at the end"),
            ({"process_started_at": 1300.0}, "the server did not restart"),
        ],
        ids=str,
    )
    def test_the_server_afterwards(self, after: dict[str, Any], question: str) -> None:
        assert refused(sums(after=evolve(AFTER, **after))) == [question]


@attrs.frozen
class LeakyTones(ToneSynthesizer):
    """Opens a file with each step."""

    opened: list[int] = attrs.field(factory=list)

    def vocode(self, windows: Sequence[Window]) -> list[Samples]:
        self.opened.append(os.open(os.devnull, os.O_RDONLY))
        return super().vocode(windows)


async def soak_tones(load: Callable[[], Synthesizer], *more: str) -> Soak:
    async with running(load=load, stream=evolve(CONFIG.stream, send_timeout_s=2.0)) as server:
        asked = options(server.port, "--api-key", "first", *more)
        return await measure(asked, ["Hello there."], ["Hello."], "A long text of many sentences. " * 40)


@pytest.mark.slow
class TestMeasure:
    @pytest.fixture(autouse=True)
    def short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(soak_module, "SETTLE_TIMEOUT_S", 2.0)
        monkeypatch.setattr(vitals, "SAMPLE_S", 0.1)
        monkeypatch.setattr(callers, "MAX_DELAY_S", 0.1)
        monkeypatch.setattr(callers, "SLOW_READ_S", 0.5)

    async def test_our_own_server(self) -> None:
        soak = await soak_tones(ToneSynthesizer, "--minutes", "0.1", "--pace", "0.6")
        # Slopes and times are of a few seconds, and of the process that runs all the tests.
        of_the_machine = ("flat", "TTFA")
        refusals = [answer for answer in soak.answers if not answer.is_yes]
        assert [each for each in refusals if not any(word in each.question for word in of_the_machine)] == []
        assert soak.n_disconnected + soak.n_disconnected_early > 0
        assert min(soak.n_dropped, soak.ends.n_once, len(soak.rows)) > 0
        assert soak.ends_by_kind.keys() == {"done", "canceled"}

    async def test_server_that_leaks(self) -> None:
        leaky = LeakyTones()
        soak = await soak_tones(lambda: leaky, "--minutes", "0.05", "--pace", "0.3", "--clients", "1")
        for file in leaky.opened:
            os.close(file)
        assert {"descriptors are flat", "the server holds nothing at the end"} <= set(refused(soak))
