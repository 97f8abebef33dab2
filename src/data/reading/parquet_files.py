"""Parquet files: typed columns, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pandas as pd

from ...errors import DataError, OptionError
from ..options import ReadingOptions
from ..tables import Note, RawTable
from .header_names import clean_names, unique_names

_PANDAS_INDEX = "__index_level_"
_TEXT_ONLY = ("separator", "encoding", "header")


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file that has been looked into.

    Attributes:
        name: what to call the series.
        location: for messages.
        opener: opens the unpacked bytes, which can be sought.
        columns: their names, all different.
        size: bytes its values would take as float64.
        notes: what was decided.
    """

    name: str
    location: str
    opener: Callable[[], BinaryIO]
    columns: tuple[str, ...]
    size: int
    notes: tuple[Note, ...]

    def blocks(self, rows: int | None) -> Iterator[RawTable]:
        """Tables of at most ``rows`` rows, or one of all; the first carries the notes."""
        notes, done = self.notes, 0
        with self.opener() as stream:
            file = _parquet_file(stream, self.location)
            batches = file.iter_batches(batch_size=rows or max(file.metadata.num_rows, 1))
            while True:
                try:
                    batch = next(batches, None)
                except (OSError, ValueError) as error:
                    raise _damaged(self.location, error) from None
                if batch is None:
                    break
                frame = _frame(batch)
                frame.columns = pd.Index(self.columns)
                frame.index = pd.RangeIndex(done + 1, done + len(frame) + 1)
                yield RawTable(self.name, self.location, frame, notes)
                notes, done = (), done + len(frame)
        if not done:
            yield RawTable(self.name, self.location, pd.DataFrame(columns=list(self.columns)), notes)


def open_parquet(name: str, location: str, opener: Callable[[], BinaryIO], options: ReadingOptions) -> ParquetTable:
    """Look into a Parquet file.

    Raises:
        OptionError: if an option is given that only text files know.
        DataError: if the file is damaged or has no columns.
    """
    for option in _TEXT_ONLY:
        if getattr(options, option) is not None:
            raise OptionError(f"--{option} is for text files, but {location} is a Parquet file; leave it out")
    with opener() as stream:
        file = _parquet_file(stream, location)
        rows, names = file.metadata.num_rows, list(file.schema_arrow.names)
    if not names:
        raise DataError(f"a file needs columns, but {location} has none; check how it was written")
    columns, notes = unique_names(["" if name.startswith(_PANDAS_INDEX) else name for name in clean_names(names)])
    return ParquetTable(name, location, opener, columns, rows * len(names) * 8, notes)


def _parquet_file(stream: BinaryIO, location: str) -> Any:
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(stream)
    except (OSError, ValueError) as error:  # Arrow's own errors are children of these
        raise _damaged(location, error) from None


def _damaged(location: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:100]
    return DataError(f"a Parquet file must be whole, but {location} is damaged: {reason}; fetch it again")


def _frame(batch: Any) -> pd.DataFrame:
    """Columns of numbers, dates and text; decimal numbers as float64, words from a dictionary as words."""
    import pyarrow as pa

    columns = []
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        columns.append(column)
    table = pa.Table.from_arrays(columns, names=[str(place) for place in range(len(columns))])
    return table.to_pandas(date_as_object=False, ignore_metadata=True)
