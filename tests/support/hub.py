"""A local server with the part of the Hugging Face hub that downloads use."""

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import attrs
import torch

from kokoro_trio.weights.progress import Progress

REVISION = "0" * 40


def pickled(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@attrs.frozen
class RecordedProgress(Progress):
    """Keeps the lines."""

    stream: io.StringIO = attrs.field(factory=io.StringIO)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@attrs.define
class StandInHub:
    files: dict[str, bytes]
    cut_short: bool = False
    url: str = ""
    fetched: list[str] = attrs.field(factory=list)

    @contextmanager
    def serving(self) -> Iterator[Self]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield self
            server.shutdown()
            thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.partition("/resolve/")[2].partition("/")[2]
        content = self.files.get(name)
        if content is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(200)
        request.send_header("ETag", f'"{sha256(content)}"')
        request.send_header("X-Repo-Commit", REVISION)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            self.fetched.append(name)
            request.wfile.write(content[: len(content) // 2] if self.cut_short else content)
