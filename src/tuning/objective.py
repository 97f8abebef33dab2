"""What a search goes by: one validation value, the same for every configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from ..errors import OptionError
from .config import OBJECTIVES

LOSS_OPTIONS = ("loss", "weight_alpha", "weight_beta", "prediction", "loss_weighting", "noise_schedule")
"""Options that change what the loss is: a search by the loss cannot vary them."""


def resolve_objective(name: str, task: str) -> str:
    """The objective's name, with ``auto`` resolved.

    That is the scaled squared error; for directions and classes the Brier score; for clips how much their captions help
    against noise, which rises before captions can be read and, unlike the loss, compares whatever is predicted.

    Raises:
        OptionError: if the task has no such value.
    """
    own = _OF_TASK.get(task, ("brier", "accuracy", "loss"))
    if name == "auto":
        return own[0]
    if name not in own:
        raise OptionError(
            f"--objective must be auto or one of {', '.join(own)} for the task {task}, but got '{name}'; "
            "auto is right unless you know better"
        )
    return name


_OF_TASK = {
    "forecast": ("mse", "loss"),
    "generate": ("caption_gain", "caption_accuracy", "denoised_mse", "loss"),
}


def direction_of(objective: str) -> Literal["minimize", "maximize"]:
    """``minimize`` or ``maximize``."""
    return "maximize" if OBJECTIVES[objective] == "maximize" else "minimize"


def objective_value(objective: str, validation: Mapping[str, float]) -> float:
    """The objective among the validation values of an epoch.

    Where the loss is the squared error, it has no second entry under that name; models with a loss of their own and
    no such value go by their loss.
    """
    return float(validation.get(objective, validation["loss"]))


def is_better(value: float, best: float, objective: str) -> bool:
    """Whether a value beats the best one so far; any number beats one that is none."""
    if math.isnan(best):
        return not math.isnan(value)
    return value > best if direction_of(objective) == "maximize" else value < best
