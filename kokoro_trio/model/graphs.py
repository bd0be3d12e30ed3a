"""Computations of fixed shapes: as they come, or recorded once as a graph and replayed.

Hundreds of small kernels make up a step of the vocoder, and a graphics processor is done with each sooner
than the next is started. A CUDA graph starts them all at once. It is of fixed shapes and reads and writes
fixed memory, so what it is to work on is copied there first, and what it made is copied away.
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
"""Of five lengths, six numbers of rows, masked or not, there are 60."""
WARM_UP_RUNS = 2
"""Before a capture, so that libraries choose their kernels and take their memory."""

Function = Callable[[Sequence[Tensor]], Tensor]
"""Of tensors with a row for each of a batch, to one with as many. It asks for no values of theirs."""


class Runner(Protocol):
    def run(self, key: Hashable, n_rows: int, inputs: Sequence[Tensor], function: Function) -> Tensor:
        """What `function` makes of `inputs`, which have `n_rows` or fewer.

        For equal keys the function, `n_rows` and the shapes of rows are equal too.
        """


class EagerRunner:
    """Runs everything as it comes."""

    def run(self, key: Hashable, n_rows: int, inputs: Sequence[Tensor], function: Function) -> Tensor:
        return function(inputs)


class Capture(Protocol):
    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Records what `run` does. What is returned does the same to the same memory, over and over.

        Raises RuntimeError where it cannot be recorded.
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
        """Whether the capture missed the work, as on another device or stream. torch only warns of that."""
        self.run(inputs).fill_(torch.nan)
        return bool(self.run(inputs).isnan().all())


class GraphRunner:
    """Captures a graph the first time that a key comes up, and replays it from then on.

    A key that cannot be captured, or is one too many, is run as it comes.
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
        """Raises `torch.OutOfMemoryError`, also where there is too little for the capture."""
        if key not in self._graphs and key not in self._uncaptured:
            self._try_to_capture(key, n_rows, inputs, function)
        if key in self._uncaptured:
            return function(inputs)
        return self._graphs[key].run(inputs).clone()

    def _try_to_capture(
        self, key: Hashable, n_rows: int, inputs: Sequence[Tensor], function: Function
    ) -> None:
        if len(self._graphs) == self._max_graphs:
            self._leave_out(key, f"there are {self._max_graphs} already")
            return
        # Rows that nothing is copied to hold zeros, or what was there before: numbers, in any case.
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
    """CUDA graphs that share their memory: no two of them are replayed at once."""

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
            # Other threads have no business on the device, and must not fail this if they do.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                made = run()

        def replay() -> Tensor:
            graph.replay()
            return made

        return replay


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """By measurement of each shape the first time: worth it for those of a graph, which come for ever."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
