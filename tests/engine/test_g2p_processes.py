"""Contract and end to end: grapheme-to-phoneme in real processes, mostly with a reader of the tests."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from websockets.sync.client import ClientConnection, connect

from kokoro_trio.config import EngineConfig, VoiceConfig
from kokoro_trio.engine import g2p_processes
from kokoro_trio.engine.engine import Engine
from kokoro_trio.engine.g2p_processes import PhonemizerProcesses, processes_for
from kokoro_trio.engine.phonemizing import Phonemizer, PhonemizerThread
from kokoro_trio.errors import BadLanguage, SynthesisFailed, TooLong
from kokoro_trio.speech import Segment, Word
from kokoro_trio.text.english import G2PUnavailable
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.lexicon import LEXICON_FILE
from kokoro_trio.text.reading import Sentence
from tests.support.models import ALPHABET, HELLO, LONG, InLoopInference, n_samples, speak
from tests.support.obedient import load_without_torch, no_log, obedient, unavailable
from tests.support.processes import start
from tests.support.servers import until

GROUP = ["setsid"]
"""Starts a server in a process group of its own, so that a signal to the group spares the tests."""


@asynccontextmanager
async def running(phonemizer: Phonemizer) -> AsyncIterator[Phonemizer]:
    async with trio.open_nursery() as nursery:
        await nursery.start(phonemizer.run, ALPHABET)
        yield phonemizer
        nursery.cancel_scope.cancel()


async def obey(phonemizer: Phonemizer, command: str) -> int:
    """Returns the id of the process that obeyed."""
    (segment,) = await phonemizer.segments(Sentence.at(command), "a", 0)
    return int(segment.phonemes)


@pytest.mark.parametrize(
    "phonemizer", [partial(PhonemizerThread, obedient), partial(PhonemizerProcesses, obedient, 1, no_log)]
)
async def test_returns_the_results_of_the_reader(phonemizer: Callable[[], Phonemizer]) -> None:
    async with running(phonemizer()) as ready:
        first, second = await ready.sentences("Hello there. It is I.", "a")
        assert (first.text, second.text, second.start_char) == ("Hello there.", "It is I.", 13)
        (segment,) = await ready.segments(second, "a", 3)
        assert segment == Segment(3, segment.phonemes, 13, 21, (Word(13, 21, 0, 1),))


async def test_engine_speaks_with_a_process(in_loop: InLoopInference) -> None:
    in_loop.step_seconds = 0.001
    engine = Engine(EngineConfig(4, 8), in_loop, PhonemizerProcesses(obedient, 1, no_log))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        assert n_samples(await speak(engine, LONG)) > n_samples(await speak(engine, HELLO)) > 0
        nursery.cancel_scope.cancel()


async def test_two_processes_read_at_the_same_time() -> None:
    phonemizer = PhonemizerProcesses(obedient, 2, no_log)
    by: list[int] = []

    async def ask() -> None:
        by.append(await obey(phonemizer, "Sleep 0.3"))

    async with running(phonemizer), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    assert len(set(by)) == 2
    assert os.getpid() not in by


async def test_busy_s_counts_while_all_processes_are_busy() -> None:
    async with running(PhonemizerProcesses(obedient, 2, no_log)) as phonemizer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(obey, phonemizer, "Sleep 60")
            await trio.testing.wait_all_tasks_blocked()
            assert phonemizer.busy_s == 0
            nursery.start_soon(obey, phonemizer, "Sleep 0.3")
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.05)
            assert 0.05 <= phonemizer.busy_s < 10
            await until(lambda: not phonemizer.busy_s)
            nursery.cancel_scope.cancel()


class TestErrors:
    async def test_errors_of_the_reader_keep_their_type_and_facts(self) -> None:
        async with running(PhonemizerProcesses(obedient, 1, no_log)) as phonemizer:
            with pytest.raises(TooLong) as caught:
                await obey(phonemizer, "Refuse")
            assert caught.value.facts() == {"max_words": 2, "got_words": 3}
            with pytest.raises(KeyError, match="missing"):
                await obey(phonemizer, "Stumble missing")
            assert await obey(phonemizer, "Work") > 0

    async def test_killed_process_fails_its_request_and_is_replaced(self) -> None:
        async with running(PhonemizerProcesses(obedient, 1, no_log)) as phonemizer:
            before = await obey(phonemizer, "Work")
            with pytest.raises(SynthesisFailed):
                await obey(phonemizer, "Die")
            assert await obey(phonemizer, "Work") != before

    async def test_process_killed_while_idle_fails_no_request(self) -> None:
        async with running(PhonemizerProcesses(obedient, 1, no_log)) as phonemizer:
            before = await obey(phonemizer, "Work")
            os.kill(before, signal.SIGKILL)
            await wait_until_gone(before)
            assert await obey(phonemizer, "Work") != before

    async def test_process_killed_before_the_end_raises_nothing(self) -> None:
        async with running(PhonemizerProcesses(obedient, 1, no_log)) as phonemizer:
            os.kill(await obey(phonemizer, "Work"), signal.SIGKILL)

    async def test_stuck_process_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running(PhonemizerProcesses(obedient, 1, no_log)) as phonemizer:
            before = await obey(phonemizer, "Work")
            monkeypatch.setattr(g2p_processes, "STUCK_AFTER_S", 0.2)
            with pytest.raises(SynthesisFailed):
                await obey(phonemizer, "Sleep 60")
            await wait_until_gone(before)
            monkeypatch.undo()
            assert await obey(phonemizer, "Work") != before

    async def test_error_of_loading_stops_the_start(self) -> None:
        with pytest.RaisesGroup(pytest.RaisesExc(G2PUnavailable, match="nowhere"), flatten_subgroups=True):
            async with running(PhonemizerProcesses(unavailable, 1, no_log)):
                pass


async def wait_until_gone(process: int) -> None:
    await until(lambda: process not in worker_processes())


@pytest.mark.slow
class TestCancel:
    async def test_cancelled_caller_returns_at_once_and_the_process_stays(self) -> None:
        async with running(PhonemizerProcesses(obedient, 1, no_log)) as phonemizer:
            before = await obey(phonemizer, "Work")
            with trio.move_on_after(0.05) as left:
                await obey(phonemizer, "Sleep 2")
            assert left.cancelled_caught
            assert trio.current_time() - left.deadline < 1
            assert await obey(phonemizer, "Work") == before

    async def test_cancelled_waiting_callers_leave_no_work(self) -> None:
        async with (
            running(PhonemizerProcesses(obedient, 1, no_log)) as phonemizer,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(obey, phonemizer, "Sleep 0.3")
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as canceled:
                for _ in range(10):
                    canceled.start_soon(obey, phonemizer, "Sleep 60")
                await trio.sleep(0.1)
                canceled.cancel_scope.cancel()
            with trio.fail_after(10):
                await obey(phonemizer, "Work")


@pytest.mark.slow
class TestEnd:
    async def test_busy_and_idle_processes_end(self) -> None:
        phonemizer = PhonemizerProcesses(obedient, 2, no_log)
        async with trio.open_nursery() as requests:
            async with running(phonemizer):
                idle = await obey(phonemizer, "Work")
                requests.start_soon(obey, phonemizer, "Sleep 60")
                await trio.sleep(0.1)
                children = worker_processes()
                assert idle in children
                assert len(children) == 2
                began_at = trio.current_time()
            assert trio.current_time() - began_at < 5
            requests.cancel_scope.cancel()
        for process in children:
            await wait_until_gone(process)


def worker_processes() -> set[int]:
    children = multiprocessing.active_children()
    return {child.pid for child in children if child.pid and child.name.startswith("trio-parallel")}


@pytest.mark.parametrize(("cores", "processes"), [(1, 0), (2, 0), (4, 0), (5, 1), (8, 2), (16, 4), (128, 4)])
def test_number_of_processes_for_a_machine(cores: int, processes: int) -> None:
    assert processes_for(cores) == processes


@pytest.fixture
def voices(tmp_path: Path) -> VoiceConfig:
    return VoiceConfig(female="af_aoede", male="am_michael", custom_folder=tmp_path)


async def test_real_reader_in_a_process(g2p: GraphemeToPhoneme, voices: VoiceConfig) -> None:
    async with running(PhonemizerProcesses(partial(load_without_torch, voices), 1, no_log)) as phonemizer:
        for text, language in (("It's $3.50, Dr. Zxqwv. Über alles.", "a"), ("Où est-elle ?", "f")):
            sentences = await phonemizer.sentences(text, language)
            for sentence, expected in zip(sentences, g2p.sentences(text, language), strict=True):
                assert sentence.text == expected.text
                assert await phonemizer.segments(sentence, language, 0) == g2p.segments(expected, language, 0)
        with pytest.raises(BadLanguage) as caught:
            await phonemizer.segments(Sentence.at("Hm."), "?", 0)
        assert caught.value.got == "?"
        (voices.custom_folder / LEXICON_FILE).write_text('{"Zxqwv": "hˈWdi"}', encoding="utf-8")
        (segment,) = await phonemizer.segments(Sentence.at("Zxqwv."), "a", 0)
        assert segment.phonemes == "hˈWdi."


class TestServer:
    """The whole server, with tones and spelling."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signal_to_the_process_group_drains(self, tmp_path: Path, number: signal.Signals) -> None:
        """A terminal sends it like this, and so does systemd."""
        knobs = {"G2P_PROCESSES": "2", "MAX_CONCURRENT_JOBS": "1", "TONES_STEP_S": "0.1"}
        server = start(tmp_path, None, "tests.support.tones", within=GROUP, **knobs)
        try:
            server.wait_until_ready()
            with connect(server.url) as client:
                for text in (LONG.text, HELLO.text):
                    client.send(json.dumps({"type": "speak", "text": text}))
                assert said(client, "started_speak")
                os.killpg(server.process.pid, number)
                # The second text is read after the signal, when the first has been spoken.
                assert [said(client, "done"), said(client, "done")] == [True, True]
            assert server.process.wait(30) == 0
        finally:
            server.process.kill()
            server.process.wait()
        log = (tmp_path / "server.log").read_text()
        assert '"event": "shutting_down"' in log
        assert "Traceback" not in log
        assert '"level": "error"' not in log

    def test_signal_during_the_start_logs_no_traceback(self, tmp_path: Path) -> None:
        server = start(tmp_path, None, "tests.support.tones", within=GROUP, G2P_PROCESSES="2")
        try:
            while not workers_of(server.process.pid):
                assert server.process.poll() is None
                time.sleep(0.005)
            time.sleep(0.1)
            os.killpg(server.process.pid, signal.SIGINT)
            assert server.process.wait(30) == 0
        finally:
            server.process.kill()
            server.process.wait()
        give_up_at = time.monotonic() + 60
        while workers_of(server.process.pid):  # They end when they have started and find their pipe closed.
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        log = (tmp_path / "server.log").read_text()
        assert "shutting_down" in log
        assert "Traceback" not in log


def workers_of(server: int) -> list[int]:
    """The running workers in the server's process group, even if the server has ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It may end meanwhile.
            group = int((folder / "stat").read_text().rpartition(")")[2].split()[2])
            if group == server and "spawn_main" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


def said(client: ClientConnection, kind: str) -> bool:
    """Waits for a message of this type; False if an error comes first."""
    while True:
        frame = client.recv(timeout=30)
        found = json.loads(frame)["type"] if isinstance(frame, str) else None
        if found in (kind, "error"):
            return bool(found == kind)
