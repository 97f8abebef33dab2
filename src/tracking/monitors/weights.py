"""How large weights are, and how much of them a step changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..tag_tables import monitors as names
from .base import Monitor, WatchedRun, WatchedStep, by_layer, group_of
from .ema import FOLLOWERS
from .tensors import Groups, mean_and_deviation, measurable, named, norms


class _LayerMonitor(Monitor):
    """Knows the parameters of every layer, frozen ones included."""

    def __init__(self) -> None:
        self._parameters: list[Tensor] = []
        self._layers: dict[str, list[int]] = {}
        self._groups: Groups | None = None

    def on_start(self, run: WatchedRun) -> None:
        """Find the layers."""
        parameters = measurable(self._chosen(run))
        self._parameters = list(parameters.values())
        self._layers = by_layer(list(parameters))
        if self._parameters:
            self._groups = Groups(self._layers, self._parameters[0].device)

    def _chosen(self, run: WatchedRun) -> Mapping[str, nn.Parameter]:
        """The parameters that are looked at, by name."""
        return run.parameters


class UpdateRatios(_LayerMonitor):
    """How much of a layer a step changes: norm of the change / norm of the weights before it.

    1 for a layer that was all zeros and is not any more, 0 for one that stays as it is.
    """

    name: ClassVar[str] = "update ratios"
    diagnosed: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Tensor] = []
        self._tags: list[str] = []

    def _chosen(self, run: WatchedRun) -> Mapping[str, nn.Parameter]:
        """Those that the optimiser changes, and frozen ones; moving averages have a monitor of their own."""
        return {
            name: parameter
            for name, parameter in run.parameters.items()
            if parameter.requires_grad or group_of(name) not in FOLLOWERS
        }

    def on_start(self, run: WatchedRun) -> None:
        """Find the layers."""
        super().on_start(run)
        self._tags = [names.UPDATE_RATIO.format(layer=layer) for layer in self._layers]

    def before_step(self) -> None:
        """Copy the weights."""
        with torch.no_grad():
            self._before = list(torch._foreach_clone(self._parameters)) if self._parameters else []

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Compare the weights with their copies."""
        before, self._before = self._before, []
        if not before or self._groups is None:
            return {}
        with torch.no_grad():
            size = self._groups.sums(norms(before).square_())
            torch._foreach_sub_(before, self._parameters)
            change = self._groups.sums(norms(before).square_())
        ratio = torch.where(size > 0, (change / size).sqrt_(), (change > 0).to(size.dtype))
        return named(self._tags, ratio)

    def on_end(self) -> None:
        """Let the copies go."""
        self._before = []


class WeightStatistics(_LayerMonitor):
    """Mean, deviation and norm of each layer's weights; between written values the norm alone, for the diagnosis."""

    name: ClassVar[str] = "weight statistics"
    diagnosed: ClassVar[bool] = True

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Look at the weights after the step."""
        if self._groups is None:
            return {}
        with torch.no_grad():
            norm = self._groups.sums(norms(self._parameters).square_()).sqrt_()
            values = named((names.WEIGHT_NORM.format(layer=layer) for layer in self._layers), norm)
            if step.detailed:
                values |= self._moments()
        return values

    def _moments(self) -> dict[str, Tensor | float]:
        values: dict[str, Tensor | float] = {}
        for layer, places in self._layers.items():
            weights = torch.cat([_real(self._parameters[place]).flatten() for place in places])
            mean, deviation = mean_and_deviation(weights)
            values[names.WEIGHT_MEAN.format(layer=layer)] = mean
            values[names.WEIGHT_STD.format(layer=layer)] = deviation
        return values


def _real(weights: Tensor) -> Tensor:
    return torch.view_as_real(weights) if weights.is_complex() else weights
