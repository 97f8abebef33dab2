"""The one training loop. It knows no architecture: a model is whatever has ``losses`` and what ``nn.Module`` has.

One epoch: draw windows, step through them, evaluate on the validation part, tell the observers. Sums stay on the
device and are read once an epoch, so that a step never waits for the device.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..data.base import Batch, DataModule, Split
from ..errors import TrainingError
from .clock import PARTS
from .config import TrainingConfig
from .device import random_states, restore_random_states
from .interruption import HeldInterrupts, Interrupted
from .nonfinite import describe_origin
from .reports import BatchReport, EpochReport, StepReport
from .state import EpochSums, Progress, TrainingState, build_state, steps_per_epoch

__all__ = [
    "BatchReport",
    "EpochReport",
    "Observer",
    "Progress",
    "StepReport",
    "Trainable",
    "TrainingResult",
    "TrainingState",
    "build_state",
    "evaluate",
    "steps_per_epoch",
    "train",
]

PRECISION_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
EVALUATION_BATCH_SIZE = 64  # close to as fast as larger ones, and activations take no more memory than in training


class Trainable(Protocol):
    """What the loop asks of a model, beside being an ``nn.Module``."""

    selection_metric: tuple[str, str]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The scalar to minimise under ``loss``, and named parts."""

    def after_step(self) -> None:
        """Called after every optimiser step."""

    # evaluation_metrics(batch) -> dict[str, Tensor], in place of ``losses``, where evaluation tells more than training.

    def validation_metrics(self, data: DataModule) -> dict[str, float]:
        """Further values over the validation part."""

    def collect_logged(self) -> dict[str, float]:
        """Means of what the model logged since the last call."""


class Observer:
    """Watches a run; override what is needed. Observers write only through loggers, never to the model.

    Attributes:
        is_logging: whether the time it takes after an epoch counts as logging, which ``--log-budget`` bounds.
    """

    is_logging: ClassVar[bool] = False

    def on_start(self, state: TrainingState) -> None:
        """Called once before the first epoch (after a checkpoint was loaded, if there was one)."""

    def on_step(self, report: StepReport) -> None:
        """Called after every optimiser step."""

    def on_epoch_end(self, report: EpochReport) -> str | None:
        """Called after every epoch; a returned sentence stops the training and is its reason."""
        return None

    def on_end(self, reason: str) -> None:
        """Called once when training ends, however it ends."""


@dataclass(frozen=True)
class TrainingResult:
    """How training ended: epochs done, the best one (from 0) and its value, seconds, steps and the reason."""

    epochs: int
    best_epoch: int
    best: float
    seconds: float
    steps: int
    reason: str


def train(state: TrainingState, observers: Sequence[Observer]) -> TrainingResult:
    """Train until the epochs are done or an observer says stop.

    The first Ctrl-C or SIGTERM lets the step end and a checkpoint be written, then takes effect; a second one at once.

    Raises:
        TrainingError: if a loss or gradient is not finite; the weights are those before that step.
    """
    progress, reason = state.progress, ""
    try:
        with state.interrupts:
            for observer in observers:
                observer.on_start(state)
            state.saved_at = time.monotonic()
            while progress.epoch < state.config.epochs and not progress.stop_reason:
                report = _epoch(state, observers)
                for observer in observers:
                    # Everybody hears of the last epoch too: the first reason counts, but all are called.
                    began = time.perf_counter()
                    reason = observer.on_epoch_end(report) or ""
                    state.logging_seconds += (time.perf_counter() - began) * observer.is_logging
                    progress.stop_reason = progress.stop_reason or reason
                state.interrupts.check()
        reason = progress.stop_reason or f"all {state.config.epochs} epochs done"
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        for observer in observers:
            observer.on_end(reason)
    return TrainingResult(progress.epoch, progress.best_epoch, progress.best, progress.seconds, progress.step, reason)


def _epoch(state: TrainingState, observers: Sequence[Observer]) -> EpochReport:
    if not state.sums.steps:
        state.sums = EpochSums()
    _train_epoch(state, [o for o in observers if type(o).on_step is not Observer.on_step])
    batches: list[BatchReport] = []
    validation = _validate(state, batches if state.keep_validation_batches else None)
    sums, state.sums = state.sums, EpochSums()
    values = {name: float(total) / sums.steps for name, total in sums.totals.items()}
    gradient_norm = values.pop("gradient_norm", None)
    name, mode = state.model.selection_metric
    selected = validation[name]
    progress, clip = state.progress, state.config.clip
    is_best = progress.best_epoch < 0 or _is_better(selected, progress.best, mode)
    if is_best:
        progress.best, progress.best_epoch = selected, progress.epoch
    state.schedule.after_epoch(is_best)
    seconds = time.perf_counter() - sums.started
    progress.seconds += seconds
    progress.epoch += 1
    return EpochReport(
        epoch=progress.epoch - 1,
        epochs=state.config.epochs,
        step=progress.step,
        train=values,
        validation=validation,
        logged=state.model.collect_logged(),
        learning_rate=sums.learning_rate,
        gradient_norm=gradient_norm,
        gradient_scale=min(1.0, clip / (float(sums.gradient_norm) + 1e-6)) if clip else 1.0,
        selection=name,
        selected=selected,
        best=progress.best,
        is_best=is_best,
        best_epoch=progress.best_epoch,
        seconds=seconds,
        steps=sums.steps,
        samples=min(len(state.data.train), sums.steps * state.config.batch_size),
        progress=progress,
        validation_batches=batches,
    )


def _is_better(value: float, best: float, mode: str) -> bool:
    """Whether a value beats the best one so far; any number beats one that is none (of a probe that failed)."""
    if math.isnan(best):
        return not math.isnan(value)
    return value < best if mode == "min" else value > best


def _train_epoch(state: TrainingState, step_observers: Sequence[Observer]) -> None:
    """The steps of one epoch that are not done yet; what they sum up to stands in ``state.sums``."""
    state.model.train()
    sums, total = state.sums, state.steps_per_epoch
    bad_step = torch.full((), -1, device=state.device, dtype=torch.long)
    clock = state.clock
    clock.begin()
    for number, batch in _remaining_batches(state):
        clock.mark(PARTS[0])
        rate = state.schedule.before_step(state.progress.step)
        losses, norm, finite = _step(state, batch)
        if state.device.type == "cuda":
            bad_step = torch.where((bad_step < 0) & ~finite, number, bad_step)
        elif not finite:
            _fail(state, batch, number)
        state.model.after_step()
        sums.add(losses, norm, rate)
        if step_observers:
            report = StepReport(
                state.progress.epoch, state.progress.step, number, total, losses, norm, rate, len(batch.index), batch
            )
            for observer in step_observers:
                observer.on_step(report)
        state.progress.step += 1
        if state.save_is_due():
            _check_steps(state, bad_step)
            state.save()
            state.interrupts.check()
        clock.begin()
    _check_steps(state, bad_step)


def _remaining_batches(state: TrainingState) -> Iterator[tuple[int, Batch]]:
    """The numbered batches of the epoch under way, without those a resumed run has behind it."""
    batches, done = epoch_batches(state), state.sums.steps
    if done:
        # The random states of the checkpoint know of whatever was drawn for these batches.
        states = random_states()
        for _ in itertools.islice(batches, done):
            pass
        restore_random_states(states)
    return enumerate(batches, done)


def _check_steps(state: TrainingState, bad_step: Tensor) -> None:
    """Raise TrainingError if a step on a GPU was not finite, which is looked at only now and then."""
    if state.device.type == "cuda" and (first := int(bad_step)) >= 0:
        _fail(state, next(batch for number, batch in enumerate(epoch_batches(state)) if number == first), first)


def epoch_batches(state: TrainingState) -> Iterator[Batch]:
    """The batches of the current epoch: their order depends on seed and epoch alone."""
    config = state.config
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + state.progress.epoch)
    yield from itertools.islice(state.data.train.batches(config.batch_size, generator), state.steps_per_epoch)


def _step(state: TrainingState, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """One optimiser step: losses, gradient norm before clipping, and whether both were finite.

    Where they are not, the weights stay as they were.
    """
    state.optimizer.zero_grad(set_to_none=True)
    with autocast(state.config, state.device):
        losses = state.model.losses(batch)
    state.clock.mark("forward")
    state.scaler.scale(losses["loss"]).backward()
    state.clock.mark("backward")
    state.scaler.unscale_(state.optimizer)
    parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if state.config.clip:
        nn.utils.clip_grads_with_norm_(parameters, state.config.clip, norm)
    if state.scaler.is_enabled():
        # Gradients that overflow in half precision are the scaler's business; it skips the step by itself.
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.clock.mark("optimizer")
        return losses, norm.nan_to_num(0.0, 0.0), torch.isfinite(losses["loss"].detach())
    finite = torch.isfinite(norm) & torch.isfinite(losses["loss"].detach())
    if state.device.type == "cuda":
        # The fused optimiser skips the update on the device where this is 1: no waiting for the value.
        state.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        state.optimizer.step()
    elif finite:
        state.optimizer.step()
    state.clock.mark("optimizer")
    return losses, norm, finite


def autocast(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """The arithmetic that ``--precision`` asks for."""
    kind = PRECISION_TYPES[config.precision]
    return torch.autocast(device.type, dtype=kind, enabled=kind is not torch.float32)


def _validate(state: TrainingState, batches: list[BatchReport] | None) -> dict[str, float]:
    """Means over the validation part and the model's own metrics; what an interrupt leaves undone is done on resume."""
    states = random_states()
    try:
        validation = evaluate(state.model, state.data.validation, state.config, state.device, state.interrupts, batches)
        state.interrupts.check()
    except Interrupted:
        restore_random_states(states)
        state.save()
        raise
    return validation | _own_metrics(state)


@torch.no_grad()
def evaluate(
    model: Any,
    split: Split,
    config: TrainingConfig,
    device: torch.device,
    interrupts: HeldInterrupts | None = None,
    batches: list[BatchReport] | None = None,
) -> dict[str, float]:
    """Means of all losses, and of a model's further ``evaluation_metrics``, over every sample of a split.

    Runs under a forked random state with a fixed seed, so that objectives with noise in them (diffusion, masking)
    are comparable from epoch to epoch and training is not disturbed.

    Args:
        batches: where every batch's values are to be added, if they are wanted.

    Raises:
        TrainingError: if the mean loss is not finite.
        Interrupted: between two batches, if an interrupt is held back.
    """
    model.eval()
    metrics = getattr(model, "evaluation_metrics", model.losses)
    sums: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        for number, batch in enumerate(split.batches(EVALUATION_BATCH_SIZE)):
            if interrupts is not None:
                interrupts.check()
            started = time.perf_counter()
            with autocast(config, device):
                values = metrics(batch)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * len(batch.index)
            if batches is not None:
                if device.type == "cuda":
                    torch.cuda.synchronize(device)  # or the time would be that of starting the kernels
                batches.append(BatchReport(number, len(batch.index), time.perf_counter() - started, values))
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
