"""The rows of one source while they are put in order and repaired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .storage import Storage, keep


@dataclass
class SourceRows:
    """Rows of one source, one series under the other once the layout is known.

    Attributes:
        name, location: of the source.
        dates: int64 ``[rows]``, nanoseconds since 1970.
        numbers: int32 ``[rows]``, row numbers in the source.
        columns: float64 ``[rows]`` each, NaN where missing.
        storage: where the arrays live.
        codes: columns that may name the series, int32 ``[rows]``, -1 where empty; the texts in ``code_names``.
        left_out: columns that are not numeric.
        bounds: int64 ``[series + 1]``: the first row of every series, and the end.
        names: of the series.
    """

    name: str
    location: str
    dates: np.ndarray
    numbers: np.ndarray
    columns: dict[str, np.ndarray]
    storage: Storage
    codes: dict[str, np.ndarray] = field(default_factory=dict)
    code_names: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    bounds: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.dates)

    @property
    def is_one(self) -> bool:
        """Whether this is a single series."""
        return len(self.names) == 1

    def keep(self, mask: np.ndarray) -> None:
        """Leave the other rows out. ``mask``: bool ``[rows]``."""
        lengths = [int(mask[first:last].sum()) for first, last in zip(self.bounds, self.bounds[1:], strict=False)]
        self.bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.dates, self.numbers = keep(self.dates, mask), keep(self.numbers, mask)
        for group in (self.columns, self.codes):
            for name in list(group):
                group[name] = keep(group[name], mask)
                self.storage.release()

    def reorder(self, order: np.ndarray | slice) -> None:
        """Put the rows in another order."""
        arrays = [self.dates, self.numbers, *self.columns.values(), *self.codes.values()]
        for array in arrays:
            array[:] = array[order] if isinstance(order, np.ndarray) else array[order].copy()
            self.storage.release()

    def each_column(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and values of every column; memory is given back after each."""
        for name, column in self.columns.items():
            yield name, column
            self.storage.release()

    def series_of(self, row: int) -> str:
        """The name of a row's series, in brackets of words, or "" if there is just one."""
        if self.is_one:
            return ""
        return f"{self.names[int(np.searchsorted(self.bounds, row, side='right')) - 1]} "

    def within(self) -> np.ndarray:
        """bool ``[rows]``: whether the row before belongs to the same series."""
        mask = np.ones(len(self), bool)
        mask[self.bounds[:-1][self.bounds[:-1] < len(self)]] = False
        return mask
