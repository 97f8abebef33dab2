"""Training, validation and test parts in time order: what ``--split`` may say and which rows each part gets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ..errors import DataError, OptionError

PARTS = ("training", "validation", "test")
RowRange = tuple[int, int]

_FORMS = "three fractions (0.7,0.15,0.15), three row counts (8640,2880,2880) or two dates (2016-01-01,2017-01-01)"


@dataclass(frozen=True)
class SplitRule:
    """How to cut a series: exactly one of the three fields is given.

    Attributes:
        fractions: shares of training, validation and test; rows beyond their sum are unused.
        counts: numbers of rows; later rows are unused.
        dates: where validation and where test begins.
    """

    fractions: tuple[float, float, float] | None = None
    counts: tuple[int, int, int] | None = None
    dates: tuple[np.datetime64, np.datetime64] | None = None


def parse_split(text: str) -> SplitRule:
    """Read what a user typed after ``--split``.

    Raises:
        OptionError: if it is none of the three forms, or its numbers or dates make no sense.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 2:
        return SplitRule(dates=_parse_dates(text, parts))
    if len(parts) != 3:
        raise OptionError(f"split must be {_FORMS}, but got '{text}'")
    try:
        counts = [int(part) for part in parts]
    except ValueError:
        return SplitRule(fractions=_parse_fractions(text, parts))
    if min(counts) < 1:
        raise OptionError(f"split must give every part at least 1 row, but got '{text}'; use e.g. 8640,2880,2880")
    return SplitRule(counts=(counts[0], counts[1], counts[2]))


def _parse_fractions(text: str, parts: list[str]) -> tuple[float, float, float]:
    try:
        fractions = [float(part) for part in parts]
    except ValueError:
        raise OptionError(f"split must be {_FORMS}, but got '{text}'") from None
    if not all(math.isfinite(fraction) and fraction > 0 for fraction in fractions):
        raise OptionError(f"split must give every part a share above 0, but got '{text}'; use e.g. 0.7,0.15,0.15")
    if sum(fractions) > 1 + 1e-9:
        raise OptionError(
            f"split fractions must sum to at most 1, but '{text}' sums to {sum(fractions):g}; use e.g. 0.7,0.15,0.15"
        )
    return fractions[0], fractions[1], fractions[2]


def _parse_dates(text: str, parts: list[str]) -> tuple[np.datetime64, np.datetime64]:
    try:
        moments = [datetime.fromisoformat(part) for part in parts]
    except ValueError:
        raise OptionError(f"split must be {_FORMS}, but got '{text}'") from None
    if any(moment.tzinfo is not None for moment in moments):
        raise OptionError(f"split dates must have no time zone, but got '{text}'; leave the zone out")
    if not moments[0] < moments[1]:
        raise OptionError(f"split must name the validation date before the test date, but got '{text}'; swap them")
    return np.datetime64(moments[0], "us"), np.datetime64(moments[1], "us")


def split_rows(rule: SplitRule, rows: int | np.ndarray, gap: int = 0) -> tuple[RowRange, RowRange, RowRange]:
    """Apply a rule to one series.

    Args:
        rule: what ``parse_split`` returned.
        rows: the number of rows, or the rows' dates (``datetime64``, ascending); a rule of dates needs dates.
        gap: embargo: rows after each of the two borders that belong to no part.

    Returns:
        (first row, row after the last) of training, validation and test. A part may be empty; parts never overlap.

    Raises:
        DataError: if the row counts ask for more rows than there are.
        OptionError: if a rule of dates is applied to rows without dates.
    """
    count = rows if isinstance(rows, int) else len(rows)
    validation, test, end = _borders(rule, rows, count)
    return (
        (0, validation),
        (min(validation + gap, test), test),
        (min(test + gap, end), end),
    )


def _borders(rule: SplitRule, rows: int | np.ndarray, count: int) -> tuple[int, int, int]:
    """Where validation begins, where test begins, and where the used rows end."""
    if rule.counts is not None:
        train, validation, test = rule.counts
        if train + validation + test > count:
            raise DataError(
                f"the split {train},{validation},{test} needs {train + validation + test} rows, "
                f"but there are {count}; use smaller counts or fractions such as 0.7,0.15,0.15"
            )
        return train, train + validation, train + validation + test
    if rule.dates is not None:
        if isinstance(rows, int):
            raise OptionError("a split by dates needs rows with dates; use fractions or row counts")
        # Nanoseconds end in 2262; in microseconds any date a user can type is comparable.
        first, second = np.searchsorted(rows.astype("datetime64[us]"), np.array(rule.dates), side="left")
        return int(first), int(second), count
    if rule.fractions is None:
        raise OptionError(f"split must be {_FORMS}, but got an empty rule")
    # Whole shares of 1 follow the published protocol: training and test are rounded down, validation is the rest.
    train, test = int(count * rule.fractions[0]), int(count * rule.fractions[2])
    if sum(rule.fractions) > 1 - 1e-9:
        return train, count - test, count
    validation = int(count * rule.fractions[1])
    return train, train + validation, train + validation + test
