"""Which columns are forecast and read, whether each holds returns or levels, and what a sample allows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..errors import DataError, OptionError, did_you_mean
from .options import DataOptions
from .reading.column_names import canonical_name
from .samples import Sample
from .tables import Note, StackedTables, blocks, date_text

PRICE_NAMES = (
    "price",
    "settle",
    "settlement",
    "settlement price",
    "kurs",
    "schlusskurs",
    "schlußkurs",
    "schluss",
    "nav",
)
"""What else a closing price may be called, as ``canonical_name`` spells it."""

_SIDE_COLUMN = re.compile(
    r"^(volume|vol|change|chg|turnover|open interest|trades|count|umsatz|stück)\b|change|%|^volume "
)
"""Columns that hardly anybody wants to forecast just because they stand last."""


def _find_column(text: str, columns: Sequence[str], option: str) -> str:
    if text in columns:
        return text
    alike = [name for name in columns if name.lower() == text.lower()]
    if len(alike) == 1:
        return alike[0]
    hint = did_you_mean(text, columns)
    raise OptionError(f"{option} must name columns, but there is no '{text}'.{hint} Columns: {', '.join(columns)}")


def _find_columns(text: str, columns: Sequence[str], option: str) -> list[str]:
    """The columns named in ``text``, in order and once each."""
    if text.strip().lower() == "all":
        return list(columns)
    if text in columns:  # a name that holds a comma
        return [text]
    names = [_find_column(part.strip(), columns, option) for part in text.split(",") if part.strip()]
    if not names:
        raise OptionError(f"{option} must name at least one column, but got '{text}'. Columns: {', '.join(columns)}")
    return list(dict.fromkeys(names))


def names_in(text: str | None, columns: Sequence[str]) -> list[str]:
    """The columns that an option with nothing left open names, which may be one whose name holds commas."""
    return _find_columns(str(text), columns, "columns")


def choose_columns(sample: Sample, options: DataOptions, notes: list[Note]) -> tuple[list[str], list[str]]:
    """Targets and features; targets are features too unless the sample hides their past.

    Returns:
        names of the targets, names of the features.

    Raises:
        OptionError: for a name that is no column, or that the sample does not allow.
    """
    columns = sample.tables.columns
    if options.target is not None:
        targets, reason = _find_columns(options.target, columns, "target"), "as asked"
    elif sample.targets is not None:
        targets, reason = list(sample.targets), "the sample's own"
    else:
        name, reason = _default_target(columns)
        targets = [name]
    notes.append(Note("target", f"{', '.join(targets)} ({reason})", "--target"))
    if options.features is not None:
        features = _find_columns(options.features, columns, "features")
    else:
        features = list(sample.features or columns)
    if not sample.target_history:
        if targets != list(sample.targets or ()) or set(targets) & set(features):
            raise OptionError(
                f"{options.data} forecasts {', '.join(sample.targets or ())} from {', '.join(sample.features or ())}, "
                f"but got target '{', '.join(targets)}' and features '{', '.join(features)}'; leave both out"
            )
        return targets, features
    return targets, features + [name for name in targets if name not in features]


def _default_target(columns: Sequence[str]) -> tuple[str, str]:
    named = {canonical_name(name): name for name in reversed(columns)}
    for wanted, reason in (("adj close", "the adjusted close"), ("close", "the close")):
        if wanted in named:
            return named[wanted], reason
    for wanted in PRICE_NAMES:
        if wanted in named:
            return named[wanted], "a price, by its name"
    likely = [name for name in columns if not _SIDE_COLUMN.search(canonical_name(name))]
    return (likely or list(columns))[-1], "the last column, as none is called close"


def choose_transform(sample: Sample, options: DataOptions, targets: Sequence[str], notes: list[Note]) -> str:
    """What was asked for, else returns; levels where a target that is no price has values without a return."""
    if options.transform is not None:
        return options.transform
    prices = {"adj close", "close", "open", "high", "low", *PRICE_NAMES}
    others = [name for name in targets if canonical_name(name) not in prices]
    if sample.transform != "level" and any(row is not None for row in first_rows_not_positive(sample.tables, others)):
        notes.append(Note("target", "forecast as it is, as values of zero or below have no return", "--transform"))
        return "level"
    return sample.transform


def check_task(sample: Sample, options: DataOptions) -> None:
    """Refuse a task, transform or horizon that a sample cannot serve.

    Raises:
        OptionError: with the option to use instead.
    """
    if sample.horizon is not None and options.horizon != sample.horizon:
        raise OptionError(
            f"horizon must be {sample.horizon} for {options.data}, but got {options.horizon}; "
            f"use --horizon {sample.horizon}"
        )
    if not sample.target_history and (options.task == "direction" or options.transform != "level"):
        raise OptionError(
            f"{options.data} has no earlier target values to change from, but got task '{options.task}' with transform "
            f"'{options.transform}'; use --task forecast --transform level"
        )


def choose_transforms(
    sample: Sample,
    columns: list[str],
    targets: list[str],
    transform: str,
    notes: list[Note],
) -> list[str]:
    """What each column shall hold: returns where all its values are positive, else levels.

    Args:
        sample: the series.
        columns: names of the columns in use.
        targets: those that are forecast, which must follow ``transform``.
        transform: ``level``, ``return`` or ``log-return``.
        notes: receives what was chosen.

    Raises:
        DataError: if a target has a value of zero or below and is to be a return.
    """
    if transform == "level":
        how = "each series is standardised by itself" if sample.scale else "values are read as they are"
        notes.append(Note("transform", f"level ({how})", "--transform"))
        return ["level"] * len(columns)
    rows = first_rows_not_positive(sample.tables, columns)
    for name, row in zip(columns, rows, strict=True):
        if name in targets and row is not None:
            raise not_positive(sample.tables, name, row, transform, "use --transform level")
    chosen = [transform if row is None else "level" for row in rows]
    notes.append(Note("transform", f"{transform} of {_names(columns, chosen, transform)}", "--transform"))
    kept = _names(columns, chosen, "level")
    if kept:
        notes.append(Note("levels", f"{kept}: kept as they are, because of values that are zero or below"))
    return chosen


def first_rows_not_positive(tables: StackedTables, columns: Sequence[str]) -> list[int | None]:
    """For every column the first row whose value is zero or below, or None."""
    places = [tables.columns.index(name) for name in columns]
    found: list[int | None] = [None] * len(places)
    for first, block in blocks(tables.values):
        bad = block[:, places] <= 0
        for place in np.flatnonzero(bad.any(axis=0)):
            if found[place] is None:
                found[place] = first + int(bad[:, place].argmax())
    return found


def not_positive(tables: StackedTables, column: str, row: int, transform: str, fix: str) -> DataError:
    """The error that a value has no return, with its place."""
    series = int(np.searchsorted(tables.bounds, row, side="right")) - 1
    return DataError(
        f"a {transform} needs values above 0, but column '{column}' of {tables.names[series]} is "
        f"{tables.values[row, tables.columns.index(column)]:g} on {date_text(tables.dates[row])} "
        f"(row {row - tables.bounds[series] + 1} in order of date); {fix}"
    )


def _names(columns: list[str], chosen: list[str], wanted: str) -> str:
    return ", ".join(name for name, transform in zip(columns, chosen, strict=True) if transform == wanted)
