"""Whether forecasts only repeat the last known value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from ..tag_tables import monitors as names
from .base import Monitor, WatchedEpoch, WatchedRun
from .validation_sample import answers, has_answers, sample_size

MOST_WINDOWS = 256
EPOCHS = 3
"""From one comparison to the next: even a few windows take their share of a short epoch."""
FEWEST_PAIRS = 8


class Echo(Monitor):
    """Compares forecasts of levels with the last known level, after every third epoch, on up to 256 validation windows.

    Windows are taken in pairs of neighbours. The correlation is that of the forecast's change from one window to the
    next (one step ahead) with the change of the last known value: 1 for a model that repeats it, however well its
    curve seems to fit. The skill is ``1 - squared error / squared error of repeating the last value``, all steps ahead.
    Both are means over targets.
    """

    name: ClassVar[str] = "echo"

    def __init__(self) -> None:
        self._run: WatchedRun | None = None

    def on_start(self, run: WatchedRun) -> None:
        """See whether there are forecasts with a last known value to compare with."""
        able = has_answers(run, "forecast") and callable(getattr(run.data.validation, "to_units", None))
        known = able and len(run.data.validation) > 1 and run.data.validation.persistence(np.array([0])) is not None
        self._run = run if known else None

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, Tensor | float]:
        """Forecast a few pairs of windows."""
        if self._run is None or epoch.epoch % EPOCHS:
            return {}
        validation = self._run.data.validation
        pairs = max(1, sample_size(self._run, MOST_WINDOWS) // 2)
        first = np.unique(np.linspace(0, len(validation) - 2, pairs).astype(np.int64))
        index = np.stack([first, first + 1], 1).ravel()
        batches, predictions = answers(self._run, index)
        scaled = [prediction.float().cpu().numpy() for prediction in predictions]
        forecast = np.concatenate(
            [validation.to_units(batch.index, values) for batch, values in zip(batches, scaled, strict=True)]
        )
        history, last, actual = validation.history(index), validation.persistence(index), validation.actual(index)
        values: dict[str, Tensor | float] = {}
        correlation = echo_correlation(forecast[:, 0], history)
        if correlation is not None:
            values[names.ECHO_CORRELATION] = correlation
        skill = skill_against(forecast, last, actual)
        return values if skill is None else values | {names.SKILL_VS_LAST: skill}


def echo_correlation(forecast: np.ndarray, history: np.ndarray) -> float | None:
    """How far a forecast's changes follow the last known ones.

    Args:
        forecast: one step ahead, ``[2 x pairs, targets]``: neighbouring windows follow each other.
        history: known values of these windows, ``[2 x pairs, time, targets]``.

    Returns:
        Pearson's correlation over pairs, mean over targets; None for fewer than 8 pairs, or where nothing changes.
    """
    # Two neighbours may be of different series: only where the later one goes on from the earlier one is it a pair.
    before, newest = history[1::2, -2], history[1::2, -1]
    together = np.isclose(before, history[::2, -1], rtol=1e-6, equal_nan=False).all(-1)
    changes, known = (forecast[1::2] - forecast[::2])[together], (newest - before)[together]
    if len(changes) < FEWEST_PAIRS:
        return None
    changes, known = changes - changes.mean(0), known - known.mean(0)
    sizes = np.sqrt((changes**2).sum(0) * (known**2).sum(0))
    moving = np.isfinite(sizes) & (sizes > 0)
    return float(((changes * known).sum(0)[moving] / sizes[moving]).mean()) if moving.any() else None


def skill_against(forecast: np.ndarray, last: np.ndarray, actual: np.ndarray) -> float | None:
    """``1 - squared error / squared error of repeating the last value``, all ``[windows, horizon, targets]``.

    Mean over the targets that change at all; None if none does.
    """
    error, reference = ((forecast - actual) ** 2).mean((0, 1)), ((last - actual) ** 2).mean((0, 1))
    moving = np.isfinite(error) & (reference > 0)
    return float((1 - error[moving] / reference[moving]).mean()) if moving.any() else None
