"""Runs computations of fixed shapes eagerly, or records them once as CUDA graphs and replays them.

A step of the vocoder has hundreds of small kernels, and a GPU finishes each before the next is launched. A
CUDA graph launches all of them at once. It has fixed shapes and reads and writes fixed memory, so its inputs
are copied there first, and its result is copied out.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import structlog
import torch
from attrs import frozen
from torch import Tensor

log = structlog.get_logger()

MAX_GRAPHS = 64
"""Five lengths, six numbers of rows, masked or not: 60 shapes."""
WARM_UP_RUNS = 2
"""Runs before a capture, in which libraries choose kernels and allocate memory."""

Function = Callable[[Sequence[Tensor]], Tensor]
"""Maps tensors with one row per item of a batch to one such tensor. It reads no values on the host."""


class Runner(Protocol):
    def run(self, key: Hashable, n_rows: int, inputs: Sequence[Tensor], function: Function) -> Tensor:
        """The result of `function` for `inputs`, which have `n_rows` rows or fewer.

        Equal keys imply the same function, `n_rows` and shapes of rows.
        """


class EagerRunner:
    """Runs every function directly."""

    def run(self, key: Hashable, n_rows: int, inputs: Sequence[Tensor], function: Function) -> Tensor:
        return function(inputs)


class Capture(Protocol):
    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Records `run` and returns a function that repeats it on the same memory.

        Raises RuntimeError if `run` cannot be recorded.
        """


@frozen
class _Graph:
    inputs: tuple[Tensor, ...]
    replay: Callable[[], Tensor]

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """The next replay of any graph overwrites the result."""
        for static, given in zip(self.inputs, inputs, strict=True):
            static[: len(given)].copy_(given)
        return self.replay()[: len(inputs[0])]

    def is_empty(self, inputs: Sequence[Tensor]) -> bool:
        """Whether the capture missed the work, e.g. on another device or stream. torch only warns of that."""
        self.run(inputs).fill_(torch.nan)
        return bool(self.run(inputs).isnan().all())


class GraphRunner:
    """Captures a graph at the first use of a key, and replays it from then on.

    Functions of keys that cannot be captured, or exceed `max_graphs`, are run directly.
    """

    def __init__(self, capture: Capture, max_graphs: int = MAX_GRAPHS) -> None:
        self._capture = capture
        self._max_graphs = max_graphs
        self._graphs: dict[Hashable, _Graph] = {}
        self._uncaptured: set[Hashable] = set()

    @property
    def n_graphs(self) -> int:
        return len(self._graphs)

    def run(self, key: Hashable, n_rows: int, inputs: Sequence[Tensor], function: Function) -> Tensor:
        """Raises `torch.OutOfMemoryError`, also if the memory is too small for the capture."""
        if key not in self._graphs and key not in self._uncaptured:
            self._try_to_capture(key, n_rows, inputs, function)
        if key in self._uncaptured:
            return function(inputs)
        return self._graphs[key].run(inputs).clone()

    def _try_to_capture(
        self, key: Hashable, n_rows: int, inputs: Sequence[Tensor], function: Function
    ) -> None:
        if len(self._graphs) == self._max_graphs:
            self._leave_out(key, f"{self._max_graphs} graphs exist already")
            return
        # Unused rows hold zeros or values of earlier runs, never NaN.
        static = tuple(each.new_zeros(n_rows, *each.shape[1:]) for each in inputs)
        try:
            graph = _Graph(static, self._capture(lambda: function(static)))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._leave_out(key, str(error))
            return
        if graph.is_empty(inputs):
            self._leave_out(key, "the graph is empty")
        else:
            self._graphs[key] = graph

    def _leave_out(self, key: Hashable, reason: str) -> None:
        self._uncaptured.add(key)
        log.warning("graph_not_captured", key=str(key), reason=reason)


class CudaCapture:
    """Captures CUDA graphs that share memory, because no two are replayed at once."""

    def __init__(self, device: torch.device) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        with _fastest_convolutions():
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UP_RUNS):
                    run()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # A CUDA call on another thread must not make the capture fail.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                made = run()

        def replay() -> Tensor:
            graph.replay()
            return made

        return replay


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """Times the algorithms of cuDNN per shape: worthwhile for graphs, whose shapes recur."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
