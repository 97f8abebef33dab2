"""Levels to returns and back, and the scaler that is fitted on training rows only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


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


def transform_rows(
    levels: np.ndarray, first: int, last: int, transforms: Sequence[str], bounds: np.ndarray
) -> np.ndarray:
    """Some rows, with returns in the columns that shall hold them.

    Args:
        levels: ``[rows, columns]``, several series one under the other.
        first, last: which rows: from ``first`` to before ``last``.
        transforms: what each column shall hold: ``level``, ``return`` or ``log-return``.
        bounds: ``[series + 1]``, where each series begins, and the number of rows.

    Returns:
        ``[last - first, columns]``; a series' first row holds zeros where there is no return.
    """
    before = max(first - 1, 0)
    known = np.asarray(levels[before:last])
    values = known[first - before :].copy()
    starts = bounds[np.searchsorted(bounds, first) : np.searchsorted(bounds, last)] - first
    for transform in set(transforms) - {"level"}:
        places = np.array([place for place, chosen in enumerate(transforms) if chosen == transform])
        values[:, places] = changes_from_levels(known[:, places], transform)[first - before :]
        values[np.ix_(starts, places)] = 0.0
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
    def fit(cls, groups: Iterable[Iterable[np.ndarray]], columns: Sequence[str], transforms: Sequence[str]) -> Scaler:
        """Mean and standard deviation (ddof 0) of the training rows.

        Args:
            groups: for every group its training rows, already transformed, as blocks ``[rows, columns]``.
            columns: names of the columns.
            transforms: what each column holds.
        """
        from sklearn.preprocessing import StandardScaler  # close to a second, which a fitted scaler spares

        is_level = np.array([transform == "level" for transform in transforms])
        fitted = []
        for group in groups:
            fitted.append(StandardScaler())
            for rows in group:
                fitted[-1].partial_fit(rows)
        center = np.stack([scaler.mean_ for scaler in fitted]) * is_level
        return cls(tuple(columns), tuple(transforms), center, np.stack([scaler.scale_ for scaler in fitted]))

    @classmethod
    def identity(cls, columns: Sequence[str], transforms: Sequence[str]) -> Scaler:
        """A scaler that changes nothing, for data that is meant to be read as it is."""
        return cls(tuple(columns), tuple(transforms), np.zeros((1, len(columns))), np.ones((1, len(columns))))

    def scaled(self, values: np.ndarray, groups: np.ndarray | int = 0) -> np.ndarray:
        """Scale rows in float64.

        Args:
            values: ``[rows, columns]``, transformed.
            groups: the group of every row, int ``[rows]``, or one for all.
        """
        return np.asarray((values - self.center[groups]) / self.scale[groups])

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
