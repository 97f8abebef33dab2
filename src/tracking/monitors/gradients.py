"""How large gradients are, layer by layer, and how often clipping shortens them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ..tag_tables import monitors as names
from .base import Monitor, WatchedStep, by_layer, group_of
from .tensors import Groups, named, norms


class GradientNorms(Monitor):
    """Euclidean norms of the gradients before clipping: total, per layer, per part of the model."""

    name: ClassVar[str] = "gradient norms"
    diagnosed: ClassVar[bool] = True

    def __init__(self) -> None:
        self._parameters: list[str] = []
        self._layers = 0
        self._groups: Groups | None = None
        self._tags: list[str] = []

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Norms of the gradients divided by what clipping has multiplied them with."""
        gradients = [_dense(gradient) for gradient in step.gradients.values()]
        if not gradients:
            return {}
        if self._groups is None or self._parameters != list(step.gradients):
            self._groups = self._prepare(list(step.gradients), gradients[0].device)
        sums = self._groups.sums(norms(gradients).square_()).sqrt_().div_(step.gradient_scale)
        layers = sums[: self._layers]
        deviation, mean = torch.std_mean(layers, correction=0)
        total = sums[-1] if step.gradient_norm is None else step.gradient_norm.to(sums.dtype)
        variation = torch.where(mean > 0, deviation / mean, mean)
        return named(self._tags, torch.cat([sums[:-1], torch.stack([total, variation])]))

    def _prepare(self, parameters: Sequence[str], device: torch.device) -> Groups:
        layers = by_layer(parameters)
        groups: dict[str, list[int]] = {}
        for place, parameter in enumerate(parameters):
            groups.setdefault(group_of(parameter), []).append(place)
        self._parameters, self._layers = list(parameters), len(layers)
        self._tags = [names.GRADIENT_NORM_LAYER.format(layer=layer) for layer in layers]
        self._tags += [names.GRADIENT_NORM_GROUP.format(group=group) for group in groups]
        self._tags += [names.GRADIENT_NORM_TOTAL, names.GRADIENT_NORM_VARIATION]
        everything = range(len(parameters))
        members = [*layers.values(), *groups.values(), everything]
        return Groups({str(number): places for number, places in enumerate(members)}, device)


class Clipping(Monitor):
    """How often clipping shortens the gradients, and what it leaves of them; nothing without clipping."""

    name: ClassVar[str] = "clipping"
    diagnosed: ClassVar[bool] = True

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Share of the latest steps whose norm was above the limit, and this step's norm after clipping."""
        if not step.clip or step.gradient_norm is None:
            return {}
        latest = torch.stack(list(step.recent_gradient_norms) or [step.gradient_norm])
        return {
            names.CLIPPING_PERCENTAGE: 100 * (latest > step.clip).float().mean(),
            names.CLIPPING_NORM_AFTER: step.gradient_norm.clamp(max=step.clip),
        }


def _dense(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.layout == torch.sparse_coo else gradient
