"""The two passes over a source: look at every cell, decide how it is written, then convert.

A source in memory is one block that is looked at once and kept; a large one is read in blocks, twice, and never held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ...errors import DataError
from ..options import ReadingOptions
from ..tables import RawTable
from .column_names import clean_name
from .date_columns import DateColumns, check_date_format, find_date_columns, find_name
from .date_order import DateDecision, DateEvidence, decide_dates, undated_rows
from .dates import NOT_A_DATE, ParsedDates, parse_clocks, parse_dates
from .findings import Finding, short, some
from .header_names import refuse_other_header
from .missing import parse_missing
from .number_style import Convention, choose_conventions
from .numbers import Converted, NumberCells, NumberEvidence, convert_numbers, read_numbers
from .rows_of_source import SourceRows
from .storage import Storage

SERIES_NAMES = frozenset((
    "ticker", "tickers", "symbol", "symbols", "name", "asset", "stock", "security", "instrument", "isin", "cusip",
    "figi", "ric", "coin", "pair", "series", "seriesid", "uniqueid", "itemid", "company", "product", "permno",
    "sid", "gvkey", "contract", "code", "id", "tic", "currency", "market", "station", "store", "country", "region",
    "city", "sensor", "stockcode", "index", "fund", "item",
))  # fmt: skip
_MOST_SERIES = 100_000
_INDEX_NAMES = ("column_1", "index", "unnamed: 0", "")


@dataclass
class _TextColumn:
    """A column whose texts may name the series: code of every text, in order of appearance."""

    codes: dict[str, int] = field(default_factory=dict)
    too_many: bool = False

    def add(self, cells: pd.Series) -> None:
        if self.too_many:
            return
        for text in cells.dropna().unique():
            self.codes.setdefault(str(text), len(self.codes))
        self.too_many = len(self.codes) > _MOST_SERIES


@dataclass
class ScannedBlock:
    """One block of rows, looked at.

    Attributes:
        cells: only the rows that may have a date.
        dates: of all rows that may have one.
        clocks: time of day to add, int64 ``[rows]``, or None.
        numbers: of every column that may hold numbers.
    """

    cells: pd.DataFrame
    dates: ParsedDates
    clocks: np.ndarray | None
    numbers: dict[str, NumberCells]


class SourceScan:
    """Gathers, block by block, what must be known of a whole source before its cells can be converted."""

    def __init__(self, first: RawTable, options: ReadingOptions) -> None:
        """Find the column of dates in the first block.

        Raises:
            DataError: if there is none, or nothing beside it.
            OptionError: if an option names what is not there.
        """
        if not len(first.cells):
            raise DataError(
                f"a file needs a header and rows, but {first.location} has no row of data below its first lines; check "
                "that it is a whole table"
            )
        self.name, self.location, self.options = first.name, first.location, options
        self.notes = first.notes
        self.names = _clean_names(first.cells, self.location)
        head = self.named(first.cells)
        self.columns: DateColumns = find_date_columns(head, options, self.location)
        self.order, self.date_format = check_date_format(options.date_format)
        self.words, self.missing_values = parse_missing(options.missing)
        skipped = {self.columns.date, self.columns.clock, *self.columns.others}
        self.index_column = _running_index(head, skipped)
        self.candidates = [name for name in self.names if name not in skipped and name != self.index_column]
        if options.series_column is not None:
            self.series_column: str | None = find_name(
                options.series_column, self.names, "series_column", self.location
            )
            self.candidates = [name for name in self.candidates if name != self.series_column]
        else:
            self.series_column = None
        self.dates = DateEvidence()
        self.numbers = {name: NumberEvidence() for name in self.candidates}
        self.texts: dict[str, _TextColumn] = {}
        self.rows = self.dated_rows = 0
        self.first_undated: tuple[int, str] | None = None

    def named(self, cells: pd.DataFrame) -> pd.DataFrame:
        """The cells under clean names."""
        return cells.set_axis(self.names, axis=1)

    def look(self, block: RawTable) -> ScannedBlock:
        """Parse a block as far as its cells can be read by themselves."""
        cells = self.named(block.cells)
        dates = parse_dates(cells[self.columns.date], self.date_format)
        may = dates.instants != NOT_A_DATE
        may[dates.open_cells] = True
        clocks = None
        if self.columns.clock is not None:
            clocks = parse_clocks(cells[self.columns.clock])
            may &= clocks != NOT_A_DATE
        if not may.all():
            cells = cells[may]
            dates = dates.chosen(may)
            clocks = clocks if clocks is None else clocks[may]
        numbers = {name: read_numbers(cells[name], self.words) for name in self.candidates}
        return ScannedBlock(cells, dates, clocks, numbers)

    def add(self, block: RawTable) -> ScannedBlock:
        """Look at a block and take in what it says."""
        scanned = self.look(block)
        cells = scanned.cells
        self.rows += len(block.cells)
        self.dated_rows += len(cells)
        if len(cells) < len(block.cells):
            undated = self.named(block.cells).loc[block.cells.index.difference(cells.index, sort=False)]
            refuse_other_header(undated, self.columns.date, self.location)
            if self.first_undated is None:
                parts = (self.columns.date, self.columns.clock)
                text = " ".join(str(undated.iloc[0][name]) for name in parts if name is not None)
                self.first_undated = (int(undated.index[0]), text)
        self.dates.add(scanned.dates, cells[self.columns.date], scanned.clocks)
        for name, numbers in scanned.numbers.items():
            self.numbers[name].add(numbers)
        for name in self._text_candidates(scanned):
            self.texts.setdefault(name, _TextColumn()).add(cells[name])
        return scanned

    def _text_candidates(self, scanned: ScannedBlock) -> Iterator[str]:
        if self.series_column is not None:
            yield self.series_column
            return
        for name, evidence in self.numbers.items():
            if not evidence.is_numeric or is_series_name(name) or name in self.texts:
                yield name

    def decide(self) -> Decisions:
        """How to read the source, once all blocks were seen.

        Raises:
            DataError: if too many rows lack a date, or no column holds numbers.
        """
        date, findings = decide_dates(self.dates, self.columns.date, self.order, self.location)
        if self.columns.clock is not None:
            findings.insert(0, Finding("dates", f"from two columns, '{self.columns.date}' and '{self.columns.clock}'"))
        if self.columns.others:
            said = f"from column '{self.columns.date}', not {some(self.columns.others)}"
            findings.insert(0, Finding("dates", said, 1, "", "--date-column"))
        if self.index_column is not None:
            findings.append(Finding("columns", "running index in the first column left out"))
        numeric = {name: found for name, found in self.numbers.items() if found.is_numeric}
        texts = {
            name: column.codes
            for name, column in self.texts.items()
            if not column.too_many and (name not in numeric or is_series_name(name))
        }
        left_out = [name for name in self.candidates if name not in numeric]
        empty = [name for name in left_out if not self.numbers[name].words]
        if not numeric:
            raise DataError(
                f"a file needs a column of numbers beside its dates, but {self.location} has only "
                f"{some(self.names, 12)}; add one or name the dates with --date-column"
            )
        options = self.options
        semicolon = options.separator in ("semicolon", ";") or any(
            note.topic == "separator" and "semicolon" in note.text for note in self.notes
        )
        conventions, guessed = choose_conventions(numeric, options.decimal, options.thousands, semicolon)
        open_points = {
            name: 1 for name, found in numeric.items() if found.point_open and conventions[name].decimal == "."
        }
        proven = any(found.point_proven or found.shapes for found in numeric.values())
        if open_points and semicolon and not proven and options.decimal is None and options.thousands is None:
            said = "point in {names}, a guess: it could group thousands"
            findings.append(Finding("decimal sign", said, 1, "", "--decimal", parts=open_points))
        return Decisions(date, conventions, guessed, texts, left_out, empty, findings)


@dataclass
class Decisions:
    """How a source is read.

    Attributes:
        dates: how its dates are written.
        conventions: of its numeric columns.
        guessed: whether the decimal sign had to be guessed.
        texts: columns that may name the series, with the code of each text.
        left_out: columns that are not numeric; those of them without any cell in ``empty``.
        findings: what to say of it.
    """

    dates: DateDecision
    conventions: dict[str, Convention]
    guessed: bool
    texts: dict[str, dict[str, int]]
    left_out: list[str]
    empty: list[str]
    findings: list[Finding]


def is_series_name(name: str) -> bool:
    """Whether a column of that name says which series a row belongs to."""
    return "".join(character for character in name.lower() if character.isalnum()) in SERIES_NAMES


def _clean_names(cells: pd.DataFrame, location: str) -> list[str]:
    names = [str(name).strip() for name in cells.columns]
    clean = [clean_name(name) for name in names]
    names = clean if len(set(clean)) == len(clean) else names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"every column needs its own name, but {location} has '{short(twice)}' more than once; rename one of them"
        )
    return names


def _running_index(cells: pd.DataFrame, skipped: set[str | None]) -> str | None:
    """A first column without a name that counts the rows."""
    name = str(cells.columns[0])
    if name.lower() not in _INDEX_NAMES or name in skipped or len(cells) < 2:
        return None
    numbers = pd.to_numeric(cells[name], errors="coerce").to_numpy(np.float64)
    return name if bool((np.diff(numbers) == 1).all()) else None


class Conversion:
    """Fills the arrays of a source block by block."""

    def __init__(self, scan: SourceScan, decisions: Decisions, storage: Storage) -> None:
        """Make room for every row that may have a date."""
        self._scan, self._decisions, self._storage = scan, decisions, storage
        rows = scan.dated_rows
        self._dates = storage.allocate("int64", rows)
        self._numbers = storage.allocate("int32", rows)
        self._columns = {name: storage.allocate("float64", rows) for name in decisions.conventions}
        self._codes = {name: storage.allocate("int32", rows) for name in decisions.texts}
        self._rows = 0
        self._counts: dict[str, Counter[str]] = {}
        self._examples: dict[str, tuple[int, str, str]] = {}

    def add(self, block: ScannedBlock) -> None:
        """Convert one block.

        Raises:
            DataError: at the first cell that should be a number and is none.
        """
        instants = self._decisions.dates.instants(block.dates)
        good = instants != NOT_A_DATE
        if block.clocks is not None:
            instants = instants + block.clocks
        if not good.all() and (
            self._scan.first_undated is None or block.cells.index[~good][0] < self._scan.first_undated[0]
        ):
            row = block.cells.index[~good][0]
            self._scan.first_undated = (int(row), str(block.cells[self._scan.columns.date].loc[row]))
        first, last = self._rows, self._rows + int(good.sum())
        self._dates[first:last] = instants[good]
        self._numbers[first:last] = block.cells.index.to_numpy()[good]
        for name, column in self._columns.items():
            converted = convert_numbers(block.numbers[name], self._decisions.conventions[name], good)
            if converted.bad is not None:
                raise self._bad_cell(name, converted.bad)
            column[first:last] = converted.values[good]
            self._count(name, converted)
        for name, codes in self._codes.items():
            cells = block.cells[name]
            mapped = cells.map(str, na_action="ignore").map(self._decisions.texts[name])
            codes[first:last] = mapped.to_numpy(np.float64, na_value=-1)[good]
        self._rows = last
        self._storage.release()

    def _count(self, name: str, converted: Converted) -> None:
        for what, count in converted.counts.items():
            self._counts.setdefault(what, Counter())[name] += count
            self._examples.setdefault(what, (*converted.examples[what], name))

    def _bad_cell(self, name: str, bad: tuple[int, str]) -> DataError:
        convention = self._decisions.conventions[name]
        row, text = bad
        fix = f"mend that cell or use --missing {short(text, 20)}"
        if any(character.isdigit() for character in text):
            fix = f"the other cells have {convention}; mend that cell or use --decimal and --thousands"
        return DataError(
            f"cells of a numeric column must be numbers, but {self._scan.location} has '{short(text)}' in row {row}, "
            f"column '{short(name)}'; {fix}"
        )

    def finish(self) -> tuple[SourceRows, list[Finding]]:
        """The rows in file order, and what to say of how they were written.

        Raises:
            DataError: if too many rows have no date.
        """
        scan = self._scan
        undated = scan.rows - self._rows
        column = scan.columns.date
        findings = list(self._decisions.findings)
        findings += undated_rows(undated, scan.rows, scan.first_undated, column, scan.location)
        findings += self._number_findings()
        rows = SourceRows(
            name=scan.name,
            location=scan.location,
            dates=self._dates[: self._rows],
            numbers=self._numbers[: self._rows],
            columns={name: column[: self._rows] for name, column in self._columns.items()},
            storage=self._storage,
        )
        rows.codes = {name: codes[: self._rows] for name, codes in self._codes.items()}
        rows.code_names = {name: list(codes) for name, codes in self._decisions.texts.items()}
        return rows, findings

    def _number_findings(self) -> list[Finding]:
        decisions, scan = self._decisions, self._scan
        found = []
        commas = {name: 1 for name, convention in decisions.conventions.items() if convention.decimal == ","}
        guess = ", a guess: it could group thousands" if decisions.guessed and commas else ""
        if commas:
            where = "" if len(commas) == len(decisions.conventions) else " in {names}, point elsewhere"
            found.append(Finding("decimal sign", f"comma{where}{guess}", 1, "", "--decimal", parts=commas))
        pointed = self._counts.pop("points", Counter())
        for sign, word in ((",", "comma"), (".", "point"), (" ", "space"), ("'", "apostrophe")):
            used = {
                name: 1
                for name, convention in decisions.conventions.items()
                if convention.thousands == sign
                and (name in pointed or any(_grouped(shape, sign, convention) for shape in scan.numbers[name].shapes))
            }
            if used:
                guess = ", a guess: it could be decimal" if decisions.guessed and sign == "," else ""
                found.append(Finding("thousands", f"{word} in {{names}}{guess}", 1, "", "--thousands", parts=used))
        words = {
            "percent": "percent signs dropped (12.5% is 12.5)", "currency": "currency signs dropped",
            "brackets": "numbers in brackets are negative", "suffix": "K, M and B multiplied out",
            "minus": "a minus behind a number counts as one before it",
        }  # fmt: skip
        for what, counts in self._counts.items():
            row, text, name = self._examples[what]
            said, example = f"{words[what]}: {{count}} cells in {{names}}", f"row {row}, {name}: {short(text)}"
            found.append(Finding("numbers", said, counts.total(), example, parts=counts))
        infinite = {name: scan.numbers[name].infinite for name in decisions.conventions if scan.numbers[name].infinite}
        if infinite:
            said = "infinity counts as missing: {count} cells in {names}"
            found.append(Finding("missing", said, sum(infinite.values()), parts=infinite))
        return found


def _grouped(shape: str, sign: str, convention: Convention) -> bool:
    whole = shape.replace("\u00a0", " ").replace("\u202f", " ").replace("’", "'").split(convention.decimal)[0]
    return sign in whole.strip(" +-()$€£¥\u2212")
