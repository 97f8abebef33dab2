"""The rows that windows are cut from: transformed, scaled and rounded to single precision, block by block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .options import DataOptions
from .scaling import Scaler, transform_rows
from .tables import ROWS_AT_ONCE, StackedTables, release
from .windows import gather_windows

ROWS_BEFORE_RELEASE = 200_000
"""Where values are mapped from disk, their memory is given back after looking up so many."""
BATCHES_BEFORE_RELEASE = 8
"""The same for scaled rows: windows at random places would otherwise bring all of them into memory."""


class RowStore(Protocol):
    """Where scaled rows are kept."""

    def rows(self, key: str, shape: tuple[int, int], fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """A float32 array of that shape.

        Args:
            key: what the values follow from; equal keys mean equal values.
            shape: ``(rows, columns)``.
            fill: writes the values into the array it is given.
        """


class InMemory:
    """Keeps scaled rows in memory."""

    def rows(self, key: str, shape: tuple[int, int], fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """A new array; see ``RowStore``."""
        array = np.empty(shape, dtype=np.float32)
        fill(array)
        return array


@dataclass
class Rows:
    """What all parts share. ``inputs`` and ``targets`` move to the device; the rest stays in main memory or on disk.

    Attributes:
        inputs: float32 ``[rows, features]``, scaled.
        targets: float32 ``[rows, targets]``: scaled, or 1.0 where the row's level is above the row's before.
        tables: the series as they were read.
        target_places: the place of every target among the tables' columns.
        channels: the place of every target among the scaler's columns.
        scaler: what the values were scaled with.
        groups: the scaler's group of every series, int64 ``[series]``.
        options: window, horizon, task and transform, nothing left open.
        target_history: whether past values of the targets are known.
        mapped: the scaled rows, where they are mapped from disk.
        returns: float32 ``[rows, targets]``, the simple return of every row; task ``direction`` only, and None too
            where values have none.
    """

    inputs: Tensor
    targets: Tensor
    tables: StackedTables
    target_places: tuple[int, ...]
    channels: tuple[int, ...]
    scaler: Scaler
    groups: np.ndarray
    options: DataOptions
    target_history: bool
    mapped: np.ndarray | None = None
    returns: Tensor | None = None
    _rows_looked_up: int = 0
    _batches_gathered: int = 0

    def gather(self, starts: Tensor, window: int) -> Tensor:
        """The inputs before each of ``starts``, ``[batch, window, features]``, from as little memory as they take."""
        self._batches_gathered += 1
        if self.mapped is not None and self._batches_gathered % BATCHES_BEFORE_RELEASE == 0:
            release(self.mapped)
        return gather_windows(self.inputs, starts, window, 0)

    def levels(self, rows: np.ndarray) -> np.ndarray:
        """The targets' levels in original units, float64 ``[..., targets]`` for row numbers ``[...]``."""
        self._rows_looked_up += rows.size
        if self._rows_looked_up > ROWS_BEFORE_RELEASE:
            release(self.tables.values)
            self._rows_looked_up = 0
        return np.asarray(self.tables.values[rows[..., None], np.array(self.target_places)])

    def series(self, rows: np.ndarray) -> np.ndarray:
        """The series each row belongs to, int64, of the shape of ``rows``."""
        return np.searchsorted(self.tables.bounds, rows, side="right") - 1


@dataclass(frozen=True)
class Transformed:
    """The columns in use, each as level or return, read block by block.

    Attributes:
        tables: the series.
        columns: the columns in use: features, then targets that are no features.
        transforms: what each of them shall hold.
    """

    tables: StackedTables
    columns: tuple[str, ...]
    transforms: tuple[str, ...]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The number of the first row, and ``[at most ROWS_AT_ONCE rows, columns]`` float64."""
        places = [self.tables.columns.index(name) for name in self.columns]
        values, bounds = self.tables.values, self.tables.bounds
        for first in range(0, len(values), ROWS_AT_ONCE):
            before, last = max(first - 1, 0), min(first + ROWS_AT_ONCE, len(values))
            levels = np.asarray(values[before:last])[:, places]
            yield first, transform_rows(levels, first - before, last - before, self.transforms, bounds - before)
            release(values)

    def fit_scaler(self, training: np.ndarray, first_rows: np.ndarray, trained: np.ndarray) -> Scaler:
        """Fit on training rows: one group for all series where a column holds returns, else a group per series.

        Args:
            training: the training rows of every series, ``[series, 2]``.
            first_rows: the first row of every series that may be read, ``[series]``.
            trained: which series have a training part, int64.

        Raises:
            DataError: if a series that needs a scale of its own has no training rows.
        """
        spans = [(max(first, usable), last) for (first, last), usable in zip(training, first_rows, strict=True)]
        if set(self.transforms) != {"level"}:
            return Scaler.fit([self._pooled(spans)], self.columns, self.transforms)
        places = [self.tables.columns.index(name) for name in self.columns]
        for number in trained:
            if spans[number][1] <= spans[number][0]:
                raise DataError(
                    "levels are scaled by each series' own training rows, but "
                    f"{self.tables.names[number]} has none; "
                    "use an earlier --split, leave that series out or use --transform return"
                )
        return Scaler.fit((self._levels(spans[number], places) for number in trained), self.columns, self.transforms)

    def _pooled(self, spans: list[tuple[int, int]]) -> Iterator[np.ndarray]:
        is_training = np.zeros(len(self.tables.dates), dtype=bool)
        for first, last in spans:
            is_training[first:last] = True
        for first, values in self.blocks():
            chosen = is_training[first : first + len(values)]
            if chosen.any():
                yield values if chosen.all() else values[chosen]

    def _levels(self, span: tuple[int, int], places: list[int]) -> Iterator[np.ndarray]:
        for first in range(span[0], span[1], ROWS_AT_ONCE):
            yield np.asarray(self.tables.values[first : min(first + ROWS_AT_ONCE, span[1])])[:, places]
            release(self.tables.values)

    def scaled(self, scaler: Scaler, groups: np.ndarray, store: RowStore) -> np.ndarray:
        """All rows, scaled and rounded to float32, ``[rows, columns]``.

        Args:
            scaler: fitted before.
            groups: its group for every series, int64 ``[series]``.
            store: where the rows are kept.
        """

        def fill(array: np.ndarray) -> None:
            for first, values in self.blocks():
                of_row: np.ndarray | int = 0
                if len(scaler.center) > 1:
                    numbers = np.arange(first, first + len(values))
                    of_row = groups[np.searchsorted(self.tables.bounds, numbers, side="right") - 1]
                array[first : first + len(values)] = scaler.scaled(values, of_row)
                release(array)

        key = json.dumps([self.columns, self.transforms, scaler.to_dict(), groups.tolist()])
        return store.rows(key, (len(self.tables.dates), len(self.columns)), fill)


def ups(tables: StackedTables, places: tuple[int, ...]) -> np.ndarray:
    """1.0 where a level is above the row's before, float32 ``[rows, targets]``; a series' first row is never used."""
    up = np.zeros((len(tables.dates), len(places)), dtype=np.float32)
    for first in range(0, len(up), ROWS_AT_ONCE):
        before, last = max(first - 1, 0), min(first + ROWS_AT_ONCE, len(up))
        up[before + 1 : last] = np.diff(np.asarray(tables.values[before:last])[:, list(places)], axis=0) > 0
        release(tables.values)
    return up


def simple_returns(tables: StackedTables, places: tuple[int, ...]) -> np.ndarray | None:
    """p[t] / p[t-1] - 1, float32 ``[rows, targets]``; None where a value is zero or below, which has no return.

    A series' first row holds zero; it is never used.
    """
    returns = np.zeros((len(tables.dates), len(places)), dtype=np.float32)
    for first in range(0, len(returns), ROWS_AT_ONCE):
        before, last = max(first - 1, 0), min(first + ROWS_AT_ONCE, len(returns))
        levels = np.asarray(tables.values[before:last])[:, list(places)]
        release(tables.values)
        if (levels <= 0).any():
            return None
        returns[first:last] = transform_rows(
            levels, first - before, last - before, ("return",) * len(places), tables.bounds - before
        )
    return returns


def up_share(up: np.ndarray, training: np.ndarray, bounds: np.ndarray) -> tuple[float, ...]:
    """The share of training rows that are up, per target; the first row of a series has no row before."""
    is_training = np.zeros(len(up), dtype=bool)
    for (first, last), start in zip(training, bounds[:-1], strict=True):
        is_training[max(first, start + 1) : last] = True
    return tuple(up[is_training].mean(axis=0, dtype=np.float64).tolist())


def as_tensor(values: np.ndarray) -> Tensor:
    """A tensor over the same memory (or the same mapped file)."""
    return torch.from_numpy(np.ascontiguousarray(values) if not values.flags.c_contiguous else values)
