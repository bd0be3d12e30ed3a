"""A vocoder of Kokoro's structure with few channels and random weights, which takes milliseconds."""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from attrs import define
from kokoro.istftnet import Generator  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.utils import remove_weight_norm

from kokoro_trio.model.vocoder import Affine, Material, VocoderHalf
from tests.support.models import CONFIG

CHANNELS = 16
STYLE = torch.zeros(1, 128)


def small_vocoder(device: str = "cpu") -> VocoderHalf:
    torch.manual_seed(7)
    shape: dict[str, Any] = dict(CONFIG["istftnet"]) | {"upsample_initial_channel": CHANNELS}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight_norm")
        generator = Generator(style_dim=128, **shape).eval().requires_grad_(False)
    for module in generator.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
    network: Any = SimpleNamespace(decoder=SimpleNamespace(generator=generator.to(device)))
    return VocoderHalf(network)


def material(n_frames: int, seed: int = 1) -> Material:
    drawn = torch.Generator().manual_seed(seed)
    return Material(
        torch.randn(1, 2 * n_frames, CHANNELS, generator=drawn),
        torch.randn(1, 120 * n_frames + 1, 22, generator=drawn),
        STYLE,
    )


def affine(seed: int = 1) -> Affine:
    """A random one per segment."""
    n_channels = 24 * CHANNELS // 2 + 24 * CHANNELS // 4
    drawn = torch.Generator().manual_seed(seed)
    scale, shift = torch.randn(2, 1, 1, n_channels, generator=drawn)
    return Affine(1 + 0.1 * scale, 0.1 * shift)


@define
class CpuCapture:
    """A replay reads and writes the memory of the capture, like a CUDA graph."""

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
