"""Pure statistics of the bench, and its run against a server that plays a script."""

import argparse
import json
import os
import sys
from pathlib import Path

import pytest
import trio

from bench.bench import (
    NOT_SENT,
    SENTENCES,
    Failed,
    NothingToSay,
    Spoken,
    Spread,
    Summary,
    _command_line,
    longest_gap_s,
    read_sentences,
    run,
)
from kokoro_trio.client import Arrival, ConnectFailed, Timing
from kokoro_trio.config import REPOSITORY
from tests.test_client import Peer, find_free_port, serving

SECOND = 24_000


class TestLongestGap:
    def test_none_where_each_frame_comes_before_the_one_ahead_is_played(self) -> None:
        assert longest_gap_s([Arrival(5.0, SECOND), Arrival(5.5, SECOND), Arrival(7.0, SECOND)]) == 0.0

    def test_playback_waits_where_it_runs_dry(self) -> None:
        # Dry at 6.0 for 0.25 s, then at 7.25 for 0.5 s; without the first wait it would be 0.75 s.
        late = [Arrival(5.0, SECOND), Arrival(6.25, SECOND), Arrival(7.75, SECOND)]
        assert longest_gap_s(late) == 0.5

    def test_of_no_audio(self) -> None:
        assert longest_gap_s([]) == 0.0


class TestSpread:
    def test_leaves_out_what_was_not_measured(self) -> None:
        values = [float(value) for value in range(101)]
        assert Spread.of([*values, None]) == Spread(average=50.0, p50=50.0, p95=95.0)

    def test_of_nothing(self) -> None:
        assert Spread.of([None]) is None


class TestSummary:
    def test_adds_up_all_connections(self) -> None:
        outcomes: list[Spoken | Failed] = [
            Spoken(Timing(ttfb_s=0.1, ttfa_s=0.3, wall_s=0.5, audio_s=1.0), 0.0),
            Spoken(Timing(ttfb_s=0.3, ttfa_s=None, wall_s=1.5, audio_s=3.0), 0.25),
            Failed("too_long"),
            Failed("too_long"),
            Failed("connection_lost"),
        ]
        summary = Summary.of(outcomes, concurrency=2, wall_s=2.0)
        assert (summary.n, summary.n_errors) == (5, 3)
        assert summary.errors == {"too_long": 2, "connection_lost": 1}
        assert summary.ttfb_s is not None
        assert summary.ttfb_s.average == pytest.approx(0.2)
        assert (summary.audio_s, summary.xrt, summary.kb_per_s) == (4.0, 2.0, 96.0)
        assert (summary.n_underruns, summary.longest_gap_s) == (1, 0.25)
        assert list(summary.report()) == [
            "n 5, concurrency 2, errors 3 (2 too_long, 1 connection_lost)",
            "               avg       p50       p95",
            "TTFB ms        200       200       290",
            "TTFA ms        300       300       300",
            "RTF          0.500     0.500     0.500",
            "wall 2.00 s, audio 4.00 s, xRT 2.00, 96.0 KB/s",
            "underruns 1, longest gap 250 ms",
        ]

    def test_of_failures_alone(self) -> None:
        report = list(Summary.of([Failed("overloaded")], concurrency=1, wall_s=1.0).report())
        assert report[2].split() == ["TTFB", "ms", "-", "-", "-"]


class TestSentences:
    def test_ours_are_short_and_long(self) -> None:
        n_words = [len(sentence.split()) for sentence in read_sentences(SENTENCES)]
        assert min(n_words) <= 2
        assert max(n_words) in range(35, 41)

    def test_a_file_without_any(self, tmp_path: Path) -> None:
        (tmp_path / "empty.txt").write_text("\n  \n")
        with pytest.raises(NothingToSay, match=r"empty\.txt holds no sentence"):
            read_sentences(tmp_path / "empty.txt")


def options(port: int, *more: str) -> argparse.Namespace:
    return _command_line().parse_args(["--host", "127.0.0.1", "--port", str(port), *more])


async def speak_always(peer: Peer) -> None:
    while True:
        speak = await peer.hear("speak")
        await peer.speak(speak["request_id"], 0, 1000)


class TestRun:
    async def test_every_sentence_is_spoken_once(self) -> None:
        asked = []

        async def script(peer: Peer) -> None:
            while True:
                speak = await peer.hear("speak")
                asked.append((speak["text"], speak["voice"]))
                await peer.speak(speak["request_id"], 0, 1000)

        async with serving(script) as port:
            summary = await run(
                options(port, "--n", "5", "--concurrency", "2", "--voice", "male"), ["One.", "Two."]
            )
        assert sorted(asked) == [("One.", "male")] * 3 + [("Two.", "male")] * 2
        assert (summary.n, summary.n_errors) == (5, 0)
        assert summary.audio_s == pytest.approx(5 * 0.04)

    async def test_a_request_that_fails_does_not_end_the_run(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="too_long", message="")
            await speak_always(peer)

        async with serving(script) as port:
            summary = await run(options(port, "--n", "3", "--concurrency", "1"), ["One."])
        assert (summary.n, summary.errors) == (3, {"too_long": 1})

    async def test_what_lost_connections_leave_behind_counts_as_failed(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.websocket.aclose()

        async with serving(script) as port:
            summary = await run(options(port, "--n", "5", "--concurrency", "2"), ["One."])
        assert (summary.n, summary.errors) == (5, {"connection_lost": 2, NOT_SENT: 3})

    async def test_no_server(self) -> None:
        with pytest.raises(ConnectFailed):
            await run(options(await find_free_port()), ["One."])


class TestCommand:
    async def test_writes_the_result(self, tmp_path: Path) -> None:
        async with serving(speak_always) as port:
            ran = await trio.run_process(
                [
                    sys.executable,
                    str(REPOSITORY / "bench" / "bench.py"),
                    *("--host", "127.0.0.1", "--port", str(port), "--n", "3"),
                    *("--json", str(tmp_path / "result.json")),
                ],
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                capture_stdout=True,
            )
        assert ran.stdout.decode().startswith("n 3, concurrency 4, errors 0\n")
        assert json.loads((tmp_path / "result.json").read_text())["n"] == 3

    @pytest.mark.parametrize("n", ["0", "-1", "many"])
    def test_a_count_that_is_none(self, n: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            options(1, "--n", n)
        assert "is not a number from 1 upwards" in capsys.readouterr().err
