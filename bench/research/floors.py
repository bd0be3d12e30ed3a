"""The best possible speed of the vocoder on a device, by its arithmetic and its memory traffic.

Both floors are seconds of device time per second of audio. Arithmetic: the multiplications and additions of
all matrix products and convolutions, at the rate of one large matrix product. Memory: the bytes that these
read and write, once each, at the rate of one large copy, as if everything in between were fused.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from kokoro_trio.model.device import float32_products

PRODUCTS = ("convolution", "mm", "bmm", "addmm", "linear")
REPEATS = 5


@frozen
class Work:
    """The floating-point operations of one call, and the bytes that its products read and write."""

    flop: int
    n_bytes: int

    @classmethod
    def of(cls, call: Callable[[], object]) -> "Work":
        # The outer counter decomposes composite operations before the inner mode sees them.
        with _ProductBytes() as traffic, FlopCounterMode(display=False) as counter:  # type: ignore[no-untyped-call]
            call()
        return cls(counter.get_total_flops(), traffic.n_bytes)


@frozen
class Speed:
    flop_per_s: float
    bytes_per_s: float

    @classmethod
    def of(cls, device: torch.device, dtype: torch.dtype, tf32: bool, size: int) -> "Speed":
        """Measured with the product of square matrices of `size` and a copy of 16 such matrices."""
        matrix = torch.randn(size, size, device=device, dtype=dtype)
        with float32_products(tf32):
            product_s = _seconds(lambda: matrix @ matrix, device)
        long = torch.randn(16, size, size, device=device, dtype=dtype)
        target = torch.empty_like(long)
        copy_s = _seconds(lambda: target.copy_(long), device)
        return cls(2 * size**3 / product_s, 2 * long.nbytes / copy_s)


@frozen
class Floors:
    """Seconds of device time per second of audio."""

    arithmetic_s: float
    memory_s: float

    @classmethod
    def of(cls, work: Work, speed: Speed, audio_s: float) -> "Floors":
        return cls(work.flop / speed.flop_per_s / audio_s, work.n_bytes / speed.bytes_per_s / audio_s)

    @property
    def xrt(self) -> float:
        """The speed that the higher floor allows."""
        return 1 / max(self.arithmetic_s, self.memory_s)


class _ProductBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    n_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        made = func(*args, **(kwargs or {}))
        if any(func.overloadpacket.__name__ == name for name in PRODUCTS):
            tensors = [leaf for leaf in tree_leaves((args, kwargs, made)) if isinstance(leaf, Tensor)]
            self.n_bytes += sum(tensor.nbytes for tensor in tensors)
        return made


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """The best of several runs; the first one is slow."""
    best = float("inf")
    for _ in range(REPEATS):
        wait_for(device)
        begin = time.perf_counter()
        call()
        wait_for(device)
        best = min(best, time.perf_counter() - begin)
    return best


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
