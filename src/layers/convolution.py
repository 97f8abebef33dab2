"""Causal convolutions as functions of their weights: over all steps, or only where outputs are read."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def causal_convolution(states: Tensor, weight: Tensor, bias: Tensor, dilation: int = 1) -> Tensor:
    """``[batch, channels_in, time]`` -> ``[batch, channels_out, time]``, zeros standing for the time before.

    Args:
        states: what is convolved.
        weight: ``[channels_out, channels_in, taps]``.
        bias: ``[channels_out]``.
        dilation: steps between taps.
    """
    padded = functional.pad(states, ((weight.shape[2] - 1) * dilation, 0))
    return functional.conv1d(padded, weight, bias, dilation=dilation)


def grid_convolution(states: Tensor, weight: Tensor, bias: Tensor, outputs: int, step: int = 1) -> Tensor:
    """The same convolution for states that are ``dilation`` time steps apart already.

    Args:
        states: ``[batch, channels_in, grid]``; the last entry is the newest time step.
        weight, bias: as above.
        outputs: how many outputs are wanted, counted back from the newest.
        step: distance between outputs, in grid positions.

    Returns:
        ``[batch, channels_out, outputs]``.
    """
    needed = (outputs - 1) * step + weight.shape[2]
    missing = needed - states.shape[2]
    states = functional.pad(states, (missing, 0)) if missing > 0 else states[:, :, -needed:]
    return functional.conv1d(states, weight, bias, stride=step)
