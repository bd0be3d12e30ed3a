"""Unit: the runner of graphs, with a fake capture."""

from collections.abc import Callable, Sequence

import pytest
import structlog.testing
import torch
from attrs import define, field
from torch import Tensor

from kokoro_trio.model.batching import BatchShape
from kokoro_trio.model.graphs import EagerRunner, GraphRunner
from kokoro_trio.model.vocoder import WindowBatch
from kokoro_trio.speech import FRAME_SAMPLES
from tests.support.vocoders import CpuCapture, affine, material, small_vocoder

REPLAYS_OF_A_CHECK = 2
"""Runs that check whether a new graph is empty."""


@define
class Doubling:
    n_rows: list[int] = field(factory=list)

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        (x,) = inputs
        self.n_rows.append(len(x))
        return 2 * x


def test_each_key_is_captured_once_and_then_replayed() -> None:
    capture = CpuCapture()
    runner = GraphRunner(capture)
    for key in ("a", "b", "a", "a", "b"):
        assert runner.run(key, 2, [torch.ones(2, 3)], Doubling()).eq(2).all()
    assert (capture.n_captures, capture.n_replays) == (2, 5 + 2 * REPLAYS_OF_A_CHECK)
    assert runner.n_graphs == 2


def test_missing_rows_are_padded_and_dropped() -> None:
    runner, doubling = GraphRunner(CpuCapture()), Doubling()
    for value, n_rows in ((1.0, 4), (3.0, 1), (5.0, 3)):
        made = runner.run("a", 4, [torch.full((n_rows, 2), value)], doubling)
        assert made.shape == (n_rows, 2)
        assert made.eq(2 * value).all()
    assert set(doubling.n_rows) == {4}


def test_result_survives_the_next_replay() -> None:
    runner = GraphRunner(CpuCapture())
    first = runner.run("a", 1, [torch.ones(1, 2)], Doubling())
    runner.run("a", 1, [torch.zeros(1, 2)], Doubling())
    assert first.eq(2).all()


def test_failed_capture_runs_eagerly_and_is_logged_once() -> None:
    runner = GraphRunner(CpuCapture(failure=RuntimeError("operation not permitted when stream is capturing")))
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert runner.run("a", 4, [torch.ones(1, 2)], Doubling()).eq(2).all()
    assert [line["event"] for line in logs] == ["graph_not_captured"]
    assert "not permitted" in logs[0]["reason"]


def test_empty_graph_is_not_replayed() -> None:
    """torch captures nothing from another device or stream."""

    def capture_nothing(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        made = run()
        return lambda: made

    runner = GraphRunner(capture_nothing)
    with structlog.testing.capture_logs() as logs:
        for value in (1.0, 3.0):
            assert runner.run("a", 4, [torch.full((1, 2), value)], Doubling()).eq(2 * value).all()
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("graph_not_captured", "the graph is empty")
    ]
    assert runner.n_graphs == 0


def test_out_of_memory_during_a_capture_is_raised() -> None:
    runner = GraphRunner(CpuCapture(failure=torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        runner.run("a", 4, [torch.ones(1, 2)], Doubling())


def test_keys_beyond_the_limit_run_eagerly() -> None:
    capture = CpuCapture()
    runner = GraphRunner(capture, max_graphs=2)
    with structlog.testing.capture_logs() as logs:
        for key in ("a", "b", "c", "c", "a"):
            assert runner.run(key, 2, [torch.ones(1, 2)], Doubling()).eq(2).all()
    assert (capture.n_captures, capture.n_replays) == (2, 3 + 2 * REPLAYS_OF_A_CHECK)
    assert [line["key"] for line in logs] == ["c"]


@torch.inference_mode()
def test_windows_from_a_graph_equal_eager_ones() -> None:
    """Each graph is replayed for batches of different segments and sizes."""
    half, capture = small_vocoder(), CpuCapture()
    graphs, eager = GraphRunner(capture), EagerRunner()
    for lengths in ([60, 50], [40], [70, 20, 10], [12], [41, 42]):
        materials, affines = [material(n, n) for n in lengths], [affine(n) for n in lengths]
        batch = half.batch(materials, affines, [0] * len(lengths), 24, is_static=True)
        shape = BatchShape.of(lengths, 24)
        assert shape.is_masked == batch.is_masked

        def made(tensors: Sequence[Tensor], batch: WindowBatch = batch) -> Tensor:
            return half.vocode(batch.with_tensors(tensors))

        replayed = graphs.run(shape, shape.rows, batch.tensors, made)
        assert replayed.shape == (len(lengths), 24 * FRAME_SAMPLES)
        expected = eager.run(shape, shape.rows, batch.tensors, made)
        torch.testing.assert_close(replayed, expected, atol=1e-6, rtol=1e-6)
    assert (capture.n_captures, capture.n_replays) == (4, 5 + 4 * REPLAYS_OF_A_CHECK)
