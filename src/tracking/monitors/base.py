"""``Monitor``, what one may look at (``WatchedRun``, ``WatchedStep``, ``WatchedEpoch``), and names of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..training_logger import TrainingLogger

DIAGNOSIS_INTERVAL = 10
"""Steps from one look of the diagnosis to the next."""


@dataclass
class WatchedRun:
    """The training that monitors watch.

    Attributes:
        model: what is trained.
        logger: where figures and histograms go; numbers are returned instead.
        optimizer: what trains it, if known.
        total_steps: optimiser steps there will be at most, if known.
        steps_per_epoch: optimiser steps in an epoch, if known.
        learning_rate_at: the learning rate of a future step as far as it is decided already, if known.
        data: the data module, if there is one.
        options: what to log, as the user asked for it, if known.
        parameters: name to parameter, all of the model's, frozen ones included.
    """

    model: nn.Module
    logger: TrainingLogger
    optimizer: torch.optim.Optimizer | None = None
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    learning_rate_at: Callable[[int], float] | None = None
    data: Any = None
    options: Any = None
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parameters = self.parameters or dict(self.model.named_parameters())


@dataclass(frozen=True)
class WatchedStep:
    """An optimiser step that has just been taken. Tensors are on the device: hand them on, never read them.

    Attributes:
        step: number of the step, from 0, over all epochs.
        epoch: number of the epoch, from 0.
        detailed: whether what is returned will be written; only then are figures and histograms worth their time.
        losses: the loss and its parts, 0-dimensional.
        gradients: parameter name to gradient, as the optimiser saw it (after clipping).
        gradient_norm: total norm before clipping, 0-dimensional; None if not known.
        gradient_scale: what clipping multiplied the gradients with.
        clip: the largest norm that clipping lets pass; 0 for no clipping.
        learning_rate: used in this step.
        samples: how many are in the batch.
        batch: the batch itself, if known.
        seconds: time spent on ``data``, ``forward``, ``backward`` and ``optimizer``, as far as known.
        recent_losses, recent_gradient_norms: of the last 100 steps at most, 0-dimensional, the newest last.
    """

    step: int
    epoch: int
    detailed: bool
    losses: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    gradient_norm: Tensor | None = None
    gradient_scale: Tensor | float = 1.0
    clip: float = 0.0
    learning_rate: float = 0.0
    samples: int = 0
    batch: Any = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    recent_losses: Sequence[Tensor] = ()
    recent_gradient_norms: Sequence[Tensor] = ()


@dataclass(frozen=True)
class WatchedEpoch:
    """An epoch that has just ended.

    Attributes:
        epoch: number of the epoch, from 0.
        step: number of its last optimiser step.
        train, validation: means over the epoch's steps and over the validation samples.
        is_best: whether it is the best epoch so far.
        seconds: time it took.
        samples: how many it trained on.
    """

    epoch: int
    step: int
    train: Mapping[str, float]
    validation: Mapping[str, float]
    is_best: bool
    seconds: float
    samples: int


class Monitor:
    """Watches a training and says numbers; override what is needed.

    A monitor never waits for the device, and leaves weights, modes and random states as they are: training with it
    ends with the same bits as without.

    Attributes:
        name: how documents and messages call it.
        interval: steps from one value that is written to the next; a user may change it, and a monitor that costs too
            much is asked less often.
        diagnosed: whether the diagnosis needs its values: it is then asked at every tenth step too.
    """

    name: ClassVar[str] = ""
    diagnosed: ClassVar[bool] = False
    interval: int = 100

    def on_start(self, run: WatchedRun) -> None:
        """Called once before the first step."""

    def before_step(self) -> None:
        """Called before a step that will be looked at: hook into layers, copy what is to be compared."""

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Called after that step; returns tag to value, 0-dimensional tensors or numbers."""
        return {}

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, Tensor | float]:
        """Called after every epoch and its validation; returns tag to value."""
        return {}

    def on_end(self) -> None:
        """Called once when training ends, however it ends."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""


def layer_of(parameter: str) -> str:
    """The layer that owns a parameter: ``blocks.0.first.weight`` -> ``blocks.0.first``."""
    return parameter.rpartition(".")[0] or parameter


def group_of(parameter: str) -> str:
    """The part of the model that a parameter belongs to: ``blocks.0.first.weight`` -> ``blocks``."""
    return parameter.partition(".")[0]


def by_layer(names: Sequence[str]) -> dict[str, list[int]]:
    """Layer to the positions of its parameters in ``names``."""
    layers: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        layers.setdefault(layer_of(name), []).append(position)
    return layers
