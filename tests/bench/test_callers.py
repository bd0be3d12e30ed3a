"""End to end: the soak's clients, and what they count on our own server with tones and on scripted ones."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve

from bench import callers
from bench.barge_in import Ends
from bench.callers import Callers, Plan, Seen
from bench.load import CONNECTION_LOST
from tests.support.benches import options
from tests.support.models import RatherSlowTones
from tests.support.peers import Peer, Script, serving
from tests.support.servers import CONFIG, Server, running, until_all_are_gone

ONE_ROUND = Plan(seed=0, pace_s=0.2, round_s=1.0, n_rounds=1)
IMPATIENT = evolve(CONFIG.stream, send_timeout_s=0.2)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "LISTEN_S", 0.02)
    monkeypatch.setattr(callers, "MAX_DELAY_S", 0.05)
    monkeypatch.setattr(callers, "SLOW_READ_S", 0.5)


async def seen_by(kind: str, asked: argparse.Namespace) -> Seen:
    """What one client of the kind has counted after all its turns."""
    long_text = "A long text of many sentences. " * 40
    clients = Callers(asked, ONE_ROUND, ["Hello there."], ["Hello."], long_text, trio.current_time())
    with trio.fail_after(30):
        await clients.kinds[kind]("a client")
    return clients.seen


async def seen_of(script: Script, kind: str) -> Seen:
    async with serving(script) as port:
        return await seen_by(kind, options(port))


@asynccontextmanager
async def our_own() -> AsyncIterator[tuple[Server, argparse.Namespace]]:
    async with running(load=RatherSlowTones, stream=IMPATIENT) as server:
        yield server, options(server.port, "--api-key", "first")


class TestOurs:
    @pytest.mark.parametrize("kind", ["talks", "talks in Opus", "connects for each sentence"])
    async def test_every_request_ends_once(self, kind: str) -> None:
        async with our_own() as (server, asked):
            seen = await seen_by(kind, asked)
        assert seen.ends == Ends(n_once=len(seen.heard))
        assert [record.end for record in server.records] == ["done"] * len(seen.heard)
        assert len(seen.heard) + seen.n_skipped >= 3
        assert not seen.errors

    @pytest.mark.parametrize(("kind", "requests_a_turn"), [("interrupts", 2), ("talks in parallel", 3)])
    async def test_several_requests_in_each_turn(self, kind: str, requests_a_turn: int) -> None:
        async with our_own() as (server, asked):
            seen = await seen_by(kind, asked)
        assert seen.ends == Ends(n_once=len(server.records))
        assert len(server.records) % requests_a_turn == 0
        assert not seen.errors

    @pytest.mark.parametrize("share_unanswered", [0.0, 1.0])
    async def test_disconnect(self, share_unanswered: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(callers, "SHARE_UNANSWERED", share_unanswered)
        async with our_own() as (server, asked):
            seen = await seen_by("disconnects", asked)
            await until_all_are_gone(server)
        assert not seen.errors
        if share_unanswered == 0:
            assert (seen.n_sure, seen.n_disconnected_early) == (seen.n_disconnected, 0)
            assert [record.end for record in server.records] == ["disconnected"] * seen.n_disconnected
        else:
            assert (seen.n_sure, seen.n_disconnected) == (0, 0)
            assert 1 <= len(server.records) <= seen.n_disconnected_early

    async def test_slow_reader_is_dropped(self) -> None:
        async with our_own() as (server, asked):
            seen = await seen_by("reads slowly", asked)
        assert [record.end for record in server.records] == ["disconnected"] * seen.n_dropped
        assert (seen.n_sure, seen.n_not_dropped) == (seen.n_dropped, 0)
        assert seen.n_dropped >= 1


class TestScripted:
    async def test_client_reconnects_after_a_lost_connection(self) -> None:
        n_connections = 0

        async def hang_up(peer: Peer) -> None:
            nonlocal n_connections
            n_connections += 1
            await peer.hear("speak")

        seen = await seen_of(hang_up, "talks")
        assert seen.errors == {CONNECTION_LOST: n_connections}
        assert n_connections >= 2
