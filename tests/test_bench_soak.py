"""The soak: our own server with tones, and sums of runs that are made up."""

import argparse

from bench.soak import command_line, measure
from tests.test_server import running


def options(port: int, *more: str) -> argparse.Namespace:
    return command_line().parse_args(
        ["--host", "127.0.0.1", "--port", str(port), "--api-key", "first", *more]
    )


class TestMeasure:
    async def test_our_own_server(self) -> None:
        async with running() as server:
            asked = options(server.port, "--minutes", "0.5", "--pace", "2")
            result = await measure(
                asked, ["Hello there."], ["Hello."], "A long text of many sentences. " * 40
            )
        assert not result.has_failed
