"""Rows in order of date, each date once, no value missing; in place, column by column, and every change counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...errors import DataError
from ..options import ReadingOptions
from ..tables import date_text
from .findings import Finding, plural, some
from .missing import sentinel
from .rows_of_source import SourceRows

_CHUNK = 1 << 19
_MOST_CONFLICTS = 0.05
_MOST_MISSING = 0.5


def remove_sentinels(rows: SourceRows, values: list[float] | None) -> list[Finding]:
    """Numbers that stand for missing become missing.

    Args:
        rows: in any order.
        values: those the user named, or None to find them by rule: what is one in a column is one in every column
            where it stands as far out, be it just once.
    """
    counts: dict[float, dict[str, int]] = {}
    known = {sentinel(column) for _, column in rows.each_column()} - {None} if values is None else set(values)
    for name, column in rows.each_column() if known else ():
        for number in known & {sentinel(column, least=1)} if values is None else values:
            places = np.flatnonzero(column == number)
            column[places] = np.nan
            if len(places) and number is not None:
                counts.setdefault(number, {})[name] = len(places)
    return [
        Finding(
            "missing", f"{number:g} counts as missing: {{parts}}", sum(parts.values()), "", "--missing", parts=parts
        )
        for number, parts in counts.items()
    ]


def order_rows(rows: SourceRows) -> list[Finding]:
    """Oldest first within every series; rows of the same date keep their order in the file."""
    steps = np.zeros(max(len(rows) - 1, 0), np.int8)
    for start in range(0, len(steps), _CHUNK):
        steps[start : start + _CHUNK] = np.sign(np.diff(rows.dates[start : start + _CHUNK + 1]))
    rows.storage.release()
    steps[~rows.within()[1:]] = 0
    down = int((steps < 0).sum())
    if not down:
        return []
    up = int((steps > 0).sum())
    example = f"row {int(rows.numbers[int((steps < 0).argmax()) + 1])}"
    if not up and rows.is_one and (steps < 0).all():
        rows.reorder(slice(None, None, -1))
    else:
        series = np.repeat(np.arange(len(rows.names), dtype=np.int32), np.diff(rows.bounds))
        rows.reorder(np.lexsort((rows.dates, series)) if len(rows.names) > 1 else np.argsort(rows.dates, kind="stable"))
    if up < 0.05 * down:
        return [Finding("order", "newest first, turned round")]
    return [Finding("order", "rows not in order of date, sorted", down, f"first {example}")]


def remove_duplicates(rows: SourceRows, policy: str | None) -> list[Finding]:
    """Each date once in a series.

    Args:
        rows: in order of date.
        policy: ``last``, ``first``, ``mean`` or ``refuse``, for rows that differ; None keeps the last if they are few.

    Raises:
        DataError: if rows differ and the policy is to refuse, or too many do.
    """
    same = _same_as_before(rows)
    if not same.any():
        return []
    findings = []
    identical = same.copy()
    for column in rows.columns.values():
        places = np.flatnonzero(identical)
        now, before = column[places], column[places - 1]
        identical[places] = (now == before) | (np.isnan(now) & np.isnan(before))
        rows.storage.release()
    if identical.any():
        example = _row_text(rows, int(identical.argmax()))
        text = "rows left out that repeat the row before: {count}"
        findings.append(Finding("duplicates", text, int(identical.sum()), example))
        rows.keep(~identical)
        same = _same_as_before(rows)
    conflicts = int(same.sum())
    if not conflicts:
        return findings
    second = int(same.argmax())
    _refuse_conflicts(rows, conflicts, second, policy)
    example = f"{_row_text(rows, second - 1)} and {rows.numbers[second]}"
    if policy == "mean":
        _average(rows, same)
    kept = policy or "last"
    what = {"last": "the last row kept", "first": "the first row kept", "mean": "their mean kept"}[kept]
    findings.append(
        Finding(
            "duplicates",
            f"dates with rows that differ, {what}, others left out: {{count}}",
            conflicts,
            example,
            "--duplicates",
        )
    )
    rows.keep(~np.append(same[1:], False) if kept == "last" else ~same)
    return findings


def _same_as_before(rows: SourceRows) -> np.ndarray:
    same = np.zeros(len(rows), bool)
    same[1:] = rows.dates[1:] == rows.dates[:-1]
    return same & rows.within()


def _row_text(rows: SourceRows, row: int) -> str:
    return f"{rows.series_of(row)}{_date(rows, row)} in row {rows.numbers[row]}"


def _date(rows: SourceRows, row: int) -> str:
    return date_text(np.datetime64(int(rows.dates[row]), "ns"))


def _refuse_conflicts(rows: SourceRows, conflicts: int, second: int, policy: str | None) -> None:
    example = f"{_row_text(rows, second - 1)} and row {rows.numbers[second]}"
    if policy == "refuse":
        raise DataError(
            f"every date may stand once, but {rows.location} has {conflicts:,} that differ, the first {example}; "
            "mend them or use --duplicates last"
        )
    if policy is None and conflicts > _MOST_CONFLICTS * len(rows):
        texts = [name for name in rows.code_names if len(rows.code_names[name]) > 1]
        likely = f"--series-column (such as '{some(texts, 2)}')" if texts else "--series-column"
        raise DataError(
            f"every date may stand once, but {rows.location} has {conflicts:,} rows of {len(rows):,} that repeat a "
            f"date with other values, the first {example}; use {likely} if it holds several series, --date-column, "
            "or --duplicates last to keep the last of each"
        )


def _average(rows: SourceRows, same: np.ndarray) -> None:
    """The first row of each date takes the mean of all its rows; missing values do not count."""
    firsts = np.flatnonzero(~same & np.append(same[1:], False))
    lasts = np.flatnonzero(same & ~np.append(same[1:], False))
    for column in rows.columns.values():
        sums, counts = np.zeros(len(firsts)), np.zeros(len(firsts))
        for step in range(int((lasts - firsts).max()) + 1):
            places = np.minimum(firsts + step, lasts)
            good = (firsts + step <= lasts) & ~np.isnan(column[places])
            sums[good] += column[places[good]]
            counts += good
        column[firsts] = np.divide(sums, counts, out=np.full(len(firsts), np.nan), where=counts > 0)
        rows.storage.release()


@dataclass
class _Gaps:
    """What was missing over all columns."""

    filled: dict[str, int]
    leading: np.ndarray
    dropped: np.ndarray
    first_gap: str = ""
    late: dict[str, int] = field(default_factory=dict)


def drop_sparse_columns(rows: SourceRows) -> list[Finding]:
    """Leave columns out that are more than half missing.

    Raises:
        DataError: if that is all of them.
    """
    sparse: dict[str, int] = {}
    for name, column in rows.each_column():
        missing = int(np.isnan(column).sum())
        if missing > _MOST_MISSING * len(rows):
            sparse[name] = missing
    if len(sparse) == len(rows.columns):
        name, missing = next(iter(sparse.items()))
        raise DataError(
            f"a column of numbers must have at least half of its values, but in {rows.location} every column lacks "
            f"more, e.g. '{name}' {missing:,} of {len(rows):,}; give fuller data"
        )
    for name in sparse:
        del rows.columns[name]
    if not sparse:
        return []
    text = f"columns left out that are more than half missing (of {len(rows):,} rows): {{parts}}"
    return [Finding("missing", text if rows.is_one else text.split(" (of")[0] + ": {parts}", 1, parts=sparse)]


def fill_missing(rows: SourceRows, options: ReadingOptions) -> list[Finding]:
    """Fill gaps with the last value before them; leave rows out that have none, or whose gap is too long.

    Args:
        rows: in order of date, each date once.
        options: ``fill_limit``.
    """
    gaps = _Gaps({}, np.zeros(len(rows), bool), np.zeros(len(rows), bool))
    for name, column in rows.each_column():
        _fill_column(rows, name, column, options.fill_limit, gaps)
    findings = []
    if gaps.filled:
        text = "cells filled with the value before: {count} ({parts})"
        total = sum(gaps.filled.values())
        findings.append(Finding("missing", text, total, "", "--fill-limit", parts=gaps.filled))
    gaps.dropped &= ~gaps.leading
    if gaps.leading.any():
        row = int(gaps.leading.argmax())
        text = "rows left out before the first value of {names}: {count}"
        count, example = int(gaps.leading.sum()), f"first {_row_text(rows, row)}"
        findings.append(Finding("missing", text, count, example, parts=gaps.late, warning=rows.is_one))
    if gaps.dropped.any():
        limit = plural(options.fill_limit, "row")
        text = f"rows left out in gaps of more than {limit}, which windows then jump over: {{count}}"
        count = int(gaps.dropped.sum())
        findings.append(Finding("missing", text, count, f"first {gaps.first_gap}", "--fill-limit", warning=True))
    if gaps.leading.any() or gaps.dropped.any():
        rows.keep(~(gaps.leading | gaps.dropped))
    return findings


def _fill_column(rows: SourceRows, name: str, column: np.ndarray, limit: int, gaps: _Gaps) -> None:
    """Fill one column in place; rows it cannot fill are marked in ``gaps``."""
    places = np.flatnonzero(np.isnan(column))
    if not len(places):
        return
    begins = np.isin(places, rows.bounds[:-1])
    starts = np.flatnonzero(np.concatenate([[True], np.diff(places) > 1]) | begins)
    lengths = np.diff(np.append(starts, len(places)))
    leading = begins[starts]
    short = (lengths <= limit) & ~leading
    filled = places[np.repeat(short, lengths)]
    column[filled] = np.repeat(column[places[starts[short]] - 1], lengths[short])
    if len(filled):
        gaps.filled[name] = len(filled)
    if leading.any():
        gaps.leading[places[np.repeat(leading, lengths)]] = True
        gaps.late[name] = int(lengths[leading].sum())
    long = ~short & ~leading
    if long.any():
        gaps.dropped[places[np.repeat(long, lengths)]] = True
        if not gaps.first_gap:
            first = int(np.flatnonzero(long)[0])
            row = int(places[starts[first]])
            gaps.first_gap = f"{rows.series_of(row)}{_date(rows, row)}: {plural(int(lengths[first]), 'row')} of {name}"


def drop_short_series(rows: SourceRows) -> list[Finding]:
    """Leave series out that have fewer than two rows.

    Raises:
        DataError: if none is left.
    """
    lengths = np.diff(rows.bounds)
    if (lengths >= 2).all() and len(lengths):
        return []
    if not (lengths >= 2).any():
        most = int(lengths.max()) if len(lengths) else 0
        raise DataError(
            f"a series needs at least 2 rows with a date and a value in every column, but {rows.location} has "
            f"{most}; add rows"
        )
    short = {rows.names[place]: 1 for place in np.flatnonzero(lengths < 2)}
    rows.keep(np.repeat(lengths >= 2, lengths))
    rows.bounds = np.concatenate([[0], np.cumsum(lengths[lengths >= 2])]).astype(np.int64)
    rows.names = [name for name, length in zip(rows.names, lengths, strict=True) if length >= 2]
    return [Finding("series", "series left out that have fewer than 2 rows: {names}", len(short), parts=short)]
