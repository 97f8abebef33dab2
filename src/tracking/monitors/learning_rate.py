"""The learning rate, as it is and as it is planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ..tag_tables import monitors as names
from .base import Monitor, WatchedRun, WatchedStep

MOST_POINTS = 200


class LearningRate(Monitor):
    """The learning rate of the latest step; once, at the start, the schedule of all steps to come."""

    name: ClassVar[str] = "learning rate"
    diagnosed: ClassVar[bool] = True
    interval = 10

    def __init__(self) -> None:
        self._planned_steps = 0
        self._is_known = True

    def on_start(self, run: WatchedRun) -> None:
        """Write the plan, at the steps it is for; a resumed run has it already, unless it is longer or shorter now."""
        self._is_known = run.optimizer is not None or run.learning_rate_at is not None
        total, rate_at = run.total_steps or 0, run.learning_rate_at
        if rate_at is None or total < 1 or total == self._planned_steps:
            return
        self._planned_steps = total
        points = min(total, MOST_POINTS)
        steps = [0] if points == 1 else [round(number * (total - 1) / (points - 1)) for number in range(points)]
        for step in steps:
            run.logger.log_values({names.LEARNING_RATE_AHEAD: float(rate_at(step))}, step)

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """The rate that this step used."""
        return {names.LEARNING_RATE: float(step.learning_rate)} if self._is_known else {}

    def state_dict(self) -> dict[str, Any]:
        """For how many steps the plan has been written."""
        return {"planned_steps": self._planned_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._planned_steps = int(state["planned_steps"])
