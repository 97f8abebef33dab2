"""The one training loop. It knows no architecture: a model is whatever has ``losses`` and what ``nn.Module`` has.

One epoch: draw windows, step through them, evaluate on the validation part, tell the observers. Sums stay on the
device and are read once an epoch, so that a step never waits for the device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..data.base import Batch, DataModule, Split
from ..errors import TrainingError
from .config import TrainingConfig
from .device import random_states, restore_random_states
from .nonfinite import describe_origin
from .optimizer import Schedule, build_optimizer

PRECISION_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
EVALUATION_BATCH_SIZE = 256


class Trainable(Protocol):
    """What the loop asks of a model, beside being an ``nn.Module``."""

    selection_metric: tuple[str, str]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The scalar to minimise under ``loss``, and named parts."""

    def after_step(self) -> None:
        """Called after every optimiser step."""

    def validation_metrics(self, data: DataModule) -> dict[str, float]:
        """Further values over the validation part."""

    def collect_logged(self) -> dict[str, float]:
        """Means of what the model logged since the last call."""


@dataclass
class Progress:
    """How far a run has come; all of it is in every checkpoint.

    ``epoch`` and ``step`` count what is finished, ``best_epoch`` is -1 before the first epoch, ``seconds`` is the time
    spent in epochs, ``stop_reason`` is empty until an observer has stopped the run.
    """

    epoch: int = 0
    step: int = 0
    best: float = math.inf
    best_epoch: int = -1
    seconds: float = 0.0
    stop_reason: str = ""


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
        selected, best, is_best: the value that decides, the best one so far, whether this one is it.
        best_epoch: the epoch of the best value.
        seconds: time this epoch took; ``samples`` and ``steps`` say for how much.
        progress: how far the run has come.
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
    selected: float
    best: float
    is_best: bool
    best_epoch: int
    seconds: float
    steps: int
    samples: int
    progress: Progress


@dataclass(frozen=True)
class StepReport:
    """What happened in one optimiser step. Tensors are on the device: read them later, together.

    Attributes:
        step: number of the step, from 0, over all epochs; ``step_in_epoch`` of ``steps_per_epoch``.
        losses: the loss and its parts, 0-dimensional.
        gradient_norm: total norm before clipping, 0-dimensional.
        learning_rate: used in this step.
        samples: windows in the batch.
    """

    epoch: int
    step: int
    step_in_epoch: int
    steps_per_epoch: int
    losses: dict[str, Tensor]
    gradient_norm: Tensor
    learning_rate: float
    samples: int


class Observer:
    """Watches a run; override what is needed. Observers write only through loggers, never to the model."""

    def on_start(self, state: TrainingState) -> None:
        """Called once before the first epoch (after a checkpoint was loaded, if there was one)."""

    def on_step(self, report: StepReport) -> None:
        """Called after every optimiser step."""

    def on_epoch_end(self, report: EpochReport) -> str | None:
        """Called after every epoch; a returned sentence stops the training and is its reason."""
        return None

    def on_end(self, reason: str) -> None:
        """Called once when training ends, however it ends."""


@dataclass
class TrainingState:
    """Everything that changes while training: what a checkpoint holds and observers may look at."""

    model: Any
    data: DataModule
    config: TrainingConfig
    device: torch.device
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    progress: Progress = field(default_factory=Progress)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values from which ``load_state_dict`` goes on to the same bits."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": dict(vars(self.progress)),
            "random": random_states(),
            "training": self.config.to_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken; a run that had stopped goes on only if its options have changed."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        if state["training"] != self.config.to_dict():
            self.progress.stop_reason = ""
        restore_random_states(state["random"])


@dataclass(frozen=True)
class TrainingResult:
    """How training ended: epochs done, the best one (from 0) and its value, seconds, steps and the reason."""

    epochs: int
    best_epoch: int
    best: float
    seconds: float
    steps: int
    reason: str


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
    return TrainingState(model, data, config, device, optimizer, schedule, scaler)


def train(state: TrainingState, observers: Sequence[Observer]) -> TrainingResult:
    """Train until the epochs are done or an observer says stop.

    Raises:
        TrainingError: if a loss or gradient is not finite; the weights are those before that step.
    """
    progress, reason = state.progress, ""
    try:
        for observer in observers:
            observer.on_start(state)
        while progress.epoch < state.config.epochs and not progress.stop_reason:
            report = _epoch(state, observers)
            for observer in observers:
                # Everybody hears of the last epoch too: the first reason counts, but it keeps nobody from being called.
                reason = observer.on_epoch_end(report) or ""
                progress.stop_reason = progress.stop_reason or reason
        reason = progress.stop_reason or f"all {state.config.epochs} epochs done"
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        for observer in observers:
            observer.on_end(reason)
    return TrainingResult(progress.epoch, progress.best_epoch, progress.best, progress.seconds, progress.step, reason)


def _epoch(state: TrainingState, observers: Sequence[Observer]) -> EpochReport:
    started = time.perf_counter()
    sums, steps, rate, scale = _train_epoch(state, [o for o in observers if type(o).on_step is not Observer.on_step])
    validation = evaluate(state.model, state.data.validation, state.config, state.device)
    validation |= _own_metrics(state)
    values = {name: float(total) / steps for name, total in sums.items()}
    gradient_norm = values.pop("gradient_norm", None)
    name, mode = state.model.selection_metric
    selected = validation[name]
    progress = state.progress
    is_best = progress.best_epoch < 0 or _is_better(selected, progress.best, mode)
    if is_best:
        progress.best, progress.best_epoch = selected, progress.epoch
    state.schedule.after_epoch(is_best)
    seconds = time.perf_counter() - started
    progress.seconds += seconds
    progress.epoch += 1
    return EpochReport(
        epoch=progress.epoch - 1,
        epochs=state.config.epochs,
        step=progress.step,
        train=values,
        validation=validation,
        logged=state.model.collect_logged(),
        learning_rate=rate,
        gradient_norm=gradient_norm,
        gradient_scale=scale,
        selected=selected,
        best=progress.best,
        is_best=is_best,
        best_epoch=progress.best_epoch,
        seconds=seconds,
        steps=steps,
        samples=min(len(state.data.train), steps * state.config.batch_size),
        progress=progress,
    )


def _is_better(value: float, best: float, mode: str) -> bool:
    """Whether a value beats the best one so far; any number beats one that is none (of a probe that failed)."""
    if math.isnan(best):
        return not math.isnan(value)
    return value < best if mode == "min" else value > best


def _train_epoch(
    state: TrainingState, step_observers: Sequence[Observer]
) -> tuple[dict[str, Tensor], int, float, float]:
    """One pass over the training windows: sums over steps, their number, the last learning rate and clip scale."""
    state.model.train()
    sums: dict[str, Tensor] = {}
    total = steps_per_epoch(len(state.data.train), state.config)
    bad_step = torch.full((), -1, device=state.device, dtype=torch.long)
    rate, norm = 0.0, torch.ones(())
    for number, batch in enumerate(epoch_batches(state)):
        rate = state.schedule.before_step(state.progress.step)
        losses, norm, finite = _step(state, batch)
        if state.device.type == "cuda":
            bad_step = torch.where((bad_step < 0) & ~finite, number, bad_step)
        elif not finite:
            _fail(state, batch, number)
        state.model.after_step()
        for name, value in (losses | {"gradient_norm": norm}).items():
            sums[name] = sums.get(name, 0.0) + value.detach()
        if step_observers:
            report = StepReport(
                state.progress.epoch, state.progress.step, number, total, losses, norm, rate, len(batch.index)
            )
            for observer in step_observers:
                observer.on_step(report)
        state.progress.step += 1
    if state.device.type == "cuda" and (first := int(bad_step)) >= 0:
        _fail(state, next(batch for number, batch in enumerate(epoch_batches(state)) if number == first), first)
    clip = state.config.clip
    return sums, total, rate, min(1.0, clip / (float(norm) + 1e-6)) if clip else 1.0


def epoch_batches(state: TrainingState) -> Iterator[Batch]:
    """The batches of the current epoch: their order depends on seed and epoch alone."""
    config = state.config
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + state.progress.epoch)
    total = steps_per_epoch(len(state.data.train), config)
    for number, batch in enumerate(state.data.train.batches(config.batch_size, generator)):
        if number == total:
            break
        yield batch


def _step(state: TrainingState, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """One optimiser step: losses, gradient norm before clipping, and whether both were finite.

    Where they are not, the weights stay as they were.
    """
    state.optimizer.zero_grad(set_to_none=True)
    with autocast(state.config, state.device):
        losses = state.model.losses(batch)
    state.scaler.scale(losses["loss"]).backward()
    state.scaler.unscale_(state.optimizer)
    parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if state.config.clip:
        nn.utils.clip_grads_with_norm_(parameters, state.config.clip, norm)
    if state.scaler.is_enabled():
        # Gradients that overflow in half precision are the scaler's business; it skips the step by itself.
        state.scaler.step(state.optimizer)
        state.scaler.update()
        return losses, norm.nan_to_num(0.0, 0.0), torch.isfinite(losses["loss"].detach())
    finite = torch.isfinite(norm) & torch.isfinite(losses["loss"].detach())
    if state.device.type == "cuda":
        # The fused optimiser skips the update on the device where this is 1: no waiting for the value.
        state.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        state.optimizer.step()
    elif finite:
        state.optimizer.step()
    return losses, norm, finite


def autocast(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """The arithmetic that ``--precision`` asks for."""
    kind = PRECISION_TYPES[config.precision]
    return torch.autocast(device.type, dtype=kind, enabled=kind is not torch.float32)


@torch.no_grad()
def evaluate(model: Any, split: Split, config: TrainingConfig, device: torch.device) -> dict[str, float]:
    """Means of all losses over every sample of a split.

    Runs under a forked random state with a fixed seed, so that objectives with noise in them (diffusion, masking)
    are comparable from epoch to epoch and training is not disturbed.
    """
    model.eval()
    sums: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        for batch in split.batches(EVALUATION_BATCH_SIZE):
            with autocast(config, device):
                losses = model.losses(batch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value * len(batch.index)
    means = {name: float(total) / len(split) for name, total in sums.items()}
    if not math.isfinite(means["loss"]):
        raise TrainingError(f"the validation loss became {means['loss']}; try a lower --lr")
    return means


def _own_metrics(state: TrainingState) -> dict[str, float]:
    """The model's own validation metrics, computed as reproducibly as the validation losses."""
    with torch.random.fork_rng(devices=[state.device] if state.device.type == "cuda" else []):
        torch.manual_seed(state.config.seed)
        state.model.eval()
        return state.model.validation_metrics(state.data)


def _fail(state: TrainingState, batch: Batch, number: int) -> None:
    with autocast(state.config, state.device):
        where = describe_origin(state.model, batch)
    error = TrainingError(
        f"loss or gradient is not finite at epoch {state.progress.epoch}, step {number}: {where}; "
        "try a lower --lr or look at the data"
    )
    error.batch = batch  # type: ignore[attr-defined]
    raise error
