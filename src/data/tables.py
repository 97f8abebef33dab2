"""Series in memory, between the readers that make them and the windows that are cut from them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Note:
    """One line of the account of how data were read.

    Attributes:
        topic: what it is about, in a word or two: ``separator``, ``dates``, ``missing``.
        text: what was found or done.
        option: the flag that changes it, or "".
        warning: whether it is something suspicious in the values rather than a decision of the reader.
    """

    topic: str
    text: str
    option: str = ""
    warning: bool = False


@dataclass(frozen=True)
class RawTable:
    """The cells of one source (a file, a query) as they stand there, or of a block of its rows.

    Attributes:
        name: what to call the series if the source holds just one, e.g. ``GOOG`` for ``GOOG.csv.gz``.
        location: path or address, for messages.
        cells: text with NaN for an empty cell; Parquet files and databases bring typed columns. The index counts the
            rows of the source from 1, a header included, as an editor does.
        notes: what was decided to get here.
    """

    name: str
    location: str
    cells: pd.DataFrame
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Table:
    """One series: rows in time order.

    Attributes:
        dates: ``datetime64[ns]`` ``[rows]``, strictly ascending.
        columns: numeric columns in file order, each float64 ``[rows]`` and finite.
        name: what to call the series.
        notes: what the reader found and did, for the user to know.
    """

    dates: np.ndarray
    columns: dict[str, np.ndarray]
    name: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class StackedTables:
    """Several series with the same columns, one under the other.

    Attributes:
        dates: ``datetime64[ns]`` ``[rows]``, ascending within each series.
        values: float64 ``[rows, columns]``.
        columns: names of the columns.
        bounds: int64 ``[series + 1]``: series i holds the rows from ``bounds[i]`` to before ``bounds[i + 1]``.
        names: names of the series.
        notes: what the reader found and did.
    """

    dates: np.ndarray
    values: np.ndarray
    columns: tuple[str, ...]
    bounds: np.ndarray
    names: tuple[str, ...]
    notes: tuple[Note, ...] = ()


ROWS_AT_ONCE = 65_536
"""Rows that are worked on together where there may be more of them than memory should hold."""


def blocks(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Consecutive rows of an array: the number of the first row, and at most ``ROWS_AT_ONCE`` rows.

    Where the array is a mapped file, memory that the rows took is given back after each block.
    """
    for first in range(0, len(values), ROWS_AT_ONCE):
        yield first, values[first : first + ROWS_AT_ONCE]
        release(values)


def release(values: np.ndarray) -> None:
    """Give back the memory of a mapped file's pages; they are read again when needed."""
    mapping = getattr(values, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def stack_tables(tables: Sequence[Table]) -> StackedTables:
    """Put several tables one under the other.

    Raises:
        DataError: if there is none, a table has fewer than two rows or no column, columns differ, dates do not ascend
            or a value is not finite.
    """
    if not tables:
        raise DataError("a data set needs at least one series, but got none; give a file")
    columns = tuple(tables[0].columns)
    for table in tables:
        if tuple(table.columns) != columns:
            raise DataError(
                f"all series must have the same columns in the same order, but '{tables[0].name}' has "
                f"{', '.join(columns)} and '{table.name}' has {', '.join(table.columns)}; make them alike"
            )
        check_table(table)
    bounds = np.concatenate([[0], np.cumsum([len(table.dates) for table in tables])]).astype(np.int64)
    stacked = [np.column_stack([table.columns[name] for name in columns]).astype(np.float64) for table in tables]
    return StackedTables(
        dates=np.concatenate([table.dates for table in tables]).astype("datetime64[ns]"),
        values=np.concatenate(stacked),
        columns=columns,
        bounds=bounds,
        names=tuple(table.name for table in tables),
        notes=tuple(note for table in tables for note in table.notes),
    )


def check_table(table: Table) -> None:
    """Refuse a series that windows cannot be cut from; see ``stack_tables``."""
    if not table.columns:
        raise DataError(f"a series needs at least one numeric column, but '{table.name}' has none; add one")
    if len(table.dates) < 2:
        raise DataError(f"a series needs at least 2 rows, but '{table.name}' has {len(table.dates)}; add data")
    if not _ascend(table.dates):
        raise DataError(f"dates must be unique and ascend, but those of '{table.name}' do not; sort them")
    for name, values in table.columns.items():
        if len(values) != len(table.dates):
            raise DataError(
                f"a column needs a value for every date, but '{name}' of '{table.name}' has {len(values)} values "
                f"for {len(table.dates)} dates; give as many of both"
            )
        for first, block in blocks(values):
            if not np.isfinite(block).all():
                row = first + int(np.flatnonzero(~np.isfinite(block))[0])
                raise DataError(
                    f"values must be finite numbers, but column '{name}' of '{table.name}' has {values[row]} "
                    f"on {table.dates[row]}; fill or remove that row"
                )


def _ascend(dates: np.ndarray) -> bool:
    before = np.datetime64(np.iinfo(np.int64).min + 1, "ns")
    for _, block in blocks(dates):
        if not (block[0] > before and (np.diff(block) > np.timedelta64(0)).all()):
            return False
        before = block[-1]
    return True


def date_text(date: np.datetime64) -> str:
    """A date without a clock time of midnight."""
    return str(date.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")


def infer_period(dates: np.ndarray) -> int | None:
    """The season length, in rows, that the spacing of the dates suggests.

    Hourly 24, half-hourly 48, quarter-hourly 96 (each only where rows run round the clock), daily 7 (5 where weekends
    are missing), weekly 52, monthly 12, quarterly 4, anything else None.

    Args:
        dates: ``datetime64`` ``[rows]`` of one series, ascending; the first ``ROWS_AT_ONCE`` are looked at.
    """
    dates = dates[:ROWS_AT_ONCE]
    spacing = np.diff(dates) / np.timedelta64(1, "h")
    hours = float(np.median(spacing))
    for rows_a_day in (24, 48, 96):
        if abs(hours - 24 / rows_a_day) < 1e-3:
            return rows_a_day if spacing.mean() < 1.1 * hours else None
    days = hours / 24
    if abs(days - 1) < 1e-2:
        weekday = (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
        return 7 if (weekday >= 5).mean() > 0.1 else 5
    for low, high, period in ((6.5, 7.5, 52), (28, 31, 12), (89, 93, 4)):
        if low <= days <= high:
            return period
    return None
