"""Unit and end to end: the ladder, and the search for how many clients hear the first audio in time."""

import pytest

from bench.ladder import climb
from bench.load import Failed
from bench.target import Target, is_within, largest_that_holds, measure
from tests.support.benches import options, spoken, summary_of
from tests.support.models import RatherSlowTones
from tests.support.peers import Peer, serving, speak_always
from tests.support.servers import running


async def test_ladder_counts_requests_without_the_warm_up() -> None:
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await speak_always(peer)

    async with serving(script) as port:
        climbed = await climb(options(port, "--ladder", "1,3", "--n", "2"), ["One.", "Two."])
    assert [(rung.concurrency, rung.n) for rung in climbed.rungs] == [(1, 2), (3, 3)]
    assert not climbed.has_failed
    # One connection for the warm-up, one for the first rung, three for the second.
    assert [len(peer.heard) for peer in peers[:2]] == [2, 2]
    assert len(peers) == 1 + 1 + 3


class TestSearch:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 33])
    async def test_finds_every_number_and_asks_for_none_twice(self, limit: int) -> None:
        for largest in range(limit + 1):
            asked: list[int] = []

            async def holds(n: int, largest: int = largest, asked: list[int] = asked) -> bool:
                asked.append(n)
                return n <= largest

            assert await largest_that_holds(holds, limit) == largest
            assert len(set(asked)) == len(asked) <= 2 * limit.bit_length()
            assert set(asked) <= set(range(1, limit + 1))

    def test_failed_request_is_not_in_time(self) -> None:
        assert is_within(summary_of(spoken(ttfa_s=0.4)), 400)
        assert not is_within(summary_of(spoken(ttfa_s=0.401)), 400)
        assert not is_within(summary_of(spoken(), Failed("overloaded")), 400)

    @pytest.mark.parametrize(("largest", "answer"), [(0, "not even"), (2, "JOBS 2"), (4, "at least 4")])
    def test_answer(self, largest: int, answer: str) -> None:
        target = Target(400.0, largest, limit=4, rungs=[summary_of(spoken())])
        assert answer in target.report().title
        assert target.has_failed is (largest == 0)


class TestMeasure:
    async def test_goes_up_to_the_limit_of_the_server(self) -> None:
        async with running() as server:
            asked = options(server.port, "--api-key", "first", "--n", "2", "--target-p95-ms", "60000")
            result = await measure(asked, ["One."])
        assert (result.max_concurrent_jobs, result.limit) == (4, 4)
        assert [(rung.concurrency, rung.n) for rung in result.rungs] == [(1, 2), (2, 2), (4, 4)]

    async def test_slow_server_misses_the_target(self) -> None:
        async with running(load=RatherSlowTones) as server:
            asked = options(server.port, "--api-key", "first", "--n", "2", "--target-p95-ms", "5")
            assert (await measure(asked, ["One."])).has_failed
