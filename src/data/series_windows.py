"""The windows of one part: batches for models, and what they mean in original units and dates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from .base import Batch
from .rows import Rows
from .scaling import levels_from_changes
from .tables import blocks, release
from .windows import WindowStarts, gather_windows


class SeriesSplit:
    """The windows of one part. Sample ``i`` is the i-th window in order of series and time.

    Wherever ``index`` is asked for: int64 ``[batch]``, numpy or torch on any device, sample numbers of this part.
    """

    def __init__(self, rows: Rows, starts: WindowStarts) -> None:
        """``starts``: the first target row of every window."""
        self._rows = rows
        self._starts = starts

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._starts)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Every window once: in a random order drawn from ``generator``, in order of time without one.

        The order is drawn on the CPU, so that it does not depend on the device. The last batch may be smaller.
        """
        count, device = len(self), self._rows.inputs.device
        order = None  # four bytes a window: the order of a long series is a tenth of the series
        if generator is not None:
            order = torch.randperm(count, generator=generator, dtype=torch.int32).to(device)
        for first in range(0, count, batch_size):
            last = min(first + batch_size, count)
            index = torch.arange(first, last, device=device) if order is None else order[first:last].long()
            yield self._batch(self._starts.at(index), index)

    def select(self, index: np.ndarray | Tensor) -> Batch:
        """The named windows as one batch."""
        order = torch.as_tensor(index, dtype=torch.int64).to(self._rows.inputs.device)
        return self._batch(self._starts.at(order), order)

    def newest_inputs(self, index: np.ndarray | Tensor, rows: int) -> Tensor:
        """The last rows of what a model reads, ``[batch, at most rows, features]``."""
        order = torch.as_tensor(index, dtype=torch.int64).to(self._rows.inputs.device)
        length = min(rows, self._rows.options.window)
        return self._rows.gather(self._starts.at(order), length)

    def _batch(self, starts: Tensor, index: Tensor) -> Batch:
        inputs = self._rows.gather(starts, self._rows.options.window)
        return Batch(inputs, self._targets(starts), index, self._returns(starts))

    def _targets(self, starts: Tensor) -> Tensor:
        return gather_windows(self._rows.targets, starts, 0, self._rows.options.horizon)

    def _returns(self, starts: Tensor) -> Tensor | None:
        returns = self._rows.returns
        return None if returns is None else gather_windows(returns, starts, 0, self._rows.options.horizon)

    def history(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The targets' levels over the look-back window in original units, float64 ``[batch, window, targets]``."""
        window = self._rows.options.window
        return self._rows.levels(self._first_rows(index)[:, None] + np.arange(-window, 0))

    def actual(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The targets' levels in original units, float64 ``[batch, horizon, targets]``."""
        return self._rows.levels(self._target_rows(index))

    def persistence(self, index: np.ndarray | Tensor) -> np.ndarray | None:
        """The last known level repeated, float64 ``[batch, horizon, targets]``; None if it is not known."""
        if not self._rows.target_history:
            return None
        last = self._rows.levels(self._first_rows(index) - 1)
        return np.repeat(last[:, None, :], self._rows.options.horizon, axis=1)

    def to_units(self, index: np.ndarray | Tensor, scaled: np.ndarray) -> np.ndarray:
        """Turn forecasts into levels in original units.

        Levels are unscaled with their series' own scale. Returns are unscaled and compounded from the last known
        level: times the cumulative product of 1 + r, or the exponential of the cumulative sum of log-returns.

        Args:
            index: which samples.
            scaled: ``[batch, horizon, targets]`` as a model of task ``forecast`` predicts them.

        Returns:
            float64 ``[batch, horizon, targets]``.

        Raises:
            OptionError: for task ``direction``, whose predictions have no units.
        """
        rows = self._rows
        if rows.options.task != "forecast":
            raise OptionError(f"only forecasts have units, but the task is '{rows.options.task}'; use --task forecast")
        first = self._first_rows(index)
        groups = rows.groups[rows.series(first - 1)]
        values = rows.scaler.unscaled(scaled, groups, rows.channels)
        if rows.options.transform == "level":
            return values
        return levels_from_changes(rows.levels(first - 1), values, str(rows.options.transform))

    def bounds_to_units(self, index: np.ndarray | Tensor, scaled: np.ndarray) -> np.ndarray:
        """Turn bounds of forecasts into levels in original units.

        Exact for levels, and for returns one step ahead. Returns over several steps are compounded: what lies between
        forecast and bound adds up as of steps that are independent, by the root of the sum of squares.

        Args:
            index: which samples.
            scaled: ``[3, batch, horizon, targets]``: forecast, lower and upper bound.

        Returns:
            float64 ``[2, batch, horizon, targets]``: lower and upper bound.
        """
        rows = self._rows
        if rows.options.transform == "level" or rows.options.horizon == 1:
            return np.stack([self.to_units(index, bound) for bound in scaled[1:]])
        first = self._first_rows(index)
        groups = rows.groups[rows.series(first - 1)]
        mean, lower, upper = (rows.scaler.unscaled(values, groups, rows.channels) for values in scaled)
        below, above = (np.sqrt(np.cumsum(part**2, axis=1)) for part in (mean - lower, upper - mean))
        level = self.to_units(index, scaled[0])
        return np.stack([level * np.exp(-below), level * np.exp(above)])

    def origin_dates(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The date of the last row each forecast knows, ``datetime64[ns]`` ``[batch]``."""
        return self._rows.tables.dates[self._first_rows(index) - 1]

    def target_dates(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The dates that are forecast, ``datetime64[ns]`` ``[batch, horizon]``."""
        return self._rows.tables.dates[self._target_rows(index)]

    def series_names(self, index: np.ndarray | Tensor) -> list[str]:
        """The name of each sample's series."""
        return [self._rows.tables.names[number] for number in self._rows.series(self._first_rows(index) - 1)]

    def targets_hash(self, target_names: Sequence[str]) -> str:
        """SHA-256 over the dates and original values of all targets, their names and the horizon."""
        rows, starts = self._rows, self._first_rows(np.arange(len(self)))
        is_target = np.zeros(len(rows.tables.dates), dtype=bool)
        for step in range(rows.options.horizon):
            is_target[starts + step] = True
        used = np.flatnonzero(is_target)
        windows_per_series = np.unique(rows.series(starts), return_counts=True)[1]
        header = f"{rows.options.horizon}|{'|'.join(target_names)}|".encode()
        digest = sha256(rows.tables.dates[used], rows.levels(used), windows_per_series, header=header)
        release(rows.tables.values)
        return digest

    def _first_rows(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The first target row of samples, int64 ``[batch]``."""
        return self._starts.at(torch.as_tensor(index, dtype=torch.int64).cpu()).numpy()

    def _target_rows(self, index: np.ndarray | Tensor) -> np.ndarray:
        return self._first_rows(index)[:, None] + np.arange(self._rows.options.horizon)


class NewestWindows(SeriesSplit):
    """Windows whose look-back ends with the last row there is: what they forecast is not known yet."""

    def _targets(self, starts: Tensor) -> Tensor:
        rows = self._rows
        return torch.full((len(starts), rows.options.horizon, rows.targets.shape[1]), torch.nan)

    def _returns(self, starts: Tensor) -> None:
        return None


def sha256(*arrays: np.ndarray, header: bytes = b"") -> str:
    """The hash of a header and of arrays, read block by block."""
    digest = hashlib.sha256(header)
    for array in arrays:
        for _, block in blocks(array):
            digest.update(np.ascontiguousarray(block).view(np.uint8).data)
    return digest.hexdigest()
