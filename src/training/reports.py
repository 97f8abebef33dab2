"""What the training loop tells its observers: one frozen record of a step, an epoch, a batch of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..data.base import Batch
from .state import Progress


@dataclass(frozen=True)
class BatchReport:
    """One batch of an evaluation: its number, samples, seconds, and means per sample, 0-dimensional on the device."""

    number: int
    samples: int
    seconds: float
    values: dict[str, Tensor]


@dataclass(frozen=True)
class EpochReport:
    """What happened in one epoch, the only thing observers read.

    Attributes:
        epoch: number of the epoch, from 0; ``epochs`` is how many there may be.
        step: optimiser steps taken so far.
        train: means over the epoch's steps of the loss and its parts.
        validation: means over all validation samples, and the model's own validation metrics.
        logged: means over the epoch's steps of what the model logged itself.
        learning_rate: at the epoch's last step.
        gradient_norm: mean over the epoch's steps of the total norm before clipping; None without training.
        gradient_scale: what the last step's gradients were multiplied with by clipping.
        selection: name of the validation value that decides what is best.
        selected, best, is_best: that value, the best one so far, whether this one is it.
        best_epoch: the epoch of the best value.
        seconds: time this epoch took; ``samples`` and ``steps`` say for how much.
        progress: how far the run has come.
        validation_batches: every batch of the validation, where an observer has asked for them.
    """

    epoch: int
    epochs: int
    step: int
    train: dict[str, float]
    validation: dict[str, float]
    logged: dict[str, float]
    learning_rate: float
    gradient_norm: float | None
    gradient_scale: float
    selection: str
    selected: float
    best: float
    is_best: bool
    best_epoch: int
    seconds: float
    steps: int
    samples: int
    progress: Progress
    validation_batches: Sequence[BatchReport] = ()


@dataclass(frozen=True)
class StepReport:
    """What happened in one optimiser step. Tensors are on the device: read them later, together.

    Attributes:
        step: number of the step, from 0, over all epochs; ``step_in_epoch`` of ``steps_per_epoch``.
        losses: the loss and its parts, 0-dimensional.
        gradient_norm: total norm before clipping, 0-dimensional.
        learning_rate: used in this step.
        samples: windows in the batch, and ``batch`` itself.
    """

    epoch: int
    step: int
    step_in_epoch: int
    steps_per_epoch: int
    losses: dict[str, Tensor]
    gradient_norm: Tensor
    learning_rate: float
    samples: int
    batch: Batch
