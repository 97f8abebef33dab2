"""Where a loss or gradient stopped being finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..data.base import Batch


def describe_origin(model: Any, batch: Batch) -> str:
    """One clause that names the first place of trouble: the data, a weight, a layer's output or a gradient.

    Computes the batch once more, forwards, watching every layer; weights, gradients and random state stay untouched.
    """
    for name, tensor in (("inputs", batch.inputs), ("targets", batch.targets)):
        if not _finite(tensor):
            return f"the batch's {name} hold values that are not finite"
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"the weights {name} are not finite"
    layer = _first_layer(model, batch)
    if layer is not None:
        return f"it begins in the output of layer {layer}"
    # The backward pass runs from the last layer to the first, so the last one affected is where it began.
    affected = [
        n for n, parameter in model.named_parameters() if parameter.grad is not None and not _finite(parameter.grad)
    ]
    if affected:
        return f"outputs are finite, the gradient of {affected[-1]} is not"
    return "layer outputs are finite, the loss is not"


@torch.no_grad()
def _first_layer(model: nn.Module, batch: Batch) -> str | None:
    """Name of the first layer without children whose output is not finite."""
    found: list[str] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not found and not all(_finite(tensor) for tensor in _tensors(output)):
                found.append(name)

        return hook

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if name and not any(module.children())
    ]
    try:
        with torch.random.fork_rng():
            model.losses(batch)  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all()) if tensor.is_floating_point() else True
