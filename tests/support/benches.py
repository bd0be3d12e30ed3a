"""The bench's command line, and readings of an idle server."""

import argparse
import os
import subprocess
import sys

import trio

from bench.bench import _command_line
from bench.vitals import Vitals
from kokoro_trio.config import REPOSITORY


def options(port: int, *more: str) -> argparse.Namespace:
    return _command_line().parse_args(["--host", "127.0.0.1", "--port", str(port), *more])


async def bench(port: int, *arguments: str, program: str = "bench.py") -> subprocess.CompletedProcess[bytes]:
    """Runs it in another folder, as a process; its exit status is for the test to look at."""
    command = [
        sys.executable,
        str(REPOSITORY / "bench" / program),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    return await trio.run_process(
        [*command, *arguments],
        cwd="/",
        # As after scripts/setup.sh: nothing says where the repository is.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


IDLE = Vitals(
    at_s=0.0,
    process_started_at=1000.0,
    cpu_s=50.0,
    memory_mb=100.0,
    n_descriptors=16,
    n_threads=7,
    n_connections=0,
    n_active=0,
    n_waiting=0,
    n_ended=3,
)
