"""From the cells of a header to one name for every column of a text file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ...errors import DataError
from ..tables import Note
from .findings import short

_DATE_NAMES = frozenset(("date", "datetime", "timestamp", "time", "day", "unix", "epoch", "month", "period", "datum"))
_PRICE_NAMES = frozenset(
    ("open", "high", "low", "close", "adjclose", "adjustedclose", "last", "price", "volume", "vwap", "bid", "ask")
) | {"turnover", "dividends", "stocksplits", "capitalgains", "repaired"}
_TICKER_NAMES = frozenset(("ticker", "tickers", "symbol", "symbols"))


@dataclass(frozen=True)
class NamedColumns:
    """Names of the columns of a table.

    Attributes:
        names: one for each column that is kept, all different.
        width: how many cells a row has; those after the named ones are empty in every row.
        notes: what was decided.
    """

    names: tuple[str, ...]
    width: int
    notes: tuple[Note, ...] = ()


def _bare(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def known_name(name: str) -> bool:
    """Whether it is a usual name of a date or price column, in any spelling."""
    return _bare(name) in _DATE_NAMES or _bare(name) in _PRICE_NAMES


def unique_names(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[Note, ...]]:
    """Each name once: a blank one becomes ``column_N``, the second ``Close`` becomes ``Close.2``."""
    used: dict[str, int] = {}
    taken = set(names)
    found: list[str] = []
    repeated: list[str] = []
    for place, given in enumerate(names, start=1):
        name = given or f"column_{place}"
        used[name] = used.get(name, 0) + 1
        if used[name] > 1 or (not given and name in taken):
            count = max(used[name], 2)
            while f"{name}.{count}" in taken:
                count += 1
            used[name] = count
            repeated.append(f"{name}.{count}")
            name = repeated[-1]
        taken.add(name)
        found.append(name)
    notes = []
    blanks = [f"column_{place}" for place, name in enumerate(names, start=1) if not name]
    if blanks:
        notes.append(Note("header", f"without a name: {_some(blanks)}", "--header"))
    if repeated:
        notes.append(Note("header", f"names that stand more than once: the others are {_some(repeated)}", "--header"))
    return tuple(found), tuple(notes)


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (f" and {len(words) - 5} others" if len(words) > 5 else "")


def clean_names(cells: Sequence[str]) -> list[str]:
    """Names without blanks, quotes, byte-order mark and the comment sign before the first."""
    names = [" ".join(cell.replace("\ufeff", "").split()).strip("\"'").strip() for cell in cells]
    if names:
        names[0] = names[0].lstrip("#").strip()
    return names


def name_columns(
    heading: Sequence[str] | None, rows: Sequence[Sequence[str]], kinds: Sequence[str], location: str
) -> NamedColumns:
    """Name the columns of rows by their header.

    A header may have fewer names than the rows have cells: then the index that pandas and R write without a name
    comes first, or the last names are missing. Columns without a name that are empty in every row, as separators at
    the end of lines make them, are left out.

    Args:
        heading: cells of the header, or None where there is none.
        rows: cells of some rows, all of the same width.
        kinds: of each column: ``number``, ``date``, ``empty`` or ``text``.
        location: for messages.

    Raises:
        DataError: if the rows look as if separators inside numbers had cut these.
    """
    width = len(kinds)
    names = clean_names(heading or [])
    while len(names) > width and not names[-1]:
        names.pop()
    if len(names) > width:  # every row is too short, as whoever reads them will say
        return NamedColumns(unique_names(names)[0], len(names))
    kept = width
    while kept > 1 and not any(names[kept - 1 : kept]) and not any(row[kept - 1] for row in rows):
        kept -= 1
    names = names[:kept]
    notes = []
    if kept < width:
        notes.append(
            Note("separator", f"every line ends with one: {width - kept} empty column(s) left out", "--separator")
        )
    if heading is None:
        notes.append(Note("header", f"none: the columns are column_1 to column_{kept}", "--header"))
        return NamedColumns(tuple(f"column_{place}" for place in range(1, kept + 1)), width, tuple(notes))
    if len(names) < kept:
        names, note = _lengthen(names, rows, kinds[:kept], location)
        notes.append(note)
    unique, more = unique_names(names)
    return NamedColumns(unique, width, (*notes, *more))


def _lengthen(
    names: list[str], rows: Sequence[Sequence[str]], kinds: Sequence[str], location: str
) -> tuple[list[str], Note]:
    """Names for all cells of a row where the header has fewer."""
    missing = len(kinds) - len(names)
    cells = f"{len(names)} names for {len(kinds)} cells: "
    dated = next((place for place, name in enumerate(names) if _bare(name) in _DATE_NAMES), None)
    cut = missing == 1 and dated is not None and list(kinds[dated : dated + 2]) == ["date", "date"]
    if cut and dated is not None and rows and ":" in rows[0][dated + 1]:  # 2024-01-31 10:00, cut at the space
        names = [*names[: dated + 1], "time", *names[dated + 1 :]]
        return names, Note("header", f"{cells}'{names[dated]}' is two columns, date and time", "--header")
    if dated is None:
        leading = kinds[0] == "date" or (kinds[0] == "number" and _counts(rows))
    else:
        leading = kinds[dated] != "date" and dated + 1 < len(kinds) and kinds[dated + 1] == "date"
    if missing == 1 and leading:
        return ["", *names], Note("header", f"{cells}the first column has none", "--header")
    _refuse_cut_numbers(names, rows, kinds, location)
    if missing > len(names):
        raise DataError(
            f"every column needs a name, but {location} has {len(names)} names for {len(kinds)} cells; complete the "
            "header, or say which row it is with --header"
        )
    note = Note("header", f"{cells}the last {missing if missing > 1 else 'one'} without", "--header", warning=True)
    return names + [""] * missing, note


def _counts(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first column counts the rows."""
    first = [row[0] for row in rows]
    return len(first) > 1 and all(
        a.isdecimal() and b.isdecimal() and int(b) == int(a) + 1 for a, b in itertools.pairwise(first)
    )


def _refuse_cut_numbers(
    names: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str], location: str
) -> None:
    """Refuse 1,234 and 1,5 without quotes where a comma separates cells."""
    for place in range(len(kinds) - 1):
        cells = [(row[place], row[place + 1]) for row in rows if row[place] and row[place + 1]]
        grouped = all(re.fullmatch(r"[-+]?\d{1,3}", a) and re.fullmatch(r"\d{3}(\.\d+)?", b) for a, b in cells)
        numbers = [place for place, kind in enumerate(kinds) if kind == "number"]
        halves = len(numbers) == 2 * (len(numbers) + len(names) - len(kinds)) and all(
            re.fullmatch(r"[-+]?\d+", row[number]) for row in rows for number in numbers if row[number]
        )
        if cells and kinds[place] == kinds[place + 1] == "number" and (grouped or halves):
            what = "separators of thousands" if grouped else "decimal commas"
            raise DataError(
                f"every row must have as many cells as the header, but {location} has {len(names)} names for "
                f"{len(kinds)} cells, perhaps {what} as in '{cells[0][0]},{cells[0][1]}'; quote such numbers or "
                "separate the cells with semicolons"
            )


def refuse_other_header(rows: pd.DataFrame, date: str, location: str) -> None:
    """Refuse a second header whose names stand in another order, as where downloads were joined.

    Args:
        rows: cells of rows without a date, under the names of the columns.
        date: the column of dates.
        location: for messages.
    """
    names = [str(name).lower() for name in rows.columns]
    likely = rows[rows[date].astype(str).str.lower().str.strip().isin(names)]
    for row, cells in zip(likely.index, likely.to_numpy(object), strict=True):
        words = [" ".join(str(cell).split()).lower() for cell in cells]
        if words != names and len(set(words) & set(names)) > 0.5 * len(names):
            raise DataError(
                f"all rows must have their cells in one order, but {location} has another header in row {row}, with "
                f"'{short(words[0])}, {short(words[1])}' where the first has '{short(names[0])}, {short(names[1])}'; "
                "read the parts as files of their own"
            )


def join_levels(levels: Sequence[Sequence[str]]) -> tuple[list[str], Note] | None:
    """One name a column for a header of two rows, a price and a ticker each, as yfinance writes it.

    A third row may name the column of dates alone. With one ticker its name is left out.

    Returns:
        names and what to say of it; None where the rows are not such a header.
    """
    if len(levels) not in (2, 3):
        return None
    rows = [clean_names(level) for level in levels]
    if len(rows) == 3 and (any(rows[2][1:]) or not rows[2][0]):
        return None
    first, second = rows[0], rows[1]
    prices = [all(_bare(name) in _PRICE_NAMES for name in row[1:]) for row in (first, second)]
    if len(first) < 2 or prices[0] == prices[1] or not all(first[1:] + second[1:]):
        return None
    if len(rows) == 2 and not _TICKER_NAMES & {_bare(first[0]), _bare(second[0])}:
        return None
    fields, tickers = (first, second) if prices[0] else (second, first)
    labels = [name for name in (first[0], second[0]) if name and _bare(name) not in _TICKER_NAMES | {"price"}]
    date = rows[2][0] if len(rows) == 3 else (labels[-1] if labels else "Date")
    several = len(set(tickers[1:])) > 1
    names = [f"{field} {ticker}" if several else field for field, ticker in zip(fields[1:], tickers[1:], strict=True)]
    which = "a price and a ticker each" if several else f"all of {tickers[1]}"
    return [date, *names], Note("header", f"{len(rows)} rows, {which}", "--header")
