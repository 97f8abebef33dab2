"""How a column of dates is written, over all its cells: above all whether 01/02/2003 is in January or in February."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ...errors import DataError
from .dates import FIRST_YEAR, KINDS, LAST_YEAR, NOT_A_DATE, ORDERS, ParsedDates, parse_dates
from .findings import Finding, short

_MOST_WITHOUT_DATE = 0.2
_GROUPS = ("none", "day", "short", "month", "quarter", "year", "day", "excel", "epoch", "epoch", "epoch", "epoch")
"""What belongs together in one column, for each of ``KINDS``."""


@dataclass
class _OrderStatistics:
    """How well one order of day and month explains the open cells so far."""

    valid: int = 0
    up: int = 0
    down: int = 0
    first_bad: tuple[int, str] | None = None
    last: int | None = None
    steps: list[np.ndarray] = field(default_factory=list)

    def add(self, instants: np.ndarray, rows: np.ndarray, texts: pd.Series) -> None:
        good = instants != NOT_A_DATE
        self.valid += int(good.sum())
        if self.first_bad is None and not good.all():
            place = int(np.flatnonzero(~good)[0])
            self.first_bad = (int(rows[place]), str(texts.iloc[place]))
        chosen = instants[good]
        if self.last is not None:
            chosen = np.concatenate([[self.last], chosen])
        if len(chosen):
            self.last = int(chosen[-1])
        steps = np.diff(chosen)
        self.up += int((steps > 0).sum())
        self.down += int((steps < 0).sum())
        if len(self.steps) < 64:
            self.steps.append(np.abs(steps[steps != 0])[:50_000])

    @property
    def disorder(self) -> float:
        """Share of steps against the main direction."""
        return min(self.up, self.down) / max(self.up + self.down, 1)

    @property
    def usual_step(self) -> float:
        """The median size of a step, in nanoseconds."""
        steps = np.concatenate(self.steps) if self.steps else np.empty(0)
        return float(np.median(steps)) if len(steps) else 0.0

    @property
    def unevenness(self) -> float:
        """The largest step over the usual one."""
        steps = np.concatenate(self.steps) if self.steps else np.empty(0)
        return float(steps.max() / np.median(steps)) if len(steps) else 1.0


@dataclass
class DateEvidence:
    """What all cells of the column of dates say, gathered block by block."""

    rows: int = 0
    open_cells: int = 0
    kinds: Counter[int] = field(default_factory=Counter)
    zoned: int = 0
    unzoned: int = 0
    first_unzoned: tuple[int, str] | None = None
    first_open: tuple[int, str] | None = None
    orders: dict[str, _OrderStatistics] = field(default_factory=lambda: {order: _OrderStatistics() for order in ORDERS})
    examples: dict[int, tuple[int, str]] = field(default_factory=dict)

    def add(self, parsed: ParsedDates, cells: pd.Series, clocks: np.ndarray | None = None) -> None:
        """Take in one block; ``clocks``: times of day from another column, int64 ``[cells]``."""
        self.rows += len(cells)
        plain = (parsed.kinds > 0) & ~parsed.zoned
        self.zoned += int(parsed.zoned.sum())
        self.unzoned += int(plain.sum())
        if self.first_unzoned is None and plain.any():
            place = int(plain.argmax())
            self.first_unzoned = (int(cells.index[place]), str(cells.iloc[place]))
        counts = np.bincount(parsed.kinds, minlength=len(KINDS))
        for kind in np.flatnonzero(counts):
            self.kinds[int(kind)] += int(counts[kind])
            if int(kind) not in self.examples:
                place = int(np.flatnonzero(parsed.kinds == kind)[0])
                self.examples[int(kind)] = (int(cells.index[place]), str(cells.iloc[place]))
        if len(parsed.open_cells):
            self.open_cells += len(parsed.open_cells)
            rows, texts = cells.index.to_numpy()[parsed.open_cells], cells.iloc[parsed.open_cells]
            self.first_open = self.first_open or (int(rows[0]), str(texts.iloc[0]))
            for order, statistics in self.orders.items():
                instants = parsed.resolve_open(order)
                if clocks is not None:
                    instants[instants != NOT_A_DATE] += clocks[parsed.open_cells][instants != NOT_A_DATE]
                statistics.add(instants, rows, texts)


@dataclass(frozen=True)
class DateDecision:
    """How a column of dates is read.

    Attributes:
        order: of day and month.
        kinds: bool ``[len(KINDS)]``: cells of the other kinds are no dates here.
    """

    order: str
    kinds: np.ndarray

    def instants(self, parsed: ParsedDates) -> np.ndarray:
        """The dates of one block, int64 nanoseconds ``[rows]``."""
        return np.where(self.kinds[parsed.kinds], parsed.resolve(self.order), NOT_A_DATE)


def decide_dates(
    evidence: DateEvidence, column: str, order: str | None, location: str
) -> tuple[DateDecision, list[Finding]]:
    """How to read the column of dates, over all its cells.

    Raises:
        DataError: if nothing settles the order of day and month, or dates are written both ways.
    """
    findings: list[Finding] = []
    groups: Counter[str] = Counter()
    for kind, count in evidence.kinds.items():
        groups[_GROUPS[kind]] += count
    del groups["none"]
    main = groups.most_common(1)[0][0] if groups else "day"
    kinds = np.array([group == main for group in _GROUPS])
    if evidence.open_cells and order is None:
        order, reason = _decide_order(evidence, column, location)
        if reason:
            findings.append(Finding("dates", f"{order} first", 1, reason, "--date-format"))
    findings += _plain_words(evidence, main)
    return DateDecision(order or "day", kinds), findings


def _decide_order(evidence: DateEvidence, column: str, location: str) -> tuple[str, str]:
    """The order of day and month in numeric dates, and what settled it ("" where it makes no difference)."""
    orders = evidence.orders
    fitting = [order for order in ORDERS if orders[order].valid == evidence.open_cells and order != "year"]
    if fitting and orders["year"].valid == evidence.open_cells and _year_first(evidence, fitting, column, location):
        return "year", "as only that puts the rows in order, with steps like those of days"
    if not fitting:
        best = max(ORDERS, key=lambda order: orders[order].valid)
        other = "month" if best == "day" else "day"
        neither = evidence.open_cells - orders[best].valid
        first = orders[best].first_bad
        mixed = best != "year" and orders[other].valid > 0 and first is not None and _fits(first[1], other)
        if mixed and first is not None and neither > 0.01 * evidence.open_cells:
            raise DataError(
                f"dates must all be written alike, but column '{column}' of {location} has day first and month first, "
                f"e.g. '{short(first[1])}' in row {first[0]}; write them like 2024-01-31 or use --date-format"
            )
        return best, f"{orders[best].valid:,} of {evidence.open_cells:,} cells fit"
    if len(fitting) == 1:
        row, text = orders["month" if fitting[0] == "day" else "day"].first_bad or (0, "")
        return fitting[0], f"row {row}: {short(text)}"
    day, month = orders["day"], orders["month"]
    if day.last == month.last and all(map(np.array_equal, day.steps, month.steps)):
        return "day", ""
    if abs(day.disorder - month.disorder) > 0.02:
        order = "day" if day.disorder < month.disorder else "month"
        return order, "as only that puts the rows in order"
    low, high = sorted((day.unevenness, month.unevenness))
    if high > 3 * low:
        order = "day" if day.unevenness < month.unevenness else "month"
        return order, "as only that makes the steps even"
    row, text = evidence.first_open or (0, "")
    raise DataError(
        f"the order of day and month must follow from the dates, but column '{column}' of {location} can be read both "
        f"ways, e.g. '{short(text)}' in row {row}; use --date-format day-first or month-first"
    )


def _year_first(evidence: DateEvidence, others: list[str], column: str, location: str) -> bool:
    """Whether 24-03-01 begins with its year, although it could be the 24th of March 2001.

    Raises:
        DataError: if both put the rows in order.
    """
    year, other = evidence.orders["year"], min((evidence.orders[order] for order in others), key=_disorder)
    if year.disorder > 0.02 or year.usual_step >= other.usual_step:
        return False
    if other.disorder > 0.02 or other.unevenness > 3 * year.unevenness:
        return True
    row, text = evidence.examples[KINDS.index("short year")]
    raise DataError(
        f"the order of day, month and year must follow from the dates, but column '{short(column)}' of {location} can "
        f"be read in several ways, e.g. '{short(text)}' in row {row}; use --date-format year-first or day-first"
    )


def _disorder(statistics: _OrderStatistics) -> float:
    return statistics.disorder


def _fits(text: str, order: str) -> bool:
    return bool(parse_dates(pd.Series([text], dtype="str")).resolve(order)[0] != NOT_A_DATE)


def _plain_words(evidence: DateEvidence, main: str) -> list[Finding]:
    """Notes on dates that are not written as such."""
    found = []
    if evidence.zoned:
        found.append(Finding("dates", "kept as UTC, as they carry a time zone"))
        if evidence.first_unzoned is not None:
            row, text = evidence.first_unzoned
            said = "dates that name no time zone, unlike the others, and are taken as UTC: {count}"
            found.append(Finding("dates", said, evidence.unzoned, f"row {row}: {short(text)}", warning=True))
    if main == "epoch":
        units = [KINDS[kind] for kind in sorted(evidence.kinds) if _GROUPS[kind] == "epoch"]
        found.append(
            Finding("dates", f"{' and '.join(units)} since 1970", 1, _example(evidence, units[0]), "--date-format")
        )
    elif main == "excel":
        found.append(Finding("dates", "day numbers of a spreadsheet", 1, _example(evidence, "excel"), "--date-format"))
    elif main in ("month", "quarter", "year"):
        found.append(
            Finding("dates", f"{main}s, dated by their first day", 1, _example(evidence, main), "--date-format")
        )
    elif main == "short":
        row, text = evidence.examples[KINDS.index("short year")]
        found.append(
            Finding(
                "dates", "years of two digits, none after next year", 1, f"row {row}: {short(text)}", "--date-format"
            )
        )
    elif evidence.kinds[KINDS.index("compact")]:
        found.append(
            Finding("dates", "eight digits or more, as in 20240131", 1, _example(evidence, "compact"), "--date-format")
        )
    return found


def _example(evidence: DateEvidence, kind: str) -> str:
    row, text = evidence.examples[KINDS.index(kind)]
    return f"row {row}: {short(text)}"


def undated_rows(count: int, rows: int, first: tuple[int, str] | None, column: str, location: str) -> list[Finding]:
    """What to say of rows without a usable date.

    Raises:
        DataError: if there are too many.
    """
    if not count or first is None:
        return []
    row, text = first
    what = f"'{short(text)}'" if text and text != "nan" else "nothing"
    if count > _MOST_WITHOUT_DATE * rows:
        raise DataError(
            f"at most {_MOST_WITHOUT_DATE:.0%} of the rows may lack a date from {FIRST_YEAR} to {LAST_YEAR - 1}, but "
            f"{count:,} of {rows:,} do in column '{short(column)}' of {location}, the first in row {row} with {what}; "
            "use --date-column or --date-format, or mend them"
        )
    return [
        Finding(
            "dates",
            f"rows left out that have no date in '{short(column)}': {{count}}",
            count,
            f"row {row} has {what}",
            "--date-format",
            warning=True,
        )
    ]
