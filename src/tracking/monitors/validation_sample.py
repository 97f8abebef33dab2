"""A few validation samples, and what the model says of them, for monitors that look at answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .base import WatchedRun

SHARE = 50
"""One validation sample for so many training samples of an epoch: looking at answers takes about 1 % of its time."""
FEWEST = 64
DRAWS = 8
"""Networks that a model which draws some is asked for, as it is asked after every epoch."""


def sample_size(run: WatchedRun, most: int) -> int:
    """How many validation samples to look at after an epoch."""
    data = run.data
    return min(len(data.validation), most, max(FEWEST, len(data.train) // SHARE))


def has_answers(run: WatchedRun, task: str) -> bool:
    """Whether there are validation samples that can be picked, and a model that answers them."""
    data = run.data
    if not callable(getattr(run.model, "predict", None)) or getattr(getattr(data, "spec", None), "task", None) != task:
        return False
    return callable(getattr(data.validation, "select", None)) and len(data.validation) > 0


def distributions(run: WatchedRun, index: np.ndarray, batch_size: int = 64) -> list[tuple[Any, Any]]:
    """Batches of validation samples, each with what the model says of it as a distribution.

    Empty where the model has no ``distribution``, or it says None, or there are no samples that can be picked.
    """
    ask, validation = getattr(run.model, "distribution", None), getattr(run.data, "validation", None)
    if not callable(ask) or not callable(getattr(validation, "select", None)) or not len(validation):  # type: ignore[arg-type]
        return []
    said = []
    device = next(iter(run.parameters.values())).device if run.parameters else torch.device("cpu")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for first in range(0, len(index), batch_size):
            batch = validation.select(index[first : first + batch_size])  # type: ignore[union-attr]
            distribution = ask(batch.inputs, DRAWS)
            if distribution is None:
                return []
            said.append((batch, distribution))
    return said


def answers(run: WatchedRun, index: np.ndarray, batch_size: int = 64) -> tuple[list[Any], list[Any]]:
    """Batches of validation samples and what the model predicts of them; random states stay as they are.

    Args:
        run: with ``data`` and a model that has ``predict``.
        index: numbers of samples of the validation part.
        batch_size: how many at once.

    Returns:
        the batches, and for each one the predictions, as ``predict`` returns them.
    """
    batches, predictions = [], []
    model: Any = run.model
    device = next(iter(run.parameters.values())).device if run.parameters else torch.device("cpu")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for first in range(0, len(index), batch_size):
            batches.append(run.data.validation.select(index[first : first + batch_size]))
            predictions.append(model.predict(batches[-1].inputs))
    return batches, predictions
