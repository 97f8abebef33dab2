"""From text cells to clean numeric series, with a true account of all that was found and done.

A source is looked at cell by cell (``scans``: dates, numbers), divided into series (``layouts``), put in order and
repaired (``repairs``) and checked (``suspicions``). A large source is read twice in blocks and lives in files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from .options import ReadingOptions
from .reading.findings import Finding, merge_findings, some
from .reading.layouts import check_series, choose_layout, group_long, melt_wide, select_series
from .reading.missing import parse_missing
from .reading.repairs import (
    drop_short_series,
    drop_sparse_columns,
    fill_missing,
    order_rows,
    remove_duplicates,
    remove_sentinels,
)
from .reading.rows_of_source import SourceRows
from .reading.scans import Conversion, SourceScan
from .reading.storage import Collector, Storage
from .reading.suspicions import find_odd_dates, find_suspicions
from .tables import RawTable, Table

if TYPE_CHECKING:
    from .reading.sources import Source

BLOCK_ROWS = 100_000
_DATES = "dates"


@dataclass(frozen=True)
class _Finished:
    """A repaired source: where its arrays are kept, and the rows of its series."""

    location: str
    bounds: np.ndarray
    names: list[str]
    kept: dict[str, np.ndarray | tuple[int, int]]


def read_tables(sources: Sequence[Source], options: ReadingOptions, workspace: Path | None = None) -> list[Table]:
    """Read every source into series that all have the same columns.

    Args:
        sources: files, queries or what else gives cells.
        options: what the user fixed of how to read them.
        workspace: a folder that exists, for large inputs: memory stays bounded, and dates and columns are numpy
            memmaps of files in it. None for memory.

    Returns:
        one table per series; the notes on all of them stand in the first.

    Raises:
        DataError: if a source cannot be read as series, or sources have no column in common.
        OptionError: if an option names what is not there.
    """
    collector = Collector(workspace)
    findings: list[Finding] = []
    finished: list[_Finished] = []
    known: list[str] = []
    for source in sources:
        storage = Storage(workspace)
        rows, found, names = _read_source(source, options, storage, workspace is not None)
        known += names
        findings += [finding if finding.source else replace(finding, source=source.name) for finding in found]
        if len(rows.names):
            kept = {name: collector.add(f"column {name}", column) for name, column in rows.each_column()}
            kept[_DATES_KEY] = collector.add(_DATES, rows.dates)
            finished.append(_Finished(source.location, rows.bounds, rows.names, kept))
        storage.clear()
    check_series(known, options)
    if not finished:
        raise DataError("a data set needs at least one series, but got none; give a file")
    columns, found = _common_columns(finished)
    findings += found
    tables = _tables(finished, columns, collector)
    return [replace(tables[0], notes=merge_findings(findings, len(sources))), *tables[1:]]


_DATES_KEY = "\0dates"  # no column can be called so


def _blocks(source: Source, large: bool) -> Iterable[RawTable]:
    return source.blocks(BLOCK_ROWS) if large else (source.read(),)


def _read_source(
    source: Source, options: ReadingOptions, storage: Storage, large: bool
) -> tuple[SourceRows, list[Finding], list[str]]:
    """One source as repaired rows, what was found, and the names of all its series (chosen or not)."""
    rows, findings = _convert(source, options, storage, large)
    findings += remove_sentinels(rows, parse_missing(options.missing)[1])
    layout = choose_layout(rows, options, _series_column(rows, options))
    texts = [name for name in rows.left_out if name != layout.column]
    if texts:
        findings.append(Finding("columns", "not numbers, left out: {names}", 1, parts=dict.fromkeys(texts, 1)))
    if layout.kind == "long":
        names = rows.code_names[layout.column]
        findings += group_long(rows, layout.column, options)
    else:
        rows.names, rows.bounds = [source.name], np.array([0, len(rows)])
        names = list(rows.columns) if layout.kind == "wide" else [source.name]
        if layout.kind == "single" and not select_series(names, options):
            rows.names, rows.bounds = [], np.zeros(1, np.int64)
    if not rows.names or (layout.kind == "wide" and not select_series(names, options)):
        rows.names = []
        return rows, [], names
    findings += order_rows(rows)
    findings += remove_duplicates(rows, options.duplicates)
    if layout.kind == "wide":
        rows, found = melt_wide(rows, options)
        findings += found
    else:
        findings += drop_sparse_columns(rows)
    findings += find_odd_dates(rows)
    findings += fill_missing(rows, options)
    findings += drop_short_series(rows)
    findings += find_suspicions(rows)
    return rows, findings, names


def _series_column(rows: SourceRows, options: ReadingOptions) -> str | None:
    if options.series_column is None:
        return None
    return next(name for name in rows.codes if name.lower() == options.series_column.lower())


def _convert(
    source: Source, options: ReadingOptions, storage: Storage, large: bool
) -> tuple[SourceRows, list[Finding]]:
    """The two passes over a source."""
    scan: SourceScan | None = None
    held = []
    for block in _blocks(source, large):
        if scan is None:
            scan = SourceScan(block, options)
        scanned = scan.add(block)
        if not large:
            held.append(scanned)
        del block, scanned  # before the next block is read
    if scan is None:
        raise DataError(f"a file needs a header and rows, but {source.location} is empty; check the path")
    decisions = scan.decide()
    conversion = Conversion(scan, decisions, storage)
    while held:
        conversion.add(held.pop(0))
    for block in source.blocks(BLOCK_ROWS) if large else ():
        conversion.add(scan.look(block))
        del block
    rows, findings = conversion.finish()
    notes = [Finding(note.topic, note.text, 1, "", note.option, note.warning) for note in scan.notes]
    rows.left_out = decisions.left_out
    return rows, notes + findings


def _common_columns(finished: list[_Finished]) -> tuple[list[str], list[Finding]]:
    """The columns that all sources have, in the order of the first, and a note on the others."""
    first = [name for name in finished[0].kept if name != _DATES_KEY]
    shared = [name for name in first if all(name in source.kept for source in finished)]
    others = {name: 1 for source in finished for name in source.kept if name != _DATES_KEY and name not in shared}
    if not shared:
        other = next(source for source in finished if not set(first) & set(source.kept))
        theirs = [name for name in other.kept if name != _DATES_KEY]
        raise DataError(
            f"all files must have columns in common, but {finished[0].location} has {some(first, 8)} and "
            f"{other.location} has {some(theirs, 8)}; give files of one kind"
        )
    if not others:
        return shared, []
    return shared, [Finding("columns", "left out, as not all files have them: {names}", 1, parts=others)]


def _tables(finished: list[_Finished], columns: list[str], collector: Collector) -> list[Table]:
    whole: dict[str, np.ndarray] = {}

    def array(source: _Finished, key: str, name: str, dtype: str) -> np.ndarray:
        kept = source.kept[key]
        if isinstance(kept, np.ndarray):
            return kept
        if name not in whole:
            whole[name] = collector.get(name, dtype)
        return whole[name][kept[0] : kept[1]]

    tables = []
    for source in finished:
        dates = array(source, _DATES_KEY, _DATES, "int64").view("datetime64[ns]")
        values = {name: array(source, name, f"column {name}", "float64") for name in columns}
        for place, name in enumerate(source.names):
            span = slice(int(source.bounds[place]), int(source.bounds[place + 1]))
            tables.append(Table(dates[span], {column: array[span] for column, array in values.items()}, name))
    return tables
