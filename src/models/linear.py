"""Linear forecasters (Zeng et al. 2023, arXiv 2205.13504): one linear map from the look-back window to the horizon.

They are the yardstick that larger networks have to beat.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.base import DataSpec
from ..options import tunable
from ..registry import register_model
from .base_model import BaseModel
from .sequence_model import WindowConfig, window_normalisation


class LinearModel(BaseModel):
    """One linear map shared by all target channels, each read from its own history.

    Where the targets' history is not among the inputs, the map reads all channels instead.
    """

    Config = WindowConfig
    config: WindowConfig
    read_channels: Tensor

    def __init__(self, spec: DataSpec, config: WindowConfig) -> None:
        super().__init__(spec, config)
        self.own_history = spec.target_channels is not None
        self.normaliser = window_normalisation(spec, config.normalisation, self.own_history)
        self.register_buffer("read_channels", torch.tensor(spec.target_channels or (), dtype=torch.long), False)

    def linear_map(self) -> nn.Linear:
        """A fresh map from a window to a forecast."""
        window, features = self.spec.input_shape
        horizon, targets = self.spec.target_shape
        return nn.Linear(window, horizon) if self.own_history else nn.Linear(window * features, horizon * targets)

    def apply_map(self, linear: nn.Linear, window: Tensor) -> Tensor:
        """``[batch, time, channels]`` -> ``[batch, horizon, targets]``."""
        if self.own_history:
            return linear(window.transpose(1, 2)).transpose(1, 2)
        return linear(window.flatten(1)).view(-1, *self.spec.target_shape)

    @abstractmethod
    def extrapolate(self, window: Tensor) -> Tensor:
        """The forecast of a normalised window: ``[batch, time, channels]`` -> ``[batch, horizon, targets]``."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, time, features]`` -> ``[batch, horizon, targets]``: scaled values, or logits for ``direction``."""
        if self.own_history:
            inputs = inputs[:, :, self.read_channels]
        window, statistics = self.normaliser(inputs)
        forecast = self.extrapolate(window)
        return forecast if self.spec.task == "direction" else self.normaliser.restore(forecast, statistics)


@register_model("linear:nlinear", normalisation="last")
class NLinear(LinearModel):
    """The last value is taken off the window, a linear map applied, the last value put back.

    For returns, whose last value says nothing about their level, use ``normalisation=none``.
    """

    def __init__(self, spec: DataSpec, config: WindowConfig) -> None:
        super().__init__(spec, config)
        self.linear = self.linear_map()

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        """Besides the usual reasons: there must be a last value of the target."""
        reason = super().unsupported(spec)
        if reason is None and spec.target_channels is None:
            reason = "it starts from the target's last value, which is not among the inputs"
        return reason

    def extrapolate(self, window: Tensor) -> Tensor:
        """``[batch, time, channels]`` -> ``[batch, horizon, targets]``."""
        return self.apply_map(self.linear, window)


@register_model("linear:dlinear", normalisation="none")
class DLinear(LinearModel):
    """The window is split into a moving average and the rest, each with a linear map of its own."""

    @dataclass(frozen=True)
    class Config(WindowConfig):
        """Options of DLinear."""

        moving_average: int = tunable(25, search=(5, 13, 25, 49), minimum=1, help="steps averaged for the trend")

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.trend, self.remainder = self.linear_map(), self.linear_map()

    def extrapolate(self, window: Tensor) -> Tensor:
        """``[batch, time, channels]`` -> ``[batch, horizon, targets]``."""
        width = self.config.moving_average
        front = window[:, :1].expand(-1, (width - 1) // 2, -1)
        back = window[:, -1:].expand(-1, width // 2, -1)
        padded = torch.cat([front, window, back], 1).transpose(1, 2)
        trend = functional.avg_pool1d(padded, width, 1).transpose(1, 2)
        return self.apply_map(self.trend, trend) + self.apply_map(self.remainder, window - trend)
