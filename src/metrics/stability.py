"""Is a loss falling steadily: three numbers over its last steps, all in one pass and without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

STEPS = 100
"""Steps that are looked back on."""
_FEWEST = 3


def loss_stability(losses: Sequence[Tensor | float] | Tensor) -> dict[str, Tensor]:
    """Smoothness, trend and spike of a loss over its last 100 steps at most.

    Args:
        losses: one loss a step, the newest last: numbers, 0-dimensional tensors, or one tensor ``[steps]``.

    Returns:
        nothing for fewer than 3 steps, else 0-dimensional tensors: ``loss_smoothness`` =
        1 / (1 + standard deviation of the successive differences / |mean|), 1 for a straight line, near 0 for noise
        much greater than the loss; ``loss_trend_slope``, loss per step of the line fitted by least squares, negative
        while it falls; ``loss_spike_ratio``, newest loss / median loss.
    """
    values = _as_row(losses)
    if len(values) < _FEWEST:
        return {}
    mean = values.mean()
    times = torch.arange(len(values), dtype=values.dtype, device=values.device)
    times = times - (len(values) - 1) / 2
    roughness = values.diff().std(correction=0) / mean.abs().clamp_min(torch.finfo(values.dtype).tiny)
    return {
        "loss_smoothness": 1 / (1 + roughness),
        "loss_trend_slope": (times * (values - mean)).sum() / times.square().sum(),
        "loss_spike_ratio": values[-1] / _median(values),
    }


def _as_row(losses: Sequence[Tensor | float] | Tensor) -> Tensor:
    newest = losses[-STEPS:]
    if isinstance(newest, Tensor):
        return newest.detach().float()
    tensors = [loss for loss in newest if isinstance(loss, Tensor)]
    if not tensors:
        return torch.tensor([float(loss) for loss in newest], dtype=torch.float64)
    device = tensors[-1].device
    return torch.stack([torch.as_tensor(loss, device=device).detach().float().reshape(()) for loss in newest])


def _median(values: Tensor) -> Tensor:
    """The middle value, or the mean of both middle ones."""
    ordered = values.sort().values
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


class RunningMean:
    """Mean of the latest values, kept where they are: a loss that is smoothed without waiting for the device.

    Args:
        steps: how many values.
    """

    def __init__(self, steps: int = STEPS) -> None:
        self._steps, self._count = steps, 0
        self._latest = torch.empty(0)

    def add(self, value: Tensor | float) -> Tensor:
        """Take in a value, one number; returns the mean of the latest ones, 0-dimensional."""
        tensor = torch.as_tensor(value).detach().float().mean()
        if not self._count:
            self._latest = tensor.new_zeros(self._steps)
        self._latest[self._count % self._steps] = tensor
        self._count += 1
        return self._latest[: self._count].mean()
