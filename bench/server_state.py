"""Reads the server's state at /readyz, and other pages."""

import argparse
import http.client
import json

import trio
from attrs import define, frozen

from kokoro_trio.errors import KokoroTrioError

ANSWER_TIMEOUT_S = 5.0
IDLE_TIMEOUT_S = 5.0
IDLE_POLL_S = 0.05


@define
class StateUnknown(KokoroTrioError):
    host: str
    port: int
    reason: str
    path: str = "/readyz"

    def __str__(self) -> str:
        return f"cannot read the state of {self.host} port {self.port} at {self.path}: {self.reason}"


@frozen
class ServerState:
    """`active` and `waiting` count utterances; at most `max_concurrent_jobs` are active at once."""

    device: str
    early_audio: bool
    active: int
    waiting: int
    max_concurrent_jobs: int

    @property
    def is_idle(self) -> bool:
        return self.active == self.waiting == 0


async def read_state(options: argparse.Namespace) -> ServerState:
    """Raises `StateUnknown`."""
    return await trio.to_thread.run_sync(_read_state, options)


async def wait_until_idle(options: argparse.Namespace) -> ServerState:
    """The state when no utterance is active or waiting, or the last state after `IDLE_TIMEOUT_S`.

    Raises `StateUnknown`.
    """
    state = await read_state(options)
    with trio.move_on_after(IDLE_TIMEOUT_S):
        while not state.is_idle:
            await trio.sleep(IDLE_POLL_S)
            state = await read_state(options)
    return state


def _read_state(options: argparse.Namespace) -> ServerState:
    try:
        answer = json.loads(fetch(options, "/readyz"))
        return ServerState(
            device=str(answer["device"]),
            early_audio=bool(answer["early_audio"]),
            active=int(answer["active"]),
            waiting=int(answer["waiting"]),
            max_concurrent_jobs=int(answer["max_concurrent_jobs"]),
        )
    except (ValueError, TypeError) as error:
        raise StateUnknown(options.host, options.port, str(error) or type(error).__name__) from error
    except KeyError as error:
        raise StateUnknown(options.host, options.port, f"{error.args[0]} is missing") from error


def fetch(options: argparse.Namespace, path: str) -> bytes:
    """The body of the answer to a GET, at any status. Blocks. Raises `StateUnknown`."""
    kind = http.client.HTTPSConnection if options.tls else http.client.HTTPConnection
    connection = kind(options.host, options.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise StateUnknown(options.host, options.port, reason, path) from error
    finally:
        connection.close()
