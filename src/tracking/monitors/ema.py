"""Target networks that follow another one as an exponential moving average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...metrics.ema import ema_metrics
from ..tag_tables import monitors as names
from .base import Monitor, WatchedRun, WatchedStep

PAIRS = (
    ("context_encoder", "target_encoder"),
    ("online_encoder", "target_encoder"),
    ("online_network", "target_network"),
    ("student", "teacher"),
    ("network", "average_network"),
)
"""Attribute names by which a followed network and its moving average are found."""

FOLLOWERS = frozenset(follower for _, follower in PAIRS)


class ExponentialMovingAverage(Monitor):
    """How far a target network is behind the one it follows, and with which momentum it follows.

    The momentum is measured: m in ``target' = m target + (1 - m) online``, by least squares over all weights, online
    weights taken after the step.

    Args:
        online: the network that is trained.
        target: its moving average; without both, the model's attributes are looked through (``context_encoder`` and
            ``target_encoder``, and other names in use).
    """

    name: ClassVar[str] = "moving average"

    def __init__(self, online: nn.Module | None = None, target: nn.Module | None = None) -> None:
        self._given = None if online is None or target is None else (online, target)
        self._pair: tuple[nn.Module, nn.Module] | None = None
        self._before: dict[str, Tensor] = {}

    def on_start(self, run: WatchedRun) -> None:
        """Find the pair."""
        found = [(getattr(run.model, online, None), getattr(run.model, target, None)) for online, target in PAIRS]
        modules = [(a, b) for a, b in found if isinstance(a, nn.Module) and isinstance(b, nn.Module)]
        self._pair = self._given or next(iter(modules), None)

    def before_step(self) -> None:
        """Copy the target's weights."""
        if self._pair is not None:
            parameters = dict(self._pair[1].named_parameters())
            with torch.no_grad():
                copies = torch._foreach_clone(list(parameters.values())) if parameters else ()
            self._before = dict(zip(parameters, copies, strict=True))

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Compare both networks."""
        if self._pair is None:
            return {}
        with torch.no_grad():
            found = ema_metrics(*self._pair)
            values: dict[str, Tensor | float] = {
                names.EMA_DIVERGENCE: found["avg_parameter_divergence"],
                names.EMA_RATIO: found["weight_magnitude_ratio"],
            }
            momentum = self._momentum(*self._pair)
        self._before = {}
        return values if momentum is None else values | {names.EMA_MOMENTUM: momentum}

    def on_end(self) -> None:
        """Let the copies go."""
        self._before = {}

    def _momentum(self, online: nn.Module, target: nn.Module) -> Tensor | None:
        followed = dict(online.named_parameters())
        shared = [
            (before, followed[name], parameter)
            for name, parameter in target.named_parameters()
            if (before := self._before.get(name)) is not None
            and name in followed
            and followed[name].shape == parameter.shape
        ]
        if not shared:
            return None
        old, new, now = (list(tensors) for tensors in zip(*shared, strict=True))
        gaps, moves = torch._foreach_sub(new, old), torch._foreach_sub(now, old)
        products = torch.stack([product.sum() for product in torch._foreach_mul(gaps, moves)]).sum()
        size = torch.stack(torch._foreach_norm(gaps)).square().sum()
        return torch.where(size > 0, 1 - products / size, torch.ones_like(size))
