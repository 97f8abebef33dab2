"""Which rows of every series belong to which part, and where the windows of a part begin."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import DataError
from .options import DataOptions
from .samples import CUT_IN_TIME, Sample
from .splits import PARTS, RowRange, SplitRule, parse_split, split_rows
from .tables import Note, StackedTables, date_text
from .windows import WindowStarts, window_starts


def part_rows(sample: Sample, options: DataOptions, notes: list[Note]) -> np.ndarray:
    """The row ranges of every series' parts, int64 ``[series, 3 parts, (first, after last)]``.

    Args:
        sample: the series; those that ``Sample.parts`` gives to one part are not cut.
        options: ``split`` and ``gap``.
        notes: receives what was cut where.

    Raises:
        DataError: if the split asks for more rows than there are.
        OptionError: if ``split`` cannot be understood.
    """
    tables = sample.tables
    spans = np.stack([tables.bounds[:-1], tables.bounds[1:]], axis=1)
    ranges = np.repeat(tables.bounds[:-1, None, None], 3, axis=1).repeat(2, axis=2)
    parts = np.full(len(spans), CUT_IN_TIME) if sample.parts is None else sample.parts
    whole = np.flatnonzero(parts != CUT_IN_TIME)
    ranges[whole, parts[whole]] = spans[whole]
    cut = np.flatnonzero(parts == CUT_IN_TIME)
    if len(cut):
        rule = parse_split(options.split)
        for number in cut:
            first, last = spans[number]
            ranges[number] += np.array(_cut(rule, tables.dates[first:last], options.gap, has_own_test=len(whole) > 0))
    else:
        counts = ", ".join(f"{part} {(parts == number).sum()}" for number, part in enumerate(PARTS))
        notes.append(Note("parts", f"whole series ({counts}), as the sample says; --split and --gap are not used"))
        return ranges
    _describe(tables, ranges, spans, len(cut), notes)
    return ranges


def _cut(rule: SplitRule, dates: np.ndarray, gap: int, has_own_test: bool) -> tuple[RowRange, RowRange, RowRange]:
    """Cut one series in time; where test data stand apart, what would be the test part here is shared out or unused."""
    if not has_own_test:
        return split_rows(rule, dates, gap)
    if rule.fractions is not None:
        training, validation, _ = rule.fractions
        share = training / (training + validation)
        rule = dataclasses.replace(rule, fractions=(share, 1.0 - share, 0.0))
    training_rows, validation_rows, _ = split_rows(rule, dates, gap)
    return training_rows, validation_rows, (validation_rows[1], validation_rows[1])


def _describe(tables: StackedTables, ranges: np.ndarray, spans: np.ndarray, cut: int, notes: list[Note]) -> None:
    """Say which rows went where: in full for one series, in sum for several."""
    if cut > 1:
        dates = tables.dates
        first, last = dates[tables.bounds[:-1]].min(), dates[tables.bounds[1:] - 1].max()
        span = f"{date_text(first)} to {date_text(last)}"
        notes.append(Note("rows", f"{len(dates):,} in {len(spans)} series, {span}; each is cut by itself", "--split"))
        return
    first, last = spans[0]
    notes.append(Note("rows", f"{last - first:,}, {_span_text(tables, first, last)}"))
    for number, part in enumerate(PARTS):
        series = len(spans) - 1 if number == 2 and len(spans) > 1 else 0  # test data of their own stand last
        begin, end = map(int, ranges[series, number])
        if number == 2 and len(spans) > 2:
            text = f"{len(spans) - 1} series of their own"
        else:
            text = f"{end - begin:,} rows, {_span_text(tables, begin, end)}" if begin < end else "no rows"
        notes.append(Note(part, text, "--split" if series == 0 else "--test-data"))
    unused = int(last - ranges[0, :, 1].max())
    if unused:
        notes.append(Note("unused", f"the last {unused} rows", "--split"))


def _span_text(tables: StackedTables, first: int, last: int) -> str:
    return f"{date_text(tables.dates[first])} to {date_text(tables.dates[last - 1])}"


def part_starts(
    tables: StackedTables, number: int, ranges: np.ndarray, first_rows: np.ndarray, options: DataOptions
) -> WindowStarts:
    """The first target rows of one part's windows over all series.

    Args:
        tables: the series.
        number: which part: 0, 1 or 2.
        ranges: the part's row range in every series, ``[series, 2]``.
        first_rows: the first row of every series that may be read, ``[series]``.
        options: ``window`` and ``horizon``.

    Raises:
        DataError: if not one window fits.
    """
    window, horizon = options.window, options.horizon
    found = [
        window_starts((int(first), int(last)), (int(series_first), int(series_last)), window, horizon)
        for (first, last), series_first, series_last in zip(ranges, first_rows, tables.bounds[1:], strict=True)
        if last > first
    ]
    starts = WindowStarts(found)
    if len(starts):
        return starts
    rows = int((ranges[:, 1] - np.maximum(ranges[:, 0], first_rows)).max())
    known = int((ranges[:, 1] - first_rows)[ranges[:, 1] > ranges[:, 0]].max(initial=0))
    where = f"the {PARTS[number]} part of {tables.names[0] if len(tables.names) == 1 else 'the longest series'}"
    unit = "rows" if options.transform == "level" else "returns"
    if rows < horizon:
        raise DataError(
            f"a horizon of {horizon} needs at least {horizon} {unit} in each part, but {where} has {max(rows, 0)}; "
            "use a smaller --horizon or --gap, another --split or more data"
        )
    fix = f"--window at most {known - horizon}" if known > horizon else "a smaller --horizon"
    raise DataError(
        f"the look-back window plus horizon needs at least {window + horizon} {unit} up to the end of each part, "
        f"but {where} {'ends after' if number else 'has'} {known}; use {fix} or more data"
    )
