"""Which columns are forecast and read, whether each holds returns or levels, and what a sample allows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..errors import DataError, OptionError, did_you_mean
from .options import DataOptions
from .readers import date_text
from .samples import Sample


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


def choose_columns(sample: Sample, options: DataOptions, messages: list[str]) -> tuple[list[str], list[str]]:
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
    messages.append(f"target: {', '.join(targets)} ({reason})")
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
    bare = {re.sub("[^a-z]", "", name.lower()): name for name in reversed(columns)}
    for wanted in ("adjclose", "adjustedclose"):
        if wanted in bare:
            return bare[wanted], "the adjusted close; choose another with --target"
    if "close" in bare:
        return bare["close"], "the close; choose another with --target"
    return columns[-1], "the last column, as none is called close; choose another with --target"


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
    levels: np.ndarray,
    transform: str,
    messages: list[str],
) -> list[str]:
    """What each column shall hold: returns where all its values are positive, else levels.

    Args:
        sample: the series.
        columns: names of the columns in use.
        targets: those that are forecast, which must follow ``transform``.
        levels: ``[rows, columns]``, the columns in use.
        transform: ``level``, ``return`` or ``log-return``.
        messages: receives what was chosen.

    Raises:
        DataError: if a target has a value of zero or below and is to be a return.
    """
    tables = sample.tables
    if transform == "level":
        how = "each series is standardised by itself" if sample.scale else "values are read as they are"
        messages.append(f"transform: level ({how})")
        return ["level"] * len(columns)
    positive: np.ndarray = np.asarray((levels > 0).all(axis=0))
    for place, name in enumerate(columns):
        if name in targets and not positive[place]:
            row = int(np.flatnonzero(levels[:, place] <= 0)[0])
            series = int(np.searchsorted(tables.bounds, row, side="right")) - 1
            raise DataError(
                f"a {transform} needs values above 0, but column '{name}' of {tables.names[series]} is "
                f"{levels[row, place]:g} on {date_text(tables.dates[row])} (row {row - tables.bounds[series] + 1} in "
                "order of date); use --transform level"
            )
    chosen = [transform if is_positive else "level" for is_positive in positive]
    messages.append(f"transform: {transform} of {_names(columns, chosen, transform)}")
    if not positive.all():
        messages.append(f"kept as levels, because of values that are zero or below: {_names(columns, chosen, 'level')}")
    return chosen


def _names(columns: list[str], chosen: list[str], wanted: str) -> str:
    return ", ".join(name for name, transform in zip(columns, chosen, strict=True) if transform == wanted)
