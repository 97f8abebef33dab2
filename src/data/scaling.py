"""Levels to returns and back, and the scaler that is fitted on training rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler


def changes_from_levels(levels: np.ndarray, transform: str) -> np.ndarray:
    """Per-step returns of one series.

    Args:
        levels: ``[rows, columns]``, strictly positive.
        transform: ``return`` (p[t] / p[t-1] - 1) or ``log-return`` (ln p[t] - ln p[t-1]).

    Returns:
        ``[rows, columns]``; the first row, which has no return, holds zeros.
    """
    changes = np.zeros_like(levels)
    if transform == "log-return":
        changes[1:] = np.diff(np.log(levels), axis=0)
    else:
        changes[1:] = levels[1:] / levels[:-1] - 1.0
    return changes


def levels_from_changes(last: np.ndarray, changes: np.ndarray, transform: str) -> np.ndarray:
    """The levels that follow a last known level: the inverse of ``changes_from_levels``.

    Args:
        last: ``[batch, columns]``, the level before the first change.
        changes: ``[batch, steps, columns]``, returns or log-returns.
        transform: ``return`` or ``log-return``.

    Returns:
        ``[batch, steps, columns]``, the level after every step.
    """
    growth = np.exp(np.cumsum(changes, axis=1)) if transform == "log-return" else np.cumprod(1.0 + changes, axis=1)
    return last[:, None, :] * growth


def transform_levels(levels: np.ndarray, transforms: Sequence[str], bounds: np.ndarray) -> np.ndarray:
    """Turn the columns that shall hold returns into returns, series by series.

    Args:
        levels: ``[rows, columns]``, several series one under the other.
        transforms: what each column shall hold: ``level``, ``return`` or ``log-return``.
        bounds: ``[series + 1]``, where each series begins, and the number of rows.

    Returns:
        ``[rows, columns]``; a series' first row holds zeros where there is no return.
    """
    if set(transforms) == {"level"}:
        return levels
    values = levels.copy()
    for transform in set(transforms) - {"level"}:
        places = [place for place, chosen in enumerate(transforms) if chosen == transform]
        for first, last in pairwise(bounds):
            values[first:last, places] = changes_from_levels(levels[first:last, places], transform)
    return values


@dataclass(frozen=True)
class Scaler:
    """Standardisation: ``scaled = (value - center) / scale``.

    Levels are standardised per series (a group per series). As soon as one column holds returns, all series share one
    group, and return columns keep center 0, so that a scaled 0 still says "no change".

    Attributes:
        columns: names of the columns.
        transforms: what each column holds: ``level``, ``return`` or ``log-return``.
        center: float64 ``[groups, columns]``.
        scale: float64 ``[groups, columns]``, never 0: 1 for a constant column.
    """

    columns: tuple[str, ...]
    transforms: tuple[str, ...]
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, training: Sequence[np.ndarray], columns: Sequence[str], transforms: Sequence[str]) -> Scaler:
        """Mean and standard deviation (ddof 0) of the training rows.

        Args:
            training: the training rows of every series, ``[rows, columns]`` each, already transformed.
            columns: names of the columns.
            transforms: what each column holds.
        """
        is_level = np.array([transform == "level" for transform in transforms])
        groups = training if is_level.all() else [np.concatenate(training)]
        fitted = [StandardScaler().fit(rows) for rows in groups]
        center = np.stack([scaler.mean_ for scaler in fitted]) * is_level
        return cls(tuple(columns), tuple(transforms), center, np.stack([scaler.scale_ for scaler in fitted]))

    @classmethod
    def identity(cls, columns: Sequence[str], transforms: Sequence[str]) -> Scaler:
        """A scaler that changes nothing, for data that is meant to be read as it is."""
        return cls(tuple(columns), tuple(transforms), np.zeros((1, len(columns))), np.ones((1, len(columns))))

    def scaled(self, values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """Scale the rows of all series in float64.

        Args:
            values: ``[rows, columns]``, several series one under the other, transformed.
            bounds: ``[series + 1]``, where each series begins, and the number of rows.
        """
        if len(self.center) == 1:
            return (values - self.center) / self.scale
        repeats = np.diff(bounds)
        return (values - np.repeat(self.center, repeats, axis=0)) / np.repeat(self.scale, repeats, axis=0)

    def unscaled(self, values: np.ndarray, groups: np.ndarray, channels: Sequence[int]) -> np.ndarray:
        """Undo the scaling of some columns.

        Args:
            values: ``[batch, time, channels]``, scaled.
            groups: int ``[batch]``, the group of every sample.
            channels: which columns the last axis holds.

        Returns:
            float64 ``[batch, time, channels]``: levels, or returns where the column holds returns.
        """
        chosen = np.ix_(groups, np.asarray(channels, dtype=np.int64))
        return np.asarray(values, dtype=np.float64) * self.scale[chosen][:, None] + self.center[chosen][:, None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; floats survive the round trip exactly."""
        return {
            "columns": list(self.columns),
            "transforms": list(self.transforms),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scaler:
        """The scaler that ``to_dict`` wrote."""
        return cls(
            tuple(values["columns"]),
            tuple(values["transforms"]),
            np.array(values["center"], dtype=np.float64),
            np.array(values["scale"], dtype=np.float64),
        )
