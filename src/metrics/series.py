"""Metrics of forecasts over many windows, gathered batch by batch.

All sums are kept in double precision, so that data of any length are scored in constant memory.
"""

from __future__ import annotations

import math

import numpy as np


class ForecastScores:
    """Running sums over windows; arrays are ``[batch, horizon, targets]``.

    Args:
        horizon: steps ahead.
        targets: number of targets.
    """

    def __init__(self, horizon: int, targets: int) -> None:
        shape = (horizon, targets)
        self.windows = 0
        self.scaled_squared, self.scaled_absolute = np.zeros(shape), np.zeros(shape)
        self.squared, self.absolute, self.naive_squared = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.right_direction, self.up = np.zeros(shape), np.zeros(shape)
        self.has_naive = True
        # Mean and squared deviations of the actual values per target, for R2 (Chan et al. 1983, parallel variance).
        self.count, self.mean, self.deviations = 0, np.zeros(targets), np.zeros(targets)

    def add_scaled(self, actual: np.ndarray, forecast: np.ndarray) -> None:
        """Add a batch in the model's scaled target space."""
        error = forecast.astype(np.float64) - actual
        self.scaled_squared += (error**2).sum(0)
        self.scaled_absolute += np.abs(error).sum(0)
        self.windows += len(actual)

    def add(self, actual: np.ndarray, forecast: np.ndarray, naive: np.ndarray | None) -> None:
        """Add the same batch in original units, beside persistence (None where there is no last value)."""
        error = forecast - actual
        self.squared += (error**2).sum(0)
        self.absolute += np.abs(error).sum(0)
        self._add_variance(actual.reshape(-1, actual.shape[-1]))
        if naive is None:
            self.has_naive = False
            return
        self.naive_squared += ((naive - actual) ** 2).sum(0)
        self.up += (actual > naive).sum(0)
        self.right_direction += ((forecast > naive) == (actual > naive)).sum(0)

    def _add_variance(self, values: np.ndarray) -> None:
        count, mean = len(values), values.mean(0)
        total = self.count + count
        shift = mean - self.mean
        self.deviations += ((values - mean) ** 2).sum(0) + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    def results(self) -> dict[str, float | None]:
        """Means over windows, steps and targets.

        ``mse_scaled``, ``mae_scaled`` in the scaled target space; ``mae``, ``rmse`` in original units; ``r2`` as the
        mean over targets of 1 - squared errors / squared deviations; ``skill_vs_naive`` = 1 - MSE / MSE of
        persistence in original units; ``direction_accuracy`` = share of steps whose change since the last known value
        is on the forecast's side ("up" against "not up"); ``majority_share`` = what always answering the more
        frequent side would reach. None where a value is not defined.
        """
        count = self.windows * self.squared.size
        if count == 0:
            return {}
        per_target = self.squared.sum(0)
        # A constant series leaves deviations of rounding errors, against which nothing can be measured.
        varied = self.deviations > self.count * (64 * np.finfo(np.float64).eps * np.abs(self.mean)) ** 2
        up = self.up.sum() / count
        return {
            "mse_scaled": float(self.scaled_squared.sum() / count),
            "mae_scaled": float(self.scaled_absolute.sum() / count),
            "mae": float(self.absolute.sum() / count),
            "rmse": math.sqrt(self.squared.sum() / count),
            "r2": float((1 - per_target[varied] / self.deviations[varied]).mean()) if varied.any() else None,
            "skill_vs_naive": skill(float(self.squared.sum()), float(self.naive_squared.sum()))
            if self.has_naive
            else None,
            "direction_accuracy": float(self.right_direction.sum() / count) if self.has_naive else None,
            "majority_share": float(max(up, 1 - up)) if self.has_naive else None,
        }

    def per_step(self) -> dict[str, list[float]]:
        """Scaled errors for every step ahead, means over windows and targets."""
        count = max(1, self.windows * self.squared.shape[1])
        return {
            "mse_scaled": (self.scaled_squared.sum(1) / count).tolist(),
            "mae_scaled": (self.scaled_absolute.sum(1) / count).tolist(),
        }


def skill(error: float, reference: float) -> float | None:
    """``1 - error / reference``: above 0 is better than the reference. None if the reference makes no error."""
    return 1 - error / reference if reference > 0 else None
