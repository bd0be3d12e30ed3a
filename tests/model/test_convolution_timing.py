"""Unit: the choice of a method for each convolution, with a scripted timer."""

from collections.abc import Callable
from itertools import cycle

import pytest
import structlog.testing
import torch
from attrs import define, field
from torch import Tensor, nn

from kokoro_trio.model import convolution_timing
from kokoro_trio.model.convolution import Convolution, Method, TorchConvolution, Workload, convolution_of
from kokoro_trio.model.convolution_timing import (
    BUDGET_S,
    MAX_ROUNDS,
    MIN_ROUNDS,
    N_FRAMES,
    Stopwatch,
    fastest_methods,
)

FLOAT32, BFLOAT16, SPECTRAL = Method.FLOAT32, Method.BFLOAT16, Method.SPECTRAL
Seconds = Callable[[TorchConvolution, Method], float]


def workload(kernel: int = 3, dilation: int = 1) -> Workload:
    padding = (kernel - 1) * dilation // 2
    return Workload(nn.Conv1d(8, 8, kernel, padding=padding, dilation=dilation), columns_per_frame=2)


def upsampling() -> Workload:
    return Workload(nn.ConvTranspose1d(8, 4, 6, 2, padding=2), columns_per_frame=2)


@define
class FakeTimer:
    """Returns the given seconds and computes nothing."""

    seconds: Seconds
    runs: list[tuple[TorchConvolution, Method]] = field(factory=list)

    def __call__(self, workload: Workload, method: Method) -> float:
        self.runs.append((workload.conv, method))
        return self.seconds(workload.conv, method)


def taking(float32: float, spectral: float, bfloat16: float) -> FakeTimer:
    seconds = {FLOAT32: float32, SPECTRAL: spectral, BFLOAT16: bfloat16}
    return FakeTimer(lambda _, method: seconds[method])


@pytest.mark.parametrize(
    ("timer", "chosen"),
    [
        pytest.param(taking(3.0, 2.0, 1.0), BFLOAT16, id="bfloat16 is fastest"),
        pytest.param(taking(3.0, 1.0, 2.0), SPECTRAL, id="spectral is fastest"),
        pytest.param(taking(1.0, 2.0, 3.0), FLOAT32, id="direct float32 is fastest"),
        pytest.param(taking(1.0, 1.0, 1.0), FLOAT32, id="a tie goes to direct float32"),
        pytest.param(taking(2.0, 1.0, 0.95), SPECTRAL, id="bfloat16 gains too little"),
        pytest.param(taking(1.0, 2.0, 0.9), BFLOAT16, id="bfloat16 gains enough"),
    ],
)
def test_the_choice_follows_the_timings(timer: FakeTimer, chosen: Method) -> None:
    assert fastest_methods([workload()], True, timer) == [chosen]


def test_each_shape_is_timed_once_and_has_its_own_method() -> None:
    """Issue 183815 of pytorch: bfloat16 is slow for dilated convolutions."""

    def seconds(conv: TorchConvolution, method: Method) -> float:
        if method is BFLOAT16:
            return 0.5 if conv.dilation[0] == 1 else 3.0
        return 2.0 if (method is SPECTRAL) == (conv.kernel_size[0] == 3) else 1.0

    workloads = [workload(3), workload(3, 5), workload(11, 5), workload(3), workload(3, 5)]
    timer = FakeTimer(seconds)
    assert fastest_methods(workloads, True, timer) == [BFLOAT16, FLOAT32, SPECTRAL, BFLOAT16, FLOAT32]
    assert len({conv for conv, _ in timer.runs}) == 3


def test_the_best_time_counts() -> None:
    disturbed = cycle([9.0, 1.0, 9.0])
    timer = FakeTimer(lambda _, method: next(disturbed) if method is FLOAT32 else 3.0)
    assert fastest_methods([workload()], False, timer) == [FLOAT32]


def test_bfloat16_is_not_timed_unless_allowed() -> None:
    timer = taking(3.0, 2.0, 1.0)
    assert fastest_methods([workload()], False, timer) == [SPECTRAL]
    assert {method for _, method in timer.runs} == {FLOAT32, SPECTRAL}


def test_upsampling_is_never_spectral() -> None:
    timer = taking(3.0, 0.1, 2.0)
    assert fastest_methods([upsampling()], True, timer) == [BFLOAT16]
    assert {method for _, method in timer.runs} == {FLOAT32, BFLOAT16}


@pytest.mark.parametrize(("seconds", "rounds"), [(BUDGET_S, MIN_ROUNDS), (0.0, MAX_ROUNDS)])
def test_rounds_end_when_the_budget_is_used(seconds: float, rounds: int) -> None:
    timer = FakeTimer(lambda *_: seconds)
    fastest_methods([workload()], False, timer)
    assert len(timer.runs) == 2 * rounds


def test_hopeless_method_is_timed_once() -> None:
    timer = taking(1.0, 5.0, 0.5)
    fastest_methods([workload()], True, timer)
    assert [method for _, method in timer.runs].count(SPECTRAL) == 1


def test_hopeless_bfloat16_is_not_timed_for_shapes_of_more_dilation() -> None:
    """On a processor with only AVX2, bfloat16 is up to 90 times as slow: timing all shapes takes minutes."""

    def seconds(conv: TorchConvolution, method: Method) -> float:
        return 90.0 if method is BFLOAT16 and conv.dilation[0] >= 3 else 1.0

    timer = FakeTimer(seconds)
    fastest_methods([workload(dilation=5), workload(7, 3), workload(7)], True, timer)
    in_bfloat16 = [conv.dilation[0] for conv, method in timer.runs if method is BFLOAT16]
    assert in_bfloat16.count(3) == 1
    assert in_bfloat16.count(1) == MIN_ROUNDS
    assert in_bfloat16.count(5) == 0


def test_slow_upsampling_does_not_exclude_other_shapes() -> None:
    def seconds(conv: TorchConvolution, method: Method) -> float:
        if method is BFLOAT16:
            return 90.0 if isinstance(conv, nn.ConvTranspose1d) else 0.5
        return 1.0

    methods = fastest_methods([upsampling(), workload(), workload(3, 5)], True, FakeTimer(seconds))
    assert methods == [FLOAT32, BFLOAT16, BFLOAT16]


def test_bfloat16_that_returns_wrong_sums_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(conv: TorchConvolution, method: Method) -> Convolution:
        right = convolution_of(conv, method)
        return (lambda x: right(x) / 4) if method is BFLOAT16 else right

    monkeypatch.setattr(convolution_timing, "convolution_of", broken)
    with structlog.testing.capture_logs() as logs:
        assert fastest_methods([workload()], True, taking(2.0, 3.0, 1.0)) == [FLOAT32]
    assert [record["shape"] for record in logs if record["event"] == "bfloat16_is_wrong"] == ["8-8 k3 s1 d1"]


def test_chosen_methods_are_logged_once() -> None:
    with structlog.testing.capture_logs() as logs:
        fastest_methods([workload(), workload(11), upsampling()], False, taking(2.0, 1.0, 1.0))
    (record,) = logs
    assert record == {
        "event": "convolutions_chosen",
        "log_level": "info",
        "rounds": MIN_ROUNDS,
        "spectral": ["8-8 k3 s1 d1", "8-8 k11 s1 d1"],
        "float32": ["8-4 k6 s2 d1"],
    }


def test_the_stopwatch_prepares_a_convolution_once_and_runs_it_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built, inputs = [], []

    def counted(conv: TorchConvolution, method: Method) -> Convolution:
        built.append(method)
        convolution = convolution_of(conv, method)

        def run(x: Tensor) -> Tensor:
            inputs.append(x)
            return convolution(x)

        return run

    monkeypatch.setattr(convolution_timing, "convolution_of", counted)
    stopwatch, timed = Stopwatch(), workload()
    assert stopwatch(timed, SPECTRAL) >= 0
    assert stopwatch(timed, SPECTRAL) >= 0
    assert built == [SPECTRAL]
    assert [x.shape for x in inputs] == [torch.Size([1, 2 * N_FRAMES, 8])] * 3
