"""How far values may lie from a forecast: the second head of a network that forecasts a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .volatility import WindowVolatility

QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
MEDIAN = QUANTILES.index(0.5)
START_DEGREES = 8.0
LARGEST_LOG_SCALE = 7.0
LEAST_DEVIATION = 1e-4


class SpreadHead(nn.Module):
    """A linear map from encodings to what stands beside the mean: a log-deviation, or the steps between quantiles.

    Args:
        encoded_size: numbers in an encoding.
        outputs: numbers that the first head makes of one.
        targets: how many targets there are; each has degrees of freedom of its own.
        likelihood: ``normal``, ``student`` or ``quantiles``.
        volatility: what the scale of returns is measured against, and begins with; None for one unit.
    """

    def __init__(
        self, encoded_size: int, outputs: int, targets: int, likelihood: str, volatility: WindowVolatility | None
    ) -> None:
        super().__init__()
        self.likelihood, self.volatility = likelihood, volatility
        self.parameters_each = len(QUANTILES) - 1 if likelihood == "quantiles" else 1
        self.linear = nn.Linear(encoded_size, outputs * self.parameters_each)
        nn.init.normal_(self.linear.weight, std=1e-3)
        nn.init.zeros_(self.linear.bias)
        if likelihood == "student":
            self.raw_degrees = nn.Parameter(torch.full((targets,), math.log(math.expm1(START_DEGREES - 2))))
        if likelihood == "quantiles":  # steps begin as those of a normal distribution
            steps = torch.special.ndtri(torch.tensor(QUANTILES)).diff()
            with torch.no_grad():
                self.linear.bias.copy_(steps.expm1().log().repeat_interleave(outputs))

    @property
    def degrees(self) -> Tensor:
        """Of freedom of Student's t, above 2, ``[targets]``."""
        return 2.0 + functional.softplus(self.raw_degrees) + 1e-3

    def raw(self, encoded: Tensor) -> tuple[Tensor, ...]:
        """``[rows, encoded_size]`` -> for each parameter ``[rows, outputs]``, not yet in the forecast's shape."""
        return self.linear(encoded).chunk(self.parameters_each, -1)

    def forward(self, location: Tensor, raw: Sequence[Tensor], unit: Tensor, inputs: Tensor) -> Tensor:
        """The parameters of the forecast.

        Args:
            location: mean, or median, ``[batch, horizon, targets]``.
            raw: what ``raw`` made, in the same shape.
            unit: scaled units that one unit of the network is, in the same shape.
            inputs: windows ``[batch, time, features]``, for the volatility.

        Returns:
            mean and log-deviation (of Student's t, log-scale) or quantiles, ``[batch, horizon, targets, parameters]``.
        """
        log_unit = unit.log()
        if self.volatility is not None:
            log_unit = log_unit + self.volatility(inputs)
        if self.likelihood != "quantiles":
            log_scale = (raw[0] + log_unit).clamp(math.log(LEAST_DEVIATION), LARGEST_LOG_SCALE)
            return torch.stack([location, log_scale], -1)
        steps = torch.stack([functional.softplus(part) for part in raw], -1) * log_unit.exp().unsqueeze(-1)
        centre = location.unsqueeze(-1)
        below = centre - steps[..., :MEDIAN].flip(-1).cumsum(-1).flip(-1)
        above = centre + steps[..., MEDIAN:].cumsum(-1)
        return torch.cat([below, centre, above], -1)
