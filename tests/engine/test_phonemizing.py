"""Unit: the thread that turns text into phonemes, with a reader that waits for the test."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from kokoro_trio.engine import phonemizing
from kokoro_trio.engine.phonemizing import PhonemizerThread
from kokoro_trio.speech import Segment
from kokoro_trio.text.reading import Sentence, read
from tests.support.servers import until


class BlockedReader:
    """Waits for `go_on` before it reads `Wait.`"""

    sentences = staticmethod(read)

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.n_begun = 0

    def segments(self, sentence: Sentence, language: str, first_index: int) -> list[Segment]:
        self.n_begun += 1
        if sentence.text == "Wait.":
            assert self.go_on.wait(60)
        return []


@pytest.fixture
def reader() -> Iterator[BlockedReader]:
    reader = BlockedReader()
    yield reader
    reader.go_on.set()


async def until_busy(phonemizer: PhonemizerThread) -> None:
    await until(lambda: phonemizer.busy_s > 0)


async def read_out(phonemizer: PhonemizerThread, text: str) -> None:
    await phonemizer.segments(Sentence.at(text), "a", 0)


async def test_busy_s_counts_from_when_the_thread_began(reader: BlockedReader) -> None:
    phonemizer = PhonemizerThread(lambda alphabet: reader)
    async with trio.open_nursery() as nursery:
        await nursery.start(phonemizer.run, frozenset())
        assert phonemizer.busy_s == 0
        async with trio.open_nursery() as readings:
            readings.start_soon(read_out, phonemizer, "Wait.")
            await until_busy(phonemizer)
            readings.start_soon(read_out, phonemizer, "Then this.")
            before_s = phonemizer.busy_s
            await trio.sleep(0.01)
            assert phonemizer.busy_s > before_s
            reader.go_on.set()
        assert phonemizer.busy_s == 0
        nursery.cancel_scope.cancel()


async def test_cancelled_caller_leaves_at_once_and_the_next_waits_for_the_thread(
    reader: BlockedReader,
) -> None:
    phonemizer = PhonemizerThread(lambda alphabet: reader)
    async with trio.open_nursery() as nursery:
        await nursery.start(phonemizer.run, frozenset())
        async with trio.open_nursery() as canceled:
            canceled.start_soon(read_out, phonemizer, "Wait.")
            await until_busy(phonemizer)
            canceled.cancel_scope.cancel()
        assert not reader.go_on.is_set()
        with trio.move_on_after(0.05) as waiting:
            await read_out(phonemizer, "Then this.")
        assert waiting.cancelled_caught
        assert reader.n_begun == 1
        reader.go_on.set()
        await read_out(phonemizer, "Then this.")
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def shutting_down(phonemizer: PhonemizerThread) -> AsyncIterator[trio.Nursery]:
    """Shuts down during a sentence. The block ends when the shutdown has ended."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(phonemizer.run, frozenset())
            nursery.start_soon(read_out, phonemizer, "Wait.")
            await until_busy(phonemizer)
            nursery.cancel_scope.cancel()
            yield nursery


async def test_shutdown_waits_for_the_current_sentence(reader: BlockedReader) -> None:
    phonemizer = PhonemizerThread(lambda alphabet: reader)
    async with shutting_down(phonemizer) as nursery:
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks, "the shutdown did not wait"
            reader.go_on.set()
    assert phonemizer.busy_s == 0


async def test_shutdown_gives_up_on_a_stuck_sentence(
    reader: BlockedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phonemizing, "LAST_SENTENCE_S", 0.05)
    async with shutting_down(PhonemizerThread(lambda alphabet: reader)):
        pass
    assert not reader.go_on.is_set()
