"""From a file to a table: the one door for foreign data, and every "what is wrong with your file"."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import DataError

DATE_NAMES = ("date", "datetime", "timestamp", "time")
_FIRST_ROW = 2  # the header is row 1 of the file
_MAX_MESSAGE = 160


@dataclass(frozen=True)
class Table:
    """One series: rows in time order.

    Attributes:
        dates: ``datetime64[ns]`` ``[rows]``, strictly ascending.
        columns: numeric columns in file order, each float64 ``[rows]`` and finite.
        name: what to call the series.
        messages: what the reader did to the file, for the user to know.
    """

    dates: np.ndarray
    columns: dict[str, np.ndarray]
    name: str
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackedTables:
    """Several series with the same columns, one under the other.

    Attributes:
        dates: ``datetime64[ns]`` ``[rows]``, ascending within each series.
        values: float64 ``[rows, columns]``.
        columns: names of the columns.
        bounds: int64 ``[series + 1]``: series i holds the rows from ``bounds[i]`` to before ``bounds[i + 1]``.
        names: names of the series.
        messages: what the reader did to the files.
    """

    dates: np.ndarray
    values: np.ndarray
    columns: tuple[str, ...]
    bounds: np.ndarray
    names: tuple[str, ...]
    messages: tuple[str, ...] = ()


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
        _check_table(table)
    bounds = np.concatenate([[0], np.cumsum([len(table.dates) for table in tables])]).astype(np.int64)
    stacked = [np.column_stack([table.columns[name] for name in columns]).astype(np.float64) for table in tables]
    return StackedTables(
        dates=np.concatenate([table.dates for table in tables]).astype("datetime64[ns]"),
        values=np.concatenate(stacked),
        columns=columns,
        bounds=bounds,
        names=tuple(table.name for table in tables),
        messages=tuple(message for table in tables for message in table.messages),
    )


def _check_table(table: Table) -> None:
    if not table.columns:
        raise DataError(f"a series needs at least one numeric column, but '{table.name}' has none; add one")
    if len(table.dates) < 2:
        raise DataError(f"a series needs at least 2 rows, but '{table.name}' has {len(table.dates)}; add data")
    if not (np.diff(table.dates) > np.timedelta64(0)).all():
        raise DataError(f"dates must be unique and ascend, but those of '{table.name}' do not; sort them")
    for name, values in table.columns.items():
        if len(values) != len(table.dates):
            raise DataError(
                f"a column needs a value for every date, but '{name}' of '{table.name}' has {len(values)} values "
                f"for {len(table.dates)} dates; give as many of both"
            )
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(
                f"values must be finite numbers, but column '{name}' of '{table.name}' has {values[row]} "
                f"on {table.dates[row]}; fill or remove that row"
            )


def read_table(path: str) -> Table:
    """Read one clean CSV file (gzipped or not) with a header, a date column and numeric columns.

    The date column is the one named date, datetime, timestamp or time (in any case), else the first text column that
    holds dates. A leading unnamed index column is skipped; text columns are left out, and both rows and columns that
    were changed or left out are named in ``messages``.

    Raises:
        DataError: for anything that cannot be read as such a table; the message names file, row, column and value.
    """
    frame = _parse_csv(path, _read_text(path))
    if len(frame.columns) < 2:
        raise DataError(
            f"a file needs a date column and a numeric column separated by commas, but {path} has only the column "
            f"'{_short(frame.columns[0])}'; separate the columns with commas"
        )
    if len(frame) < 2:
        raise DataError(f"a file needs at least 2 rows below its header, but {path} has {len(frame)}; add rows")
    date_column = _find_date_column(path, frame)
    messages: list[str] = []
    dates = _read_dates(path, frame[date_column], messages)
    columns = _read_columns(path, frame, date_column, messages)
    dates, order = _order_rows(path, dates, frame.index.to_numpy() + _FIRST_ROW, messages)
    name = Path(path).name.removesuffix(".gz").removesuffix(".csv")
    ordered = {column: np.ascontiguousarray(values[order]) for column, values in columns.items()}
    return Table(dates, ordered, name, tuple(messages))


def _read_text(path: str) -> str:
    """The file's text, gunzipped if it is gzipped."""
    file = Path(path)
    if file.is_dir():
        raise DataError(f"data must be a file, but {path} is a folder; name one CSV file in it")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"data must be a file that exists, but there is no {path}; check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"data must be a readable file, but {path} cannot be read: {reason}; check it") from None
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"a gzipped file must be whole, but {path} is damaged: {error}; fetch it again") from None
    if not content.strip():
        raise DataError(f"a file needs a header and rows, but {path} is empty; check the path")
    try:
        if b"\0" in content:
            raise ValueError("it holds zero bytes")
        return content.decode("utf-8-sig")
    except ValueError:
        raise DataError(f"data must be a text file in UTF-8, but {path} is not; save it as CSV in UTF-8") from None


def _parse_csv(path: str, text: str) -> pd.DataFrame:
    """Cells as pandas reads them; rows keep their place in the file as index, blank rows are dropped."""
    text = text.lstrip("\r\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(io.StringIO(text), index_col=False, skip_blank_lines=False, low_memory=False)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError) as error:
        reason = _short(str(error).replace("Error tokenizing data. C error: ", "").strip())
        raise DataError(
            f"every row must have as many cells as the header, but {path} is not such a CSV file: {reason}; "
            "mend that row"
        ) from None
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    if frame.columns.has_duplicates:
        name = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"every column needs its own name, but {path} has '{name}' twice; rename one of them")
    return frame.dropna(how="all")


def _find_date_column(path: str, frame: pd.DataFrame) -> str:
    named = {name.lower(): name for name in reversed(frame.columns)}
    for name in DATE_NAMES:
        if name in named:
            return named[name]
    for name in frame.columns:
        if _is_text(frame[name]) and _parse_dates(frame[name].dropna().head(20)).notna().all():
            if _parse_dates(pd.Series([name])).notna().all():
                raise DataError(
                    f"the first row must be a header, but {path} begins with {_short(', '.join(frame.columns))}; "
                    "add a row of column names such as date,close"
                )
            return str(name)
    raise DataError(
        f"a file needs a column of dates, but {path} has {_short(', '.join(frame.columns))}; "
        "name the column of dates 'date'"
    )


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column)


def _parse_dates(cells: pd.Series) -> pd.Series:
    """Dates, or NaT where a cell is none; offsets that change with daylight saving time as UTC."""
    attempts: list[pd.Series] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about formats that differ from row to row: the caller names the row
        for how in ({}, {"utc": True}, {"format": "ISO8601"}, {"format": "ISO8601", "utc": True}):
            try:
                dates = pd.to_datetime(cells, errors="coerce", **how)
            except ValueError:
                continue
            if dates.notna().all():
                return dates
            attempts.append(dates)
    return attempts[0]


def _read_dates(path: str, cells: pd.Series, messages: list[str]) -> np.ndarray:
    """The date column as ``datetime64[ns]``."""
    _refuse_missing(path, cells.to_frame())
    texts: pd.Series = cells
    if not _is_text(cells):
        texts = cells.map(lambda value: f"{value:.0f}" if value == round(value) else str(value))
        if not texts.str.fullmatch(r"(19|20)\d{6}").all():
            raise DataError(
                f"dates must be written like 2024-01-31, but {path} has {cells.iloc[0]} in row "
                f"{cells.index[0] + _FIRST_ROW}, column '{cells.name}'; convert that column to dates"
            )
    dates = _parse_dates(texts)
    if dates.isna().any():
        row = dates.index[dates.isna()][0]
        raise DataError(
            f"dates must all be written alike, such as 2024-01-31, but {path} has '{_short(texts[row])}' in row "
            f"{row + _FIRST_ROW}, column '{cells.name}'; mend that cell"
        )
    if getattr(dates.dt, "tz", None) is not None:
        messages.append(f"dates of {Path(path).name} carry a time zone: kept as UTC")
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    try:
        return np.asarray(dates.dt.as_unit("ns"), dtype="datetime64[ns]")
    except (pd.errors.OutOfBoundsDatetime, OverflowError):
        raise DataError(
            f"dates must lie between 1678 and 2261, but {path} has {dates.min()} to {dates.max()}; mend them"
        ) from None


def _read_columns(path: str, frame: pd.DataFrame, date_column: str, messages: list[str]) -> dict[str, np.ndarray]:
    """All numeric columns as float64; text columns are left out and named in ``messages``."""
    columns: dict[str, pd.Series] = {}
    for place, name in enumerate(frame.columns):
        cells = frame[name]
        unnamed = not name or name.startswith("Unnamed:")
        if name == date_column or (place == 0 and unnamed and not _is_text(cells)):
            continue
        if not _is_text(cells):
            columns[name] = cells
            continue
        numbers = pd.to_numeric(cells, errors="coerce")
        if numbers.notna().sum() * 2 <= cells.notna().sum():  # mostly words: not a damaged column of numbers
            messages.append(
                f"column '{name}' of {Path(path).name} holds text, such as '{_short(cells.dropna().iloc[0])}'"
            )
            continue
        bad = numbers.isna() & cells.notna()
        if bad.any():
            raise _not_a_number(path, name, int(cells.index[bad][0]), cells[bad].iloc[0])
        columns[name] = numbers
    if not columns:
        raise DataError(
            f"a file needs a numeric column beside its dates, but {path} has none among "
            f"{_short(', '.join(frame.columns))}; write numbers like 1234.5"
        )
    _refuse_missing(path, frame[list(columns)])
    values = {name: cells.to_numpy(dtype=np.float64) for name, cells in columns.items()}
    for name, array in values.items():
        if not np.isfinite(array).all():
            bad_place = int(np.flatnonzero(~np.isfinite(array))[0])
            raise _not_a_number(path, name, int(frame.index[bad_place]), array[bad_place])
    return values


def _not_a_number(path: str, column: str, row: int, value: object) -> DataError:
    return DataError(
        f"cells must be finite numbers, but {path} has '{_short(value)}' in row {row + _FIRST_ROW}, "
        f"column '{column}'; mend that cell"
    )


def _refuse_missing(path: str, cells: pd.DataFrame) -> None:
    missing = cells.isna().to_numpy()
    count = int(missing.sum())
    if not count:
        return
    place, column_place = np.argwhere(missing)[0]
    row, column = int(cells.index[place]), cells.columns[column_place]
    raise DataError(
        f"no cell may be empty, but {path} has {count} empty or NaN {'cell' if count == 1 else 'cells'}, the first in "
        f"row {row + _FIRST_ROW}, column '{column}'; fill or remove such rows"
    )


def _order_rows(
    path: str, dates: np.ndarray, file_rows: np.ndarray, messages: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Ascending dates and the order that makes them so; newest-first is turned round, anything else is refused."""
    steps = np.diff(dates).astype(np.int64)
    repeated = np.flatnonzero(np.isin(dates, dates[1:][steps == 0])) if (steps == 0).any() else np.array([], int)
    if len(repeated):
        first, second = file_rows[repeated[0]], file_rows[repeated[1]]
        raise DataError(
            f"every date may stand once, but {path} has {date_text(dates[repeated[0]])} in rows {first} and {second}; "
            "remove one of them"
        )
    if (steps > 0).all():
        return dates, np.arange(len(dates))
    if (steps < 0).all():
        messages.append(f"rows of {Path(path).name} stood newest first: sorted oldest first")
        return dates[::-1].copy(), np.arange(len(dates))[::-1]
    place = int(np.flatnonzero(np.sign(steps) != np.sign(steps[0]))[0]) + 1
    raise DataError(
        f"rows must be in order of date, but {path} has {date_text(dates[place])} in row {file_rows[place]} after "
        f"{date_text(dates[place - 1])}; sort the file by date"
    )


def date_text(date: np.datetime64) -> str:
    """A date without a clock time of midnight."""
    return str(date.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")


def _short(value: object) -> str:
    """At most one short line of whatever stood in the file."""
    text = " ".join(str(value).split())
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 3] + "..."


def infer_period(dates: np.ndarray) -> int | None:
    """The season length, in rows, that the spacing of the dates suggests.

    Hourly 24, half-hourly 48, quarter-hourly 96 (each only where rows run round the clock), daily 7 (5 where weekends
    are missing), weekly 52, monthly 12, quarterly 4, anything else None.

    Args:
        dates: ``datetime64`` ``[rows]`` of one series, ascending.
    """
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
