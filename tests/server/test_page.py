"""End to end: the page in a real Chromium, with tones instead of a model, and once with the model."""

import base64
import http.server
import json
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import quote

import attrs
import httpx
import numpy as np
import pytest
import trio
from attrs import evolve
from numpy.typing import NDArray
from websockets.sync.client import connect

from kokoro_trio.server.listener import LoadedModel
from kokoro_trio.server.page import page_files
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire.words import word_count
from tests.support import processes
from tests.support.clients import hear
from tests.support.models import SlowTones, StumblingSynthesizer
from tests.support.programs import PROGRAMS
from tests.support.recording import recorded_page_files
from tests.support.servers import CONFIG, LIMITS, Server, running
from tests.support.sessions import KOKORO, VOICES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

TEXT = "Hello there, we are speaking now. This comes after it."
LONG = "On and on it goes, as far as the eye can see. " * 8
AUDIBLE = 0.01
"""−40 dBFS."""

LISTEN = """
// Records the audio output in blocks, and when words are highlighted.
window.played = [];
window.lit = [];
const { get: stateOf } = Object.getOwnPropertyDescriptor(BaseAudioContext.prototype, "state");
Object.defineProperty(AudioContext.prototype, "state", {
  get() { return this.recorder ? stateOf.call(this) : "suspended"; },
});
const resume = AudioContext.prototype.resume;
AudioContext.prototype.resume = async function () {
  if (!this.recorder) {
    await this.audioWorklet.addModule("/page/recorder.js");
    this.recorder = new AudioWorkletNode(this, "recorder", { numberOfOutputs: 0 });
    this.recorder.port.onmessage = ({ data }) => window.played.push(...data);
  }
  return resume.call(this);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) connect.call(this, this.context.recorder);
  return connect.call(this, to, ...rest);
};
document.addEventListener("DOMContentLoaded", () => {
  const isLit = ({ target }) => target.nodeType === 1 && target.classList.contains("now");
  const note = ({ target }) => {
    const last = window.lit.at(-1);
    if (last?.target === target) return;
    window.lit.push({ target, text: target.textContent, atMs: performance.now() });
  };
  new MutationObserver((changes) => changes.filter(isLit).forEach(note)).observe(document.body, {
    subtree: true, attributes: true, attributeFilter: ["class"],
  });
});
"""

SLOW_SOURCE = """
// Creating the first source takes longer than the delay of a piece after silence.
const createBufferSource = BaseAudioContext.prototype.createBufferSource;
BaseAudioContext.prototype.createBufferSource = function () {
  const untilMs = performance.now() + (window.leadS === undefined ? 100 : 0);
  while (performance.now() < untilMs);
  return createBufferSource.call(this);
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (atS) {
  window.leadS ??= atS - this.context.currentTime;
  return start.call(this, atS);
};
"""


@attrs.frozen
class Served:
    """A server in its own thread, because the browser's driver does not run on Trio."""

    server: Server
    _token: trio.lowlevel.TrioToken

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/"

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Calls it in the server's event loop."""
        trio.from_thread.run_sync(function, *args, trio_token=self._token)


@pytest.fixture(scope="module", autouse=True)
def _recorder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kokoro_trio.server.http.page_files", recorded_page_files)
        yield


@contextmanager
def serving(**options: Any) -> Iterator[Served]:  # noqa: ANN401
    started: SimpleQueue[Served] = SimpleQueue()

    async def serve() -> None:
        async with running(**options) as server:
            started.put(Served(server, trio.lowlevel.current_trio_token()))
            await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=[serve])
    thread.start()
    served = started.get(timeout=30)
    try:
        yield served
    finally:
        served.call(served.server.scope.cancel)
        thread.join()


@attrs.frozen
class Visit:
    """A browser on the page, the audio it played, and the messages it sent and received."""

    page: Page
    sent: list[dict[str, Any]]
    received: list[dict[str, Any]]
    faults: list[str]

    def log_in(self, key: str = "first") -> None:
        self.page.fill("#key", key)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("#studio")).to_be_visible()

    def speak(self, text: str) -> None:
        self.page.fill("#text", text)
        self.page.keyboard.press("Control+Enter")

    def until(self, expression: str) -> None:
        """Instead of Playwright's `wait_for_function`, which the page's security policy forbids."""
        give_up_at = time.monotonic() + 60
        while not self.page.evaluate(expression):
            assert time.monotonic() < give_up_at, f"it never came to {expression}"
            self.page.wait_for_timeout(20)

    def hears_something(self) -> None:
        self.until(f"window.played.some((sample) => Math.abs(sample) > {AUDIBLE})")

    def hears_word(self, text: str) -> None:
        self.until(f"window.lit.some((each) => each.text === {json.dumps(text)})")

    def until_spoken(self) -> None:
        expect(self.page.locator("#status")).to_have_text(re.compile(r"^Spoken: "), timeout=60_000)

    @property
    def status(self) -> str:
        return self.page.inner_text("#status")

    @property
    def played(self) -> NDArray[np.float64]:
        """From the first audible sample to the last."""
        played = self.played_from("0")
        audible = np.flatnonzero(np.abs(played) > AUDIBLE)
        return played[audible[0] : audible[-1] + 1] if len(audible) else played[:0]

    def played_from(self, start: str) -> NDArray[np.float64]:
        """`start`: a JavaScript expression."""
        encoded = self.page.evaluate(
            f"""() => {{
              const bytes = new Uint8Array(Float32Array.from(window.played.slice({start})).buffer);
              return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
            }}"""
        )
        return np.frombuffer(base64.b64decode(encoded), "<f4").astype(np.float64)

    @property
    def lit(self) -> list[str]:
        """The words in the order in which they were highlighted."""
        return self.page.evaluate("window.lit.map(({ text }) => text)")  # type: ignore[no-any-return]

    @property
    def heard(self) -> str:
        """The text that is shown as heard."""
        return "".join(self.page.locator("#spoken .heard").all_text_contents()).rstrip("\u200b")

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["type"] == kind]

    def answered(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == kind]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with sync_playwright() as playwright:
            # Chromium has no sandbox as root.
            yield playwright.chromium.launch(executable_path=PROGRAMS["chromium"].path, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def tones() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def slow_tones() -> Iterator[Served]:
    """Slow enough that the server still synthesises while the page plays."""
    with serving(load=SlowTones) as served:
        yield served


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens the page of a server. The test fails on any error in the browser, blocked requests included."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def come(url: str, *, script: str = "", **options: Any) -> Visit:  # noqa: ANN401
        context = chromium.new_context(**options)
        contexts.append(context)
        context.add_init_script(LISTEN + script)
        page = context.new_page()
        page.set_default_timeout(20_000)
        visit = Visit(page, [], [], faults)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Security" in line.text else None)
        page.on("websocket", partial(_overhear, visit))
        page.goto(url)
        return visit

    yield come
    for context in contexts:
        context.close()
    assert faults == []


def _overhear(visit: Visit, socket: Any) -> None:  # noqa: ANN401
    def note(into: list[dict[str, Any]], frame: str | bytes) -> None:
        if isinstance(frame, str):
            into.append(json.loads(frame))

    socket.on("framesent", partial(note, visit.sent))
    socket.on("framereceived", partial(note, visit.received))


def spoken_by(served: Served, text: str, voice: str) -> NDArray[np.float64]:
    """The audio that another client receives, from the first audible sample to the last."""
    with connect(served.server.url()) as client:
        client.send(json.dumps({"type": "speak", "text": text, "voice": voice}))
        heard = hear(client)
    frames = [frame for frame in heard if isinstance(frame, bytes)]
    samples = np.frombuffer(b"".join(frames[1:]), "<i2") / 32768
    audible = np.flatnonzero(np.abs(samples) > AUDIBLE)
    return samples[audible[0] : audible[-1] + 1]


class TestFiles:
    def test_page_and_every_file_it_links_are_served(self, tones: Served) -> None:
        page = httpx.get(tones.url)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        asked_for = re.findall(r'(?:href|src)="(/page/[^"]+)"', page.text)
        assert len(asked_for) == 3
        for name in page_files():
            answer = httpx.get(f"{tones.url}page/{name}")
            assert answer.status_code == 200
            asked_for += re.findall(r'(?:from "\./|url\("/page/)([^"]+)"', answer.text)
        assert len(asked_for) > 10
        assert {name.removeprefix("/page/") for name in asked_for} <= set(page_files())

    def test_unchanged_page_is_304(self, tones: Served) -> None:
        first = httpx.get(tones.url)
        again = httpx.get(tones.url, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert httpx.get(tones.url, headers={"If-None-Match": '"another"'}).status_code == 200

    def test_missing_file_and_path_traversal_are_404(self, tones: Served) -> None:
        assert httpx.get(f"{tones.url}page/nothing.js").status_code == 404
        assert httpx.get(f"{tones.url}page/..%2fhttp.py").status_code == 404

    def test_stray_file_is_not_served(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("kokoro_trio.server.page.files", lambda package: tmp_path)
        folder = tmp_path / "page"
        (folder / "old.js").mkdir(parents=True)
        for name in ("index.html", ".DS_Store", "x.js~", "README"):
            (folder / name).write_text("x")
        assert set(page_files()) == {"index.html"}

    def test_page_contains_no_external_url(self) -> None:
        for name, file in page_files().items():
            elsewhere = re.findall(rb"https?://[^\"' ]+", file.content)
            assert set(elsewhere) <= {b"http://www.w3.org/2000/svg"}, name


@pytest.mark.needs("chromium")
class TestApiKey:
    def test_page_asks_for_the_key_once(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        expect(guest.page.locator("#key")).to_be_focused()
        guest.page.fill("#key", "third")
        guest.page.keyboard.press("Enter")
        expect(guest.page.locator("#key-error")).to_have_text("The server does not know this key.")
        assert guest.page.get_attribute("#key", "aria-invalid") == "true"
        guest.log_in("first")
        expect(guest.page.locator("#text")).to_be_focused()
        guest.page.reload()
        expect(guest.page.locator("#studio")).to_be_visible()
        guest.page.click("#forget")
        expect(guest.page.locator("#door")).to_be_visible()
        guest.page.reload()
        expect(guest.page.locator("#door")).to_be_visible()

    def test_link_with_key_logs_in(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(f"{tones.url}#key=first")
        expect(guest.page.locator("#studio")).to_be_visible()
        assert guest.page.url == tones.url
        assert guest.page.evaluate("localStorage.getItem('kokoro_trio.key')") == "first"
        guest.page.reload()
        expect(guest.page.locator("#studio")).to_be_visible()

    def test_link_with_key_works_in_an_open_tab(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.page.fill("#key", "third")
        guest.page.keyboard.press("Enter")
        expect(guest.page.locator("#key-error")).not_to_be_empty()
        guest.page.goto(f"{tones.url}#key=first")
        expect(guest.page.locator("#studio")).to_be_visible()
        assert guest.page.url == tones.url

    def test_key_of_a_link_is_not_in_the_history(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(f"{tones.url}#key=first")
        expect(guest.page.locator("#studio")).to_be_visible()
        guest.page.goto(f"{tones.url}healthz")
        guest.page.go_back()
        expect(guest.page.locator("#studio")).to_be_visible()
        assert guest.page.url == tones.url

    def test_link_with_wrong_key_is_rejected(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(f"{tones.url}#key=third")
        expect(guest.page.locator("#key-error")).to_have_text("The server does not know this key.")
        assert guest.page.url == tones.url
        assert guest.page.evaluate("localStorage.length") == 0

    def test_key_that_a_link_must_escape(self, visit: Callable[..., Visit]) -> None:
        key = "a+b&c=ü %2f#"
        with serving(listen=evolve(CONFIG.listen, api_keys=(key,))) as served:
            guest = visit(f"{served.url}#key={quote(key, safe='')}")
            expect(guest.page.locator("#studio")).to_be_visible()
            guest.speak("Hello.")
            guest.until_spoken()
            guest.page.close()

    def test_server_without_keys_shows_no_login(self, visit: Callable[..., Visit]) -> None:
        with serving(listen=evolve(CONFIG.listen, api_keys=())) as served:
            guest = visit(served.url)
            expect(guest.page.locator("#studio")).to_be_visible()
            expect(guest.page.locator("#forget")).to_be_hidden()
            guest.speak("Hello.")
            guest.until_spoken()
            guest.page.close()

    def test_page_waits_and_retries_while_the_model_loads(self, visit: Callable[..., Visit]) -> None:
        with serving(ready=False) as served:
            guest = visit(served.url)
            guest.page.fill("#key", "first")
            guest.page.keyboard.press("Enter")
            expect(guest.page.locator("#notice")).to_contain_text("still being loaded")
            served.call(served.server.listener.open_for, LoadedModel(VOICES, LIMITS, device="cpu"))
            expect(guest.page.locator("#studio")).to_be_visible()
            expect(guest.page.locator("#notice")).to_have_text("")
            guest.page.close()

    def test_revoked_key_asks_again(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.page.evaluate("localStorage.setItem('kokoro_trio.key', 'of yesterday')")
        guest.page.reload()
        expect(guest.page.locator("#key-error")).to_have_text("The server does not know this key.")


@pytest.fixture
def foreign_page(chromium: Browser) -> Iterator[Page]:
    """A page of another origin, because it has another port."""
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage)
    threading.Thread(target=site.serve_forever).start()
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{site.server_port}/")
    yield page
    context.close()
    site.shutdown()
    site.server_close()


class EmptyPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keeps standard error clean."""


ASK_FROM_ELSEWHERE = """async (server) => {
  const body = JSON.stringify({ input: "Hello.", voice: "female", response_format: "pcm" });
  const json = { "Content-Type": "application/json", "x-stainless-os": "?" };
  const headers = { Authorization: "Bearer first", ...json };
  const status = (answer) => answer.status;
  const fetched = (path, how) => fetch(server + path, how).then(status, () => "kept from the page");
  const socket = new WebSocket(server.replace("http", "ws") + "v1/audio/speech/stream/ws?api_key=first");
  const opened = new Promise((resolve) => {
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
  });
  return {
    voices: await fetched("v1/audio/voices", { headers: { "X-API-Key": "first" } }),
    wrongKey: await fetched("v1/audio/voices", { headers: { "X-API-Key": "wrong" } }),
    speech: await fetched("v1/audio/speech", { method: "POST", headers, body }),
    plainText: await fetched("v1/audio/speech?api_key=first", { method: "POST", body }),
    socket: await opened,
  };
}"""


@pytest.mark.needs("chromium")
class TestForeignPage:
    def test_foreign_origin_is_refused_by_default(self, tones: Served, foreign_page: Page) -> None:
        n_spoken = len(tones.server.records)
        kept = "kept from the page"
        assert foreign_page.evaluate(ASK_FROM_ELSEWHERE, tones.url) == {
            "voices": kept,
            "wrongKey": kept,
            "speech": kept,
            "plainText": kept,
            "socket": "refused",
        }
        assert len(tones.server.records) == n_spoken

    @pytest.mark.parametrize("knob", ["its origin", "*"])
    def test_allowed_origin_may_use_the_server(self, knob: str, foreign_page: Page) -> None:
        origin = foreign_page.evaluate("location.origin") if knob == "its origin" else knob
        with serving(listen=evolve(CONFIG.listen, allowed_origins=(origin,)), voices=KOKORO) as served:
            answers = foreign_page.evaluate(ASK_FROM_ELSEWHERE, served.url)
            foreign_page.close()
        assert answers == {
            "voices": 200,
            "wrongKey": 401,
            "speech": 200,
            "plainText": 200,
            "socket": "open",
        }


@pytest.mark.needs("chromium")
class TestSpeaking:
    def test_every_sample_is_played_once(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.speak(TEXT)
        guest.until_spoken()
        guest.page.wait_for_timeout(1_500)  # The last block.
        expected = spoken_by(tones, TEXT, "af_heart")
        played = guest.played
        assert len(played) == len(expected)
        assert np.abs(played - expected).max() < 1e-4

    def test_slow_audio_node_does_not_overlap_the_next(
        self, tones: Served, visit: Callable[..., Visit]
    ) -> None:
        guest = visit(tones.url, script=SLOW_SOURCE)
        guest.log_in()
        guest.speak(TEXT)
        guest.until_spoken()
        assert guest.page.evaluate("window.leadS") > 0

    def test_words_are_highlighted_when_they_are_heard(
        self, tones: Served, visit: Callable[..., Visit]
    ) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.speak(TEXT)
        guest.until_spoken()
        words = [word for meta in guest.answered("meta") for word in meta.get("words", [])]
        assert guest.lit == [word["text"] for word in words] == re.findall(r"[\w']+", TEXT)
        lit_at = np.array(guest.page.evaluate("window.lit.map(({ atMs }) => atMs)")) / 1000
        late_by = lit_at - np.array([word["start_s"] for word in words])
        # A frame of the browser is 17 ms; a busy machine draws fewer of them.
        assert np.median(np.abs(late_by - np.median(late_by))) < 0.1
        assert guest.heard == TEXT

    def test_figures_are_shown(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.speak(TEXT)
        guest.until_spoken()
        ttfa_ms = int(guest.page.inner_text("#ttfa").removesuffix(" ms"))
        # The tones have 0.25 s of silence at their head, which counts.
        assert 250 <= ttfa_ms < 5_000
        assert float(guest.page.inner_text("#xrt")) > 0
        assert guest.page.inner_text("#gaps") == "0"

    def test_chosen_settings_are_sent_and_stored(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.page.select_option("#voice", "af_aoede")
        guest.page.select_option("#second", "am_michael")
        guest.page.fill("#share", "30")
        guest.page.fill("#speed", "1.5")
        guest.page.select_option("#language", "en-gb")
        guest.speak("Hello.")
        guest.until_spoken()
        asked = guest.said("speak")[-1]
        assert asked["voice"] == "af_aoede(70)+am_michael(30)"
        assert (asked["speed"], asked["language"]) == (1.5, "en-gb")
        guest.page.reload()
        expect(guest.page.locator("#recipe-shown")).to_have_text("af_aoede(70)+am_michael(30)")

    def test_long_text_is_sent_in_pieces(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.page.fill("#speed", "2")
        served_to = LoadedModel(VOICES, evolve(LIMITS, max_words=8), device="cpu")
        tones.call(tones.server.listener.open_for, served_to)
        text = "It is 🎈 here. One two three four five six seven, and more.\n\nThen 🎈 there. No end to it."
        guest.page.reload()
        guest.speak(text)
        guest.until_spoken()
        tones.call(tones.server.listener.open_for, evolve(served_to, limits=LIMITS))
        assert guest.answered("error")[0]["code"] == "too_long"
        done = [message["request_id"] for message in guest.answered("done")]
        pieces = [message["text"] for message in guest.said("speak") if message["request_id"] in done]
        assert len(pieces) > 2
        assert "".join(pieces) == text
        assert guest.lit == re.findall(r"[A-Za-z]+", text)
        assert guest.heard == text

    def test_unpronounceable_text_is_an_error(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.speak("***")
        expect(guest.page.locator("#text-error")).to_contain_text("nothing that can be pronounced")
        assert guest.page.get_attribute("#text", "aria-invalid") == "true"

    @pytest.mark.parametrize("height", [420, 640])
    def test_long_text_scrolls_to_the_current_word(
        self, height: int, tones: Served, visit: Callable[..., Visit]
    ) -> None:
        guest = visit(tones.url, viewport={"width": 900, "height": height})
        guest.log_in()
        guest.page.fill("#speed", "2")
        guest.speak("Up here.\n" + "\n" * 20 + "Down there we go.")
        guest.hears_word("there")
        edge = "Math.min(innerHeight, document.querySelector('#dock').getBoundingClientRect().top)"
        guest.until(f"document.querySelector('#spoken .now').getBoundingClientRect().bottom < {edge}")
        assert guest.page.evaluate("scrollY") > 100


@pytest.mark.needs("chromium")
class TestBargeIn:
    @pytest.mark.slow
    def test_escape_cancels_and_silences_at_once(
        self, slow_tones: Served, visit: Callable[..., Visit]
    ) -> None:
        guest = visit(slow_tones.url)
        guest.log_in()
        guest.speak(LONG)
        guest.hears_word("far")
        guest.page.evaluate(
            "addEventListener('keydown', () => (window.playedAtKey = window.played.length), true)"
        )
        guest.page.keyboard.press("Escape")
        expect(guest.page.locator("#status")).to_contain_text("confirmed in")
        guest.page.wait_for_timeout(1_000)
        after = guest.played_from("window.playedAtKey")
        audible = np.flatnonzero(np.abs(after) > AUDIBLE)
        assert len(after) > SAMPLE_RATE_HZ / 2
        # Only audio that was already on its way to the output.
        assert len(audible) == 0 or audible[-1] < 0.2 * SAMPLE_RATE_HZ

        (cancel,), (canceled,) = guest.said("cancel"), guest.answered("canceled")
        words = [word for meta in guest.answered("meta") for word in meta.get("words", [])]
        n_heard = sum(word["end_s"] <= cancel["played_s"] for word in words)
        assert len(guest.lit) - n_heard in (0, 1)
        assert canceled["text_spoken"] + canceled["text_remaining"] == guest.said("speak")[0]["text"]
        assert guest.heard.rstrip() == canceled["text_spoken"].rstrip()

    def test_go_on_continues_at_the_interrupted_word(
        self, slow_tones: Served, visit: Callable[..., Visit]
    ) -> None:
        guest = visit(slow_tones.url)
        guest.log_in()
        guest.speak(TEXT)
        guest.hears_word("speaking")
        guest.page.click("#speak")
        expect(guest.page.locator("#go-on")).to_be_visible()
        heard = guest.heard.rstrip()
        assert TEXT.startswith(heard)
        assert heard.startswith("Hello there,")
        guest.page.click("#go-on")
        guest.until_spoken()
        assert guest.said("speak")[-1]["text"].strip() == TEXT.removeprefix(heard).strip()
        assert guest.heard == TEXT
        assert guest.lit[-1] == "it"

    def test_typing_cancels(self, slow_tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(slow_tones.url)
        guest.log_in()
        guest.speak(LONG)
        guest.hears_something()
        guest.page.locator("#text").press_sequentially("N")
        expect(guest.page.locator("#speak-name")).to_have_text("Speak")
        assert len(guest.said("cancel")) == 1

    def test_new_text_replaces_the_current_one(self, slow_tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(slow_tones.url)
        guest.log_in()
        guest.speak(LONG)
        guest.hears_something()
        guest.speak("Hello.")
        guest.until_spoken()
        assert guest.heard == "Hello."
        assert guest.lit[-1] == "Hello"

    @pytest.mark.slow
    def test_cancel_before_the_first_audio(self, slow_tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(slow_tones.url)
        guest.log_in()
        guest.speak(LONG)
        guest.page.keyboard.press("Escape")
        expect(guest.page.locator("#status")).to_contain_text("Nothing was heard.")
        guest.page.wait_for_timeout(700)
        assert len(guest.played) == 0
        expect(guest.page.locator("#go-on")).to_be_hidden()


@pytest.mark.needs("chromium")
class TestErrors:
    def test_unknown_voice_offers_close_matches(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.page.select_option("#voice", label="A recipe …")
        guest.page.fill("#recipe", "af_hart(2)+am_michael")
        guest.speak("Hello.")
        expect(guest.page.locator("#voice-error")).to_contain_text("'af_hart' is not a voice")
        assert guest.page.get_attribute("#recipe", "aria-invalid") == "true"
        guest.page.click("#voice-error button >> text=af_heart")
        assert guest.page.input_value("#recipe") == "af_heart(2)+am_michael"
        expect(guest.page.locator("#voice-error")).to_be_hidden()
        guest.speak("Hello.")
        guest.until_spoken()

    def test_empty_text_is_not_sent(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        guest.speak("  \n")
        expect(guest.page.locator("#text-error")).to_have_text("There is no text to speak yet.")
        assert guest.said("speak") == []

    def test_synthesis_failure_is_shown(self, visit: Callable[..., Visit]) -> None:
        with serving(load=StumblingSynthesizer) as served:
            guest = visit(served.url)
            guest.log_in()
            guest.speak("An ox.")
            expect(guest.page.locator("#speak-name")).to_have_text("Speak")
            assert guest.answered("error")[0]["code"] == "synthesis_failed"
            assert guest.answered("error")[0]["message"] in guest.status[0].lower() + guest.status[1:]
            guest.page.close()

    def test_proxy_that_changes_host_is_explained(
        self, tones: Served, visit: Callable[..., Visit], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server then takes its own page for one of another origin."""
        monkeypatch.setattr("kokoro_trio.server.origins._is_own", lambda origin, host: False)
        guest = visit(tones.url)
        guest.log_in()
        guest.speak("Hello.")
        expect(guest.page.locator("#status")).to_contain_text("ALLOWED_ORIGINS must list it")

    def test_lost_connection_is_shown_and_reopened(
        self, slow_tones: Served, visit: Callable[..., Visit]
    ) -> None:
        def hang_up() -> None:
            for session in list(slow_tones.server.listener._sessions):
                session.hang_up()

        guest = visit(slow_tones.url)
        guest.log_in()
        guest.speak(LONG)
        guest.hears_something()
        slow_tones.call(hang_up)
        expect(guest.page.locator("#status")).to_contain_text("The connection was lost")
        guest.speak("Hello.")
        guest.until_spoken()


CONTRASTS = """() => {
  const style = getComputedStyle(document.documentElement);
  const luminance = (name) => {
    const hex = style.getPropertyValue(name).trim();
    const linear = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const pairs = [["--ink", "--paper"], ["--faint", "--paper"], ["--accent", "--paper"],
    ["--accent", "--tint"], ["--on-accent", "--accent"], ["--ink", "--raised"]];
  return pairs.map(([one, other]) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return [`${one} on ${other}`, (light + 0.05) / (dark + 0.05)];
  });
}"""


@pytest.mark.needs("chromium")
class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast_is_at_least_4_5(self, scheme: str, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url, color_scheme=scheme)
        contrasts = dict(guest.page.evaluate(CONTRASTS))
        assert len(contrasts) == 6
        assert {pair: ratio for pair, ratio in contrasts.items() if ratio < 4.5} == {}
        shade = guest.page.evaluate("getComputedStyle(document.body).backgroundColor")
        is_dark = max(int(value) for value in re.findall(r"\d+", shade)) < 64
        assert is_dark == (scheme == "dark")

    def test_small_phone_has_no_overflow_and_large_targets(
        self, tones: Served, visit: Callable[..., Visit]
    ) -> None:
        guest = visit(tones.url, viewport={"width": 320, "height": 568}, has_touch=True, is_mobile=True)
        too_wide = "document.documentElement.scrollWidth > innerWidth"
        assert not guest.page.evaluate(too_wide)
        guest.log_in()
        guest.page.select_option("#voice", "af_aoede")
        guest.page.select_option("#second", "am_michael")
        guest.page.fill("#text", TEXT + " Antidisestablishmentarianismandsomemorelettersthatdonotend" * 2)
        guest.page.tap("#speak")
        guest.hears_word("we")
        assert not guest.page.evaluate(too_wide)
        guest.page.tap("#speak")
        expect(guest.page.locator("#go-on")).to_be_visible()
        assert not guest.page.evaluate(too_wide)
        targets = guest.page.locator("button:visible, select:visible, input:visible, summary:visible")
        boxes = [target.bounding_box() for target in targets.all()]
        assert len(boxes) >= 8
        assert all(box is not None and box["height"] >= 44 for box in boxes)

    def test_page_works_by_keyboard_alone(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        expect(guest.page.locator("#key")).to_be_focused()
        guest.page.keyboard.type("first")
        guest.page.keyboard.press("Enter")
        expect(guest.page.locator("#text")).to_be_focused()
        walked = []
        for _ in range(6):
            guest.page.keyboard.press("Tab")
            walked.append(guest.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            assert guest.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert walked == ["voice", "second", "language", "speed", "SUMMARY", "speak"]
        guest.page.keyboard.press("Space")
        guest.hears_something()
        guest.page.keyboard.press("Escape")
        expect(guest.page.locator("#speak-name")).to_have_text("Speak")
        expect(guest.page.locator("#speak")).to_be_focused()

    def test_every_control_has_an_accessible_name(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url)
        guest.log_in()
        for control in guest.page.locator("button, select, input, textarea, pre[tabindex]").all():
            assert control.evaluate("(e) => (e.labels?.[0] ?? e).textContent.trim() || e.ariaLabel")

    def test_reduced_motion_has_no_transitions(self, tones: Served, visit: Callable[..., Visit]) -> None:
        guest = visit(tones.url, reduced_motion="reduce")
        guest.log_in()
        guest.speak(TEXT)
        guest.hears_word("there")
        transition = "getComputedStyle(document.querySelector('#spoken .now')).transitionDuration"
        assert guest.page.evaluate(transition) == "0s"


@pytest.mark.needs("chromium")
class TestPieces:
    TEXTS = (
        "Hello there, it's 5 p.m.",
        "日本語です。 hello",
        "x" * 180 + " end",
        "— * ***",
        "ภาษาไทย ok",
        "naïve café 12:30",
        "🎈🎈 go",
    )

    def test_words_are_counted_as_by_the_server(self, tones: Served, visit: Callable[..., Visit]) -> None:
        page = visit(tones.url).page
        count = "(texts) => import('/page/pieces.js').then(({ wordCount }) => texts.map(wordCount))"
        assert page.evaluate(count, list(self.TEXTS)) == [word_count(text) for text in self.TEXTS]

    @pytest.mark.parametrize("max_words", [1, 3, 7, 40])
    def test_pieces_cover_the_text_and_none_is_too_long(
        self, max_words: int, tones: Served, visit: Callable[..., Visit]
    ) -> None:
        page = visit(tones.url).page
        cut = "([text, n]) => import('/page/pieces.js').then(({ inPieces }) => inPieces(text, 0, n))"
        text = "\n\n".join([*self.TEXTS, LONG, "No spaces。" * 40, "🎈" * 300])
        pieces = page.evaluate(cut, [text, max_words])
        assert "".join(piece["text"] for piece in pieces) == text
        assert max(word_count(piece["text"]) for piece in pieces) <= max_words


@pytest.fixture
def recorded_server(tmp_path: Path) -> Iterator[processes.Server]:
    with processes.running(tmp_path, "tests.support.recording") as started:
        yield started


@pytest.mark.needs("chromium")
@pytest.mark.model
def test_real_model_speaks_and_is_interrupted(
    recorded_server: processes.Server, visit: Callable[..., Visit]
) -> None:
    guest = visit(f"http://127.0.0.1:{recorded_server.port}/")
    guest.log_in(processes.KEY)
    expect(guest.page.locator("#voice optgroup")).to_have_count(11)
    guest.speak("Good morning. This is a sentence for a browser.")
    guest.until_spoken()
    assert " ".join(guest.lit) == "Good morning. This is a sentence for a browser."
    played = guest.played
    assert 2 < len(played) / SAMPLE_RATE_HZ < 30
    assert 0.02 < np.sqrt(np.mean(played**2)) < 0.4
    guest.speak("And this one is not going to be heard to its end, as the listener has something to say.")
    guest.hears_word("going")
    guest.page.keyboard.press("Escape")
    expect(guest.page.locator("#status")).to_contain_text("Heard up to")
    assert "And this one is" in guest.heard
    assert "to say" not in guest.heard
