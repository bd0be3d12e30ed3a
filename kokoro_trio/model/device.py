"""Where the model computes, how exactly, and how what it made gets from there to the host."""

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
    (NO_DRIVER, "install NVIDIA's driver; a container must be given the GPU (docker run --gpus all)"),
    ("driver on your system is too old", f"update the driver, or fit torch to it: {INSTALL_CUDA_TORCH}"),
    ("no cuda gpus", "look at nvidia-smi and CUDA_VISIBLE_DEVICES"),
    ("no kernel image", "the GPU is older than what this torch is built for: install an older torch"),
    ("out of memory", "nvidia-smi shows who holds its memory"),
    ("busy or unavailable", "nvidia-smi shows who holds it"),
)
"""Parts of what torch says, in lower case, and what to do."""


@frozen
class ChosenDevice:
    device: torch.device
    reason: str = ""
    """Why the CPU was chosen although the machine has a GPU, and what to do about it; else empty."""


def choose_device(config: ModelConfig) -> ChosenDevice:
    """The device that `KOKORO_DEVICE` names, with the memory cap set. Raises `DeviceUnavailable`.

    To be called on the thread that will compute there.
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
    """Why it cannot be used, and what to do about that; None where it can."""
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return _advised("torch is built for the CPU only")
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        if (device.index or 0) >= torch.cuda.device_count():
            return f"there are {torch.cuda.device_count()} CUDA devices, numbered from 0"
        # What is there may still be too old for this torch's kernels, or somebody else's alone.
        _compute(device)
    except RuntimeError as error:
        return _advised(str(error))
    return None


def _compute(device: torch.device) -> None:
    """The least there is to compute, to its end. Raises RuntimeError."""
    torch.zeros(1, device=device).add_(1).item()


def is_lost(device: torch.device) -> bool:
    """Whether this process can no longer compute there.

    After an illegal access, a failed assertion or a memory fault on a GPU every CUDA call of the process
    fails. Other CUDA errors, such as a failed allocation of pinned memory, cost one call only.
    """
    if device.type == "cpu":
        return False
    try:
        _compute(device)
    except torch.OutOfMemoryError:
        return False  # Somebody else may hold it for a while.
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
        # The frames hold the tensors of the batch, which the cache cannot give back before they are gone.
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
    """What the vocoder's convolutions multiply in where `choose_methods` leaves that open."""
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32


def choose_methods(config: ModelConfig, device: torch.device) -> ChooseMethods | None:
    """Only CPUs have a choice. There `auto` allows bfloat16, and the others take the fastest of float32."""
    if device.type != "cpu" or config.dtype == "bfloat16":
        return None
    return partial(fastest_methods, allows_bfloat16=config.dtype == "auto")


def allows_tf32(config: ModelConfig, device: torch.device) -> bool:
    """Whether the vocoder's products of float32 may be rounded to TF32, as only GPUs can.

    TF32 keeps three bits more of each factor than bfloat16 does, and sums in float32. Emulated on the CPU,
    six sentences by six voices came out 0.004 to 0.007 dB (log-spectral distance) from float32; factors
    of bfloat16 make that 0.03 to 0.06, another noise 0.5.
    """
    return device.type == "cuda" and config.dtype in ("auto", "tf32")


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """How GPUs multiply float32. torch's default for convolutions and LSTMs is TF32."""
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
    """None on the CPU, where each window is best made in its own shape."""
    if device.type == "cpu":
        return None
    return GraphRunner(CudaCapture(device)) if config.cuda_graphs else EagerRunner()


def to_host(samples: Tensor) -> NDArray[np.float32]:
    """Waits until they are there.

    Through memory that the device can write to by itself; torch keeps it for the next time. They stay
    float32: at 3000 seconds of audio a second that is 290 MB/s, a hundredth of what the bus carries.
    """
    if samples.device.type == "cpu":
        host = samples
    else:
        host = torch.empty(samples.shape, dtype=samples.dtype, pin_memory=True)
        host.copy_(samples, non_blocking=True)
        # One that lets the event loop have the processor meanwhile.
        is_there = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        is_there.record()
        is_there.synchronize()
    array: NDArray[np.float32] = host.numpy()
    return array
