"""Short sentences beside long texts: a server that plays a script, and our own with tones."""

import pytest
import trio

from bench.fairness import Fairness, LongListeners, LongSummary, measure
from bench.load import Failed, Ratio, Spoken, Summary
from kokoro_trio.client import Timing
from tests.support.benches import options
from tests.support.models import RatherSlowTones
from tests.support.peers import Peer, Script, serving, talking
from tests.support.servers import running

LONG = "A long text."


def summary_of(*ttfas_s: float) -> Summary:
    spoken = [Spoken(Timing(ttfb_s=0.1, ttfa_s=ttfa_s, wall_s=1.0, audio_s=2.0), 0.0) for ttfa_s in ttfas_s]
    return Summary.of(spoken, concurrency=1, wall_s=1.0)


class TestFairness:
    def test_report(self) -> None:
        long = LongSummary(n_listeners=2, n_begun=5, errors={}, n_underruns=1, longest_gap_s=0.25)
        fairness = Fairness(summary_of(0.2, 0.2), summary_of(0.3, 0.3), Ratio(1.5, 1.5), long)
        assert not fairness.has_failed
        assert list(fairness.report()) == [
            "short sentences     n TTFA p50/p95 ms   underruns longest gap ms errors",
            "alone               2         200/200      0 of 2              0      0",
            "beside 2 long       2         300/300      0 of 2              0      0",
            "TTFA beside to alone: ratio p50 1.50, p95 1.50; difference p50 +100 ms, p95 +100 ms",
            "long texts: begun 5, underruns 1, longest gap 250 ms",
        ]

    def test_nothing_heard_is_nothing_to_compare(self) -> None:
        silent = Summary.of([Failed("overloaded")], concurrency=1, wall_s=1.0)
        long = LongSummary(n_listeners=1, n_begun=1, errors={}, n_underruns=0, longest_gap_s=0.0)
        fairness = Fairness(summary_of(0.2), silent, Ratio.of(silent.ttfa_s, summary_of(0.2).ttfa_s), long)
        assert list(fairness.report())[3] == "TTFA beside to alone: -"
        assert fairness.has_failed


async def listen(script: Script, seconds: float) -> LongListeners:
    listeners = LongListeners(LONG, voice=None)
    async with talking(script) as session:
        with trio.move_on_after(seconds):
            await listeners.listen(session, trio.Event())
    return listeners


class TestLongListeners:
    async def test_the_text_over_and_over_until_cancelled(self) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(2):
                await peer.speak((await peer.hear("speak"))["request_id"], 1)
            speak = await peer.hear("speak")
            await peer.say("started_speak", request_id=speak["request_id"])
            await peer.play(1)
            await trio.sleep_forever()

        began_at = trio.current_time()
        summary = (await listen(script, 1.0)).summed_up(n_listeners=1)
        assert (summary.n_begun, summary.errors) == (3, {})
        # The third time it runs dry after 20 ms, and stays so until it is cut short.
        assert summary.n_underruns == 1
        assert 0.2 < summary.longest_gap_s < trio.current_time() - began_at

    async def test_a_text_that_fails_is_not_tried_again(self) -> None:
        async def script(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="too_long", message="")
            await peer.hear("speak")

        assert (await listen(script, 5)).failures == ["too_long"]

    async def test_a_lost_connection(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.hear("speak")
            await peer.websocket.aclose()

        assert (await listen(script, 5)).failures == ["connection_lost"]


class TestMeasure:
    async def test_our_own_server(self) -> None:
        async with running(load=RatherSlowTones) as server:
            asked = options(server.port, "--api-key", "first", "--fairness", "--n", "5", "--long", "2")
            result = await measure(asked, ["One.", "Two."], "A long text of many sentences. " * 40)
        assert not result.has_failed
        assert (result.alone.n, result.beside.n) == (5, 5)
        assert result.long.n_begun >= 2
        assert result.ttfa_ratio is not None

    async def test_the_short_ones_begin_when_the_long_ones_are_heard(self) -> None:
        heard: list[object] = []

        async def script(peer: Peer) -> None:
            while True:
                speak = await peer.hear("speak")
                if speak["text"] == LONG:
                    await trio.sleep(0.05)
                    heard.append(LONG)
                    await peer.say("started_speak", request_id=speak["request_id"])
                    await peer.play(1)
                    await trio.sleep_forever()
                heard.append(speak["text"])
                await peer.speak(speak["request_id"], 1)

        async with serving(script) as port:
            with trio.fail_after(20):
                result = await measure(options(port, "--fairness", "--n", "1", "--long", "2"), ["One."], LONG)
        # The warm-up, alone, and beside both of the long ones.
        assert heard == ["One.", "One.", LONG, LONG, "One."]
        assert result.long.n_listeners == 2

    @pytest.mark.parametrize("begins", [True, False])
    async def test_a_long_text_that_fails_fails_the_run(self, begins: bool) -> None:
        async def script(peer: Peer) -> None:
            while True:
                speak = await peer.hear("speak")
                if speak["text"] == LONG:
                    if begins:
                        await peer.say("started_speak", request_id=speak["request_id"])
                        await peer.play(1)
                    await peer.say("error", request_id=speak["request_id"], code="too_long", message="")
                else:
                    await peer.speak(speak["request_id"], 1)

        async with serving(script) as port:
            with trio.fail_after(20):
                result = await measure(options(port, "--fairness", "--n", "1"), ["One."], LONG)
        assert result.long.errors == {"too_long": 1}
        assert result.has_failed
