"""What a trial tells whoever shows the search: small values that travel between processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

STATUSES = ("completed", "pruned", "failed", "interrupted", "killed")


@dataclass(frozen=True)
class TrialStarted:
    """A trial begins: its model, Optuna's number, phase, epochs at most, folder below the search's, hyperparameters."""

    model: str
    number: int
    phase: str
    epochs: int
    folder: str
    hyperparameters: dict[str, Any]


@dataclass(frozen=True)
class TrialEpoch:
    """An epoch (from 0) of a trial has ended, with this value of the objective; ``seconds`` it took."""

    model: str
    number: int
    epoch: int
    epochs: int
    value: float
    best: float
    seconds: float


@dataclass(frozen=True)
class TrialRecord:
    """How a trial went; kept with the trial in the storage under ``RECORD`` and in its ``results.json``.

    Attributes:
        status: one of ``STATUSES``.
        value: the objective at the best epoch; None if no epoch ended.
        folder: the run's folder, below the search's.
        host: the machine it ran on.
        planned_epochs, epochs: at most and done. ``best_epoch`` counts from 0, -1 without one.
        steps, seconds: optimiser steps and time in epochs.
        parameters: trainable values of the model.
        hyperparameters: option name to value, the fixed ones too.
        started_from: folder of the trial whose weights it began with.
        values: validation values of the best epoch.
        error: why it failed.
    """

    model: str
    number: int
    slot: int
    phase: str
    status: str
    value: float | None
    folder: str
    host: str
    planned_epochs: int
    epochs: int = 0
    best_epoch: int = -1
    steps: int = 0
    seconds: float = 0.0
    parameters: int = 0
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    started_from: str | None = None
    values: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
