"""Checks that the server of this machine is ready to speak; else exits with 1 and prints the reason.

python scripts/healthcheck.py
python scripts/healthcheck.py --port 9000 --path /healthz

It reads HOST and PORT as the server does, from the environment or `.env`.
"""

import argparse
import json
import signal
import sys
from http.client import HTTPConnection, HTTPException

from kokoro_trio.config import listen_address, reachable_host
from kokoro_trio.errors import StartError

DEADLINE_S = 4
"""For the whole check; the container's HEALTHCHECK allows 5 s."""


def main() -> None:
    options = _command_line().parse_args()
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(DEADLINE_S)
    try:
        host, port = listen_address()
    except StartError as error:
        sys.exit(f"error: {error}")
    host, port = options.host or reachable_host(host), options.port or port
    if (reason := _reason(host, port, options.path)) is not None:
        sys.exit(f"error: {host} port {port}: {reason}")


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Checks that the server of this machine is ready to speak.")
    parser.add_argument("--host", help="default: HOST, or loopback if that means all interfaces")
    parser.add_argument("--port", type=int, help="default: PORT")
    parser.add_argument(
        "--path",
        default="/readyz",
        help="/healthz: also while the model loads",
    )
    return parser


def _give_up(*_: object) -> None:
    raise TimeoutError(f"no complete answer within {DEADLINE_S} s")


def _reason(host: str, port: int, path: str) -> str | None:
    """Why the server is not ready; None if it is."""
    try:
        connection = HTTPConnection(host, port)
        connection.request("GET", path)
        answer = connection.getresponse()
        return None if answer.status == 200 else f"HTTP status {answer.status}{_state(answer.read())}"
    except OSError as error:
        return error.strerror or str(error)
    except HTTPException as error:
        # Its text contains data of the server, line breaks included.
        return f"the answer is not HTTP ({type(error).__name__})"


def _state(body: bytes) -> str:
    """The `state` in the JSON body of `/readyz`; empty for other bodies."""
    try:
        return f", state {json.loads(body)['state']!r}"
    except (ValueError, TypeError, KeyError):
        return ""


if __name__ == "__main__":
    main()
