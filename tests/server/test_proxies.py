"""End to end: nginx and aiohttp's client, which use pooled connections for HTTP and WebSockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from kokoro_trio.wire.messages import WEBSOCKET_PATH
from tests.support.clients import HELLO, ends_of, open_raw_websocket, printed_json, talk
from tests.support.processes import free_port
from tests.support.programs import PROGRAMS
from tests.support.readme import snippet
from tests.support.servers import Server, in_thread, running, until

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/unused;
    uwsgi_temp_path {folder}/unused;
    scgi_temp_path {folder}/unused;
    {pooling}
}}
"""

AIOHTTP = f"""
import asyncio, json, sys
import aiohttp

async def main(port):
    n_connections = 0

    async def count(*_):
        nonlocal n_connections
        n_connections += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    base, headers = f"http://127.0.0.1:{{port}}", {{"X-API-Key": "first"}}
    async with aiohttp.ClientSession(base, headers=headers, trace_configs=[trace]) as session:
        async with session.get("/v1/audio/voices") as answer:
            n_voices = len((await answer.json())["voices"])
        async with session.ws_connect("{WEBSOCKET_PATH}") as websocket:
            await websocket.send_json({{"type": "speak", "text": "Hello there."}})
            types = [json.loads(message.data)["type"] async for message in until_done(websocket)]
    print(json.dumps([n_connections, n_voices, types[-1]]))

async def until_done(websocket):
    async for message in websocket:
        if message.type is aiohttp.WSMsgType.TEXT:
            yield message
            if '"done"' in message.data:
                return

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def behind_nginx(server: Server, folder: Path) -> AsyncIterator[int]:
    """Runs nginx with the configuration of the operations page and yields its port."""
    port, file, path = free_port(), folder / "nginx.conf", PROGRAMS["nginx"].path
    assert path is not None
    pooling = snippet("# nginx.conf, inside http { … }")
    for documented, actual in (
        ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
    ):
        assert documented in pooling
        pooling = pooling.replace(documented, actual)
    file.write_text(NGINX.format(folder=folder, pooling=pooling))
    command = [path, "-p", str(folder), "-e", "stderr", "-c", str(file)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.run_process, command))
        with trio.fail_after(20):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.01)
        yield port
        nursery.cancel_scope.cancel()


@pytest.mark.needs("nginx")
class TestNginx:
    async def test_websocket_uses_a_pooled_connection(self, tmp_path: Path) -> None:
        async with running() as server, behind_nginx(server, tmp_path) as port:
            for _ in range(3):
                answer = await in_thread(httpx.get, f"http://127.0.0.1:{port}/healthz")
                assert answer.status_code == 200
            assert server.listener.n_sockets == 1
            front = Server(server.listener, server.engine, port, server.records, server.scope)
            with await in_thread(open_raw_websocket, front):
                assert server.listener.n_sockets == 1
                assert server.listener.readiness().connections == 1
            await until(lambda: server.listener.n_sockets == 0)

    async def test_requests_and_websockets_mixed(self, tmp_path: Path) -> None:
        statuses: list[int] = []
        ends: list[str] = []
        async with running() as server, behind_nginx(server, tmp_path) as port:

            async def get() -> None:
                for path in (
                    "/",
                    "/healthz",
                    "/v1/models?api_key=first",
                    "/v1/audio/voices?api_key=first",
                ) * 5:
                    answer = await in_thread(httpx.get, f"http://127.0.0.1:{port}{path}")
                    statuses.append(answer.status_code)

            async def speak() -> None:
                url = f"ws://127.0.0.1:{port}{WEBSOCKET_PATH}?api_key=first"
                for _ in range(5):
                    ends.extend(end for _, end in ends_of(await in_thread(talk, url, HELLO)))

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(get)
                    nursery.start_soon(speak)
        assert statuses == [200] * 60
        assert ends == ["done"] * 15


async def test_aiohttp_opens_a_websocket_on_the_connection_of_its_get() -> None:
    async with running() as server:
        assert await printed_json(AIOHTTP, server) == [1, 3, "done"]
