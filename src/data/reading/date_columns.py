"""Which column holds the dates, and a second one the time of day, by name and by content."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import DataError, OptionError, did_you_mean
from ..options import ReadingOptions
from .dates import FIRST_YEAR, KINDS, LAST_YEAR, NOT_A_DATE, ORDERS, ParsedDates, parse_clocks, parse_dates
from .findings import short, some

_NAME_RANK = {
    "datetime": 0, "date": 1, "dates": 1, "datum": 1, "timestamp": 2, "time": 3, "ts": 3, "dt": 3, "unix": 4,
    "epoch": 4, "day": 5, "period": 5, "week": 6, "month": 6, "quarter": 6, "year": 7,
}  # fmt: skip
_CLOCK_NAMES = ("time", "hour", "clock", "uhrzeit")
_SAMPLE = 200
_FORMATS = ("day-first", "month-first", "year-first", "epoch-s", "epoch-ms", "epoch-us", "epoch-ns")


@dataclass(frozen=True)
class DateColumns:
    """Where the dates of a source are.

    Attributes:
        date: the column.
        clock: the column with the time of day, if that is another.
        others: further columns of dates, which are no features.
    """

    date: str
    clock: str | None = None
    others: tuple[str, ...] = ()


def check_date_format(text: str | None) -> tuple[str | None, str | None]:
    """What ``--date-format`` fixes: the order of day and month, or how cells are parsed.

    Raises:
        OptionError: for anything else.
    """
    if text is None:
        return None, None
    if text in _FORMATS[:3]:
        return text.removesuffix("-first"), None
    if text in _FORMATS:
        return None, text
    try:
        if "%" in text:
            pd.to_datetime(pd.Series(["x"]), format=text, errors="coerce")
            return None, text
    except ValueError:
        pass
    raise OptionError(
        f"date_format must be {', '.join(_FORMATS)} or a pattern such as %d.%m.%Y, but got '{short(text)}'."
        f"{did_you_mean(text, _FORMATS)}"
    )


def find_date_columns(cells: pd.DataFrame, options: ReadingOptions, location: str) -> DateColumns:
    """The columns of dates, by the user's word, by name or by content.

    Args:
        cells: the first block of a source.
        options: ``date_column`` and ``date_format``.
        location: for messages.

    Raises:
        DataError: if there is none.
        OptionError: if the user names one that is not there.
    """
    _, date_format = check_date_format(options.date_format)
    if options.date_column is not None:
        return _as_asked(options.date_column, list(cells.columns), location)
    found: list[tuple[int | None, int, str]] = []
    clocks: list[str] = []
    for place, name in enumerate(cells.columns):
        rank = _rank(name)
        if rank is None and _is_plain(cells[name].iloc[len(cells) // 2]):
            continue
        sample = cells[name].dropna().head(_SAMPLE)
        if not len(sample):
            continue
        if _holds_dates(sample, rank is not None, date_format):
            found.append((rank, place, name))
        elif _holds_clocks(sample, name):
            clocks.append(name)
    if not found:
        raise _no_dates(cells, clocks, location)
    found = _without_chance(cells, found)
    if len(found) > 1:
        found.sort(key=lambda column: _quality(cells[column[2]], column[0], column[1], date_format))
    date, others = found[0][2], tuple(name for _, _, name in found[1:])
    if clocks and not parse_dates(cells[date].head(_SAMPLE * 5), date_format).clocks:
        return DateColumns(date, clocks[0], others)
    return DateColumns(date, None, others)


def _without_chance(cells: pd.DataFrame, found: list[tuple[int | None, int, str]]) -> list[tuple[int | None, int, str]]:
    """Without numbers that only happen to rise within what epochs may be, such as a volume, where others are dates."""
    numbers = [_is_number(cells[name]) for _, _, name in found]
    if all(number and rank is None for number, (rank, _, _) in zip(numbers, found, strict=True)):
        return found
    return [column for number, column in zip(numbers, found, strict=True) if not number or column[0] is not None]


def _is_number(cells: pd.Series) -> bool:
    cell = cells.dropna().iloc[-1]
    return re.fullmatch(r"[0-9]{9,}(\.[0-9]*)?", str(cell)) is not None


def _as_asked(text: str, names: list[str], location: str) -> DateColumns:
    parts = [text] if text in names else [part.strip() for part in text.split(",")]
    chosen = [find_name(part, names, "date_column", location) for part in parts if part]
    if not 1 <= len(chosen) <= 2:
        raise OptionError(f"date_column must be one column, or two as in date,time, but got '{short(text)}'")
    return DateColumns(chosen[0], chosen[1] if len(chosen) == 2 else None)


def find_name(text: str, names: list[str], option: str, location: str) -> str:
    """The column that the user means, in any case.

    Raises:
        OptionError: if there is none.
    """
    matches = [name for name in names if name == text] or [name for name in names if name.lower() == text.lower()]
    if not matches:
        raise OptionError(
            f"{option} must name a column, but {location} has no '{short(text)}'.{did_you_mean(text, names)} "
            f"Columns: {some(names, 12)}"
        )
    return matches[0]


def _rank(name: str) -> int | None:
    """How much a name sounds like a column of dates; less is more."""
    words = re.sub(r"[^a-z]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()).split()
    joined = "".join(words)
    ranks = [_NAME_RANK[word] for word in (*words, joined, joined.removeprefix("open")) if word in _NAME_RANK]
    return min(ranks, default=None)


def _is_plain(cell: object) -> bool:
    """Whether a cell is a number that is no date, such as 12.5 or 1234."""
    return re.fullmatch(r"[+-]?\d{0,7}\.\d+|[+-]?\d{1,5}|[+-]?\d+\.\d{3,}", str(cell)) is not None


def _holds_dates(sample: pd.Series, named: bool, date_format: str | None) -> bool:
    numeric = pd.api.types.is_numeric_dtype(sample.dtype)
    if not named:
        cell = str(sample.iloc[-1])
        if len(cell) < 6 or not any(character.isdigit() for character in cell) or len(cell) > 45:
            return False
        if numeric and pd.api.types.is_bool_dtype(sample.dtype):
            return False
        if _is_plain(cell):
            return False
    parsed = parse_dates(sample, date_format)
    instants = _best(parsed)
    valid = instants != NOT_A_DATE
    if valid.mean() < (0.5 if named else 0.8):
        return False
    kind = KINDS[int(np.bincount(parsed.kinds[valid]).argmax())]
    if named or kind in ("day", "short year", "quarter"):
        return True
    steps = np.diff(instants[valid])
    if kind == "month":
        return not numeric and not _plain_number(sample)
    return (kind == "compact" and valid.mean() > 0.95) or (
        kind not in ("year", "excel") and len(steps) > 0 and bool((steps > 0).all() or (steps < 0).all())
    )


def _plain_number(sample: pd.Series) -> bool:
    return bool(sample.astype(str).str.fullmatch(r"[0-9.]+").all())


def _best(parsed: ParsedDates) -> np.ndarray:
    """The instants under the order that makes most cells dates."""
    if not len(parsed.open_cells):
        return parsed.instants
    return max((parsed.resolve(order) for order in ORDERS), key=lambda instants: int((instants != NOT_A_DATE).sum()))


def _holds_clocks(sample: pd.Series, name: str) -> bool:
    words = re.sub(r"[^a-z]+", " ", name.lower()).split()
    text = str(sample.iloc[-1])
    if not any(word in _CLOCK_NAMES for word in words) and not re.match(r"\d{1,2}:\d{2}", text):
        return False
    return bool((parse_clocks(sample) != NOT_A_DATE).mean() >= 0.8)


def _quality(cells: pd.Series, rank: int | None, place: int, date_format: str | None) -> tuple[float, ...]:
    """What to sort columns of dates by, the best first: few cells that are no dates, many different, the name."""
    parsed = parse_dates(cells, date_format)
    instants = _best(parsed)
    valid = instants[instants != NOT_A_DATE]
    changes = np.count_nonzero(np.diff(valid)) / max(len(cells), 1)
    numeric = int((parsed.kinds >= KINDS.index("excel")).sum() * 2 > len(cells))
    worst = 99 if rank is None else rank
    return (round(1 - len(valid) / max(len(cells), 1), 2), -round(changes, 2), numeric, worst, place)


def _no_dates(cells: pd.DataFrame, clocks: list[str], location: str) -> DataError:
    names = some(cells.columns, 12)
    if clocks:
        return DataError(
            f"a file needs a column of dates, but {location} has only times of day, in '{short(clocks[0])}' (columns: "
            f"{names}); add a column of dates or name it with --date-column"
        )
    named = next((name for name in cells.columns if _rank(name) is not None and cells[name].notna().any()), None)
    if named is not None:
        parsed = parse_dates(cells[named])
        wrong = cells[named].notna().to_numpy() & (_best(parsed) == NOT_A_DATE)
        place = int((wrong if wrong.any() else cells[named].notna().to_numpy()).argmax())
        row = int(cells.index[place])
        return DataError(
            f"dates must lie between {FIRST_YEAR} and {LAST_YEAR - 1} and be written like 2024-01-31, but "
            f"{location} has '{short(cells[named].iloc[place])}' in row {row}, column '{short(named)}'; use "
            "--date-column or --date-format"
        )
    return DataError(
        f"a file needs a column of dates, but {location} has {names}; name it 'date' or use --date-column and "
        "--date-format"
    )
