"""End to end: how a client connects, on real sockets, and what it raises if it cannot."""

import socket
import ssl
import struct

import attrs
import pytest
import trio
import trio_websocket

from kokoro_trio.client import ConnectFailed, HandshakeRejected, connect
from kokoro_trio.clients import connecting
from tests.support.peers import say_nothing, serving, serving_requests, serving_streams
from tests.support.processes import free_port


@pytest.mark.parametrize(
    ("api_key", "sent"),
    [(None, []), ("", []), ("ä &1", ["Bearer ä &1".encode()]), ("of-a-file\n", [b"Bearer of-a-file"])],
)
async def test_api_key_is_sent_in_a_header(api_key: str | None, sent: list[bytes]) -> None:
    asked = []

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        keys = [value for name, value in request.headers if name == b"authorization"]
        asked.append((request.path, keys))
        await request.accept()

    async with serving_requests(handle) as port, connect("127.0.0.1", port, api_key=api_key):
        pass
    assert asked == [("/v1/audio/speech/stream/ws", sent)]


async def test_api_key_with_control_characters_raises() -> None:
    with pytest.raises(ValueError, match="control characters"):
        async with connect("127.0.0.1", 1, api_key="a\r\nb"):
            pass


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/elsewhere", "/elsewhere"),
        ("/tts?tenant=a%20b&x=1", "/tts?tenant=a%20b&x=1"),
        ("/für uns", "/f%C3%BCr%20uns"),
    ],
)
async def test_path_is_quoted_and_keeps_its_query(path: str, asked: str) -> None:
    paths = []

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        paths.append(request.path)
        await request.accept()

    async with serving_requests(handle) as port, connect("127.0.0.1", port, path=path, api_key="k"):
        pass
    assert paths == [asked]


async def test_invalid_host_name() -> None:
    with pytest.raises(ConnectFailed, match="invalid host name"):
        async with connect("a..b", 80):
            pass


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (401, [], HandshakeRejected(401, None)),
        (503, [(b"Retry-After", b"5")], HandshakeRejected(503, 5.0)),
        (503, [(b"Retry-After", b"Wed, 21 Oct 2026 07:28:00 GMT")], HandshakeRejected(503, None)),
        (404, [], HandshakeRejected(404, None)),
    ],
)
async def test_rejected_handshake_raises_its_status_and_retry_after(
    status: int, headers: list[tuple[bytes, bytes]], expected: HandshakeRejected
) -> None:
    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        await request.reject(status, extra_headers=headers, body=b"no")

    async with serving_requests(handle) as port:
        with pytest.raises(HandshakeRejected) as rejected:
            async with connect("127.0.0.1", port):
                pass
    assert attrs.astuple(rejected.value) == attrs.astuple(expected)
    assert f"HTTP {status}" in str(rejected.value)


@pytest.mark.parametrize(("status", "meaning"), [(403, "does not accept"), (429, "limit"), (502, "proxy")])
def test_rejection_explains_its_status(status: int, meaning: str) -> None:
    assert meaning in str(HandshakeRejected(status))


async def test_connection_refused() -> None:
    port = free_port()
    with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1 port {port}: connection refused"):
        async with connect("127.0.0.1", port):
            pass


@pytest.mark.parametrize("tls", [False, True])
async def test_connect_timeout(tls: bool) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(ConnectFailed, match=r"within 0\.1 s"):
            async with connect("127.0.0.1", port, tls=tls, timeout_s=0.1):
                pass


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 101 Swi", b"220 Other, ESMTP\r\n", b"HTTP/1.1 502 No\r\n\r\n"]
)
@pytest.mark.parametrize("is_reset", [False, True])
async def test_server_hangs_up_during_the_handshake(said: bytes, is_reset: bool) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)
        if is_reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()

    async with serving_streams(answer) as port:
        with (
            trio.fail_after(connecting.CONNECT_TIMEOUT_S / 2),
            pytest.raises(ConnectFailed, match="hung up during the WebSocket handshake"),
        ):
            async with connect("127.0.0.1", port):
                pass


async def test_tls_to_a_server_without_tls() -> None:
    async with serving(say_nothing) as port:
        with pytest.raises(ConnectFailed, match="TLS failed"):
            async with connect("127.0.0.1", port, tls=ssl.create_default_context()):
                pass


async def test_canceled_block_closes_at_once() -> None:
    async with serving(say_nothing) as port:
        with trio.fail_after(connecting.CLOSE_TIMEOUT_S / 2):
            with trio.move_on_after(0.02) as scope:
                async with connect("127.0.0.1", port):
                    await trio.sleep_forever()
            assert scope.cancelled_caught
