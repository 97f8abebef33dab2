"""Texts and labels in columns: from cells, Parquet files and databases to a column of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import DataError, OptionError
from ..options import ReadingOptions
from ..reading.compression import HEAD_BYTES, Opener, SharedBytes, content_kind, open_unpacked
from ..reading.findings import plural
from ..reading.header_names import clean_names, unique_names
from ..reading.parquet_files import open_parquet
from ..reading.text_encoding import split_lines
from ..tables import Note, RawTable
from .cells import separator_name
from .names import Sheet, find_label_column, find_text_column, known_names
from .texts import FoundTexts
from .words import count_words, is_number, looks

if TYPE_CHECKING:
    import pandas as pd

_HEADER_WORDS = 5


def from_header(text: str, row: int | None, location: str) -> str:
    """A text from the row of its names on.

    Raises:
        OptionError: if it has not so many rows.
    """
    if row is None or row < 2:
        return text
    lines = split_lines(text)
    if len(lines) < row:
        raise OptionError(
            f"--header must be a row of the file, but {location} has {plural(len(lines), 'row')}, not {row}; give "
            "another row, or none"
        )
    return "".join(lines[row - 1 :])


def name_columns(rows: list[list[str]], mark: str, row: int | None, location: str) -> Sheet:
    """Rows of cells as columns, named by the first row if it has names.

    Args:
        rows: from the header on, all of the same width.
        mark: what stood between cells.
        row: that of the names, 0 where there are none, None where the user does not say.
        location: for messages.

    Raises:
        DataError: if there is no row after the header.
    """
    heads = has_header(rows) if row is None else row > 0
    notes = [] if mark == "," else [Note("separator", separator_name(mark), "--separator")]
    if heads:
        names, name_notes = unique_names(clean_names(rows[0]))
        notes += [Note("header", f"row {row or 1}", "--header"), *name_notes]
        rows = rows[1:]
        if not rows:
            raise DataError(f"labelled text needs rows, but {location} has none after its header; check the file")
    else:
        names = tuple(f"column_{place}" for place in range(1, len(rows[0]) + 1))
        notes.append(Note("header", f"none: the columns are column_1 to column_{len(names)}", "--header"))
    return Sheet(names, list(zip(*rows, strict=True)), location, tuple(notes))


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names rather than a text and its label.

    It holds data if one of its cells comes back in its column, as labels do, if it has a number, or if its longest cell
    is as long as those below.
    """
    first, rest = rows[0], rows[1:]
    known = known_names(first)
    short = all(count_words(cell) <= _HEADER_WORDS for cell in first)
    if len(known) == 2 and short:
        return True
    columns = list(zip(*rest, strict=True))
    if any(cell.strip() and cell in column for cell, column in zip(first, columns, strict=False)):
        return False
    if known and short:
        return True
    numbers = [is_number(cell) for cell in first]
    if not short or not rest or (any(numbers) and not all(numbers)):
        return False
    below = [looks(column).words for column in columns]
    place = max(range(len(below)), key=below.__getitem__)
    return count_words(first[place]) < max(0.5 * below[place], 1.01)


def sheet_of_parquet(opener: Opener, location: str, options: ReadingOptions, rows: int | None = None) -> Sheet:
    """The columns of a Parquet file, of at most so many rows.

    Raises:
        OptionError: if an option is given that only text files know.
        DataError: if the file is damaged or has no columns.
    """
    with opener() as stream:
        direct = stream.seekable() and content_kind(stream.read(HEAD_BYTES)) == "parquet"
    if not direct:  # packed, so that it can only be read from its beginning
        with open_unpacked(opener, location)[0] as stream:
            opener = SharedBytes(stream)
    return sheet_of_table(next(open_parquet("", location, opener, options).blocks(rows)))


def sheet_of_table(table: RawTable) -> Sheet:
    """The columns of a table with typed cells."""
    frame = table.cells
    columns = [_as_text(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return Sheet(tuple(map(str, frame.columns)), columns, table.location, table.notes)


def _as_text(column: pd.Series) -> list[str]:
    missing = column.isna().to_numpy()
    return ["" if lacks else str(value) for lacks, value in zip(missing, column, strict=True)]


def texts_of_sheet(sheet: Sheet, text_column: str | None, label_column: str | None, with_labels: bool) -> FoundTexts:
    """The texts and labels of a table.

    Raises:
        OptionError: if a column that the user names is not there.
        DataError: if there is no column of texts, or of labels where these are needed.
    """
    text_place, note = find_text_column(sheet, text_column)
    notes = [*sheet.notes, note]
    if not with_labels:
        return FoundTexts(sheet.columns[text_place], None, tuple(notes))
    label_place, note = find_label_column(sheet, text_place, label_column)
    return FoundTexts(sheet.columns[text_place], sheet.columns[label_place], (*notes, note))
