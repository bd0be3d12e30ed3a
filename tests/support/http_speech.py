"""Requests for speech over HTTP."""

import httpx

from tests.support.servers import Server, in_thread

PATH = "/v1/audio/speech"
HELLO = {"model": "tts-1", "voice": "alloy", "input": "Hello there.", "response_format": "pcm"}
KEY = {"Authorization": "Bearer first"}


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


async def post(server: Server, **fields: object) -> httpx.Response:
    return await in_thread(httpx.post, url(server) + PATH, json=HELLO | fields, headers=KEY, timeout=60)


def is_idle(server: Server) -> bool:
    statistics = server.engine.statistics()
    return (statistics.sessions, statistics.streams) == (0, 0)
