"""Session and end to end: barge-in measured on scripted servers, right and wrong, and our own with tones."""

import pytest
import trio

from bench import barge_in
from bench.barge_in import BargeIn, BargeIns, Ends, Interrupter, Moment, measure, summed_up
from bench.load import NEVER_ENDED, Failed, Run
from bench.server_state import ServerState
from tests.support.benches import IDLE_STATE, options
from tests.support.models import RatherSlowTones
from tests.support.peers import Peer, Script, end_again, never_answer, talking
from tests.support.servers import running

MID_SPEECH = Moment(is_after_audio=True, delay_s=0.02)
AT_ONCE = Moment(is_after_audio=False, delay_s=0.0)
ALL_ENDED = Ends(n_once=4, n_never=0, n_again=0, n_strays=0, n_stray_frames=0)


async def send_two_late_frames(peer: Peer) -> None:
    speak = await peer.hear("speak")
    await peer.websocket.send_message(bytes(512))
    await peer.say("started_speak", request_id=speak["request_id"])
    await peer.play(1)
    await peer.hear("cancel")
    await peer.play(2, 3)
    await peer.say("canceled", request_id=speak["request_id"], duration_s=0.06)
    await peer.speak((await peer.hear("speak"))["request_id"], 4)
    await trio.sleep_forever()


async def interrupt(script: Script, moment: Moment = MID_SPEECH) -> tuple[BargeIn | Failed, Ends]:
    interrupter = Interrupter("A long text.", voice=None)
    work = Run(iter([moment]), interrupter.interrupt, on_outcome=lambda: None)
    async with talking(script) as session:
        await work.over([session])
        [outcome] = work.outcomes
        return outcome, Ends.of(interrupter.speeches, [session])


class TestInterrupt:
    async def test_late_frames_are_counted(self) -> None:
        outcome, ends = await interrupt(send_two_late_frames)
        assert isinstance(outcome, BargeIn)
        assert (outcome.end, outcome.was_heard) == ("canceled", True)
        assert outcome.delay_s >= 0.02
        assert (outcome.late_frames, outcome.late_s) == (2, 0.04)
        assert outcome.next_audio_s is not None
        assert 0 < outcome.ack_s < outcome.next_audio_s
        assert ends == Ends(n_once=2, n_never=0, n_again=0, n_strays=0, n_stray_frames=0)
        assert ends.are_right

    async def test_second_end_of_a_request_is_found(self) -> None:
        _, ends = await interrupt(end_again, AT_ONCE)
        assert ends == Ends(n_once=1, n_never=0, n_again=1, n_strays=1, n_stray_frames=1)
        assert not ends.are_right

    @pytest.mark.parametrize("moment", [AT_ONCE, MID_SPEECH])
    async def test_timeout(self, moment: Moment, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(barge_in, "END_TIMEOUT_S", 0.05)
        outcome, ends = await interrupt(never_answer, moment)
        assert outcome == Failed(NEVER_ENDED)
        assert (ends.n_once, ends.n_never) == (0, 1)
        assert not ends.are_right


def barge_in_of(end: str, ack_s: float, was_heard: bool = True) -> BargeIn:
    return BargeIn(0.5, was_heard, end, ack_s, late_frames=3, late_s=0.06, next_audio_s=0.4)


def sums(*outcomes: BargeIn | Failed, ends: Ends = ALL_ENDED, state: ServerState = IDLE_STATE) -> BargeIns:
    return summed_up(outcomes, options(1, "--cancel", "--concurrency", "2"), [0.1, 0.2], ends, state)


def test_requests_done_before_the_cancel_are_counted_separately() -> None:
    unheard = barge_in_of("canceled", 0.001, was_heard=False)
    summary = sums(unheard, barge_in_of("canceled", 0.003), barge_in_of("done", -0.1))
    assert not summary.has_failed
    assert (summary.n, summary.n_canceled, summary.n_heard, summary.n_crossed) == (3, 2, 1, 1)
    assert summary.ack_s is not None
    assert (summary.ack_s.p50, summary.ack_s.maximum) == (0.002, 0.003)
    assert summary.report().rows[1] == ["canceled, ms", "2.0", "2.9", "3.0"]


@pytest.mark.parametrize(
    "failed",
    [
        sums(barge_in_of("canceled", 0.001), Failed("too_long")),
        sums(ends=Ends(n_once=3, n_never=0, n_again=1, n_strays=1, n_stray_frames=0)),
        sums(state=ServerState("cpu", early_audio=True, active=1, waiting=0, max_concurrent_jobs=4)),
    ],
    ids=["error", "second end", "server still active"],
)
def test_run_fails(failed: BargeIns) -> None:
    assert failed.has_failed


async def test_our_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
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
