"""The search for how many clients are served in time: pure, and with our own server and tones."""

import pytest

from bench.load import Failed, Spoken, Summary
from bench.target import Target, is_within, largest_that_holds, measure
from kokoro_trio.client import Timing
from tests.support.benches import bench, options
from tests.support.models import RatherSlowTones
from tests.support.servers import running


def rung_of(concurrency: int, ttfa_s: float) -> Summary:
    spoken = Spoken(Timing(ttfb_s=0.1, ttfa_s=ttfa_s, wall_s=1.0, audio_s=2.0), 0.0)
    return Summary.of([spoken], concurrency, wall_s=1.0)


class TestSearch:
    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 8, 9, 33])
    async def test_finds_every_number_and_asks_for_none_twice(self, limit: int) -> None:
        for largest in range(limit + 1):
            asked: list[int] = []

            async def holds(n: int, largest: int = largest, asked: list[int] = asked) -> bool:
                asked.append(n)
                return n <= largest

            assert await largest_that_holds(holds, limit) == largest
            assert len(set(asked)) == len(asked) <= 2 * limit.bit_length()
            assert set(asked) <= set(range(1, limit + 1))

    async def test_from_small_to_large(self) -> None:
        asked: list[int] = []

        async def holds(n: int) -> bool:
            asked.append(n)
            return n <= 5

        await largest_that_holds(holds, limit=100)
        assert asked == [1, 2, 4, 8, 6, 5]


class TestTarget:
    def test_within(self) -> None:
        assert is_within(rung_of(1, ttfa_s=0.4), 400)
        assert not is_within(rung_of(1, ttfa_s=0.401), 400)

    def test_a_failed_request_is_not_in_time(self) -> None:
        in_time = Spoken(Timing(ttfb_s=0.1, ttfa_s=0.1, wall_s=1.0, audio_s=2.0), 0.0)
        assert not is_within(Summary.of([in_time, Failed("overloaded")], 2, wall_s=1.0), 400)

    @pytest.mark.parametrize(
        ("largest", "answer"),
        [
            (2, "TTFA p95 within 400 ms: MAX_CONCURRENT_JOBS 2"),
            (
                4,
                "TTFA p95 within 400 ms: MAX_CONCURRENT_JOBS at least 4: the server allows no more; "
                "start it with a higher MAX_CONCURRENT_JOBS to see how far it goes",
            ),
            (0, "TTFA p95 within 400 ms: not even one client at a time"),
        ],
    )
    def test_the_answer(self, largest: int, answer: str) -> None:
        target = Target(400.0, largest, limit=4, rungs=[rung_of(1, 0.3), rung_of(2, 0.4)])
        *rows, last = target.report()
        assert (len(rows), last) == (3, answer)
        assert target.has_failed is (largest == 0)


class TestMeasure:
    async def test_as_many_as_the_server_allows(self) -> None:
        async with running() as server:
            asked = options(server.port, "--api-key", "first", "--n", "2", "--target-p95-ms", "60000")
            result = await measure(asked, ["One."])
        assert (result.max_concurrent_jobs, result.limit) == (4, 4)
        assert [(rung.concurrency, rung.n) for rung in result.rungs] == [(1, 2), (2, 2), (4, 4)]
        assert not result.has_failed

    async def test_not_even_one(self) -> None:
        async with running(load=RatherSlowTones) as server:
            ran = await bench(server.port, "--api-key", "first", "--n", "2", "--target-p95-ms", "5")
        assert ran.returncode == 1
        assert ran.stdout.splitlines()[-1] == b"TTFA p95 within 5 ms: not even one client at a time"

    @pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "soon"])
    def test_a_target_that_is_none(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            options(1, "--target-p95-ms", text)
        assert "is not a number above 0" in capsys.readouterr().err
