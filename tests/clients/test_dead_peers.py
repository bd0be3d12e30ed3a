"""End to end: how clients and the server notice a peer whose process is stopped with SIGSTOP.

The kernel still acknowledges what is sent to such a process, so only a missing pong shows that it does not
run. The same holds for a peer behind a proxy.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from attrs import evolve

from kokoro_trio import client, reconnecting
from kokoro_trio.client import ConnectFailed, ConnectionLost
from kokoro_trio.config import REPOSITORY
from tests.support.bots import LONG, Script, bot
from tests.support.models import LeisurelyTones
from tests.support.processes import KEY, Server, running
from tests.support.servers import CONFIG, until_all_are_gone
from tests.support.servers import running as running_here

pytestmark = pytest.mark.slow

PING_INTERVAL_S = 0.5

connect = partial(client.connect, "127.0.0.1", api_key=KEY, ping_interval_s=PING_INTERVAL_S)
reconnect = partial(
    reconnecting.connect, "127.0.0.1", api_key=KEY, timeout_s=PING_INTERVAL_S, ping_interval_s=PING_INTERVAL_S
)


@attrs.frozen
class Stoppable:
    """A server whose process can be stopped and continued."""

    server: Server

    @property
    def port(self) -> int:
        return self.server.port

    def stop(self) -> None:
        os.kill(self.server.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.server.process.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Steps are so slow that a long text outlasts every test.
    with running(tmp_path_factory.mktemp("server"), "tests.support.tones", TONES_STEP_S="0.3") as server:
        yield server


@pytest.fixture
def server(started: Server) -> Iterator[Stoppable]:
    stoppable = Stoppable(started)
    yield stoppable
    stoppable.go_on()


class TestClient:
    async def test_ping_timeout_in_mid_speech(self, server: Stoppable) -> None:
        with trio.fail_after(20):
            async with connect(server.port) as session, session.speak(LONG) as speech:
                await anext(speech)
                server.stop()
                with pytest.raises(ConnectionLost, match="silent"):
                    await speech.read_all()

    async def test_ping_timeout_while_idle(self, server: Stoppable) -> None:
        with trio.fail_after(20):
            async with connect(server.port) as session:
                server.stop()
                assert "silent" in (await session.wait_until_lost()).reason

    async def test_ping_timeout_while_waiting_for_started(self, server: Stoppable) -> None:
        with trio.fail_after(20):
            async with connect(server.port) as session:
                server.stop()
                with pytest.raises(ConnectionLost, match="silent"):
                    await session.start(voice="male")

    async def test_handshake_timeout(self, server: Stoppable) -> None:
        server.stop()
        with trio.fail_after(20), pytest.raises(ConnectFailed, match="no WebSocket handshake"):
            async with connect(server.port, timeout_s=0.3):
                pass


class TestReconnectingClient:
    async def test_reconnects_and_resumes_when_the_server_continues(self, server: Stoppable) -> None:
        with trio.fail_after(30):
            async with reconnect(server.port) as session, session.speak(LONG) as speech:
                await anext(speech)
                server.stop()
                first = session._connection
                assert first is not None
                assert "silent" in (await first.wait_until_lost()).reason
                server.go_on()
                await speech.read_all()
            assert session.n_connections == 2
            assert len(speech.seams) == 1

    async def test_gives_up_when_the_server_stays_stopped(self, server: Stoppable) -> None:
        server.stop()
        with trio.fail_after(20), pytest.raises(ConnectFailed, match="no WebSocket handshake"):
            async with reconnect(server.port, give_up_after_s=1.0):
                pass


async def test_pipecat_bot_resumes_when_the_server_continues(server: Stoppable) -> None:
    script: Script = [
        ["turn", LONG],
        ["until_played", 0.5],
        ["ask", "stop"],
        ["until", "on_disconnected"],
        ["ask", "go on"],
        ["until", "stopped"],
    ]
    url = server.server.url
    async with bot(url, script, ping_interval_s=PING_INTERVAL_S) as started:
        await started.asks("stop")
        server.stop()
        await started.goes_on()
        await started.asks("go on")
        server.go_on()
        await started.goes_on()
        report = await started.report()
    assert report.context == [LONG]
    assert len(report.of("on_connected")) == 2
    assert not report.of("error")


CLIENT = """
import sys, trio
from kokoro_trio.client import connect

async def main():
    async with connect("127.0.0.1", int(sys.argv[1]), api_key="first") as session:
        async with session.speak(sys.argv[2]) as speech:
            await anext(speech)
            print("speaking", flush=True)
            await speech.read_all()
            print("silent", flush=True)
            await trio.sleep_forever()

trio.run(main)
"""


@asynccontextmanager
async def running_client(port: int, text: str) -> AsyncIterator[trio.Process]:
    command = [sys.executable, "-c", CLIENT, str(port), text]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.mark.parametrize(("moment", "text"), [("speaking", f"{LONG} " * 10), ("silent", "Hello.")])
async def test_server_drops_a_stopped_client(moment: str, text: str) -> None:
    listen = evolve(CONFIG.listen, ping_interval_s=PING_INTERVAL_S, ping_timeout_s=PING_INTERVAL_S)
    async with (
        running_here(listen=listen, load=LeisurelyTones) as server,
        running_client(server.port, text) as process,
    ):
        assert process.stdout is not None
        output = b""
        while moment.encode() not in output:
            output += await process.stdout.receive_some()
        process.send_signal(signal.SIGSTOP)
        await until_all_are_gone(server)
        assert server.engine.statistics().sessions == 0
