"""Barge-in by the bench: servers that play a script, right and wrong, and our own with tones."""

import pytest
import trio

from bench import barge_in
from bench.barge_in import BargeIn, BargeIns, Ends, Interrupter, Moment, measure, random_moments, summed_up
from bench.load import NEVER_ENDED, Failed, Run
from bench.server_state import ServerState
from tests.support.benches import options
from tests.support.models import RatherSlowTones
from tests.support.peers import Peer, Script, end_again, never_answer, talking
from tests.support.servers import running

IDLE = ServerState("cpu", active=0, waiting=0, max_concurrent_jobs=4)
MID_SPEECH = Moment(is_after_audio=True, delay_s=0.02)
AT_ONCE = Moment(is_after_audio=False, delay_s=0.0)
ALL_ENDED = Ends(n_once=4, n_never=0, n_again=0, n_strays=0, n_stray_frames=0)


async def fall_silent(peer: Peer) -> None:
    """Two frames were on their way when the cancel came."""
    speak = await peer.hear("speak")
    await peer.websocket.send_message(bytes(512))
    await peer.say("started_speak", request_id=speak["request_id"])
    await peer.play(1)
    await peer.hear("cancel")
    await peer.play(2, 3)
    await peer.say("canceled", request_id=speak["request_id"], duration_s=0.06)
    await peer.speak((await peer.hear("speak"))["request_id"], 4)
    await trio.sleep_forever()


async def be_done_first(peer: Peer) -> None:
    for _ in range(2):
        await peer.speak((await peer.hear("speak"))["request_id"], 1)
    await trio.sleep_forever()


async def refuse(peer: Peer) -> None:
    speak = await peer.hear("speak")
    await peer.say("error", request_id=speak["request_id"], code="too_long", message="")
    await trio.sleep_forever()


async def interrupt(script: Script, moment: Moment = MID_SPEECH) -> tuple[BargeIn | Failed, Ends]:
    interrupter = Interrupter("A long text.", voice=None)
    work = Run(iter([moment]), interrupter.interrupt, on_outcome=lambda: None)
    async with talking(script) as session:
        await work.over([session])
        [outcome] = work.outcomes
        return outcome, Ends.of(interrupter.speeches, [session])


class TestInterrupt:
    async def test_what_comes_after_the_cancel_is_measured(self) -> None:
        outcome, ends = await interrupt(fall_silent)
        assert isinstance(outcome, BargeIn)
        assert outcome.end == "canceled"
        assert outcome.delay_s >= 0.02
        assert outcome.was_heard
        assert (outcome.late_frames, outcome.late_s) == (2, 0.04)
        assert outcome.next_audio_s is not None
        assert 0 < outcome.ack_s < outcome.next_audio_s
        assert ends == Ends(n_once=2, n_never=0, n_again=0, n_strays=0, n_stray_frames=0)
        assert ends.are_right

    async def test_a_request_that_was_done_before(self) -> None:
        outcome, ends = await interrupt(be_done_first)
        assert isinstance(outcome, BargeIn)
        assert (outcome.end, outcome.was_heard) == ("done", True)
        assert ends.are_right

    async def test_two_ends_of_one_request(self) -> None:
        _, ends = await interrupt(end_again, AT_ONCE)
        assert ends == Ends(n_once=1, n_never=0, n_again=1, n_strays=1, n_stray_frames=1)
        assert not ends.are_right

    @pytest.mark.parametrize("moment", [AT_ONCE, MID_SPEECH])
    async def test_what_does_not_come(self, moment: Moment, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(barge_in, "END_TIMEOUT_S", 0.05)
        outcome, ends = await interrupt(never_answer, moment)
        assert outcome == Failed(NEVER_ENDED)
        assert (ends.n_once, ends.n_never) == (0, 1)
        assert not ends.are_right

    async def test_a_request_that_fails(self) -> None:
        outcome, ends = await interrupt(refuse)
        assert outcome == Failed("too_long")
        assert ends.are_right


def barge_in_of(end: str, ack_s: float, was_heard: bool = True) -> BargeIn:
    return BargeIn(0.5, was_heard, end, ack_s, late_frames=3, late_s=0.06, next_audio_s=0.4)


def sums(*outcomes: BargeIn | Failed, ends: Ends = ALL_ENDED, state: ServerState = IDLE) -> BargeIns:
    return summed_up(outcomes, options(1, "--cancel", "--concurrency", "2"), [0.1, 0.2], ends, state)


class TestBargeIns:
    def test_those_that_were_done_first_are_counted_apart(self) -> None:
        unheard = barge_in_of("canceled", 0.001, was_heard=False)
        summary = sums(unheard, barge_in_of("canceled", 0.003), barge_in_of("done", -0.1))
        assert not summary.has_failed
        assert list(summary.report()) == [
            "barge-ins 3, connections 2, seed 0: 2 canceled (1 after the first audio), "
            "1 done before the cancel reached them",
            "after the cancel was sent          p50       p95       max",
            "canceled, ms                       2.0       2.9       3.0",
            "audio received, frames               3         3         3",
            "audio received, ms of it            60        60        60",
            "first audio of the next, ms        400       400       400",
            "the same alone, TTFB ms            150       195       200",
            "requests: ended once 4, never 0, more than once 0; "
            "messages after an end 0, frames outside of a request 0",
            "server, when all had ended: active 0, waiting 0",
        ]

    def test_a_failed_request_fails_the_run(self) -> None:
        summary = sums(barge_in_of("canceled", 0.001), Failed("too_long"))
        assert next(summary.report()).endswith("before the cancel reached them, 1 too_long")
        assert summary.has_failed

    def test_so_does_a_request_that_ended_twice(self) -> None:
        assert sums(ends=Ends(n_once=3, n_never=0, n_again=1, n_strays=1, n_stray_frames=0)).has_failed

    def test_and_a_server_that_goes_on_working(self) -> None:
        assert sums(state=ServerState("cpu", active=1, waiting=0, max_concurrent_jobs=4)).has_failed


class TestMeasure:
    async def test_our_own_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(barge_in, "MAX_DELAY_S", 0.05)
        async with running(load=RatherSlowTones) as server:
            asked = options(server.port, "--api-key", "first", "--cancel", "--n", "8", "--concurrency", "3")
            result = await measure(asked, "A long text of many sentences. " * 40)
        assert not result.has_failed
        assert result.n == result.n_canceled + result.n_crossed == 8
        assert result.n_canceled > 0
        assert result.ends.n_once == 16
        assert result.next_audio_s is not None
        assert result.idle_ttfb_s is not None

    def test_the_same_moments_for_the_same_seed(self) -> None:
        moments = list(random_moments(1, 100))
        assert moments == list(random_moments(1, 100)) != list(random_moments(2, 100))
        assert sum(moment.is_after_audio for moment in moments) == 50
        delays_s = [moment.delay_s for moment in moments]
        assert 0 <= min(delays_s) < barge_in.MAX_DELAY_S / 2 < max(delays_s) <= barge_in.MAX_DELAY_S
