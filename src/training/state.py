"""Everything that changes while a model trains: what a checkpoint holds, and what a resumed run goes on with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..data.base import DataModule
from ..errors import UserError
from .clock import StepClock
from .config import TrainingConfig
from .device import random_states, restore_random_states
from .interruption import HeldInterrupts
from .optimizer import Schedule, build_optimizer


@dataclass
class Progress:
    """How far a run has come; all of it is in every checkpoint.

    ``epoch`` and ``step`` count what is finished, ``best_epoch`` is -1 before the first epoch, ``seconds`` is the time
    spent in finished epochs, ``stop_reason`` is empty until an observer has stopped the run.
    """

    epoch: int = 0
    step: int = 0
    best: float = math.inf
    best_epoch: int = -1
    seconds: float = 0.0
    stop_reason: str = ""


@dataclass
class EpochSums:
    """What the epoch under way has summed up; part of the checkpoints that are written inside an epoch.

    Attributes:
        steps: optimiser steps done in this epoch.
        totals: sums over these steps of the losses and of ``gradient_norm``, 0-dimensional, on the device.
        learning_rate, gradient_norm: of the last step, the norm before clipping.
        started: when the epoch began on ``time.perf_counter``'s clock, time between two processes left out.
    """

    steps: int = 0
    totals: dict[str, Tensor] = field(default_factory=dict)
    learning_rate: float = 0.0
    gradient_norm: Tensor = field(default_factory=lambda: torch.ones(()))
    started: float = field(default_factory=time.perf_counter)

    def add(self, losses: dict[str, Tensor], gradient_norm: Tensor, learning_rate: float) -> None:
        """Count one step in."""
        for name, value in (losses | {"gradient_norm": gradient_norm}).items():
            self.totals[name] = self.totals.get(name, 0.0) + value.detach()
        self.learning_rate, self.gradient_norm = learning_rate, gradient_norm
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {**vars(self), "started": time.perf_counter() - self.started}

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> EpochSums:
        """Go on where ``state_dict`` was taken."""
        totals = {name: value.to(device) for name, value in state["totals"].items()}
        started = time.perf_counter() - state["started"]
        return cls(state["steps"], totals, state["learning_rate"], state["gradient_norm"].to(device), started)


@dataclass
class TrainingState:
    """Everything that changes while training: what a checkpoint holds and observers may look at.

    ``write_checkpoint`` is how to write one inside an epoch; whoever keeps checkpoints sets it. Observers that must go
    on where they stood enter themselves in ``watchers`` under a name, and find in ``watched`` what a checkpoint kept
    of the one of that name. ``keep_validation_batches`` makes validation report its batches. ``logging_seconds`` is
    what logging observers have taken after epochs.
    """

    model: Any
    data: DataModule
    config: TrainingConfig
    device: torch.device
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    progress: Progress = field(default_factory=Progress)
    sums: EpochSums = field(default_factory=EpochSums)
    interrupts: HeldInterrupts = field(default_factory=HeldInterrupts)
    write_checkpoint: Callable[[], None] | None = None
    saved_at: float = field(default_factory=time.monotonic)
    watchers: dict[str, Any] = field(default_factory=dict)
    watched: dict[str, Any] = field(default_factory=dict)
    keep_validation_batches: bool = False
    logging_seconds: float = 0.0
    clock: StepClock = field(default_factory=lambda: StepClock(torch.device("cpu")))

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return steps_per_epoch(len(self.data.train), self.config)

    def save_is_due(self) -> bool:
        """Whether a checkpoint is to be written now: on an interrupt, and every ``checkpoint_minutes``."""
        return self.interrupts.noted or time.monotonic() - self.saved_at >= 60 * self.config.checkpoint_minutes

    def save(self) -> None:
        """Write a checkpoint inside an epoch, where checkpoints are kept at all."""
        if self.write_checkpoint is not None:
            self.write_checkpoint()
        self.saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values from which ``load_state_dict`` goes on to the same bits."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": dict(vars(self.progress)),
            "random": random_states(),
            "training": self.config.to_dict(),
            "watchers": {name: watcher.state_dict() for name, watcher in self.watchers.items()},
        }
        return state | {"epoch": self._epoch_state()} if self.sums.steps else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken; a run that had stopped goes on only if its options have changed.

        Raises:
            UserError: if an epoch was begun whose batches would now be others.
        """
        config = self.config.to_dict()
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        if any(config.get(name) != value for name, value in state["training"].items()):
            self.progress.stop_reason = ""
        self.watched = dict(state.get("watchers", {}))
        if "epoch" in state:
            self._load_epoch_state(state["epoch"])
        restore_random_states(state["random"])

    def _epoch_state(self) -> dict[str, Any]:
        state = self.sums.state_dict() | {
            "order": self._order(),
            "logged": dict(getattr(self.model, "logged_sums", {})),
        }
        if self.sums.steps == self.steps_per_epoch:  # what comes next looks at the last step's gradients
            named = self.model.named_parameters()
            state["gradients"] = {name: parameter.grad for name, parameter in named if parameter.grad is not None}
        return state

    def _load_epoch_state(self, state: dict[str, Any]) -> None:
        if state["order"] != self._order():
            raise UserError(
                "an epoch that was begun goes on only with the seed, batch size and number of windows it began with: "
                f"{state['order']}, but now they are {self._order()}; use the same ones or start a new run"
            )
        self.sums = EpochSums.from_state(state, self.device)
        if state["logged"]:
            self.model.logged_sums = dict(state["logged"])
        for name, parameter in self.model.named_parameters():
            if name in state.get("gradients", {}):
                parameter.grad = state["gradients"][name].to(parameter.device)

    def _order(self) -> dict[str, int]:
        """What the order of an epoch's batches depends on."""
        return {
            "seed": self.config.seed,
            "batch_size": self.config.batch_size,
            "windows": len(self.data.train),
            "steps_per_epoch": self.steps_per_epoch,
        }


def steps_per_epoch(samples: int, config: TrainingConfig) -> int:
    """Optimiser steps in one epoch over ``samples`` windows."""
    return math.ceil(max(1, int(samples * config.epoch_fraction)) / config.batch_size)


def build_state(model: Any, data: DataModule, config: TrainingConfig, device: torch.device) -> TrainingState:
    """Move model and data to the device and make optimiser, schedule and gradient scaler."""
    model.to(device)
    data.to(device)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Models without parameters get one of their own, so that the rest needs no special case.
    optimizer = build_optimizer(trainable or [nn.Parameter(torch.zeros(1, device=device))], config)
    schedule = Schedule(optimizer, config, steps_per_epoch(len(data.train), config))
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16" and device.type == "cuda")
    return TrainingState(model, data, config, device, optimizer, schedule, scaler, clock=StepClock(device))
