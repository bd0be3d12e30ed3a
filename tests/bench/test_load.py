"""Pure statistics of the bench, and its plain run against a server that plays a script."""

import pytest

from bench.load import NOT_SENT, Failed, Spoken, Spread, Summary, longest_gap_s, run, warm_up
from kokoro_trio.client import Arrival, ConnectFailed, RequestFailed, Timing
from tests.support.benches import options
from tests.support.peers import Peer, serving, speak_always
from tests.support.processes import free_port

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
        assert Spread.of([*values, None]) == Spread(average=50.0, p50=50.0, p95=95.0, maximum=100.0)

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
        assert (summary.n, summary.n_errors, summary.has_failed) == (5, 3, True)
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


class TestRun:
    async def test_every_sentence_is_spoken_once(self) -> None:
        asked = []

        async def script(peer: Peer) -> None:
            while True:
                speak = await peer.hear("speak")
                asked.append((speak["text"], speak["voice"]))
                await peer.speak(speak["request_id"], 0, 1000)

        async with serving(script) as port:
            summary = await run(options(port, "--voice", "male"), ["One.", "Two."], n=5, concurrency=2)
        assert sorted(asked) == [("One.", "male")] * 3 + [("Two.", "male")] * 2
        assert (summary.n, summary.n_errors) == (5, 0)
        assert summary.audio_s == pytest.approx(5 * 0.04)

    async def test_a_request_that_fails_does_not_end_the_run(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="too_long", message="")
            await speak_always(peer)

        async with serving(script) as port:
            summary = await run(options(port), ["One."], n=3, concurrency=1)
        assert (summary.n, summary.errors) == (3, {"too_long": 1})

    async def test_what_lost_connections_leave_behind_counts_as_failed(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.websocket.aclose()

        async with serving(script) as port:
            summary = await run(options(port), ["One."], n=5, concurrency=2)
        assert (summary.n, summary.errors) == (5, {"connection_lost": 2, NOT_SENT: 3})

    async def test_no_server(self) -> None:
        with pytest.raises(ConnectFailed):
            await run(options(free_port()), ["One."], n=1, concurrency=1)


class TestWarmUp:
    async def test_a_few_sentences_on_one_connection(self) -> None:
        peers = []

        async def script(peer: Peer) -> None:
            peers.append(peer)
            await speak_always(peer)

        async with serving(script) as port:
            await warm_up(options(port, "--voice", "male"), ["One.", "Two.", "Three.", "Four."])
        assert [[speak["text"] for speak in peer.heard] for peer in peers] == [["One.", "Two.", "Three."]]
        assert peers[0].heard[0]["voice"] == "male"

    async def test_what_cannot_be_spoken_ends_the_bench_at_once(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="unknown_voice", message="")

        async with serving(script) as port:
            with pytest.raises(RequestFailed, match="unknown_voice"):
                await warm_up(options(port), ["One."])
