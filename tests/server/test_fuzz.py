"""Random input at the socket: no exception reaches the log, and other clients are served after it.

python -m pytest tests/server/test_fuzz.py --fuzz 100     a hundred times as many inputs
"""

import json
import random
import socket
from contextlib import closing, suppress

import pytest
import structlog
from attrs import evolve

from tests.support.clients import masked_text_frame, open_raw_websocket, others_are_served, until_idle
from tests.support.servers import CONFIG, Server, in_thread, running, until

ROUNDS = 60
LISTEN = evolve(CONFIG.listen, handshake_timeout_s=0.2, max_message_bytes=5000)
STREAM = evolve(CONFIG.stream, send_timeout_s=0.5)
FORESEEN = {"file_damaged", "metrics_not_written"}

WORDS = ("Hello", "there", "x", "...", "[pause:1s]", "é", "東京", "\u0000", "<b>", "&amp;", "1e9", "\ud83d")
VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**60,
    10**400,
    -(10**400),
    "",
    "female",
    "r1",
    "opus",
    "tagged",
    [],
    {"a": [1]},
    "x" * 300,
)
FIELDS = (
    *("request_id", "text", "voice", "speed", "language", "format", "sample_rate"),
    *("framing", "timestamps", "played_s", "type", "🙂"),
)
HEADS = (
    b"GET /v1/audio/speech/stream/ws?api_key=first HTTP/1.1\r\nHost: x\r\n",
    b"GET /v1/audio/voices HTTP/1.1\r\nHost: x\r\nX-API-Key: first\r\n",
    b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer first\r\nContent-Length: 9\r\n",
    b"GET /readyz HTTP/1.0\r\n",
)


def random_message(chance: random.Random) -> str:
    """A frame, often a valid one, so that there is a request to disturb."""
    kind = chance.choice(["speak", "speak", "start", "cancel", "stop", "?"])
    message: dict[str, object] = {"type": kind}
    if kind == "speak":
        message["text"] = " ".join(chance.choices(WORDS, k=chance.randint(0, 8)))
    for _ in range(chance.randint(0, 3)):
        message[chance.choice(FIELDS)] = chance.choice(VALUES)
    return json.dumps(message)


def random_post(chance: random.Random) -> bytes:
    """A request to the OpenAI interface, often a valid one."""
    body: dict[str, object] = {"model": "kokoro", "input": " ".join(chance.choices(WORDS, k=5))}
    body["response_format"] = chance.choice(["pcm", "wav", "mp3", "opus", "aac", "flac", None, 7])
    body["stream_format"] = chance.choice(["audio", "sse", None, [1]])
    for _ in range(chance.randint(0, 2)):
        body[chance.choice(FIELDS)] = chance.choice(VALUES)
    data = mutated(json.dumps(body).encode(), chance)
    return (
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer first\r\n"
        b"Content-Length: %d\r\n\r\n" % len(data)
    ) + data


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Changes, removes or inserts some bytes, sometimes none."""
    mutable = bytearray(data)
    for _ in range(chance.choice([0, 0, 1, 1, 3, 20])):
        at = chance.randrange(len(mutable) + 1)
        how = chance.choice(["change", "drop", "insert", "end"])
        if how == "insert":
            mutable[at:at] = chance.randbytes(chance.randint(1, 8))
        elif how == "end":
            del mutable[at:]
        elif at < len(mutable):
            mutable[at : at + 1] = chance.randbytes(1) if how == "change" else b""
    return bytes(mutable)


def disturb(server: Server, chance: random.Random) -> None:
    """One connection with unusual bytes; returns some of the answer."""
    kind = chance.choice(["noise", "head", "post", "frames", "noise after the handshake"])
    if kind in ("noise", "head", "post"):
        peer = socket.create_connection(("127.0.0.1", server.port))
        what = {
            "noise": chance.randbytes(chance.randint(1, 3000)),
            "head": mutated(chance.choice(HEADS) + b"\r\n", chance),
            "post": random_post(chance),
        }[kind]
    else:
        peer = open_raw_websocket(server)
        frames = b"".join(masked_text_frame(random_message(chance)) for _ in range(chance.randint(1, 6)))
        what = chance.randbytes(3000) if kind != "frames" else mutated(frames, chance)
    with closing(peer), suppress(ConnectionError, TimeoutError):
        peer.settimeout(chance.choice([0.01, 0.1]))
        for start in range(0, len(what), step := chance.choice([1000, 10_000])):
            peer.sendall(what[start : start + step])
        for _ in range(chance.randint(0, 20)):
            if not peer.recv(4096):
                break


@pytest.mark.parametrize("seed", range(4))
async def test_random_input_does_not_break_the_server(seed: int, fuzz_factor: int) -> None:
    chance = random.Random(seed)
    with structlog.testing.capture_logs() as logged:
        async with running(listen=LISTEN, stream=STREAM) as server:
            for _ in range(ROUNDS * fuzz_factor):
                await in_thread(disturb, server, random.Random(chance.random()))
            await until_idle(server)
            await others_are_served(server)
            await until(lambda: not server.listener.n_sockets)
        for record in server.records:
            assert record.end in {"done", "canceled", "disconnected", "unpronounceable", "bad_text"}
    assert {entry["event"] for entry in logged if entry["log_level"] != "debug"} <= FORESEEN
