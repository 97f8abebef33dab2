"""Looking into layers while a model computes, for one step and not longer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Hooks:
    """Hooks that are taken away together. Torch's compiler never sees them, so compiled models show nothing."""

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def on_call(self, layer: nn.Module, hook: Any) -> None:
        """``hook(layer, arguments, keywords)`` before the layer computes; what it returns is ignored."""

        def call(layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            if layer.training and not torch.compiler.is_compiling():
                hook(layer, arguments, keywords)

        self._handles.append(layer.register_forward_pre_hook(call, with_kwargs=True))

    def on_result(self, layer: nn.Module, hook: Any) -> None:
        """``hook(layer, arguments, result)`` after the layer has computed; what it returns is ignored."""

        def call(layer: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
            if layer.training and not torch.compiler.is_compiling():
                hook(layer, arguments, result)

        self._handles.append(layer.register_forward_hook(call))

    def remove(self) -> None:
        """Take all of them away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def is_compiled(model: nn.Module) -> bool:
    """Whether torch's compiler runs the model, or a part of it, so that hooks would not be called."""
    return any(
        getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")
        for module in model.modules()
    )


def first_tensor(values: Any) -> Tensor | None:
    """The first tensor of a layer's arguments, or of its result."""
    if isinstance(values, Tensor):
        return values
    if isinstance(values, (tuple, list)):
        return next((value for value in values if isinstance(value, Tensor)), None)
    return None
