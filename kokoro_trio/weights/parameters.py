"""Checks Kokoro's state dict and adds the untrained parameters that no source has."""

from collections.abc import Mapping

import torch
from torch import Tensor

NEVER_USED = "bert.pooler."
"""KModel reads the hidden states before BERT's pooler, so the ONNX export omits the pooler."""
IDENTITY_NORM = ".norm."
"""The instance norm inside AdaIN. Its own scale and shift were never trained, so no source has them."""

Shapes = Mapping[str, tuple[int, ...]]


class ParametersUnusable(ValueError):
    """A state dict does not belong to Kokoro-82M v1.0."""


def complete_parameters(state: Mapping[str, Tensor], shapes: Shapes) -> dict[str, Tensor]:
    """Exactly the parameters in `shapes`, in that order, as float32.

    Raises `ParametersUnusable` for a trained parameter that is missing or has another shape.
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
