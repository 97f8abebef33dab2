"""Windows over rows: where each begins, and how a batch of them is gathered without ever copying them all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def window_starts(row_range: tuple[int, int], series_range: tuple[int, int], window: int, horizon: int) -> range:
    """The first target row of every window of one part of one series, in time order.

    A window's targets all lie inside the part; its look-back rows lie inside its own series, but may reach back over
    the part's border into earlier rows (they are history, never targets of the part).

    Args:
        row_range: first row of the part and the row after its last.
        series_range: first row of the series that may be read and the row after its last.
        window: look-back rows before the first target.
        horizon: target rows.

    Returns:
        consecutive row numbers, none if not one window fits.
    """
    first = max(row_range[0], series_range[0] + window)
    last = min(row_range[1], series_range[1]) - horizon
    return range(first, max(last + 1, first))


class WindowStarts:
    """The first target rows of all windows of a part, kept as runs, since one number a window adds up to a lot.

    Args:
        runs: consecutive row numbers, a run for every series that has windows.
    """

    def __init__(self, runs: Sequence[range]) -> None:
        runs = [run for run in runs if len(run)]
        self._first = torch.tensor([run.start for run in runs], dtype=torch.int64)
        self._ends = torch.tensor([len(run) for run in runs], dtype=torch.int64).cumsum(0)
        self._count = sum(map(len, runs))

    def __len__(self) -> int:
        return self._count

    def at(self, index: Tensor) -> Tensor:
        """The first target row of windows number ``index``, int64 ``[batch]``, on the device of ``index``."""
        if len(self._first) == 1:
            return index + int(self._first[0])
        first, ends = self._first.to(index.device), self._ends.to(index.device)
        run = torch.searchsorted(ends, index, right=True)
        before = torch.where(run > 0, ends[run - 1], 0)
        return first[run] + index - before


def gather_windows(rows: Tensor, starts: Tensor, window: int, horizon: int) -> Tensor:
    """Copy the rows of a batch of windows out of one tensor of rows: one gather over a view, no Python loop.

    Args:
        rows: ``[rows, columns]``, contiguous.
        starts: int64 ``[batch]``, the first target row of each window, on the device of ``rows``.
        window: look-back rows to take before the first target; 0 takes the target rows alone.
        horizon: target rows to take; 0 takes the look-back rows alone.

    Returns:
        ``[batch, window + horizon, columns]``, contiguous.
    """
    count, columns = rows.shape
    length = window + horizon
    # Every window as an overlapping view: row i of it begins at row i of `rows`. Nothing is copied until the gather.
    windows = rows.as_strided((count - length + 1, length, columns), (columns, columns, 1))
    return windows.index_select(0, starts - window if window else starts)
