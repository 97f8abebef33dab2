"""``CheckpointManager``: checkpoints for a training loop of one's own, the newest few and the best one kept."""

from __future__ import annotations

import collections
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import OptionError, UserError, did_you_mean
from .checkpoint import FORMAT_VERSION, DamagedCheckpoint, read_checkpoint, write_checkpoint
from .checkpoint_runs import CheckpointEntry, CheckpointRuns, best_of
from .device import random_states, restore_random_states
from .observers import check_writable

_logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """What has a state to keep: optimisers, schedulers, gradient scalers, samplers."""

    def state_dict(self) -> Any:
        """Tensors and plain values."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Go on where ``state_dict`` was taken."""


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What ``load_checkpoint`` found beside the states it restored.

    Attributes:
        path: the file that was read.
        epoch, global_step, metrics: as they were given to ``save_checkpoint``.
        data_position: the plain value given there, or the state of the object given there.
    """

    path: Path
    epoch: int
    global_step: int
    metrics: dict[str, float]
    data_position: Any = None


class CheckpointManager:
    """Keeps the newest checkpoints of a training loop, and the best one.

        checkpoints = CheckpointManager("checkpoints", max_keep=3, monitor="val_accuracy")
        start = checkpoints.load_checkpoint(model, optimizer, scheduler).epoch + 1 if checkpoints.latest else 0
        for epoch in range(start, epochs):
            ...
            checkpoints.save_checkpoint(model, optimizer, scheduler, epoch, step, {"val_accuracy": accuracy})

    A file holds weights, the states of optimiser, scheduler and gradient scaler, the random states of Python, NumPy
    and torch, the position in the data, metrics, epoch and step, as tensors and plain values only
    (``torch.load(..., weights_only=True)`` reads it). It is written under another name, forced to disk and renamed, so
    that no crash leaves half a checkpoint.

    Each training run has an index, ``checkpoints_<start time>.json``, and the files named there are all a manager ever
    deletes. Several runs, or anything else, may lie in the same folder. A run is gone on with by loading one of its
    checkpoints together with an optimiser; otherwise the first ``save_checkpoint`` begins a new run.

    Args:
        checkpoint_dir: the folder; made if need be.
        max_keep: how many files of the run to keep, at least 1. The newest and the best are always among them, so
            that ``max_keep=1`` keeps two where these differ.
        monitor: the metric that decides what is best; None: the caller says it with ``is_best``.
        mode: whether more (``max``) or less (``min``) of it is better.

    Attributes:
        folder: the folder.

    Raises:
        OptionError: if ``max_keep`` or ``mode`` has no such value.
        UserError: if nothing can be written in the folder.
    """

    def __init__(
        self, checkpoint_dir: str | Path, max_keep: int = 3, monitor: str | None = None, mode: str = "max"
    ) -> None:
        if max_keep < 1:
            raise OptionError(f"max_keep must be 1 or more, but got {max_keep}; the newest checkpoint is always kept")
        if mode not in ("max", "min"):
            raise OptionError(f"mode must be max or min, but got '{mode}'.{did_you_mean(mode, ('max', 'min'))}")
        self.folder = Path(checkpoint_dir)
        check_writable(self.folder)
        self.max_keep = max_keep
        self.monitor = monitor
        self.mode = mode
        self._runs = CheckpointRuns(self.folder)

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def all(self) -> list[Path]:
        """The run's checkpoints, oldest first. Before a save or load: those of the run that was written to last."""
        return [self.folder / entry.file for entry in self._runs.entries()]

    @property
    def latest(self) -> Path | None:
        """The newest checkpoint, or None if there is none yet."""
        return self.all[-1] if self.all else None

    @property
    def best(self) -> Path | None:
        """The best checkpoint, or None if none was called the best."""
        entry = best_of(self._runs.entries())
        return self.folder / entry.file if entry else None

    # --- saving -------------------------------------------------------------------------------------------------

    def save_checkpoint(
        self,
        model: nn.Module,
        optimizer: Stateful | None,
        scheduler: Stateful | None,
        epoch: int,
        global_step: int,
        metrics: Mapping[str, Any],
        is_best: bool = False,
        *,
        scaler: Stateful | None = None,
        data_position: Any = None,
    ) -> Path:
        """Write a checkpoint, then delete the run's oldest ones beyond ``max_keep``.

        Args:
            model: whose weights to keep.
            optimizer, scheduler, scaler: whose states to keep; None for what the loop does not have.
            epoch, global_step: counted as the loop counts.
            metrics: name -> number.
            is_best: whether this is the best so far; not looked at where ``monitor`` decides.
            data_position: where in the data the loop stands: a plain value (numbers, texts, tensors, lists, dicts) or
                an object with ``state_dict()``.

        Returns:
            The file.

        Raises:
            UserError: if ``monitor`` is not among the metrics, something is no plain value, or the file cannot be
                written; the checkpoints so far stay as they are.
        """
        numbers = {str(name): _number(name, value) for name, value in metrics.items()}
        content = {
            "format": FORMAT_VERSION,
            "model": _plain_weights(model),
            "optimizer": _state_of(optimizer, "optimizer"),
            "scheduler": _state_of(scheduler, "scheduler"),
            "scaler": _state_of(scaler, "scaler"),
            "random": random_states(),
            "data_position": _state_of(data_position, "data_position"),
            "epoch": int(epoch),
            "global_step": int(global_step),
            "metrics": numbers,
        }
        if self.monitor is not None:
            is_best = self._is_better(numbers, self.monitor)
        try:
            return self._write(content, is_best)
        except OSError as error:
            raise UserError(
                f"no checkpoint can be written in {self.folder} ({error.strerror}); make room or name another folder; "
                "those written before are as they were"
            ) from None

    def _write(self, content: dict[str, Any], is_best: bool) -> Path:
        if self._runs.current is None:
            self._runs.begin()
        epoch, step = content["epoch"], content["global_step"]
        path = self._runs.free_path(epoch, step)
        entry = CheckpointEntry(path.name, epoch, step, content["metrics"], is_best, time.time())
        entries = self._runs.announce(entry)
        write_checkpoint(path, content)
        self._delete_old(entries)
        return path

    def _delete_old(self, entries: list[CheckpointEntry]) -> None:
        kept = {entries[-1], best_of(entries)}
        surplus = max(0, len(entries) - self.max_keep)
        for entry in [entry for entry in entries if entry not in kept][:surplus]:
            try:
                (self.folder / entry.file).unlink(missing_ok=True)
            except OSError as error:
                _logger.warning("the old checkpoint %s cannot be deleted (%s)", entry.file, error.strerror)

    def _is_better(self, metrics: dict[str, float], monitor: str) -> bool:
        if monitor not in metrics:
            names = ", ".join(sorted(metrics)) or "there are none"
            raise UserError(
                f"monitor must name one of the metrics ({names}), but got '{monitor}'.{did_you_mean(monitor, metrics)}"
            )
        best = best_of(self._runs.entries()) if self._runs.current else None
        before = best.metrics.get(monitor, math.nan) if best else math.nan
        value = metrics[monitor]
        if math.isnan(value) or math.isnan(before):
            return not math.isnan(value)
        return value > before if self.mode == "max" else value < before

    # --- loading ------------------------------------------------------------------------------------------------

    def load_checkpoint(
        self,
        model: nn.Module,
        optimizer: Stateful | None = None,
        scheduler: Stateful | None = None,
        path: str | Path | None = None,
        *,
        scaler: Stateful | None = None,
        data_position: Stateful | None = None,
    ) -> LoadedCheckpoint:
        """Restore what was saved, onto the devices of what is given.

        With an optimiser, training goes on: the random states are restored too, and what is saved from now on belongs
        to the same run. Without one nothing but the given objects changes, as is right for an evaluation.

        Args:
            model, optimizer, scheduler, scaler: what to restore; None leaves out that part.
            path: a file, ``"best"``, or ``"latest"`` (the default). If the latest is damaged, a warning says so and
                the one before it is taken.
            data_position: an object whose ``load_state_dict`` takes the position; a plain value is found in the answer.

        Raises:
            UserError: if there is no such checkpoint, or it does not fit what is given.
        """
        found, content = self._read(path)
        _restore_model(model, content["model"], found)
        for name, part in (("optimizer", optimizer), ("scheduler", scheduler), ("scaler", scaler)):
            _restore(part, content[name], name, found)
        position = content["data_position"]
        _restore(data_position, position, "data_position", found)
        if optimizer is not None:
            restore_random_states(content["random"])
            self._runs.go_on_with(found)
        return LoadedCheckpoint(found, content["epoch"], content["global_step"], content["metrics"], position)

    def _read(self, path: str | Path | None) -> tuple[Path, dict[str, Any]]:
        if path in (None, "latest"):
            return self._read_latest()
        if path == "best":
            if self.best is None:
                raise UserError(
                    f"no checkpoint in {self.folder} was called the best; give the manager a monitor, or save with "
                    "is_best=True, or load 'latest'"
                )
            return self.best, _read_own_kind(self.best)
        found = self._find(Path(str(path)))
        return found, _read_own_kind(found)

    def _read_latest(self) -> tuple[Path, dict[str, Any]]:
        for path in reversed(self.all):
            try:
                return path, _read_own_kind(path)
            except DamagedCheckpoint:
                _logger.warning("the checkpoint %s is damaged; the one before it is used", path)
        damaged = f"all {len(self.all)} checkpoints in {self.folder} are damaged" if self.all else ""
        raise UserError(damaged or f"there is no checkpoint in {self.folder} yet; save one first, or name the file")

    def _find(self, path: Path) -> Path:
        for candidate in (path, self.folder / path):
            if candidate.is_file():
                return candidate
        folder = path.parent if path.parent.is_dir() else self.folder
        names = ["best", "latest", *(file.name for file in folder.glob("*.pt"))]
        raise UserError(f"there is no checkpoint {path}.{did_you_mean(path.name, names)}")


def _read_own_kind(path: Path) -> dict[str, Any]:
    content = read_checkpoint(path)
    if not {"optimizer", "scheduler", "scaler", "random", "data_position", "global_step"} <= content.keys():
        raise UserError(f"{path} was not written by a CheckpointManager; read a model's own file with load_model")
    return content


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        kind = type(value).__name__
        raise UserError(f"metrics must be single numbers, but {name} is a {kind}; take its mean, say") from None


def _plain_weights(model: nn.Module) -> Any:
    """The model's state; torch's own ordered dictionary stays, as it carries the versions of the layers."""
    weights = model.state_dict()
    for name, value in weights.items():
        weights[name] = _plain(value, f"the model's {name}")
    return weights


def _state_of(part: Any, name: str) -> Any:
    return _plain(part.state_dict() if hasattr(part, "state_dict") else part, name)


def _plain(value: Any, where: str) -> Any:
    """``value`` made of tensors and Python's own types only.

    Raises:
        UserError: if there is something else in it, which could be read back only by running code from the file.
    """
    if isinstance(value, np.generic):
        return value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Tensor):
        return value.detach()
    if value is None or isinstance(value, bytes | torch.dtype | torch.device | torch.Size | collections.Counter):
        return value
    if isinstance(value, Mapping):
        return {_plain(key, where): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    hint = "; use torch.from_numpy" if isinstance(value, np.ndarray) else "; leave it out or give its state_dict"
    raise UserError(f"a checkpoint holds tensors and plain values, but {where} is a {type(value).__name__}{hint}")


def _restore(part: Stateful | None, state: Any, name: str, path: Path) -> None:
    if part is None:
        return
    if state is None:
        raise UserError(f"{path} holds no {name} state, as none was given to save_checkpoint; leave {name} out")
    try:
        part.load_state_dict(state)
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the {name} state in {path} does not fit ({reason}); build the same one as before") from None


def _restore_model(model: nn.Module, weights: Any, path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        own = model.state_dict()
        wrong = [f"the model has no {name}" for name in weights if name not in own]
        wrong += [f"the checkpoint has no {name}" for name in own if name not in weights]
        wrong += [
            f"{name} is {list(weights[name].shape)} in the checkpoint and {list(value.shape)} in the model"
            for name, value in own.items()
            if isinstance(weights.get(name), Tensor) and weights[name].shape != value.shape
        ]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        reason = ", ".join(wrong[:3]) or str(error).partition("\n")[0]
        raise UserError(
            f"the weights in {path} do not fit the model: {reason}{more}; build it with the options it was trained with"
        ) from None
