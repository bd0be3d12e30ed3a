"""Chooses the device and the precision, handles errors of the GPU, and copies samples to the host."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import structlog
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from kokoro_trio.config import NVIDIA_DEVICE, ModelConfig
from kokoro_trio.errors import DeviceUnavailable
from kokoro_trio.installation import INSTALL_CUDA_TORCH
from kokoro_trio.model.batching import BatchLimit
from kokoro_trio.model.convolution import ChooseMethods
from kokoro_trio.model.convolution_timing import fastest_methods
from kokoro_trio.model.graphs import CudaCapture, EagerRunner, GraphRunner, Runner

log = structlog.get_logger()

CPU = torch.device("cpu")

CPU_ONLY = "is built for the cpu only"
NO_DRIVER = "found no nvidia driver"
ADVICE = (
    (CPU_ONLY, f"install one that is built for CUDA: {INSTALL_CUDA_TORCH}"),
    (NO_DRIVER, "install NVIDIA's driver; give a container the GPU with docker run --gpus all"),
    (
        "driver on your system is too old",
        f"update the driver, or install a torch that matches it: {INSTALL_CUDA_TORCH}",
    ),
    ("no cuda gpus", "check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    ("no kernel image", "the GPU is too old for this torch: install an older one"),
    ("out of memory", "nvidia-smi shows which processes use its memory"),
    ("busy or unavailable", "nvidia-smi shows which processes use it"),
)
"""Parts of torch's error messages, in lower case, and what to do."""


@frozen
class ChosenDevice:
    device: torch.device
    reason: str = ""
    """Why the CPU was chosen although the machine has a GPU, and how to change that; else empty."""


def choose_device(config: ModelConfig) -> ChosenDevice:
    """The device that `KOKORO_DEVICE` names, with the memory cap set. Raises `DeviceUnavailable`.

    Must be called on the thread that will use the device.
    """
    if config.device == "cpu":
        return ChosenDevice(CPU)
    device = torch.device("cuda:0" if config.device in ("auto", "cuda") else config.device)
    if (trouble := _trouble_with(device)) is not None:
        if config.device != "auto":
            raise DeviceUnavailable(config.device, trouble)
        is_ruled_out = CPU_ONLY in trouble.lower() or NO_DRIVER in trouble.lower()
        if is_ruled_out and not NVIDIA_DEVICE.exists():
            return ChosenDevice(CPU)
        log.warning("gpu_not_used", reason=trouble)
        return ChosenDevice(CPU, trouble)
    # Events, pinned memory and captures that name no device use the current one of their thread.
    torch.cuda.set_device(device)
    torch.cuda.set_per_process_memory_fraction(config.gpu_memory_fraction, device)
    return ChosenDevice(device)


def _trouble_with(device: torch.device) -> str | None:
    """Why the device is unusable, and what to do; None if it is usable."""
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return _advised("torch is built for the CPU only")
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        if (device.index or 0) >= torch.cuda.device_count():
            return f"there are {torch.cuda.device_count()} CUDA devices, numbered from 0"
        # The GPU may be too old for this torch's kernels, or another process may use it exclusively.
        _compute(device)
    except RuntimeError as error:
        return _advised(str(error))
    return None


def _compute(device: torch.device) -> None:
    """Computes something small and waits for the result. Raises RuntimeError."""
    torch.zeros(1, device=device).add_(1).item()


def is_lost(device: torch.device) -> bool:
    """Whether this process can no longer use the device.

    After an illegal access, a failed assertion or a memory fault on a GPU every CUDA call of the process
    fails. Other CUDA errors, such as a failed allocation of pinned memory, cost one call only.
    """
    if device.type == "cpu":
        return False
    try:
        _compute(device)
    except torch.OutOfMemoryError:
        return False  # Another process may use the memory for a while.
    except RuntimeError:
        return True
    return False


@contextmanager
def halving(limit: BatchLimit, n_rows: int) -> Iterator[None]:
    """Halves the limit for a while when the device runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        limit.too_many(n_rows)
        # The frames of the traceback still hold the tensors of the batch.
        traceback.clear_frames(error.__traceback__)
        torch.cuda.empty_cache()
        log.warning("out_of_memory", rows=n_rows, max_batch=limit.now)
        raise
    limit.went_well()


def _advised(message: str) -> str:
    said = message.strip().split("\n")[0].split(". ")[0].rstrip(".")
    advice = [what for part, what in ADVICE if part in message.lower()]
    built = "" if torch.version.cuda is None else f", built for CUDA {torch.version.cuda}"
    return "; ".join([said, *advice[:1], f"this is torch {torch.__version__}{built}"])


def choose_dtype(config: ModelConfig) -> torch.dtype:
    """The type that the vocoder's convolutions multiply in, unless `choose_methods` chooses for each."""
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32


def choose_methods(config: ModelConfig, device: torch.device) -> ChooseMethods | None:
    """On a CPU the fastest method per convolution. Only `auto` allows bfloat16. None on a GPU."""
    if device.type != "cpu" or config.dtype == "bfloat16":
        return None
    return partial(fastest_methods, allows_bfloat16=config.dtype == "auto")


def allows_tf32(config: ModelConfig, device: torch.device) -> bool:
    """Whether a GPU may round the factors of the vocoder's float32 products to TF32.

    TF32 keeps three bits more than bfloat16, and sums in float32. Emulated on the CPU, it changed six
    sentences by six voices by 0.004 to 0.007 dB (log-spectral distance). bfloat16 factors change 0.03 to
    0.06 dB, another seed of the noise 0.5 dB.
    """
    return device.type == "cuda" and config.dtype in ("auto", "tf32")


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """Sets how GPUs multiply float32. torch's default for convolutions and LSTMs is TF32."""
    cudnn: Any = torch.backends.cudnn
    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [each.fp32_precision for each in settings]
    for each in settings:
        each.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        for each, precision in zip(settings, before, strict=True):
            each.fp32_precision = precision


def choose_runner(config: ModelConfig, device: torch.device) -> Runner | None:
    """None on the CPU, which computes each window best in its own shape."""
    if device.type == "cpu":
        return None
    return GraphRunner(CudaCapture(device)) if config.cuda_graphs else EagerRunner()


def to_host(samples: Tensor) -> NDArray[np.float32]:
    """Copies samples to the host and waits for the copy.

    The copy goes to pinned memory, which torch caches and the device writes to directly. Samples stay
    float32: even 3000 seconds of audio per second are 290 MB/s, a hundredth of the bus.
    """
    if samples.device.type == "cpu":
        host = samples
    else:
        host = torch.empty(samples.shape, dtype=samples.dtype, pin_memory=True)
        host.copy_(samples, non_blocking=True)
        # A blocking event leaves the processor to the event loop.
        is_there = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        is_there.record()
        is_there.synchronize()
    array: NDArray[np.float32] = host.numpy()
    return array
