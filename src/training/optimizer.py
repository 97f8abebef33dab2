"""The optimiser and the learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .config import TrainingConfig

PLATEAU_FACTOR = 0.5
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25


_plain_step = torch.optim.AdamW.step.__wrapped__  # type: ignore[attr-defined]


class _PlainAdamW(torch.optim.AdamW):
    """torch's AdamW without its notes to torch's compiler, which is not in use here.

    Every optimiser imports the compiler (``torch._dynamo``) at its first use, merely to tell it to stay away: 1.5 s at
    the start of every training process. ``__wrapped__`` is the same method before that was added.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update; see ``torch.optim.AdamW.step``."""
        return _plain_step(self, closure)


for _name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    setattr(_PlainAdamW, _name, getattr(torch.optim.AdamW, _name).__wrapped__)


def build_optimizer(parameters: Iterable[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) in one fused kernel."""
    return _PlainAdamW(list(parameters), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def schedule_factor(schedule: str, step: int, total_steps: int, warmup_steps: int) -> float:
    """The learning rate of a step as a share of its peak; without state, so that a resumed run needs none.

    After a linear rise over ``warmup_steps``: ``cosine`` falls to 0 along half a cosine; ``one-cycle`` rises from
    1/25 over the first 30 % and falls to 0, both along half a cosine (Smith and Topin 2018, arXiv 1708.07120);
    ``constant`` and ``plateau`` stay at 1.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "cosine":
        return _half_cosine(1.0, 0.0, done)
    if schedule == "one-cycle":
        if done < ONE_CYCLE_RISE:
            return _half_cosine(ONE_CYCLE_START, 1.0, done / ONE_CYCLE_RISE)
        return _half_cosine(1.0, 0.0, (done - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))
    return 1.0


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


class Schedule:
    """Sets the learning rate before every step.

    ``plateau`` halves it whenever the validation value has not improved for a third of the patience.

    Args:
        optimizer: whose learning rate to set.
        config: peak, kind and warm-up.
        steps_per_epoch: optimiser steps in an epoch.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainingConfig, steps_per_epoch: int) -> None:
        self.optimizer, self.config = optimizer, config
        self.total_steps = config.epochs * steps_per_epoch
        self.warmup_steps = round(config.warmup * steps_per_epoch)
        self.wait = max(1, config.patience // 3)
        self.scale = 1.0
        self.epochs_waited = 0

    def before_step(self, step: int) -> float:
        """Set and return the learning rate of optimiser step ``step``, counted from 0."""
        rate = self.rate_at(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, past or to come, as far as it is decided already."""
        shape = schedule_factor(self.config.schedule, step, self.total_steps, self.warmup_steps)
        return self.config.lr * self.scale * shape

    def after_epoch(self, improved: bool) -> None:
        """Tell the schedule how the epoch went."""
        if self.config.schedule != "plateau":
            return
        self.epochs_waited = 0 if improved else self.epochs_waited + 1
        if self.epochs_waited >= self.wait:
            self.scale *= PLATEAU_FACTOR
            self.epochs_waited = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scale": self.scale, "epochs_waited": self.epochs_waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self.scale, self.epochs_waited = state["scale"], state["epochs_waited"]
