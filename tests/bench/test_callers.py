"""Callers of the soak: their plans, and what they see of servers that play a script, and of our own."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve

from bench import callers
from bench.barge_in import Ends
from bench.callers import Callers, Plan, Seen
from bench.load import CONNECTION_LOST, NEVER_ENDED
from tests.support.benches import options
from tests.support.models import RatherSlowTones
from tests.support.peers import Peer, Script, end_again, never_answer, serving
from tests.support.processes import free_port
from tests.support.servers import CONFIG, Server, running, until_all_are_gone

ONE_ROUND = Plan(seed=0, pace_s=0.2, round_s=1.0, n_rounds=1)
IMPATIENT = evolve(CONFIG.stream, send_timeout_s=0.2)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "LISTEN_S", 0.02)
    monkeypatch.setattr(callers, "MAX_DELAY_S", 0.05)
    monkeypatch.setattr(callers, "SLOW_READ_S", 0.5)


async def seen_by(kind: str, asked: argparse.Namespace, plan: Plan = ONE_ROUND) -> Seen:
    """What one caller of the kind has seen after all turns."""
    long_text = "A long text of many sentences. " * 40
    caller = Callers(asked, plan, ["Hello there."], ["Hello."], long_text, trio.current_time())
    with trio.fail_after(30):
        await caller.kinds[kind]("somebody")
    return caller.seen


async def seen_of(script: Script, kind: str) -> Seen:
    async with serving(script) as port:
        return await seen_by(kind, options(port))


@asynccontextmanager
async def our_own() -> AsyncIterator[tuple[Server, argparse.Namespace]]:
    async with running(load=RatherSlowTones, stream=IMPATIENT) as server:
        yield server, options(server.port, "--api-key", "first")


class TestPlan:
    PLAN = Plan(seed=1, pace_s=10.0, round_s=100.0, n_rounds=4)

    def test_each_round_is_the_same(self) -> None:
        turns = [(turn.at_s, turn.chance.random()) for turn in self.PLAN.turns("somebody", 10.0)]
        rounds = [[(at_s - 100 * n, chance) for at_s, chance in turns if at_s // 100 == n] for n in range(4)]
        first = [pytest.approx(turn) for turn in rounds[0]]
        assert rounds[1:] == [first, first, first]
        assert 8 <= len(first) <= 13

    def test_callers_do_not_come_at_the_same_times(self) -> None:
        one, other = ([turn.at_s for turn in self.PLAN.turns(name, 10.0)] for name in ("one", "other"))
        assert not set(one) & set(other)

    def test_another_seed_is_another_plan(self) -> None:
        plans = self.PLAN, evolve(self.PLAN, seed=2)
        one, other = ([turn.at_s for turn in plan.turns("somebody", 10.0)] for plan in plans)
        assert not set(one) & set(other)


class TestOurs:
    @pytest.mark.parametrize("kind", ["talks", "talks in Opus", "talks in mu-law", "calls for each sentence"])
    async def test_who_talk(self, kind: str) -> None:
        async with our_own() as (server, asked):
            seen = await seen_by(kind, asked)
        assert seen.ends == Ends(n_once=len(seen.heard))
        assert seen.ends_by_kind == {"done": len(seen.heard)}
        assert [record.end for record in server.records] == ["done"] * len(seen.heard)
        assert len(seen.heard) + seen.n_skipped >= 3
        assert not seen.errors

    async def test_who_interrupts(self) -> None:
        async with our_own() as (server, asked):
            seen = await seen_by("interrupts", asked)
        assert seen.ends == Ends(n_once=len(server.records))
        assert seen.ends_by_kind["canceled"] >= 1
        assert len(seen.heard) == len(server.records) / 2
        assert not seen.errors

    async def test_who_talks_at_once(self) -> None:
        async with our_own() as (server, asked):
            seen = await seen_by("talks at once", asked)
        assert seen.ends == Ends(n_once=len(server.records))
        assert len(server.records) % callers.AT_ONCE == 0
        assert (seen.heard, seen.errors) == ([], {})

    @pytest.mark.parametrize("share_unheard", [0.0, 1.0])
    async def test_who_dies(self, share_unheard: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(callers, "SHARE_UNHEARD", share_unheard)
        async with our_own() as (server, asked):
            seen = await seen_by("dies", asked)
            await until_all_are_gone(server)
        assert not seen.errors
        if share_unheard == 0:
            assert (seen.n_sure, seen.n_died_early) == (seen.n_died, 0)
            assert [record.end for record in server.records] == ["disconnected"] * seen.n_died
        else:
            assert (seen.n_sure, seen.n_died) == (0, 0)
            assert 1 <= len(server.records) <= seen.n_died_early

    async def test_who_reads_slowly_is_dropped(self) -> None:
        async with our_own() as (server, asked):
            seen = await seen_by("reads slowly", asked)
        assert [record.end for record in server.records] == ["disconnected"] * seen.n_dropped
        assert (seen.n_sure, seen.n_not_dropped) == (seen.n_dropped, 0)
        assert seen.n_dropped >= 1
        assert not seen.errors

    async def test_or_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(callers, "PATIENCE_S", 0.3)
        async with running() as server:  # It waits for seconds.
            seen = await seen_by("reads slowly", options(server.port, "--api-key", "first"))
        assert seen.n_dropped == 0
        assert seen.n_not_dropped >= 1

    @pytest.mark.parametrize("kind", ["talks", "dies"])
    async def test_a_wrong_key(self, kind: str) -> None:
        async with running() as server:
            seen = await seen_by(kind, options(server.port, "--api-key", "wrong"))
        assert seen.errors.keys() == {callers.NOT_CONNECTED}


class TestOthers:
    async def test_two_ends_of_one_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(callers, "MAX_DELAY_S", 0.0)
        monkeypatch.setattr(callers, "END_TIMEOUT_S", 0.5)
        seen = await seen_of(end_again, "interrupts")
        assert (seen.ends.n_again, seen.ends.n_strays) == (1, 1)

    async def test_what_never_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(callers, "END_TIMEOUT_S", 0.05)
        seen = await seen_of(never_answer, "talks")
        assert seen.errors.keys() == {NEVER_ENDED}
        assert seen.ends == Ends(n_never=seen.errors[NEVER_ENDED])

    async def test_a_lost_connection_is_made_again(self) -> None:
        n_calls = 0

        async def hang_up(peer: Peer) -> None:
            nonlocal n_calls
            n_calls += 1
            await peer.hear("speak")

        seen = await seen_of(hang_up, "talks")
        assert seen.errors == {CONNECTION_LOST: n_calls}
        assert n_calls >= 2

    async def test_one_that_fails_beside_others(self) -> None:
        """Their ends are waited for."""

        async def refuse_the_last(peer: Peer) -> None:
            await peer.hear("start")
            await peer.say(
                "started", voice="", format="pcm", sample_rate=24_000, timestamps=False, framing="tagged"
            )
            asked = [(await peer.hear("speak"))["request_id"] for _ in range(callers.AT_ONCE)]
            await peer.say("error", request_id=asked[-1], code="overloaded", message="")
            for request_id in asked[:-1]:
                await peer.speak(request_id)
            await trio.sleep_forever()

        seen = await seen_of(refuse_the_last, "talks at once")
        assert seen.errors.keys() == {"overloaded"}
        assert seen.ends == Ends(n_once=callers.AT_ONCE * seen.errors["overloaded"])

    async def test_an_error_is_counted_by_its_code(self) -> None:
        async def refuse_all(peer: Peer) -> None:
            speak = await peer.hear("speak")
            await peer.say("error", request_id=speak["request_id"], code="overloaded", message="")
            await trio.sleep_forever()

        seen = await seen_of(refuse_all, "calls for each sentence")
        assert seen.errors.keys() == {"overloaded"}
        assert seen.ends == Ends(n_once=seen.errors["overloaded"])

    @pytest.mark.parametrize("kind", ["talks", "reads slowly"])
    async def test_nobody_there(self, kind: str) -> None:
        seen = await seen_by(kind, options(free_port()))
        assert seen.errors.keys() == {callers.NOT_CONNECTED}


async def test_turns_that_are_long_over_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "LATE_S", 0.0)

    async def take_time(peer: Peer) -> None:
        while True:
            speak = await peer.hear("speak")
            await trio.sleep(0.5)
            await peer.speak(speak["request_id"], 1000)

    seen = await seen_of(take_time, "talks")
    assert seen.n_skipped >= 1
    assert 1 <= len(seen.heard) <= 3
