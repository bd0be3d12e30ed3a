"""Unit: the choice of a device, the errors of unusable ones, and the precision.

What torch says of drivers and cards is as its sources have it; no GPU is needed for it here.
"""

import re
import weakref
from pathlib import Path

import pytest
import structlog.testing
import torch
from attrs import evolve

from kokoro_trio.config import Config, ModelConfig
from kokoro_trio.errors import DeviceUnavailable
from kokoro_trio.model import device
from kokoro_trio.model.batching import GROW_AFTER, BatchLimit
from kokoro_trio.model.device import (
    CPU,
    allows_tf32,
    choose_device,
    choose_dtype,
    choose_methods,
    choose_runner,
    float32_products,
    halving,
    is_lost,
    to_host,
)

GPU = torch.device("cuda:0")
NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver "
    "from http://www.nvidia.com/Download/index.aspx"
)
OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by "
    "downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)
OLD_CARD = (
    "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be …"
)


def config(**settings: str) -> ModelConfig:
    return Config.of({"API_KEY": "k", **settings}).model


class FakeCuda:
    """The part of torch that `choose_device` uses. `init` and `zeros` raise the given errors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_built = True
        self.init_error: Exception | None = None
        self.first_kernel_error: Exception | None = None
        self.fractions: list[tuple[float, torch.device]] = []
        self.current: torch.device | None = None
        self.n_tensors = 0
        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: self.is_built)
        monkeypatch.setattr(torch.cuda, "init", self._init)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch, "zeros", self._zeros)
        monkeypatch.setattr(torch.cuda, "set_device", self._set_device)
        monkeypatch.setattr(
            torch.cuda, "set_per_process_memory_fraction", lambda *given: self.fractions.append(given)
        )

    def _init(self) -> None:
        if self.init_error is not None:
            raise self.init_error

    def _set_device(self, device: torch.device) -> None:
        self.current = device

    def _zeros(self, n: int, device: torch.device) -> torch.Tensor:
        self.n_tensors += 1
        if self.first_kernel_error is not None:
            raise self.first_kernel_error
        return torch.ones(n)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


@pytest.mark.parametrize(
    ("named", "chosen"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_chosen_gpu(cuda: FakeCuda, named: str, chosen: str) -> None:
    device = choose_device(config(KOKORO_DEVICE=named, KOKORO_GPU_MEMORY_FRACTION="0.5")).device
    assert device == torch.device(chosen)
    assert cuda.fractions == ([] if named == "cpu" else [(0.5, device)])
    assert cuda.current == (None if named == "cpu" else device)


def test_missing_gpu_index_is_rejected(cuda: FakeCuda) -> None:
    with pytest.raises(DeviceUnavailable, match="KOKORO_DEVICE=cuda:2: there are 2 CUDA devices"):
        choose_device(config(KOKORO_DEVICE="cuda:2"))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (NO_DRIVER, "Found no NVIDIA driver on your system; install NVIDIA's driver"),
        (OLD_DRIVER, r"too old \(found version 11040\); update the driver"),
        (
            "No CUDA GPUs are available",
            "No CUDA GPUs are available; check nvidia-smi and CUDA_VISIBLE_DEVICES",
        ),
        ("CUDA unknown error", "CUDA unknown error; this is torch"),
    ],
)
def test_driver_errors_come_with_advice(cuda: FakeCuda, error: str, advice: str) -> None:
    cuda.init_error = RuntimeError(error)
    with pytest.raises(DeviceUnavailable, match=advice):
        choose_device(config(KOKORO_DEVICE="cuda"))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (RuntimeError(OLD_CARD), "the GPU is too old for this torch"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB."),
            "which processes use its memory",
        ),
    ],
)
def test_unusable_gpu_comes_with_advice(cuda: FakeCuda, error: Exception, advice: str) -> None:
    cuda.first_kernel_error = error
    with pytest.raises(DeviceUnavailable, match=advice):
        choose_device(config(KOKORO_DEVICE="cuda"))


def test_torch_without_cuda_comes_with_advice(cuda: FakeCuda) -> None:
    cuda.is_built = False
    with pytest.raises(DeviceUnavailable, match="built for the CPU only; install one that is built for CUDA"):
        choose_device(config(KOKORO_DEVICE="cuda"))


@pytest.mark.parametrize(
    ("error", "has_gpu", "reason"),
    [
        (NO_DRIVER, False, ""),
        (OLD_DRIVER, False, "too old"),
        (OLD_DRIVER, True, "too old"),
        ("is built for the CPU only", False, ""),
        ("is built for the CPU only", True, r"built for CUDA: bash scripts/setup\.sh --cuda"),
    ],
)
def test_auto_falls_back_to_the_cpu_with_a_reason(
    cuda: FakeCuda, error: str, has_gpu: bool, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_device = tmp_path / "nvidiactl"
    monkeypatch.setattr("kokoro_trio.model.device.NVIDIA_DEVICE", nvidia_device)
    if has_gpu:
        nvidia_device.touch()
    cuda.init_error = RuntimeError(error)
    with structlog.testing.capture_logs() as logs:
        chosen = choose_device(config())
    assert chosen.device == CPU
    assert re.search(reason, chosen.reason) if reason else chosen.reason == ""
    said = [(each["event"], each["reason"]) for each in logs]
    assert said == ([("gpu_not_used", chosen.reason)] if reason else [])


@pytest.mark.parametrize(
    ("named", "device", "dtype", "tf32", "is_timed"),
    [
        ("auto", GPU, torch.float32, True, False),
        ("float32", GPU, torch.float32, False, False),
        ("tf32", GPU, torch.float32, True, False),
        ("bfloat16", GPU, torch.bfloat16, False, False),
        ("auto", CPU, torch.float32, False, True),
        ("float32", CPU, torch.float32, False, True),
        ("tf32", CPU, torch.float32, False, True),
        ("bfloat16", CPU, torch.bfloat16, False, False),
    ],
)
def test_precision(named: str, device: torch.device, dtype: torch.dtype, tf32: bool, is_timed: bool) -> None:
    settings = config(KOKORO_DTYPE=named)
    assert choose_dtype(settings) is dtype
    assert allows_tf32(settings, device) is tf32
    assert (choose_methods(settings, device) is not None) is is_timed


@pytest.mark.parametrize(("named", "allowed"), [("auto", True), ("float32", False), ("tf32", False)])
def test_only_auto_times_bfloat16(monkeypatch: pytest.MonkeyPatch, named: str, allowed: bool) -> None:
    asked = []
    monkeypatch.setattr(device, "fastest_methods", lambda _, allows_bfloat16: asked.append(allows_bfloat16))
    choose = choose_methods(config(KOKORO_DTYPE=named), CPU)
    assert choose is not None
    choose([])
    assert asked == [allowed]


def test_precision_of_products_is_restored() -> None:
    def precisions() -> list[str]:
        cudnn = torch.backends.cudnn
        return [
            each.fp32_precision
            for each in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)  # type: ignore[attr-defined]
        ]

    before = precisions()
    with float32_products(tf32=False):
        assert precisions() == ["ieee"] * 3
    with float32_products(tf32=True):
        assert precisions() == ["tf32"] * 3
    assert precisions() == before


def test_no_runner_on_the_cpu() -> None:
    assert choose_runner(evolve(config(), cuda_graphs=True), CPU) is None


class TestLostDevice:
    @pytest.mark.parametrize(
        ("error", "is_one"),
        [
            (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
            (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB."), False),
            (None, False),
        ],
    )
    def test_lost_gpu_is_detected(self, cuda: FakeCuda, error: Exception | None, is_one: bool) -> None:
        cuda.first_kernel_error = error
        assert is_lost(GPU) is is_one

    def test_cpu_is_never_lost(self, cuda: FakeCuda) -> None:
        cuda.first_kernel_error = RuntimeError("DefaultCPUAllocator: can't allocate memory")
        assert not is_lost(CPU)
        assert cuda.n_tensors == 0


def test_out_of_memory_frees_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches: list[weakref.ref[torch.Tensor]] = []
    alive: list[object] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.extend(each() for each in batches))

    def compute() -> None:
        batch = torch.ones(8)
        batches.append(weakref.ref(batch))
        raise torch.OutOfMemoryError("CUDA out of memory")

    limit = BatchLimit(8)
    with pytest.raises(torch.OutOfMemoryError), halving(limit, 6):
        compute()
    assert alive == [None]
    assert limit.now == 3
    for _ in range(GROW_AFTER):
        with halving(limit, 3):
            pass
    assert limit.now == 6


def test_samples_on_the_host_are_returned() -> None:
    samples = torch.rand(2, 3)
    assert to_host(samples).tolist() == samples.tolist()
