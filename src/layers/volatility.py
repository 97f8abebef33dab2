"""How much a series of returns has moved of late: what the scale of its next return is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECAYS = (0.8, 0.94, 0.99)
"""Of the exponentially weighted mean squares; 0.94 is RiskMetrics' for daily returns (J. P. Morgan 1996)."""
LEAST_VARIANCE = 1e-6


class WindowVolatility(nn.Module):
    """A learnt mixture of exponentially weighted mean squares of each target's past, in the log.

    Mixtures of fast and slow ones forecast the variance of returns well (Corsi 2009, a simple approximate long-memory
    model of realized volatility). It begins as the one with decay 0.94.

    Args:
        window: rows of the look-back window.
        channels: the targets' places among the features.
    """

    weights: Tensor
    channels: Tensor

    def __init__(self, window: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        ages = torch.arange(window - 1, -1, -1, dtype=torch.float64)
        weights = torch.stack([decay**ages for decay in DECAYS])
        self.register_buffer("weights", (weights / weights.sum(1, keepdim=True)).float(), persistent=False)
        self.register_buffer("channels", torch.tensor(channels, dtype=torch.long), persistent=False)
        self.shares = nn.Parameter(torch.tensor([0.0, 4.0, 0.0]).repeat(len(channels), 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scaled returns ``[batch, time, features]`` -> the log of a standard deviation, ``[batch, 1, targets]``."""
        squares = inputs[..., self.channels].square()
        variances = torch.einsum("btk,dt->bkd", squares, self.weights)
        mixed = (variances * torch.softmax(self.shares, -1)).sum(-1)
        return 0.5 * (mixed + LEAST_VARIANCE).log().unsqueeze(1)
