"""Layers with noise in them, and how to draw whole networks from them: one network for all rows of a batch.

Drawing a network means fixing the noise: which units are dropped, or what the weights are. Within ``drawn_networks``
rows come as ``[draws * batch, ...]``, the draws outermost, and every layer uses its draw ``i`` for all rows of block
``i``. What is predicted of a row so depends on neither its neighbours nor the state of any random generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


class StochasticLayer(nn.Module):
    """Base of layers with noise.

    Attributes:
        draws: how many networks the rows belong to; 0 outside ``drawn_networks``.
        generator: what draws come from, within ``drawn_networks``; on the CPU, so that all devices see the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.draws = 0
        self.generator: torch.Generator | None = None


@contextmanager
def drawn_networks(model: nn.Module, draws: int, seed: int = 0) -> Iterator[None]:
    """Let every stochastic layer of a model use ``draws`` fixed draws of its noise; see the module's description."""
    layers = [layer for layer in model.modules() if isinstance(layer, StochasticLayer)]
    for number, layer in enumerate(layers):
        layer.draws = draws
        layer.generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    try:
        yield
    finally:
        for layer in layers:
            layer.draws, layer.generator = 0, None


class Dropout(StochasticLayer):
    """Dropout that can be tied over time, and drawn.

    Args:
        share: of units dropped.
        whole_channels: for states ``[batch, channels, time]``: drop channels at all steps (``dropout1d``).

    Attributes:
        tied: drop the same units at all steps of a row, which makes a draw one network (Gal and Ghahramani 2016, arXiv
            1512.05287); set by those who want to draw.
    """

    def __init__(self, share: float, whole_channels: bool = False) -> None:
        super().__init__()
        self.share, self.whole_channels, self.tied = share, whole_channels, False

    def forward(self, states: Tensor) -> Tensor:
        """``[rows, size]``, ``[rows, time, size]`` or, with ``whole_channels``, ``[rows, channels, time]``."""
        if self.draws and self.share:
            return self._drawn(states)
        if not self.training or not self.share:
            return states
        if self.whole_channels:
            return functional.dropout1d(states, self.share, self.training)
        if self.tied and states.ndim == 3:
            kept = functional.dropout(states.new_ones(states.shape[0], 1, states.shape[2]), self.share)
            return states * kept
        return functional.dropout(states, self.share, self.training)

    def _drawn(self, states: Tensor) -> Tensor:
        size = states.shape[1] if self.whole_channels else states.shape[-1]
        kept = torch.rand(self.draws, size, generator=self.generator) >= self.share
        scale = (kept.to(states.dtype) / (1 - self.share)).to(states.device)
        scale = scale.view(self.draws, 1, size, 1) if self.whole_channels else scale.view(self.draws, 1, 1, size)
        return (states.view(self.draws, -1, *_three(states)) * scale).view(states.shape)


def _three(states: Tensor) -> tuple[int, int]:
    """The last two axes, a missing one being 1."""
    return (states.shape[1], states.shape[2]) if states.ndim == 3 else (1, states.shape[1])
