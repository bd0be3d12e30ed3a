"""Captures graphs where there is no GPU to capture them."""

from collections.abc import Callable

from attrs import define
from torch import Tensor


@define
class CpuCapture:
    """What is replayed reads and writes the memory of the capture, as a CUDA graph does."""

    failure: Exception | None = None
    n_captures: int = 0
    n_replays: int = 0

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        if self.failure is not None:
            raise self.failure
        self.n_captures += 1
        made = run()

        def replay() -> Tensor:
            self.n_replays += 1
            return made.copy_(run())

        return replay
