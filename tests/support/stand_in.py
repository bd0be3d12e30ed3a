"""Weights like the original ones, of which the registry's weights are an 8-bit rounding."""

from collections.abc import Mapping

import torch
from attrs import evolve
from torch import Tensor

from kokoro_trio.weights.prepared import Weights

MAX_STEPS = 255
"""The largest number of steps between two values of an 8-bit tensor."""
TOLERANCE = 0.01
"""Relative to a step. float32 keeps a product of an integer and a step to about 1e-5."""


def original_like(weights: Weights, seed: int = 20) -> Weights:
    """Weights that round to `weights`: each rounded value gets uniform noise of at most half a step.

    Rows of zeros stay zero: the rounding made their norm (`weight_g`) zero.
    """
    generator = torch.Generator().manual_seed(seed)
    noisy = {
        name: _noisy(tensor, _used_rows(name, weights.model), generator)
        for name, tensor in weights.model.items()
    }
    return evolve(weights, model=_normed(weights.model, noisy), checksum="0" * 64)


def step_of(tensor: Tensor) -> Tensor | None:
    """The step of the 8-bit grid that the values lie on: of the tensor, or of each row, shape (rows, 1).

    None for a tensor that was never rounded.
    """
    if tensor.ndim < 2:
        return None
    rows = tensor.flatten(1)
    step = _step(tensor.flatten())
    if step is not None:
        return step
    steps = [_step(row) for row in rows]
    known = [each for each in steps if each is not None]
    return torch.stack(known)[:, None] if len(known) == len(steps) else None


def _step(values: Tensor) -> Tensor | None:
    grid: Tensor = torch.unique(values)
    if not 2 <= len(grid) <= MAX_STEPS + 1:
        return None
    step = grid.diff().min()
    n_steps = grid / step
    is_on_grid = (n_steps - n_steps.round()).abs().max() < TOLERANCE and n_steps.abs().max() <= MAX_STEPS
    return step if is_on_grid else None


def _used_rows(name: str, model: Mapping[str, Tensor]) -> Tensor:
    """The rows that weight norm does not multiply by zero. Other rows lie off the grid."""
    norm = model.get(name.removesuffix("_v") + "_g")
    if norm is None or not name.endswith("_v"):
        return model[name]
    return model[name][norm.flatten() != 0]


def _noisy(tensor: Tensor, used_rows: Tensor, generator: torch.Generator) -> Tensor:
    step = step_of(used_rows)
    if step is None:
        return tensor
    noise = torch.rand(tensor.flatten(1).shape, generator=generator) - 0.5
    return tensor + (noise * step).view(tensor.shape)


def _normed(rounded: Mapping[str, Tensor], noisy: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds the norms of the noisy directions of weight norm."""
    normed = dict(noisy)
    for name, norm in rounded.items():
        if name.endswith("weight_g"):
            direction = noisy[name.removesuffix("_g") + "_v"]
            normed[name] = torch.where(norm == 0, norm, direction.flatten(1).norm(dim=1).view(norm.shape))
    return normed
