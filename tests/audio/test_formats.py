"""End to end: each format and framing through a real server, with our client and with another one."""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest
import trio
from attrs import evolve
from numpy.typing import NDArray
from websockets.sync.client import connect as connect_plainly

from kokoro_trio.audio.opus_decoder import OpusDecoder, pages
from kokoro_trio.audio.resampling import Resampler
from kokoro_trio.client import RequestFailed, Session, Speech, connect
from kokoro_trio.engine.engine import EngineStatistics
from kokoro_trio.wire.formats import SAMPLE_RATES_HZ, decoded_rate_hz
from kokoro_trio.wire.framing import untag
from tests.support.clients import HELLO, hear, talk
from tests.support.servers import Server, in_thread, running, until, until_all_are_gone
from tests.support.sounds import descriptors, likeness

TEXT = "Hello there, my friend. How are you?"
LONG = "Once more from the beginning, if you please. " * 6
ALL = [(name, rate) for name, rates in SAMPLE_RATES_HZ.items() for rate in rates]


def connected(server: Server) -> AbstractAsyncContextManager[Session]:
    return connect("127.0.0.1", server.port, api_key="first")


async def speech_of(session: Session, text: str = TEXT) -> tuple[Speech, NDArray[np.int16]]:
    async with session.speak(text) as speech:
        return speech, await speech.read_all()


def resampled(samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.float32]:
    resampler = Resampler.to(rate_hz)
    scaled = (samples / 32_767).astype(np.float32)
    return np.concatenate([resampler.push(scaled), resampler.flush()])


class TestFormats:
    @pytest.mark.parametrize(("audio_format", "rate_hz"), ALL)
    async def test_decoded_audio_equals_pcm(self, audio_format: str, rate_hz: int) -> None:
        async with running() as server, connected(server) as session:
            _, pcm = await speech_of(session)
            started = await session.start(format=audio_format, sample_rate=rate_hz)
            speech, heard = await speech_of(session)
            assert (started.format, started.sample_rate) == (audio_format, rate_hz)
            assert session.n_stray_frames == 1
        assert speech.sample_rate_hz == decoded_rate_hz(audio_format, rate_hz)
        expected = resampled(pcm, speech.sample_rate_hz)
        assert abs(len(heard) - len(expected)) <= 1
        n = min(len(heard), len(expected))
        # At 8 kHz the edges of the tones are missing.
        assert likeness(heard[:n], expected[:n]) > 0.99
        assert speech.duration_s == pytest.approx(len(pcm) / 24_000, abs=1 / rate_hz)
        assert speech.timing.audio_s == pytest.approx(speech.duration_s, abs=1 / rate_hz)
        assert [record.end for record in server.records] == ["done", "done"]
        assert server.records[0].audio_s == pytest.approx(server.records[1].audio_s, abs=1e-3)

    async def test_meta_counts_samples_at_the_requested_rate(self) -> None:
        start = {"type": "start", "format": "mulaw", "sample_rate": 8000}
        async with running() as server:
            heard = await in_thread(talk, server.url(), start, HELLO)
        metas = [each["total_samples"] for each in heard if isinstance(each, dict) and each["type"] == "meta"]
        assert metas == [1600 * (n + 1) for n in range(len(metas))]
        assert len(metas) > 2
        frames = [len(each) for each in heard if isinstance(each, bytes)]
        assert set(frames[1:-1]) == {160}  # The first is the primer.

    async def test_word_times_are_equal_in_every_format(self) -> None:
        async with running() as server, connected(server) as session:
            await session.start(timestamps=True)
            as_pcm, _ = await speech_of(session)
            await session.start(format="opus", sample_rate=48_000)
            as_opus, _ = await speech_of(session)
        assert as_pcm.words == as_opus.words != []

    async def test_each_request_is_an_ogg_file_of_its_own(self) -> None:
        async with running() as server, connected(server) as session:
            await session.start(format="opus")
            for _ in range(2):
                speech, heard = await speech_of(session)
                its_pages = list(pages(bytes(speech.encoded)))
                assert [page.is_last for page in its_pages] == [False] * (len(its_pages) - 1) + [True]
                assert np.array_equal(OpusDecoder().decode(bytes(speech.encoded)), heard)

    async def test_rejected_format_keeps_the_previous_one(self) -> None:
        async with running() as server, connected(server) as session:
            await session.start(format="mulaw", sample_rate=8000)
            for wrong in ({"format": "flac"}, {"sample_rate": 44_100}, {"format": "opus", "sample_rate": 3}):
                with pytest.raises(RequestFailed, match="unsupported"):
                    await session.start(**wrong)
            speech, heard = await speech_of(session)
        assert len(speech.encoded) == len(heard) > 8000


class TestCancel:
    @pytest.mark.parametrize("framing", ["plain", "tagged"])
    async def test_no_opus_audio_after_canceled(self, framing: str) -> None:
        def interrupt(url: str) -> list[list[object]]:
            told: list[list[object]] = []
            with connect_plainly(url) as client:
                client.send(json.dumps({"type": "start", "format": "opus", "framing": framing}))
                for number in range(30):
                    client.send(json.dumps(HELLO | {"request_id": f"r{number}", "text": LONG * 5}))
                    n_frames = 0
                    while n_frames < 1 + 2 * number:
                        n_frames += isinstance(client.recv(timeout=10), bytes)
                    client.send(json.dumps({"type": "cancel"}))
                    told.append(ends(hear(client)))
                    # Any late audio would arrive before the answer to this.
                    client.send(json.dumps({"type": "cancel", "request_id": "never asked for"}))
                    told.append([each if isinstance(each, bytes) else each["code"] for each in hear(client)])
            return told

        async with running() as server:
            await in_thread(talk, server.url(), {"type": "start", "format": "opus"}, HELLO)
            await until_all_are_gone(server)
            n_files, n_threads = descriptors(), threading.active_count()
            told = await in_thread(interrupt, server.url())
            await until_all_are_gone(server)
            # After a step the engine opens one for a moment, to read its memory.
            await until(lambda: descriptors() <= n_files)
            await until(lambda: threading.active_count() <= n_threads + 2)
            statistics = evolve(server.engine.statistics(), steps_run=0)
        assert told[::2] == [[f"r{number}"] for number in range(30)]
        assert told[1::2] == [["unknown_request"]] * 30
        assert statistics == EngineStatistics(0, 0, 0, 0, 0, 0)
        assert Counter(record.end for record in server.records) == {"done": 1, "canceled": 30}

    async def test_client_disconnects_in_the_middle_of_opus(self) -> None:
        def leave(url: str) -> None:
            with connect_plainly(url) as client:
                client.send(json.dumps({"type": "start", "format": "opus"}))
                client.send(json.dumps(HELLO | {"text": LONG}))
                while not isinstance(client.recv(timeout=10), bytes):
                    pass

        async with running() as server:
            await in_thread(leave, server.url())
            await until_all_are_gone(server)
        assert [record.end for record in server.records] == ["disconnected"]


class TestTagged:
    @pytest.mark.parametrize(
        ("audio_format", "rate_hz"), [("pcm", 24_000), ("pcm", 16_000), ("opus", 24_000)]
    )
    async def test_concurrent_tagged_requests(self, audio_format: str, rate_hz: int) -> None:
        texts = {f"r{n} – é": f"{TEXT} {'And so on. ' * (n % 4)}" for n in range(12)}
        heard: dict[str, NDArray[np.int16]] = {}
        async with running() as server, connected(server) as session:
            await session.start(format=audio_format, sample_rate=rate_hz)
            alone = {text: (await speech_of(session, text))[1] for text in set(texts.values())}
            await session.start(framing="tagged")

            async def listen(name: str) -> None:
                async with session.speak(texts[name], request_id=name) as speech:
                    heard[name] = await speech.read_all()

            async with trio.open_nursery() as nursery:
                for name in texts:
                    nursery.start_soon(listen, name)
            assert (list(session.strays), session.n_stray_frames) == ([], 1)
        for name, text in texts.items():
            assert np.array_equal(heard[name], alone[text])

    async def test_short_request_overtakes_a_long_one(self) -> None:
        start = {"type": "start", "framing": "tagged"}
        long, short = HELLO | {"request_id": "long", "text": LONG * 3}, HELLO | {"request_id": "short"}
        async with running() as server:
            heard = await in_thread(talk, server.url(), start, long, short, until=2)
        assert ends(heard) == ["short", "long"]
        speakers = [untag(each)[0] for each in heard if isinstance(each, bytes)]
        assert speakers[0] == ""  # The primer.
        assert set(speakers[1:]) == {"long", "short"}

    async def test_too_long_request_id_is_rejected_without_closing(self) -> None:
        start = {"type": "start", "framing": "tagged"}
        too_long = HELLO | {"request_id": "é" * 128}
        async with running() as server:
            heard = await in_thread(talk, server.url(), start, too_long, HELLO, until=2)
        assert isinstance(heard[1], dict)
        assert (heard[1]["code"], heard[1]["request_id"]) == ("bad_message", too_long["request_id"])
        assert ends(heard)[-1] == "r1"


def ends(heard: Sequence[bytes | dict[str, object]]) -> list[object]:
    """The ids of the requests that ended, in order."""
    messages = (each for each in heard if isinstance(each, dict))
    return [each["request_id"] for each in messages if each["type"] in ("done", "canceled", "error")]
