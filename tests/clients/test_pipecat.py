"""End to end: Pipecat pipelines with our service, in processes of their own, against the real server."""

import json
import os
import sys
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from kokoro_trio.config import REPOSITORY
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.wire.messages import WEBSOCKET_PATH
from tests.support.bots import LONG, Report, Script, bot
from tests.support.clients import talk
from tests.support.models import LeisurelyTones
from tests.support.peers import Peer, serving
from tests.support.processes import Server as RealServer
from tests.support.processes import free_port, start
from tests.support.processes import running as run_server
from tests.support.readme import snippet
from tests.support.servers import CONFIG, Server, in_thread, running

ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}


TWO_TURNS: Script = [
    ["turn", "Hello there, my friend. How are you ", "today? I am fine."],
    ["until", "stopped"],
    ["turn", "And here is another one."],
    ["until", "stopped", 2],
]


async def run_bot(url: str, script: Script, *, timeout_s: float = 60, **options: Any) -> Report:  # noqa: ANN401
    async with bot(url, script, timeout_s=timeout_s, **options) as started:
        return await started.report()


async def serve_at(
    port: int, load: Callable[[], Synthesizer], ready: bool = True, *, task_status: trio.TaskStatus[Server]
) -> None:
    """Serves until the server's scope is canceled, which cuts its connections off."""
    async with running(listen=evolve(CONFIG.listen, port=port), load=load, ready=ready) as server:
        task_status.started(server)
        await trio.sleep_forever()


@asynccontextmanager
async def restarted(
    script: Script, load: Callable[[], Synthesizer] = ToneSynthesizer, *, drains: bool = False
) -> AsyncIterator[tuple[Server, Server, Report]]:
    """The bot's first server, the server that replaces it when the bot asks, and the bot's report.

    `drains`: the first server finishes the outstanding requests.
    """
    port = free_port()
    async with trio.open_nursery() as nursery:
        first: Server = await nursery.start(serve_at, port, load)
        async with bot(first.url(), script) as started:
            await started.asks("restart")
            if drains:
                nursery.start_soon(first.listener.drain, 30)
                await started.goes_on()
                while first.listener.readiness().connections:
                    await trio.sleep(0.1)
            first.scope.cancel()
            await trio.sleep(0.5)
            second: Server = await nursery.start(serve_at, port, load)
            if not drains:
                await started.goes_on()
            yield first, second, await started.report()
        nursery.cancel_scope.cancel()


async def test_two_turns_on_one_connection_with_context_and_metrics() -> None:
    async with running() as server:
        report = await run_bot(server.url(), TWO_TURNS)
    assert report.context == [
        "Hello there, my friend. How are you today? I am fine.",
        "And here is another one.",
    ]
    assert [record.end for record in server.records] == ["done"] * 4
    assert len(report.of("on_connected")) == 1
    spoken_s = sum(record.audio_s for record in server.records)
    assert spoken_s <= report.played_s < spoken_s + 0.2
    # Pipecat reports a zero for each service at the start.
    ttfb_s = [value for (value,) in report.of("TTFBMetricsData") if value > 0]
    assert len(ttfb_s) == 2
    assert max(ttfb_s) < 5
    assert sum(n_characters for (n_characters,) in report.of("TTSUsageMetricsData")) == 75
    assert not report.of("error")


@pytest.mark.slow
async def test_words_are_pushed_when_they_are_heard() -> None:
    async with running() as server:
        report = await run_bot(server.url(), [["turn", "One two. Three four."], ["until", "stopped"]])
    assert report.words == ["One", "two", "Three", "four"]
    # Each sentence begins with the same silence.
    of_sentences_s = report.at("word", 2) - report.at("word", 0)
    assert of_sentences_s == pytest.approx(server.records[0].audio_s, abs=0.2)


@pytest.mark.slow
async def test_interruption_cancels_and_keeps_the_connection() -> None:
    script: Script = [
        ["turn", f"Hello there, my friend. {LONG} {LONG}"],
        ["until_played", 3.0],
        ["interrupt"],
        ["sleep", 1.0],
        ["turn", "Another turn."],
        ["until", "stopped"],
    ]
    async with running(load=LeisurelyTones) as server:
        report = await run_bot(server.url(), script)
    ends = [record.end for record in server.records]
    assert ends[0] == "done"
    assert ends[1:-1] == ["canceled", "canceled"]
    assert ends[-1] == "done"
    assert len(report.of("on_connected")) == 1
    interrupted, following = report.context
    assert f"Hello there, my friend. {LONG}".startswith(interrupted)
    assert len("Hello there, my friend.") < len(interrupted) < 60
    assert following == "Another turn."
    words_after = [
        event for event in report.events if event[1] == "word" and event[0] > report.at("interrupted")
    ]
    assert [word for _, _, word in words_after] == ["Another", "turn"]
    assert 3.0 <= report.played_s - server.records[-1].audio_s < 3.3


async def test_uninterruptible_frame_is_spoken_to_its_end() -> None:
    script: Script = [
        ["speak", "This must be heard to the end.", False],
        ["turn", f"{LONG} {LONG}"],
        ["until_played", 1.0],
        ["interrupt"],
        ["until", "stopped"],
    ]
    async with running(load=LeisurelyTones) as server:
        report = await run_bot(server.url(), script)
    assert sorted(record.end for record in server.records) == ["canceled", "canceled", "done"]
    assert report.words == ["This", "must", "be", "heard", "to", "the", "end"]
    spoken_s = next(record.audio_s for record in server.records if record.end == "done")
    assert report.played_s == pytest.approx(spoken_s, abs=0.2)


async def test_speech_in_the_middle_of_a_turn_follows_the_turn() -> None:
    script: Script = [
        ["begin", "One two. Three"],
        ["speak", "And five."],
        ["end", " four."],
        ["until", "stopped", 2],
    ]
    async with running() as server:
        report = await run_bot(server.url(), script)
    assert report.words == ["One", "two", "Three", "four", "And", "five"]
    assert [record.end for record in server.records] == ["done"] * 3


async def test_reconnects_after_a_restart_between_two_turns() -> None:
    async with restarted([*TWO_TURNS[:2], ["ask", "restart"], *TWO_TURNS[2:]]) as (_, second, report):
        assert [record.end for record in second.records] == ["done"]
    assert len(report.context) == 2
    assert len(report.of("on_connected")) == 2


async def test_resumes_in_mid_sentence_after_a_restart() -> None:
    text = f"{LONG} And so it ends."
    script: Script = [["turn", text], ["until_played", 1.5], ["ask", "restart"], ["until", "stopped"]]
    async with restarted(script, LeisurelyTones) as (first, second, report):
        assert [record.end for record in first.records] == ["disconnected"] * 2
        assert [record.end for record in second.records] == ["done"] * 2
        await in_thread(talk, second.url(), {"type": "speak", "text": LONG})
        whole_s = second.records.pop().audio_s
    assert report.context == [text]
    assert report.words == [word.strip(",.") for word in text.split()]
    assert [word for (word,) in report.of("error")] == []
    # The beginning of the interrupted word, and the silence before a first word, are heard twice.
    in_two_parts_s = sum(record.audio_s for record in first.records) + second.records[0].audio_s
    assert whole_s <= in_two_parts_s < whole_s + 1
    assert in_two_parts_s <= report.played_s - second.records[1].audio_s < in_two_parts_s + 0.2


async def test_text_sent_without_a_server_is_spoken_after_the_reconnect() -> None:
    script: Script = [["ask", "restart"], *TWO_TURNS]
    async with restarted(script) as (_, second, report):
        assert [record.end for record in second.records] == ["done"] * 4
    assert len(report.context) == 2


async def test_draining_server_finishes_its_sentence_and_the_next_server_speaks_the_rest() -> None:
    script: Script = [
        ["begin", f"{LONG} And"],
        ["until_played", 0.5],
        ["ask", "restart"],
        ["end", " so it ends."],
        ["until", "stopped"],
    ]
    async with restarted(script, LeisurelyTones, drains=True) as (first, second, report):
        assert [record.end for record in first.records] == ["done"]
        assert [record.end for record in second.records] == ["done"]
    assert report.context == [f"{LONG} And so it ends."]
    assert not report.of("error")


async def test_retries_while_the_server_is_loading() -> None:
    """A loading server rejects the handshake with 503 and a Retry-After."""
    port = free_port()
    async with trio.open_nursery() as nursery:
        loading: Server = await nursery.start(serve_at, port, ToneSynthesizer, False)
        async with bot(loading.url(), TWO_TURNS) as started:
            await trio.sleep(4)
            loading.scope.cancel()
            await trio.sleep(0.5)
            await nursery.start(serve_at, port, ToneSynthesizer)
            report = await started.report()
        nursery.cancel_scope.cancel()
    assert len(report.context) == 2
    assert not report.of("error")


async def test_changed_settings_hold_from_the_next_sentence_on() -> None:
    script: Script = [
        ["turn", "Hello there."],
        ["until", "stopped"],
        ["change", {"voice": "am_michael", "speed": 2.0}],
        ["turn", "Hello there."],
        ["until", "stopped", 2],
    ]
    async with running() as server:
        report = await run_bot(server.url(), script, settings={"voice": "af_heart", "speed": 0.5})
    assert [record.voice for record in server.records] == ["af_heart", "am_michael"]
    slow_s, fast_s = (record.audio_s for record in server.records)
    assert slow_s > 2 * fast_s
    assert len(report.of("on_connected")) == 1


async def test_unknown_voice_is_an_error_until_the_settings_change() -> None:
    script: Script = [
        ["turn", "Nobody says this."],
        ["until", "stopped"],
        ["turn", "Nor this."],
        ["until", "stopped", 2],
        ["change", {"voice": "am_michael"}],
        ["turn", "But this."],
        ["until", "stopped", 3],
    ]
    async with running() as server:
        report = await run_bot(server.url(), script, settings={"voice": "nobody"})
    ((message, category),) = report.of("error")
    assert "nobody" in message
    assert category == "invalid_request"
    assert [(record.voice, record.end) for record in server.records] == [("am_michael", "done")]


async def test_refused_text_fails_its_own_sentence() -> None:
    script: Script = [["speak", "..."], ["until", "stopped"], *TWO_TURNS[2:]]
    async with running() as server:
        report = await run_bot(server.url(), script)
    assert "unpronounceable" in report.of("error")[0][0]
    assert server.records[-1].end == "done"
    assert report.context[-1] == "And here is another one."


async def test_wrong_key_is_an_error_at_once_and_blocks_no_turn() -> None:
    async with running() as server:
        url = server.url(key="wrong")
        report = await run_bot(url, [["until", "error"], ["turn", "Hello."], ["until", "stopped"]])
    ((message, category),) = report.of("error")
    assert "401" in message
    assert "wrong" not in message
    assert category == "authentication"


async def test_give_up_is_an_error_and_the_next_turn_retries() -> None:
    port = free_port()
    script: Script = [["turn", "Nobody is there."], ["until", "stopped"], ["ask", "start"], *TWO_TURNS[2:]]
    async with bot(f"ws://127.0.0.1:{port}{WEBSOCKET_PATH}?api_key=first", script, patience_s=1) as started:
        await started.asks("start")
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(serve_at, port, ToneSynthesizer)
            await started.goes_on()
            report = await started.report()
            nursery.cancel_scope.cancel()
    assert report.of("error")[0][1] == "connectivity"
    assert [record.end for record in server.records] == ["done"]


async def test_malformed_message_is_an_error_and_drops_its_connection() -> None:
    n_connections = 0

    async def speak(peer: Peer) -> None:
        nonlocal n_connections
        n_connections += 1
        await peer.hear("start")
        await peer.say("started", voice="v", format="pcm", sample_rate=24000, timestamps=True)
        speak = await peer.hear("speak")
        if n_connections == 1:
            await peer.websocket.send_message('{"no": "type"}')
            await trio.sleep_forever()
        await peer.speak(speak["request_id"], 1, 2)
        await trio.sleep_forever()

    async with serving(speak) as port:
        url = f"ws://127.0.0.1:{port}"
        report = await run_bot(url, [["turn", "Hello there."], ["until", "stopped"]])
    assert [message for message, _ in report.of("error")] == [
        """the server sent a malformed message: '{"no": "type"}'"""
    ]
    assert report.played_s == pytest.approx(0.04, abs=0.02)
    assert n_connections == 2


@pytest.mark.parametrize("patience_s", [0.5, 5], ids=["patience_ends_first", "tries_end_first"])
async def test_silent_server_is_an_error(patience_s: float) -> None:
    async def say_nothing(peer: Peer) -> None:
        while True:
            await peer.websocket.get_message()

    script: Script = [["turn", "Hello there."], ["until", "error"]]
    async with serving(say_nothing) as port:
        report = await run_bot(f"ws://127.0.0.1:{port}", script, connect_timeout_s=0.2, patience_s=patience_s)
    message, category = report.of("error")[0]
    assert "the server sent nothing within 0.2 s" in message
    assert category == "connectivity"


async def test_text_outside_of_a_turn_is_spoken_and_ends() -> None:
    script: Script = [["speak", "Welcome."], ["text", "Loose text. More"], ["until", "stopped", 2]]
    async with running() as server:
        report = await run_bot(server.url(), script)
    assert [record.end for record in server.records] == ["done", "done"]
    assert report.words == ["Welcome", "Loose", "text"]


async def test_pause_of_the_language_model_delays_the_following_words() -> None:
    script: Script = [["begin", "One two. Three"], ["sleep", 3.5], ["end", " four."], ["until", "stopped"]]
    async with running() as server:
        report = await run_bot(server.url(), script)
    assert report.words == ["One", "two", "Three", "four"]
    assert report.at("word", 2) > report.at("started") + 3.4
    assert len(report.of("started")) == 1
    assert report.context == ["One two. Three four."]


@pytest.mark.parametrize(("pipeline_rate_hz", "rate_hz"), [(16000, 16000), (32000, 24000)])
async def test_sample_rate_is_that_of_the_pipeline_if_supported(pipeline_rate_hz: int, rate_hz: int) -> None:
    async with running() as server:
        report = await run_bot(server.url(), TWO_TURNS[:2], pipeline_rate_hz=pipeline_rate_hz)
    assert report.rate_hz == rate_hz
    assert report.played_s == pytest.approx(sum(record.audio_s for record in server.records), abs=0.2)


async def test_bot_of_the_readme_writes_its_speech_into_a_file(tmp_path: Path) -> None:
    code = snippet("# bot.py")
    async with running() as server:
        assert ":8000/" in code
        code = code.replace(":8000/", f":{server.port}/")
        command = [sys.executable, "-c", code]
        with trio.fail_after(60):
            await trio.run_process(
                command,
                stdin=b"Hello there.\nIt is raining.\n",
                cwd=tmp_path,
                env=ENVIRONMENT | {"KOKORO_API_KEY": "first"},
            )
    assert [record.end for record in server.records] == ["done"] * 4
    with wave.open(str(tmp_path / "bot.wav")) as written:
        written_s = written.getnframes() / written.getframerate()
    assert written_s == pytest.approx(sum(record.audio_s for record in server.records), abs=0.01)


def test_readme_names_the_lines_of_the_bot_that_change() -> None:
    code = snippet("# bot.py")
    assert '[Parrot(), tts, WavFile("bot.wav")]' in code
    assert "for line in sys.stdin:" in code
    assert "EndFrame()" in code


@pytest.fixture
def real_server(tmp_path: Path) -> Iterator[RealServer]:
    with run_server(tmp_path) as started:
        yield started


@pytest.mark.model
@pytest.mark.slow
async def test_interruption_with_the_real_model(real_server: RealServer) -> None:
    script: Script = [
        ["turn", "Hello there, my friend. How are you?"],
        ["until", "stopped"],
        ["turn", " ".join([LONG] * 4)],
        ["until_played", 3.0],
        ["interrupt"],
        ["sleep", 1.0],
        ["turn", "Another turn."],
        ["until", "stopped", 2],
    ]
    log = real_server.logs / "metrics.log"
    n_before = len(log.read_text().splitlines()) if log.exists() else 0
    report = await run_bot(real_server.url, script, timeout_s=300)
    ends = [json.loads(line)["end"] for line in log.read_text().splitlines()[n_before:]]
    assert ends[:2] == ["done", "done"]
    assert "canceled" in ends
    assert ends[-1] == "done"
    assert len(report.of("on_connected")) == 1
    first, interrupted, last = report.context
    assert (first, last) == ("Hello there, my friend. How are you?", "Another turn.")
    assert " ".join([LONG] * 4).startswith(interrupted)
    # Speech has about three words a second.
    assert 3 < len(interrupted.split()) < 20
    assert not report.of("error")


@pytest.mark.model
@pytest.mark.slow
async def test_resumes_after_a_kill_of_the_real_server(tmp_path: Path) -> None:
    """The kill comes in mid-sentence; the next server starts at once on the same port."""
    script: Script = [
        ["turn", f"{LONG} And so it ends."],
        ["until_played", 2.0],
        ["ask", "restart"],
        ["until", "stopped"],
        ["turn", "Another turn."],
        ["until", "stopped", 2],
    ]
    server = start(tmp_path)
    try:
        await in_thread(server.wait_until_ready)
        async with bot(server.url, script, timeout_s=900, patience_s=600) as started:
            await started.asks("restart")
            server.process.kill()
            server.process.wait()
            server = start(tmp_path, server.port)
            await started.goes_on()
            report = await started.report()
    finally:
        server.process.kill()
        server.process.wait()
    assert report.context == [f"{LONG} And so it ends.", "Another turn."]
    assert " ".join(report.words) == f"{LONG} And so it ends. Another turn."
    assert len(report.of("on_connected")) == 2
    assert not report.of("error")
