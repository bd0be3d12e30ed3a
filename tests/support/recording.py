"""The server with a recorder among the files of its page: `python -m tests.support.recording`."""

from unittest.mock import patch

import kokoro_trio.__main__ as server
from kokoro_trio.server.page import PageFile, page_files

RECORDER = """
// In the thread of the sound, which misses nothing when the page is late.
registerProcessor("recorder", class extends AudioWorkletProcessor {
  #block = [];

  process([[samples = new Float32Array(128)]]) {
    this.#block.push(...samples);
    if (this.#block.length >= 2048) this.port.postMessage(this.#block.splice(0));
    return true;
  }
});
"""


def recorded_page_files() -> dict[str, PageFile]:
    """Served by the server itself, because the page's policy allows no other origin."""
    return page_files() | {"recorder.js": PageFile(RECORDER.encode(), "text/javascript")}


if __name__ == "__main__":
    with patch("kokoro_trio.server.http.page_files", recorded_page_files):
        server.main()
