"""The bench's command line, HTTP servers that the bench measures, and readings of an idle server."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import trio

from bench.bench import parse
from bench.load import Failed, Spoken, Summary
from bench.server_state import ServerState
from bench.vitals import Vitals
from kokoro_trio.client import Timing
from kokoro_trio.config import REPOSITORY


def options(port: int, *more: str) -> argparse.Namespace:
    return parse(["--host", "127.0.0.1", "--port", str(port), *more])


async def bench(port: int, *arguments: str, program: str = "bench.py") -> subprocess.CompletedProcess[bytes]:
    """Runs the program in another folder, without PYTHONPATH; the test looks at its exit status."""
    script = str(REPOSITORY / "bench" / program)
    return await trio.run_process(
        [sys.executable, script, "--host", "127.0.0.1", "--port", str(port), *arguments],
        cwd="/",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


@contextmanager
def http_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """Answers each GET and POST on a connection of its own; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        do_GET = do_POST = answer

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def spoken(ttfa_s: float = 0.3, audio_s: float = 1.0, gap_s: float = 0.0) -> Spoken:
    return Spoken(Timing(ttfb_s=0.1, ttfa_s=ttfa_s, wall_s=0.5, audio_s=audio_s), gap_s)


def summary_of(*outcomes: Spoken | Failed, concurrency: int = 1) -> Summary:
    return Summary.of(outcomes, concurrency, wall_s=1.0)


IDLE_STATE = ServerState("cpu", early_audio=True, active=0, waiting=0, max_concurrent_jobs=4)
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
