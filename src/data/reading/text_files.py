"""Text in columns, such as CSV: from bytes to cells, a megabyte at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd

from ...errors import DataError
from ..options import ReadingOptions
from ..tables import Note, RawTable
from .text_encoding import count_lines, split_lines, survey_text, text_blocks
from .text_layout import HEAD_LINES, TAIL_LINES, TextLayout, find_footer, find_layout
from .text_records import TextRecord, bare_line, cell_kind, quote_open

if TYPE_CHECKING:
    import pyarrow as pa

_PIECE_ROWS = 20_000
_FIELD_LIMIT = "larger than field limit"


@dataclass(frozen=True)
class TextFile:
    """A text with its layout known, ready to be read as often as wanted.

    Attributes:
        name: what to call the series.
        location: for messages.
        opener: opens the unpacked bytes.
        encoding: of the text.
        layout: separator, names and where the data stand.
        notes: what was decided so far.
    """

    name: str
    location: str
    opener: Callable[[], BinaryIO]
    encoding: str
    layout: TextLayout
    notes: tuple[Note, ...]

    def blocks(self, rows: int | None) -> Iterator[RawTable]:
        """Tables of at most ``rows`` rows, or one of all; the first carries the notes.

        Raises:
            DataError: for a row with too many or too few cells, or a quote that is never closed.
        """
        notes = self.notes
        for cells in _regroup(self._pieces(), rows, self.layout.columns):
            yield RawTable(self.name, self.location, cells, notes)
            notes = ()

    def _pieces(self) -> Iterator[pa.Table]:
        """Arrow tables of the cells in file order, the row numbers as last column."""
        with self.opener() as stream:
            reader = _Records(text_blocks(stream, self.encoding, self.location), self.layout, self.location)
            while reader.more():
                piece = reader.plain_block()
                yield _tidy(reader.piece() if piece is None else piece, self.layout, self.location)
        reader.check_end()


def open_text(name: str, location: str, opener: Callable[[], BinaryIO], options: ReadingOptions) -> TextFile:
    """Find out how a text is laid out, by reading it through once.

    Raises:
        OptionError: if encoding, separator or header in the options do not exist.
        DataError: if it is no text in columns.
    """
    header = (options.header or "").strip()
    head_lines = HEAD_LINES + (int(header) if header.isdecimal() else 0)
    survey = survey_text(opener, location, options.encoding, head_lines)
    layout = find_layout(survey.head, survey.head_is_all, options.separator, options.header, location)
    skipped = max(layout.first_row - survey.tail_row, len(survey.tail) - TAIL_LINES, 0)
    tail = survey.tail[skipped:]
    footer, notes = find_footer(tail, survey.tail_row + skipped, layout) if tail else (0, ())
    if tail and not footer and not tail[-1].endswith(("\n", "\r")) and tail[-1].strip():
        notes += (Note("file", "the last row has no line end: if the file was cut off, its last cell was too"),)
    layout = replace(layout, footer=footer)
    return TextFile(name, location, opener, survey.encoding, layout, survey.notes + layout.notes + notes)


class _Records:
    """The records of a text after its header, each checked for its number of cells.

    Whole blocks without quotes are cut by Arrow, which is five times as fast; all others by the csv module, line by
    line. A record may go on in the next block.
    """

    def __init__(self, blocks: Iterator[str], layout: TextLayout, location: str) -> None:
        self._blocks, self._layout, self._location = blocks, layout, location
        self._text = ""
        self._lines: list[str] = []
        self._place = 0
        self._row = 0  # of the last line taken
        self._record: list[str] = []
        self._after: list[TextRecord] = []  # records that may be the footer
        self._csv = csv.reader(self, delimiter=layout.separator, skipinitialspace=True)
        while self._row + 1 < layout.first_row and self.more():
            self._cut_block()
            next(self)
        self._text, self._lines, self._place = "".join(self._lines[self._place :]) or self._text, [], 0

    def more(self) -> bool:
        """Whether a line is left."""
        if self._text or self._place < len(self._lines):
            return True
        self._text = next(self._blocks, "")
        return bool(self._text)

    def _cut_block(self) -> None:
        if self._text:
            self._lines, self._place, self._text = split_lines(self._text), 0, ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line, for the csv module and only by it."""
        if self._place >= len(self._lines):
            if not self.more():
                raise StopIteration
            self._cut_block()
        line = self._lines[self._place]
        self._place += 1
        self._row += 1
        self._record.append(line)
        return bare_line(line) if self._layout.separator == " " else line

    def plain_block(self) -> pa.Table | None:
        """A whole block, cut by Arrow; None where that block needs the csv module."""
        separator, width = self._layout.separator, self._layout.width
        if not self._text or '"' in self._text or separator == " " or not separator.isascii() or width < 2:
            return None
        lines = count_lines(self._text)
        table = _parse_plain(self._text, separator, width)
        if table is None or table.num_rows != lines:
            return None
        if self._after:
            raise self._ragged(self._after[0])
        self._text = ""
        self._row += lines
        return _number_rows(table, np.arange(self._row - lines + 1, self._row + 1))

    def piece(self) -> pa.Table:
        """Some thousand records at most, up to the end of the block."""
        import pyarrow as pa

        self._cut_block()
        layout, width = self._layout, self._layout.width
        rows: list[list[str]] = []
        numbers: list[int] = []
        while self._place < len(self._lines) and len(rows) < _PIECE_ROWS:
            first = self._row + 1
            self._record.clear()
            try:
                cells = next(self._csv)
            except StopIteration:
                break
            except csv.Error as error:
                raise self._unreadable(first, error) from None
            if len(cells) != width or self._after:
                if not any(cell.strip() for cell in cells):
                    continue
                if not layout.fits(len(cells)) or self._quote_open():
                    self._hold(TextRecord(first, cells))
                    continue
                if self._after:
                    raise self._ragged(self._after[0])
                cells += [""] * (width - len(cells))
            elif self._quote_open():
                self._hold(TextRecord(first, cells))
                continue
            elif len(self._record) > 1:
                self._refuse_swallowed(first)
            rows.append(cells)
            numbers.append(first)
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)] or [
            pa.array([], pa.string())
        ] * width
        table = pa.Table.from_arrays(columns, names=[str(place) for place in range(width)])
        return _number_rows(table, np.array(numbers, dtype=np.int64))

    def _quote_open(self) -> bool:
        """Whether the file ends within the quotes of this record."""
        at_end = self._place >= len(self._lines) and not self.more()
        return at_end and quote_open(self._record, self._layout.separator)

    def _refuse_swallowed(self, row: int) -> None:
        """Refuse a cell of several lines of which one could be a row of data: its quote is not where it should be."""
        separator = self._layout.separator
        for line in self._record[1:]:
            first = line.split(separator)[0].strip()
            if line.count(separator) >= self._layout.width - 1 and cell_kind(first) in ("number", "date"):
                raise DataError(
                    f"a quote must be closed in its cell, but {self._location} opens one in row {row} and closes it in "
                    f"row {row + len(self._record) - 1}; remove the one in row {row} or close it"
                )

    def _hold(self, record: TextRecord) -> None:
        """Keep a record that does not fit: it is an error unless it belongs to the footer."""
        if self._quote_open() and len(self._record) > 1:
            raise self._unclosed(record.row)
        self._after.append(record)
        if len(self._after) > self._layout.footer:
            raise self._ragged(self._after[0])

    def check_end(self) -> None:
        """Raise an error if what came after the data is not the footer that was expected."""
        if len(self._after) not in (0, self._layout.footer):
            raise self._ragged(self._after[0])

    def _unreadable(self, row: int, error: csv.Error) -> DataError:
        if _FIELD_LIMIT in str(error):
            return self._unclosed(row)
        return DataError(f"rows must be text in columns, but {self._location} has none in row {row}: {error}; mend it")

    def _unclosed(self, row: int) -> DataError:
        return DataError(
            f"every quote must be closed, but {self._location} opens one in row {row} and never closes it; "
            'remove that " or close it'
        )

    def _ragged(self, record: TextRecord) -> DataError:
        found, expected = len(record.cells), len(self._layout.columns)
        fix = "mend that row"
        if found > expected:
            name = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}.get(self._layout.separator)
            fix = f"quote cells that hold the separator ({name or self._layout.separator}), such as large numbers"
        return DataError(
            f"every row must have as many cells as the header, but {self._location} has {found} instead of {expected} "
            f"in row {record.row}; {fix}"
        )


def _parse_plain(text: str, separator: str, width: int) -> pa.Table | None:
    """Text without quotes as an Arrow table of strings; None where a row has another number of cells."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    content = text.encode()
    names = [str(place) for place in range(width)]
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(content),
            read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(content) + 1),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, quote_char=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )
    except pa.ArrowInvalid:
        return None


def _number_rows(table: pa.Table, numbers: np.ndarray) -> pa.Table:
    import pyarrow as pa

    return table.append_column("row", pa.array(numbers, pa.int64()))


def _tidy(table: pa.Table, layout: TextLayout, location: str) -> pa.Table:
    """Cells without the blanks round them, null where nothing is left; no columns beyond the named, no blank rows."""
    import pyarrow as pa
    from pyarrow import compute

    columns = []
    for column in table.columns[:-1]:
        trimmed = compute.utf8_trim_whitespace(column)
        columns.append(compute.if_else(compute.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed))
    kept = len(layout.columns)
    for column in columns[kept:]:
        if column.null_count < len(column):
            place = compute.index(compute.is_valid(column), True).as_py()
            raise DataError(
                f"every row must have as many cells as the header, but {location} has '{column[place]}' in row "
                f"{table.column('row')[place]}, after the {kept} columns that have a name; name that column"
            )
    tidy = pa.Table.from_arrays([*columns[:kept], table.column("row")], names=[*map(str, range(kept)), "row"])
    if all(column.null_count for column in columns[:kept]):
        filled = compute.is_valid(columns[0])
        for column in columns[1:kept]:
            filled = compute.or_(filled, compute.is_valid(column))
        tidy = tidy.filter(filled)
    return tidy


def _regroup(pieces: Iterator[pa.Table], rows: int | None, names: tuple[str, ...]) -> Iterator[pd.DataFrame]:
    """Frames of exactly ``rows`` rows but for the last, at least one."""
    import pyarrow as pa

    held: list[pa.Table] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece.num_rows
        while rows is not None and count > rows:  # one row is kept back, so that the last frame is never empty
            table = pa.concat_tables(held)
            yield _frame(table.slice(0, rows), names)
            held, count = [table.slice(rows)], count - rows
    if not held:
        nothing = [pa.array([], pa.string())] * len(names)
        held = [
            _number_rows(pa.Table.from_arrays(nothing, names=[str(i) for i in range(len(names))]), np.array([], int))
        ]
    yield _frame(pa.concat_tables(held), names)


def _frame(table: pa.Table, names: tuple[str, ...]) -> pd.DataFrame:
    numbers: Any = table.column("row").to_numpy()
    frame = table.drop_columns("row").to_pandas().astype("str")
    frame.columns = pd.Index(names)
    if len(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers):
        numbers = pd.RangeIndex(int(numbers[0]), int(numbers[-1]) + 1)
    frame.index = pd.Index(numbers)
    return frame
