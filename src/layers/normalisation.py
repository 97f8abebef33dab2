"""Normalisation of each look-back window, undone on the forecast."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

KINDS = ("revin", "last", "none")
EPSILON = 1e-5


class WindowStatistics(NamedTuple):
    """What was taken out of a window, each ``[batch, 1, channels]``."""

    centre: Tensor
    scale: Tensor | None


class WindowNormalisation(nn.Module):
    """Takes the level (and scale) out of every window and puts it back into the forecast.

    ``revin`` is reversible instance normalisation (Kim et al., ICLR 2022): ``(x - mean) / deviation`` over the window,
    then a learnt affine map per channel, undone in reverse order. ``last`` subtracts the last value, as NLinear does
    (Zeng et al., AAAI 2023). ``none`` changes nothing.

    Args:
        kind: one of ``KINDS``.
        channels: number of input channels.
        target_channels: position of every target among the channels.
        learnt: whether the affine map is learnt; if not, it stays what it begins as, which changes nothing.
    """

    targets: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, kind: str, channels: int, target_channels: tuple[int, ...] | None, learnt: bool = True) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("targets", torch.tensor(target_channels or (), dtype=torch.long), persistent=False)
        if kind == "revin" and learnt:
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))
        elif kind == "revin":
            self.register_buffer("weight", torch.ones(channels))
            self.register_buffer("bias", torch.zeros(channels))

    def forward(self, window: Tensor) -> tuple[Tensor, WindowStatistics | None]:
        """``[batch, time, channels]`` -> the normalised window and what ``restore`` needs."""
        if self.kind == "none":
            return window, None
        if self.kind == "last":
            centre = window[:, -1:]
            return window - centre, WindowStatistics(centre, None)
        centre = window.mean(1, keepdim=True).detach()
        scale = (window.var(1, keepdim=True, correction=0) + EPSILON).sqrt().detach()
        return (window - centre) / scale * self.weight + self.bias, WindowStatistics(centre, scale)

    def normalise_targets(self, values: Tensor, statistics: WindowStatistics | None) -> Tensor:
        """What ``restore`` would turn into ``values``, ``[batch, horizon, targets]``."""
        if statistics is None:
            return values
        values = values - statistics.centre[..., self.targets]
        if statistics.scale is None:
            return values
        scaled = values / statistics.scale[..., self.targets]
        return scaled * (self.weight[self.targets] + EPSILON**2) + self.bias[self.targets]

    def restore(self, forecast: Tensor, statistics: WindowStatistics | None) -> Tensor:
        """Undo the normalisation on a forecast ``[batch, horizon, targets]``."""
        if statistics is None:
            return forecast
        centre = statistics.centre[..., self.targets]
        if statistics.scale is None:
            return forecast + centre
        # The published code divides by weight + epsilon^2, which guards against a weight of exactly zero.
        forecast = (forecast - self.bias[self.targets]) / (self.weight[self.targets] + EPSILON**2)
        return forecast * statistics.scale[..., self.targets] + centre

    def restore_deviation(self, deviation: Tensor, statistics: WindowStatistics | None) -> Tensor:
        """Undo the normalisation on standard deviations ``[batch, horizon, targets]``: only the scale matters."""
        if statistics is None or statistics.scale is None:
            return deviation
        return deviation / (self.weight[self.targets].abs() + EPSILON**2) * statistics.scale[..., self.targets]
