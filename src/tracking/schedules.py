"""Learning rates to come: what a scheduler will give, without touching it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATE = {
    "last_epoch": "Step",
    "num_bad_epochs": "Checks_Without_Improvement",
    "cooldown_counter": "Cooldown",
    "best": "Best",
}


def future_learning_rates(scheduler: Any, steps: int) -> list[float]:
    """The first parameter group's learning rate after each of the scheduler's next steps.

    A copy of the scheduler runs ahead on a stand-in for the optimiser; the scheduler, the optimiser and its parameters
    stay as they are, and no state of the optimiser is copied.

    Args:
        scheduler: one of PyTorch's.
        steps: how many; fewer are returned where the schedule ends before, none where rates depend on results that
            nobody knows yet (``ReduceLROnPlateau``) or the scheduler cannot be copied.
    """
    if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
        return []
    stand_in = _stand_in(scheduler.optimizer)
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no optimiser step came between
        try:
            ahead = copy.deepcopy(scheduler, {id(scheduler.optimizer): stand_in})
            for _ in range(steps):
                ahead.step()
                rates.append(float(stand_in.param_groups[0]["lr"]))
        except Exception:  # a scheduler may be anybody's: it ends, or cannot run by itself
            return rates
    return rates


def scheduler_state(scheduler: Any) -> dict[str, float]:
    """What a scheduler is at: its step and, of an adaptive one, what it waits for."""
    found = {name: getattr(scheduler, attribute, None) for attribute, name in _STATE.items()}
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def schedule_figure(steps: Sequence[int], past: Sequence[float], future: Sequence[float]) -> Figure:
    """Learning rates used so far, at ``steps``, and those to come from the last of them on."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    now = steps[-1] if steps else 0
    axes.plot(steps, past, color="black", linewidth=1.2, label="used")
    axes.plot([now + k for k in range(1, len(future) + 1)], future, color="tab:orange", linewidth=1.2, label="ahead")
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", fontsize=10, frameon=False)
    return figure


def _stand_in(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """An optimiser with the same settings for each group and nothing to optimise."""
    groups = [
        {**{name: _plain(value) for name, value in group.items() if name != "params"}, "params": [torch.zeros(1)]}
        for group in optimizer.param_groups
    ]
    return torch.optim.SGD(groups, lr=0.0)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, torch.Tensor) else copy.copy(value)
