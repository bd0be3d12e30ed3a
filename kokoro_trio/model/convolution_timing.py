"""Measures at the start which method computes each of the vocoder's convolutions fastest on this CPU.

The answer depends on the processor, torch and the shape. bfloat16 halves the time of a direct convolution on
processors with bfloat16 products, and takes 26 to 90 times as long on those with only AVX2. torch 2.13 slows
some dilated convolutions down 4 to 16 times in bfloat16 (issue 183815 of pytorch). Spectral convolutions are
fastest for large kernels. So every shape is timed.
"""

import math
import time
import timeit
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog
import torch
from attrs import define, field, frozen
from torch import Tensor

from kokoro_trio.model.convolution import Method, Workload, convolution_of, has_spectral

log = structlog.get_logger()

N_FRAMES = 32
"""The length that is timed, about a first window with its context. The length matters: at 20, 32 and 160
frames, a kernel of 11 at 128 channels took 1.15, 1.21 and 1.5 times as long spectrally as in bfloat16."""
BUDGET_S = 0.8
"""For all rounds. On two cores with AVX-512 a round takes 0.3 s, and the preparation as long again."""
MIN_ROUNDS, MAX_ROUNDS = 3, 8
"""A round times each method of each shape once, so a busy moment slows all methods. The best time counts."""
MIN_GAIN = 1.1
"""The least speed-up of bfloat16 over float32. bfloat16 in all convolutions costs 0.07 dB of log-spectral
distance; another seed of the noise changes 0.5 dB."""
HOPELESS = 3.0
"""A method this many times slower than the fastest is not timed again."""
MAX_ERROR = 0.02
"""The error of bfloat16, relative to the root mean square of the result; normally 0.004. torch has returned
wrong sums in bfloat16 on some processors (issues 148973, 163347 and 169688 of pytorch)."""


@frozen
class Shape:
    """The properties that determine a convolution's time. A stride other than 1 means upsampling."""

    channels: tuple[int, int]
    kernel: int
    stride: int
    dilation: int
    columns_per_frame: int

    @classmethod
    def of(cls, workload: Workload) -> "Shape":
        conv = workload.conv
        channels = (conv.in_channels, conv.out_channels)
        return cls(
            channels, conv.kernel_size[0], conv.stride[0], conv.dilation[0], workload.columns_per_frame
        )

    def __str__(self) -> str:
        return f"{self.channels[0]}-{self.channels[1]} k{self.kernel} s{self.stride} d{self.dilation}"


Timer = Callable[[Workload, Method], float]
"""Runs a convolution once and returns the seconds."""


@define
class Stopwatch:
    """Measures the processor time of all threads, divided by their number.

    The wall clock is useless on a busy machine: with eight threads on two cores, the best of three
    wall-clock times chose a method at random.
    """

    _runs: dict[tuple[Shape, Method], Callable[[], Tensor]] = field(factory=dict, init=False)

    @torch.inference_mode()
    def __call__(self, workload: Workload, method: Method) -> float:
        key = (Shape.of(workload), method)
        if key not in self._runs:
            self._runs[key] = _run_of(workload, method)
            # In the first run of a shape torch prepares it.
            self._runs[key]()
        seconds = timeit.timeit(self._runs[key], timer=time.process_time, number=1)
        return seconds / torch.get_num_threads()


def _run_of(workload: Workload, method: Method) -> Callable[[], Tensor]:
    convolution = convolution_of(workload.conv, method)
    n_columns = N_FRAMES * workload.columns_per_frame
    x = torch.randn(1, n_columns, workload.conv.in_channels, generator=torch.Generator().manual_seed(7))
    return lambda: convolution(x)


@define
class Race:
    """The methods of one shape, and the best time of each."""

    workload: Workload
    best_s: dict[Method, float]

    @classmethod
    def of(cls, workload: Workload, allows_bfloat16: bool) -> "Race":
        methods = [Method.FLOAT32]
        methods += [Method.SPECTRAL] if has_spectral(workload.conv) else []
        methods += [Method.BFLOAT16] if allows_bfloat16 else []
        return cls(workload, dict.fromkeys(methods, math.inf))

    def run(self, timer: Timer) -> float:
        """Times each remaining method once. Returns the sum of the seconds."""
        total_s = 0.0
        for method in [method for method in self.best_s if not self.is_hopeless(method)]:
            seconds = timer(self.workload, method)
            self.best_s[method] = min(self.best_s[method], seconds)
            total_s += seconds
        return total_s

    def is_hopeless(self, method: Method) -> bool:
        return self.best_s[method] > HOPELESS * min(self.best_s.values())

    @property
    def winner(self) -> Method:
        """The fastest method. Among equals, the more exact one, then the simpler one."""
        exact = min((m for m in self.best_s if m is not Method.BFLOAT16), key=self.best_s.__getitem__)
        in_bfloat16_s = self.best_s.get(Method.BFLOAT16, math.inf)
        is_worth_it = in_bfloat16_s * MIN_GAIN <= self.best_s[exact] and _is_right_in_bfloat16(self.workload)
        return Method.BFLOAT16 if is_worth_it else exact


@torch.inference_mode()
def _is_right_in_bfloat16(workload: Workload) -> bool:
    expected, got = (_run_of(workload, method)() for method in (Method.FLOAT32, Method.BFLOAT16))
    error = float((got - expected).square().mean().sqrt() / expected.square().mean().sqrt())
    is_right = error <= MAX_ERROR
    if not is_right:
        log.warning("bfloat16_is_wrong", shape=str(Shape.of(workload)), error=error, torch=torch.__version__)
    return is_right


def fastest_methods(
    workloads: Sequence[Workload], allows_bfloat16: bool, timer: Timer | None = None
) -> list[Method]:
    """The fastest method of each convolution, on the CPU."""
    races = {Shape.of(workload): Race.of(workload, allows_bfloat16) for workload in workloads}
    total_s, n_rounds, timer = 0.0, 0, timer or Stopwatch()
    while n_rounds < MIN_ROUNDS or (n_rounds < MAX_ROUNDS and total_s < BUDGET_S):
        total_s += _round(races, timer)
        n_rounds += 1
    winners = {shape: race.winner for shape, race in races.items()}
    log.info("convolutions_chosen", rounds=n_rounds, **_by_method(winners))
    return [winners[Shape.of(workload)] for workload in workloads]


def _round(races: dict[Shape, Race], timer: Timer) -> float:
    """Runs all races once and returns the sum of the seconds.

    If bfloat16 is hopeless for one shape, it is dropped for the remaining ones of the same dilation or more:
    timing them would take many seconds on processors without bfloat16 products. Upsampling comes last,
    because it is computed differently.
    """
    total_s, too_dilated = 0.0, math.inf
    for shape, race in sorted(races.items(), key=lambda item: (item[0].stride, item[0].dilation)):
        if shape.dilation >= too_dilated:
            race.best_s.pop(Method.BFLOAT16, None)
        total_s += race.run(timer)
        if Method.BFLOAT16 in race.best_s and race.is_hopeless(Method.BFLOAT16):
            too_dilated = shape.dilation
    return total_s


def _by_method(methods: dict[Shape, Method]) -> dict[str, list[str]]:
    shapes: defaultdict[str, list[str]] = defaultdict(list)
    for shape, method in methods.items():
        shapes[method.value].append(str(shape))
    return shapes
