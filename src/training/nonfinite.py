"""Where a loss or gradient stopped being finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..data.base import Batch


def describe_origin(model: Any, batch: Batch) -> str:
    """One clause that names the first place of trouble: the data, a weight, a layer's output, the loss or a gradient.

    Computes the batch once more, forwards and backwards, watching every layer; weights, their gradients and the random
    state stay untouched.
    """
    for name, tensor in (("inputs", batch.inputs), ("targets", batch.targets)):
        if not _finite(tensor):
            return f"the batch's {name} hold values that are not finite"
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"the weights {name} are not finite"
    with torch.random.fork_rng(), torch.enable_grad():
        layer, loss = _watched_loss(model, batch)
        if layer is not None:
            return f"it begins in the output of layer {layer}"
        if not _finite(loss):
            return "layer outputs are finite, the loss is not"
        parameter_name = _last_bad_gradient(model, loss)
    if parameter_name is not None:
        return f"outputs are finite, the gradient of {parameter_name} is not"
    return "it did not happen again when the batch was computed once more"


def _watched_loss(model: nn.Module, batch: Batch) -> tuple[str | None, Tensor]:
    """Name of the first layer without children whose output is not finite, and the loss."""
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
        loss = model.losses(batch)["loss"]  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None, loss


def _last_bad_gradient(model: nn.Module, loss: Tensor) -> str | None:
    """The backward pass runs from the last layer to the first, so the last parameter affected is where it began."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, [parameter for _, parameter in named], allow_unused=True)
    bad = [name for (name, _), gradient in zip(named, gradients, strict=True) if not _finite(gradient)]
    return bad[-1] if bad else None


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def _finite(tensor: Tensor | None) -> bool:
    return tensor is None or not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
