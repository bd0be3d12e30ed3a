"""Session: the bench of the engine itself, with tones on virtual time; and what it imports."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch
import trio
from attrs import frozen

from bench.floors import Floors, Speed, Work
from bench.gpu import CARRIED, HEAD, PhonemeBook, Room, Rung, SoundsUnlike, check, row
from bench.sentences import SENTENCES, read_sentences
from kokoro_trio.config import EngineConfig
from kokoro_trio.engine.engine import Engine
from kokoro_trio.model.synthesizer import ToneSynthesizer
from kokoro_trio.speech import MAX_SEGMENT_PHONEMES, Line, Prosody, Samples, Window
from tests.support.models import ALPHABET, InLoopInference
from tests.support.processes import output_of

THERE = {
    *("attrs", "filelock", "huggingface-hub", "markdown-it-py", "numpy", "regex", "safetensors", "torch"),
    *("tqdm", "transformers"),
    # huggingface-hub brings h11; transformers imports soxr where it is installed.
    *("h11", "soxr"),
    "kokoro-trio",
}
"""On a machine with torch and transformers, and nothing else of this project's own."""


class TestPhonemeBook:
    def test_has_the_sentences_of_the_bench(self) -> None:
        texts = [*read_sentences(SENTENCES), *read_sentences(SENTENCES.with_name("six_sentences.txt"))]
        assert PhonemeBook.read().texts == texts

    def test_is_in_the_alphabet(self) -> None:
        for segments in PhonemeBook.read().phonemes.values():
            assert segments
            for phonemes in segments:
                assert set(phonemes) <= ALPHABET
                assert 0 < len(phonemes) <= MAX_SEGMENT_PHONEMES


def test_it_needs_nothing_that_is_not_carried() -> None:
    """Of what this project and kokoro's package require, the G2P and the server among it."""
    program = """
import sys
from importlib.metadata import packages_distributions, requires
import bench.gpu
bench.gpu.load_without_g2p()
import bench.floors, bench.quality, kokoro_trio.model.kokoro, kokoro_trio.weights.prepared, safetensors.torch
from packaging.requirements import Requirement
said = [Requirement(one) for name in ("kokoro-trio", "kokoro") for one in requires(name)]
required = {one.name for one in said if "extra ==" not in str(one.marker)}
of = packages_distributions()
imported = {one for name in sys.modules for one in of.get(name.partition(".")[0], ())}
print(*(one for one in required if one.lower() in {name.lower().replace("_", "-") for name in imported}))
"""
    imported = {name.lower() for name in output_of("-c", program).split()}
    assert {"kokoro", "trio", "sentencex"} <= imported
    assert imported - THERE <= {name.lower() for name in CARRIED}


BOOK = PhonemeBook({"Ab.": ["ab."], "Cd efgh.": ["cd", "efgh."]})


@asynccontextmanager
async def running(inference: InLoopInference) -> AsyncIterator[Engine]:
    engine = Engine(EngineConfig(max_concurrent_jobs=8, queue_maxsize=100), inference, BOOK)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield engine
        nursery.cancel_scope.cancel()


class TestRoom:
    async def test_listeners_hear_one_sentence_after_the_other(self, autojump_clock: None) -> None:
        async with running(InLoopInference()) as engine:
            room = Room(engine, BOOK.texts, is_paced=True)
            await room.run(3, seconds=30.0)
        # 0.7 and 1.5 s, and half a second of pause in the mean, from 2 s on in the mean.
        assert 35 < len(room.heard) < 75
        # Prosody and a window; up to two listeners are served before.
        assert min(heard.ttfb_s for heard in room.heard) == pytest.approx(0.2)
        # Ten frames of silence lie at the head of the tones.
        assert all(heard.ttfa_s - heard.ttfb_s == pytest.approx(0.25, abs=0.01) for heard in room.heard)
        assert room.audio_s < 3 * 30
        assert room.n_failed == 0

    async def test_flat_out_nobody_takes_a_moment(self, autojump_clock: None) -> None:
        async with running(InLoopInference(step_seconds=0.01)) as engine:
            room = Room(engine, BOOK.texts, is_paced=False)
            await room.run(3, seconds=10.0)
        assert room.audio_s > 3 * 10

    async def test_who_runs_dry_is_seen(self, autojump_clock: None) -> None:
        async with running(InLoopInference(step_seconds=1.5)) as engine:
            room = Room(engine, ["Cd efgh."], is_paced=True)
            await room.run(1, seconds=30.0)
        # The second segment takes two steps, while the first, of 0.65 s, is heard.
        assert all(heard.gap_s == pytest.approx(3.0 - 0.65) for heard in room.heard)

    async def test_a_failure_is_counted(self, autojump_clock: None) -> None:
        @frozen
        class Broken(ToneSynthesizer):
            def vocode(self, windows: Sequence[Window]) -> list[Samples]:
                raise RuntimeError("no sound")

        async with running(InLoopInference(Broken())) as engine:
            room = Room(engine, BOOK.texts, is_paced=False)
            await room.run(1, seconds=1.0)
        assert room.n_failed >= 4
        assert not room.heard


class TestCheck:
    def test_the_same_is_alike(self) -> None:
        likeness = check(ToneSynthesizer(max_batch=2), ToneSynthesizer(), BOOK, 0.5)
        assert (likeness.n_segments, likeness.distance_worst) == (3, 0.0)

    def test_other_durations_are_not(self) -> None:
        with pytest.raises(SoundsUnlike, match=r"other durations for 'ab\.'"):
            check(ToneSynthesizer(frames_per_phoneme=4), ToneSynthesizer(), BOOK, 0.5)

    def test_another_sound_is_not(self) -> None:
        with pytest.raises(SoundsUnlike, match=r"dB apart, at most 0\.5"):
            check(ToneSynthesizer(level=0.1), ToneSynthesizer(), BOOK, 0.5)

    def test_no_sound_at_all_is_not(self) -> None:
        @frozen
        class Noisy(ToneSynthesizer):
            def vocode(self, windows: Sequence[Window]) -> list[Samples]:
                return [np.full(window.n_samples, np.nan, np.float32) for window in windows]

        with pytest.raises(SoundsUnlike, match="nan dB"):
            check(Noisy(), ToneSynthesizer(), BOOK, 0.5)

    def test_noise_is_drawn_alike_meanwhile_only(self) -> None:
        drawn: list[torch.Tensor] = []

        @frozen
        class Drawing(ToneSynthesizer):
            def prosody(self, lines: Sequence[Line]) -> list[Prosody]:
                drawn.append(torch.randn_like(torch.zeros(5)))
                return super().prosody(lines)

        check(Drawing(), Drawing(), PhonemeBook({"Ab.": ["ab."]}), 0.5)
        assert drawn[-1].equal(drawn[-2])
        assert not torch.randn_like(torch.zeros(5)).equal(torch.randn_like(torch.zeros(5)))


class TestFloors:
    def test_counts_products_and_what_they_read_and_write(self) -> None:
        convolution = torch.nn.Conv2d(8, 16, (1, 3))
        x = torch.randn(1, 8, 1, 30)
        with torch.inference_mode():
            work = Work.of(lambda: convolution(x).sin())
        assert work.flop == 2 * 8 * 16 * 3 * 28
        assert work.n_bytes == 4 * (8 * 30 + 16 * 28 + 16 * 8 * 3 + 16)

    def test_are_of_the_speed_of_the_device(self) -> None:
        floors = Floors.of(Work(flop=1000, n_bytes=600), Speed(flop_per_s=1e6, bytes_per_s=2e6), audio_s=0.5)
        assert floors.arithmetic_s == pytest.approx(2e-3)
        assert floors.memory_s == pytest.approx(6e-4)
        assert floors.xrt == pytest.approx(500)

    def test_the_speed_is_measured(self) -> None:
        speed = Speed.of(torch.device("cpu"), torch.float32, tf32=False, size=64)
        assert 1e6 < speed.flop_per_s < 1e14
        assert 1e6 < speed.bytes_per_s < 1e13


def test_a_row_for_a_rung_in_which_nothing_was_heard() -> None:
    nothing = (float("nan"), float("nan"))
    rung = Rung(
        128, 0, 3, 0, nothing, nothing, nothing, nothing, float("nan"), float("nan"), 0.5, None, 0.0, 0.97
    )
    assert len(row(rung).split()) == len(HEAD.replace(" ms", "_ms").replace("in step", "in_step").split())
    assert row(rung).split()[-1] == "97%"
