"""Kokoro's state dict: which parameters it must have, and what to put where no source has any."""

from collections.abc import Mapping

import torch
from torch import Tensor

NEVER_USED = "bert.pooler."
"""KModel has BERT's pooler but reads the hidden states before it; the ONNX export left it out."""
IDENTITY_NORM = ".norm."
"""The instance norm inside AdaIN: its own scale and shift were never trained, no source holds them."""

Shapes = Mapping[str, tuple[int, ...]]


class ParametersUnusable(ValueError):
    """A state dict is not that of Kokoro-82M v1.0."""


def complete_parameters(state: Mapping[str, Tensor], shapes: Shapes) -> dict[str, Tensor]:
    """Exactly the parameters in `shapes`, as float32 and in that order.

    Raises `ParametersUnusable` where one that was trained is missing or has another shape.
    """
    return {name: _complete_parameter(name, shape, state.get(name)) for name, shape in shapes.items()}


def _complete_parameter(name: str, shape: tuple[int, ...], found: Tensor | None) -> Tensor:
    if found is None:
        return _untrained_parameter(name, shape)
    if tuple(found.shape) != shape:
        raise ParametersUnusable(f"{name} has shape {tuple(found.shape)}, not {shape}")
    return found.to(torch.float32).contiguous()


def _untrained_parameter(name: str, shape: tuple[int, ...]) -> Tensor:
    if IDENTITY_NORM in name:
        return torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)
    if name.startswith(NEVER_USED):
        return torch.zeros(shape)
    raise ParametersUnusable(f"{name} is missing")
