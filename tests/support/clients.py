"""Clients of a server that the tests run: WebSocket libraries, raw sockets, programs."""

import json
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import websockets.exceptions
from attrs import evolve
from websockets.sync.client import ClientConnection, connect

from kokoro_trio.engine.engine import EngineStatistics
from tests.support.processes import output_of
from tests.support.servers import Server, in_thread, until

HANDSHAKE = (
    b"GET /v1/audio/speech/stream/ws?api_key=first HTTP/1.1\r\nHost: localhost\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HELLO: dict[str, object] = {"type": "speak", "request_id": "r1", "text": "Hello there."}
IDLE = EngineStatistics(0, 0, 0, 0, 0, 0)


def talk(url: str, *messages: dict[str, object], until: int = 1) -> list[bytes | dict[str, object]]:
    """Sends the messages and receives until `until` requests have ended."""
    with connect(url) as client:
        for message in messages:
            client.send(json.dumps(message))
        return hear(client, until)


def hear(client: ClientConnection, until: int = 1) -> list[bytes | dict[str, object]]:
    heard: list[bytes | dict[str, object]] = []
    while until:
        frame = client.recv(timeout=10)
        heard.append(frame if isinstance(frame, bytes) else json.loads(frame))
        until -= isinstance(heard[-1], dict) and heard[-1]["type"] in ("done", "canceled", "error")
    return heard


def ends_of(heard: list[bytes | dict[str, object]]) -> Counter[tuple[str, str]]:
    """The number of end messages by request and type."""
    messages = (each for each in heard if isinstance(each, dict))
    return Counter(
        (str(m["request_id"]), str(m["type"])) for m in messages if m["type"] in ("done", "canceled", "error")
    )


def status_of_handshake(url: str, **headers: str) -> tuple[int, str | None]:
    try:
        with connect(url, additional_headers=headers):
            return 101, None
    except websockets.exceptions.InvalidStatus as refused:
        return refused.response.status_code, refused.response.headers.get("Retry-After")


def close_code_after(url: str, act: Callable[[ClientConnection], None]) -> int:
    with connect(url, max_size=None) as client:
        try:
            act(client)
            while True:
                client.recv(timeout=10)
        except websockets.exceptions.ConnectionClosed as closed:
            assert closed.rcvd is not None, "the connection was dropped without a close frame"
            return closed.rcvd.code


def open_raw_websocket(server: Server, receive_buffer_bytes: int | None = None) -> socket.socket:
    """A passive WebSocket client that neither reads nor sends pongs."""
    peer = socket.socket()
    if receive_buffer_bytes is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    peer.connect(("127.0.0.1", server.port))
    peer.sendall(HANDSHAKE)
    assert b"101" in peer.recv(1024)
    return peer


def masked_text_frame(text: str) -> bytes:
    payload = text.encode()
    assert len(payload) < 65_536
    head = bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4)
    return head + payload


async def until_idle(server: Server) -> None:
    """Waits until the server holds no connection, session or stream."""
    await until(
        lambda: (
            not server.listener.readiness().connections
            and evolve(server.engine.statistics(), steps_run=0, is_stalled=False) == IDLE
        )
    )


async def others_are_served(server: Server) -> None:
    heard = await in_thread(talk, server.url(), HELLO | {"request_id": "other"})
    assert ends_of(heard) == {("other", "done"): 1}
    await until_idle(server)


async def printed_json(program: str, server: Server, *arguments: str) -> Any:  # noqa: ANN401
    """The JSON output of a program."""
    return json.loads(await in_thread(output_of, "-c", program, str(server.port), *arguments))
