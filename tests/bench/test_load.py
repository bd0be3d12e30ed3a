"""Unit and session: the statistics of the bench, and a run against a server that plays a script."""

import pytest

from bench.load import NOT_SENT, Failed, Spoken, Spread, Summary, longest_gap_s, run, warm_up
from kokoro_trio.client import Arrival, ConnectFailed, RequestFailed
from tests.support.benches import options, spoken
from tests.support.peers import Peer, serving, speak_always
from tests.support.processes import free_port

SECOND = 24_000


class TestLongestGap:
    def test_no_gap_if_each_frame_arrives_before_the_last_one_is_played(self) -> None:
        assert longest_gap_s([Arrival(5.0, SECOND), Arrival(5.5, SECOND), Arrival(7.0, SECOND)]) == 0.0

    def test_playback_waits_during_an_underrun(self) -> None:
        # Underruns at 6.0 for 0.25 s and at 7.25 for 0.5 s; without the first wait it would be 0.75 s.
        late = [Arrival(5.0, SECOND), Arrival(6.25, SECOND), Arrival(7.75, SECOND)]
        assert longest_gap_s(late) == 0.5

    def test_no_gap_without_audio(self) -> None:
        assert longest_gap_s([]) == 0.0


def test_spread_ignores_missing_values() -> None:
    values = [float(value) for value in range(101)]
    assert Spread.of([*values, None]) == Spread(average=50.0, p50=50.0, p95=95.0, maximum=100.0)
    assert Spread.of([None]) is None


class TestSummary:
    def test_totals_of_all_connections(self) -> None:
        outcomes: list[Spoken | Failed] = [
            spoken(ttfa_s=0.2),
            spoken(ttfa_s=0.4, audio_s=3.0, gap_s=0.25),
            Failed("too_long"),
            Failed("too_long"),
            Failed("connection_lost"),
        ]
        summary = Summary.of(outcomes, concurrency=2, wall_s=2.0)
        assert (summary.n, summary.n_spoken, summary.n_errors, summary.has_failed) == (5, 2, 3, True)
        assert summary.errors == {"too_long": 2, "connection_lost": 1}
        assert summary.ttfa_s is not None
        assert (summary.ttfa_s.p50, summary.ttfa_s.p95) == pytest.approx((0.3, 0.39))
        assert (summary.audio_s, summary.xrt, summary.kb_per_s) == (4.0, 2.0, 96.0)
        assert (summary.n_underruns, summary.longest_gap_s) == (1, 0.25)
        text = summary.report().text()
        assert text.startswith("n 5, concurrency 2, errors 3 (2 too_long, 1 connection_lost)\n")
        assert "xRT 2.00" in text
        assert "underruns 1, longest gap 250 ms" in text

    def test_report_without_any_audio(self) -> None:
        summary = Summary.of([Failed("overloaded")], concurrency=1, wall_s=1.0)
        assert summary.xrt == 0.0
        assert summary.report().rows[2] == ["TTFA ms", "-", "-", "-"]
        assert summary.cells() == ["1", "-", "-", "0.00", "0 of 0", "0", "1 overloaded"]


class TestRun:
    async def test_speaks_every_sentence_once(self) -> None:
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

    async def test_error_of_one_request_does_not_end_the_run(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="too_long", message="")
            await speak_always(peer)

        async with serving(script) as port:
            summary = await run(options(port), ["One."], n=3, concurrency=1)
        assert (summary.n, summary.errors) == (3, {"too_long": 1})

    async def test_requests_left_after_lost_connections_count_as_errors(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.websocket.aclose()

        async with serving(script) as port:
            summary = await run(options(port), ["One."], n=5, concurrency=2)
        assert (summary.n, summary.errors) == (5, {"connection_lost": 2, NOT_SENT: 3})

    async def test_no_server(self) -> None:
        with pytest.raises(ConnectFailed):
            await run(options(free_port()), ["One."], n=1, concurrency=1)


async def test_error_in_the_warm_up_is_raised() -> None:
    async def script(peer: Peer) -> None:
        speak = await peer.hear("speak")
        await peer.say("error", request_id=speak["request_id"], code="unknown_voice", message="")

    async with serving(script) as port:
        with pytest.raises(RequestFailed, match="unknown_voice"):
            await warm_up(options(port), ["One."])
