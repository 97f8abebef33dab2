"""Whether the loss falls steadily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ...metrics.stability import loss_stability
from ..tag_tables import monitors as names
from .base import Monitor, WatchedStep

_TAGS = {
    "loss_smoothness": names.STABILITY_SMOOTHNESS,
    "loss_trend_slope": names.STABILITY_SLOPE,
    "loss_spike_ratio": names.STABILITY_SPIKE,
}


class LossStability(Monitor):
    """Smoothness, trend and spikes of the loss over the last 100 steps."""

    name: ClassVar[str] = "loss stability"

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Look at the latest losses."""
        found = loss_stability(list(step.recent_losses))
        return {_TAGS[name]: value for name, value in found.items()}
