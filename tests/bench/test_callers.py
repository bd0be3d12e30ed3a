"""End to end: clients of the soak that disconnect or lose their connection."""

import argparse

import pytest
import trio

from bench import callers
from bench.callers import Callers, Plan, Seen
from bench.load import CONNECTION_LOST
from tests.support.benches import options
from tests.support.models import RatherSlowTones
from tests.support.peers import Peer, serving
from tests.support.servers import running, until_all_are_gone


async def seen_by(kind: str, asked: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What one client of the kind has counted after all its turns."""
    monkeypatch.setattr(callers, "LISTEN_S", 0.02)
    monkeypatch.setattr(callers, "MAX_DELAY_S", 0.05)
    plan = Plan(seed=0, pace_s=0.2, round_s=1.0, n_rounds=1)
    long_text = "A long text of many sentences. " * 40
    clients = Callers(asked, plan, ["Hello there."], ["Hello."], long_text, trio.current_time())
    with trio.fail_after(30):
        await clients.kinds[kind]("a client")
    return clients.seen


@pytest.mark.parametrize("is_early", [False, True])
async def test_disconnect(is_early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "SHARE_UNANSWERED", float(is_early))
    async with running(load=RatherSlowTones) as server:
        asked = options(server.port, "--api-key", "first")
        seen = await seen_by("disconnects", asked, monkeypatch)
        await until_all_are_gone(server)
    assert not seen.errors
    if is_early:
        assert (seen.n_sure, seen.n_disconnected) == (0, 0)
        assert 1 <= len(server.records) <= seen.n_disconnected_early
    else:
        assert (seen.n_sure, seen.n_disconnected_early) == (seen.n_disconnected, 0)
        assert [record.end for record in server.records] == ["disconnected"] * seen.n_disconnected


async def test_client_reconnects_after_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    n_connections = 0

    async def hang_up(peer: Peer) -> None:
        nonlocal n_connections
        n_connections += 1
        await peer.hear("speak")

    async with serving(hang_up) as port:
        seen = await seen_by("talks", options(port), monkeypatch)
    assert seen.errors == {CONNECTION_LOST: n_connections}
    assert n_connections >= 2
