"""The soak: our own server with tones, and the answers to what is made up."""

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
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
from tests.support.benches import IDLE, bench
from tests.support.processes import free_port
from tests.support.servers import CONFIG, running


def options(port: int, *more: str) -> argparse.Namespace:
    return command_line().parse_args(["--host", "127.0.0.1", "--port", str(port), *more])


def sample(second: int) -> Vitals:
    """Of ten minutes: two connections more or less, and a megabyte."""
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
    n_died=10,
    n_died_early=5,
    n_dropped=20,
)
AFTER = evolve(IDLE, at_s=605.0, n_ended=IDLE.n_ended + 733)
"""All but two of those who died before they were answered were known to the server."""


def sums(seen: Seen = SEEN, samples: list[Vitals] = STEADY, after: Vitals = AFTER) -> Soak:
    return summed_up(options(1), seen, IDLE, samples, after, (0.5, 1.5))


def refused(soak: Soak) -> list[str]:
    return [answer.question for answer in soak.answers if not answer.is_yes]


class TestAnswers:
    def test_all_is_well(self) -> None:
        soak = sums()
        assert refused(soak) == []
        assert not soak.has_failed
        report = list(soak.report())
        assert report[:4] == [
            "10 min, clients 8, pace 20 s, seed 0; load average here 0.5 before, 1.5 after",
            "requests: canceled 50, done 650; died 15, slow readers dropped 20; turns skipped 0",
            "    minutes  heard  TTFA p50/p95  active  waiting  cores   open       MB  files  threads",
            "        0-1     60       245/290     1.0      0.0   1.50    3.0   1000.5   19.0      7.0",
        ]
        assert len(report) == 3 + N_ROWS + len(soak.answers)

    @pytest.mark.parametrize(
        ("seen", "question"),
        [
            ({"ends": Ends(n_once=699, n_again=1)}, "every request ended once, and nothing followed"),
            ({"ends": Ends(n_once=690)}, "the server counts as many ends"),
            ({"n_died_early": 2}, "the server counts as many ends"),
            ({"errors": Counter(overloaded=1)}, "no errors"),
            ({"n_dropped": 19, "n_not_dropped": 1}, "every slow reader was dropped"),
            ({"heard": []}, "TTFA p95 of the last quarter is within 20% of the first"),
        ],
        ids=str,
    )
    def test_what_the_callers_saw(self, seen: dict[str, Any], question: str) -> None:
        soak = sums(evolve(SEEN, **seen))
        assert refused(soak) == [question]
        assert soak.has_failed

    def test_more_ends_than_the_callers_know_of(self) -> None:
        assert refused(sums(after=evolve(AFTER, n_ended=AFTER.n_ended + 3))) == [
            "the server counts as many ends"
        ]

    @pytest.mark.parametrize(
        ("name", "per_s", "question"),
        [
            ("memory_mb", 0.04, "memory is flat"),
            ("n_descriptors", 1 / 60, "descriptors are flat"),
            ("n_threads", 1 / 60, "threads are flat"),
        ],
    )
    def test_a_slope(self, name: str, per_s: float, question: str) -> None:
        leaking = [evolve(each, **{name: getattr(each, name) + per_s * each.at_s}) for each in STEADY]
        assert refused(sums(samples=leaking)) == [question]

    def test_what_rises_in_the_first_quarter_only_is_no_slope(self) -> None:
        grown = [evolve(each, memory_mb=each.memory_mb - 500 * (each.at_s < 150)) for each in STEADY]
        assert refused(sums(samples=grown)) == []

    @pytest.mark.parametrize(("per_s", "answers"), [(0.0, []), (0.04, ["memory is flat"])])
    def test_memory_that_is_given_back_now_and_then(self, per_s: float, answers: list[str]) -> None:
        sawtooth = [
            evolve(each, memory_mb=1000 + per_s * each.at_s + 3 * ((each.at_s + 30) % 90)) for each in STEADY
        ]
        assert refused(sums(samples=sawtooth)) == answers

    @pytest.mark.parametrize(("factor", "is_slower"), [(1.1, False), (1.3, True), (0.5, False)])
    def test_times_to_the_first_audio(self, factor: float, is_slower: bool) -> None:
        heard = [evolve(each, ttfa_s=each.ttfa_s * (factor if each.at_s > 450 else 1)) for each in SEEN.heard]
        assert sums(evolve(SEEN, heard=heard)).has_failed == is_slower

    @pytest.mark.parametrize(
        ("after", "question"),
        [
            ({"n_descriptors": 17}, "all was given back at the end"),
            ({"n_waiting": 1}, "all was given back at the end"),
            ({"process_started_at": 1300.0}, "it was one process all the time"),
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


class TestMeasure:
    @pytest.fixture(autouse=True)
    def short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(soak_module, "SETTLE_TIMEOUT_S", 2.0)
        monkeypatch.setattr(vitals, "SAMPLE_S", 0.1)
        monkeypatch.setattr(callers, "MAX_DELAY_S", 0.1)
        monkeypatch.setattr(callers, "SLOW_READ_S", 0.5)

    async def test_our_own_server(self) -> None:
        soak = await soak_tones(ToneSynthesizer, "--minutes", "0.1", "--pace", "0.6")
        # Slopes and times are those of the process that runs all the tests, and of few seconds.
        of_the_machine = ("flat", "TTFA")
        refusals = [answer for answer in soak.answers if not answer.is_yes]
        assert [each for each in refusals if not any(word in each.question for word in of_the_machine)] == []
        assert min(soak.n_died, soak.n_dropped, soak.ends.n_once, len(soak.rows)) > 0
        assert soak.ends_by_kind.keys() == {"done", "canceled"}

    async def test_one_that_leaks(self) -> None:
        leaky = LeakyTones()
        soak = await soak_tones(lambda: leaky, "--minutes", "0.05", "--pace", "0.3", "--clients", "1")
        for file in leaky.opened:
            os.close(file)
        assert {"descriptors are flat", "all was given back at the end"} <= set(refused(soak))


class TestCommand:
    async def test_writes_the_result(self, tmp_path: Path) -> None:
        result = tmp_path / "result.json"
        short = ["--minutes", "0.1", "--pace", "1", "--clients", "2", "--json", str(result)]
        async with running() as server:
            ran = await bench(server.port, "--api-key", "first", *short, program="soak.py")
        assert ran.stderr == b""
        written = json.loads(result.read_text())
        assert ran.returncode == (0 if all(answer["is_yes"] for answer in written["answers"]) else 1)
        assert written["ends"]["n_once"] > 0
        assert ran.stdout.startswith(b"0.1 min, clients 2, pace 1 s, seed 0;")

    async def test_no_server(self) -> None:
        ran = await bench(free_port(), program="soak.py")
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr.startswith(b"error: 127.0.0.1 port")
        assert ran.stderr.count(b"\n") == 1
