"""Values that look wrong. They are told, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from ..tables import date_text
from .column_names import canonical_name
from .dates import DAY
from .findings import Finding
from .rows_of_source import SourceRows

_CHUNK = 1 << 19
_OHLC = ("open", "high", "low", "close", "adj close")
_SPLITS = (1 / 2, 1 / 3, 2 / 3, 1 / 4, 1 / 5, 1 / 7, 1 / 10, 1 / 20, 3 / 2, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
_LONGEST_SAME = 20


def find_suspicions(rows: SourceRows) -> list[Finding]:
    """Jumps, splits, impossible prices, values that do not change, lost digits.

    Args:
        rows: repaired: finite values in order of date.
    """
    by_meaning = {canonical_name(name): name for name in reversed(rows.columns)}
    within = rows.within()
    findings = _splits(rows, by_meaning, within)
    rows.storage.release()
    findings += _jumps(rows, within)
    findings += _impossible_prices(rows, by_meaning)
    findings += _unchanging(rows, by_meaning, within)
    findings += _lost_digits(rows, within)
    rows.storage.release()
    return findings


def _place(rows: SourceRows, row: int) -> str:
    return f"{rows.series_of(row)}{date_text(np.datetime64(int(rows.dates[row]), 'ns'))}"


def _pairs(column: np.ndarray, within: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Piecewise: the first later row, values, values one row later, and whether both are of one series."""
    for start in range(0, len(column) - 1, _CHUNK):
        end = min(start + _CHUNK, len(column) - 1)
        yield start + 1, column[start:end], column[start + 1 : end + 1], within[start + 1 : end + 1]


def _log_steps(before: np.ndarray, after: np.ndarray, same: np.ndarray) -> np.ndarray:
    """The logarithm of the ratio of consecutive values; 0 where one is not above zero or another series begins."""
    good = same & (before > 0) & (after > 0)
    ratio = np.divide(after, before, out=np.ones(len(before)), where=good)
    return np.log(ratio)


def _usual_step(column: np.ndarray, within: np.ndarray) -> float:
    """The median size of a step, over at most half a million rows."""
    for _, before, after, same in _pairs(column, within):
        return float(np.median(np.abs(_log_steps(before, after, same))))
    return 0.0


def _splits(rows: SourceRows, by_meaning: dict[str, str], within: np.ndarray) -> list[Finding]:
    """Rows where the close changes by the factor of a split and an adjusted close, if there is one, does not."""
    if "close" not in by_meaning:
        return []
    close = rows.columns[by_meaning["close"]]
    adjusted = rows.columns.get(by_meaning.get("adj close", ""))
    least = max(np.log(1.4), 8 * _usual_step(close, within))
    found: list[tuple[int, float]] = []
    for first, before, after, same in _pairs(close, within):
        steps = _log_steps(before, after, same)
        for place in np.flatnonzero(np.abs(steps) > least)[:1000]:
            row, factor = first + int(place), float(np.exp(steps[place]))
            nearest = min(_SPLITS, key=lambda split: abs(np.log(split / factor)))
            near = abs(np.log(nearest / factor)) < (0.04 if adjusted is None else 0.08)
            moves = (
                adjusted is not None
                and not abs(np.log(max(adjusted[row], 1e-300) / max(adjusted[row - 1], 1e-300))) < 0.2
            )
            if near and not moves:
                found.append((row, factor))
    if not found:
        return []
    row, factor = found[0]
    text = "rows where the close changes like at a split: {count}; an adjusted close would be the better target"
    if adjusted is not None:
        text = "rows where the close changes like at a split and the adjusted close does not: {count}"
    example = f"{_place(rows, row)}, {close[row - 1]:g} to {close[row]:g}, times {factor:.3g}"
    return [Finding("splits", text, len(found), example, "" if adjusted is not None else "--target", warning=True)]


def _jumps(rows: SourceRows, within: np.ndarray) -> list[Finding]:
    """Changes by a factor of 100 from one row to the next, in prices and in columns that do not usually jump."""
    parts: dict[str, int] = {}
    example = ""
    for name, column in rows.each_column():
        meaning = canonical_name(name)
        if meaning not in _OHLC and ("volume" in meaning or _usual_step(column, within) > 0.1 or not column.min() > 0):
            continue
        for first, before, after, same in _pairs(column, within):
            places = np.flatnonzero(np.abs(_log_steps(before, after, same)) >= np.log(99.5))
            if len(places):
                parts[name] = parts.get(name, 0) + len(places)
                place = int(places[0])
                example = example or f"{name} on {_place(rows, first + place)}: {before[place]:g} to {after[place]:g}"
    if not parts:
        return []
    text = "changes by a factor of 100 or more from one row to the next: {parts}"
    return [Finding("jumps", text, sum(parts.values()), example, warning=True, parts=parts)]


def _impossible_prices(rows: SourceRows, by_meaning: dict[str, str]) -> list[Finding]:
    """Prices of zero or below, and a high below the low."""
    findings = []
    parts: dict[str, int] = {}
    example = ""
    for meaning in _OHLC:
        name = by_meaning.get(meaning)
        if name is None:
            continue
        column = rows.columns[name]
        count = int((column <= 0).sum())
        if count:
            row = int((column <= 0).argmax())
            parts[name] = count
            example = example or f"{name} is {column[row]:g} on {_place(rows, row)}"
        rows.storage.release()
    if parts:
        text = "prices of zero or below: {parts}"
        findings.append(Finding("prices", text, sum(parts.values()), example, warning=True, parts=parts))
    if "high" in by_meaning and "low" in by_meaning:
        high, low = rows.columns[by_meaning["high"]], rows.columns[by_meaning["low"]]
        crossed = high < low
        if crossed.any():
            row = int(crossed.argmax())
            example = f"{_place(rows, row)}: {high[row]:g} below {low[row]:g}"
            findings.append(
                Finding(
                    "prices", "rows with the high below the low: {count}", int(crossed.sum()), example, warning=True
                )
            )
    return findings


def _unchanging(rows: SourceRows, by_meaning: dict[str, str], within: np.ndarray) -> list[Finding]:
    """Constant columns, and closes that stay the same for many rows."""
    findings = []
    constant = {name: 1 for name, column in rows.each_column() if _is_constant(column)}
    if constant:
        findings.append(Finding("columns", "constant: {names}", 1, warning=True, parts=constant))
    name = by_meaning.get("close")
    if name is None or name in constant:
        return findings
    column = rows.columns[name]
    count, longest, begin = 0, 0, 0
    last = 0
    for first, before, after, same in _pairs(column, within):
        starts = np.concatenate([[last], first + np.flatnonzero((before != after) | ~same)])
        if first + len(before) == len(column):
            starts = np.append(starts, len(column))
        lengths = np.diff(starts)
        count += int((lengths >= _LONGEST_SAME).sum())
        if len(lengths) and lengths.max() > longest:
            longest, begin = int(lengths.max()), int(starts[lengths.argmax()])
        last = int(starts[-1])
    if count:
        example = f"longest: {longest} rows of {column[begin]:g} from {_place(rows, begin)}"
        text = f"stretches of {_LONGEST_SAME} rows or more with the same close: {{count}}"
        findings.append(Finding("prices", text, count, example, warning=True))
    return findings


def _is_constant(column: np.ndarray) -> bool:
    return bool((column[:1000] == column[0]).all()) and bool((column == column[0]).all())


def _lost_digits(rows: SourceRows, within: np.ndarray) -> list[Finding]:
    """Columns in which many changes vanish in single precision, as with large identifiers."""
    parts: dict[str, int] = {}
    for name, column in rows.each_column():
        changes = lost = 0
        for _, before, after, same in _pairs(column, within):
            changed = (before != after) & same
            changes += int(changed.sum())
            with np.errstate(over="ignore"):
                equal = before.astype(np.float32) == after.astype(np.float32)
            lost += int((changed & equal).sum())
        if lost > 0.01 * changes:
            parts[name] = lost
    if not parts:
        return []
    text = "changes too small for single precision, in which models compute: {parts}"
    return [Finding("precision", text, sum(parts.values()), warning=True, parts=parts)]


def find_odd_dates(rows: SourceRows) -> list[Finding]:
    """Dates after today, and steps much longer than usual.

    Args:
        rows: in order of date, each date once, none left out yet.
    """
    findings = []
    within = rows.within()
    now = int(datetime.now(UTC).timestamp()) * 1_000_000_000
    future = rows.dates > now + DAY
    if future.any():
        example = _place(rows, int(future.argmax()))
        findings.append(Finding("dates", "rows after today: {count}", int(future.sum()), example, warning=True))
    del future
    usual = 0
    for _, before, after, same in _pairs(rows.dates, within):
        steps = (after - before)[same]
        usual = int(np.median(steps)) if len(steps) else 0
        break
    count, row = _long_steps(rows, within, 10 * usual)
    if usual < DAY and count:
        days = (int(rows.dates.max()) - int(rows.dates.min())) / DAY
        if days >= 2 and count >= 0.4 * days * len(rows.names):  # nights and weekends between sessions
            count, row = _long_steps(rows, within, 5 * DAY)
    if count and usual:
        example = f"{_place(rows, row - 1)} to {_place(rows, row)}"
        text = f"steps more than 10 times the usual {_span(usual)}: {{count}}"
        findings.append(Finding("dates", text, count, f"first {example}", warning=True))
    rows.storage.release()
    return findings


def _long_steps(rows: SourceRows, within: np.ndarray, least: int) -> tuple[int, int]:
    """How many steps within a series are longer, and the row after the first of them."""
    count, row = 0, 0
    for first, before, after, same in _pairs(rows.dates, within):
        places = np.flatnonzero((after - before > least) & same)
        if len(places) and not count:
            row = first + int(places[0])
        count += len(places)
    return count, row


def _span(nanoseconds: int) -> str:
    for unit, size in (("day", DAY), ("hour", DAY // 24), ("minute", DAY // 1440), ("second", DAY // 86_400)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:g} {unit}" + ("s" if nanoseconds > size else "")
    return f"{nanoseconds / 1e9:g} seconds"
