"""How rows make up series: one series, a row per date and series (long), or a column per series (wide)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import DataError, OptionError, did_you_mean
from ..options import ReadingOptions
from .column_names import canonical_name
from .findings import Finding, some
from .rows_of_source import SourceRows
from .scans import is_series_name

_PRICES = frozenset(("open", "high", "low", "close", "adj close", "volume"))
_TICKER = re.compile(r"\^?[A-Z][A-Z0-9]{0,9}(?:[.\-=/_][A-Z0-9]{1,5})?")
_WELL_KNOWN = frozenset((
    "AAPL", "MSFT", "GOOG", "GOOGL", "AMZN", "META", "FB", "TSLA", "NVDA", "IBM", "INTC", "AMD", "ORCL", "CSCO",
    "NFLX", "JPM", "BAC", "GS", "WFC", "C", "MS", "V", "MA", "AXP", "XOM", "CVX", "COP", "SLB", "GE", "F", "GM",
    "BA", "CAT", "HON", "MMM", "UNH", "JNJ", "PFE", "MRK", "ABT", "BMY", "LLY", "KO", "PEP", "MCD", "SBUX", "WMT",
    "TGT", "COST", "HD", "LOW", "NKE", "DIS", "T", "VZ", "CMCSA", "BABA", "SPY", "QQQ", "DIA", "IWM", "VTI", "VOO",
    "GLD", "SLV", "TLT", "EEM", "BRK.B", "BRK-B", "PG", "MO", "PM", "UPS", "FDX", "RTX", "LMT", "ADBE", "CRM",
    "PYPL", "SQ", "UBER", "SHOP", "BTC", "ETH", "BTCUSDT", "ETHUSDT", "BTC-USD", "ETH-USD", "XRP", "SOL", "ADA",
    "DOGE", "LTC", "EURUSD", "GBPUSD", "USDJPY", "EUR/USD", "GBP/USD", "USD/JPY",
))  # fmt: skip
_NEW_COLUMN = "Close"


@dataclass(frozen=True)
class Layout:
    """How rows make up series.

    Attributes:
        kind: ``single``, ``long`` or ``wide``.
        column: the column that names the series of a row, for ``long``.
    """

    kind: str
    column: str = ""


def choose_layout(rows: SourceRows, options: ReadingOptions, series_column: str | None) -> Layout:
    """The layout, as the user says or as names and dates suggest; ``single`` where in doubt.

    Args:
        rows: in file order.
        options: ``layout`` and ``series``.
        series_column: as the user said.

    Raises:
        OptionError: if the user asks for a long layout and no column can name the series.
    """
    if series_column is not None and options.layout in (None, "long"):
        return Layout("long", series_column)
    if options.layout == "long":
        column = _series_column(rows, asked=True)
        if column is None:
            raise OptionError(
                f"the long layout needs a column that names the series of each row, but {rows.location} has none that "
                "stands out; name it with --series-column"
            )
        return Layout("long", column)
    if options.layout is not None:
        return Layout(options.layout)
    column = _series_column(rows, asked=False)
    if column is not None:
        return Layout("long", column)
    return Layout("wide" if _is_wide(rows, options) else "single")


def _series_column(rows: SourceRows, asked: bool) -> str | None:
    """The column whose texts tell apart rows of the same date, or None."""
    several = {
        name: codes for name, codes in rows.codes.items() if 2 <= len(rows.code_names[name]) <= max(2, len(rows) // 2)
    }
    if not several:
        return None
    dates = np.sort(rows.dates)
    repeated = int((dates[1:] == dates[:-1]).sum())
    del dates
    found = []
    for place, (name, codes) in enumerate(several.items()):
        named = is_series_name(name)
        left = _repeated(rows.dates, codes)
        least = 1 if named or asked else 0.2 * len(rows)
        if repeated >= least and left <= (0.05 if named or asked else 0.01) * len(rows) and left < repeated:
            found.append((not named, left, len(rows.code_names[name]), place, name))
    return min(found)[-1] if found else None


def _repeated(dates: np.ndarray, codes: np.ndarray) -> int:
    """How many rows repeat the date and series of another."""
    order = np.lexsort((dates, codes))
    same = dates[order[1:]] == dates[order[:-1]]
    same &= codes[order[1:]] == codes[order[:-1]]
    return int(same.sum())


def _is_wide(rows: SourceRows, options: ReadingOptions) -> bool:
    """Whether every column is the price of another ticker.

    Sensors have names like tickers too; so at least one name must be well known, or be asked for with ``--series``.
    """
    names = list(rows.columns)
    known = sum(len(name) > 2 and name in _WELL_KNOWN for name in names)
    prices = [name for name in names if canonical_name(name) in _PRICES and not (known > 2 and name in ("LOW", "OPEN"))]
    if len(names) < 2 or prices:
        return False
    if options.series is not None:
        wanted = {part.strip().lower() for part in options.series.split(",")}
        if wanted <= {name.lower() for name in names}:
            return True
    if not all(_TICKER.fullmatch(name) for name in names) or not known:
        return False
    return all(not (np.fmin.reduce(values) <= 0) for values in rows.columns.values())


def select_series(names: Sequence[str], options: ReadingOptions) -> list[int]:
    """The places of the series that the user wants; all of them without ``--series``."""
    if options.series is None:
        return list(range(len(names)))
    wanted = {part.strip().lower() for part in options.series.split(",")}
    return [place for place, name in enumerate(names) if name.lower() in wanted]


def check_series(names: Sequence[str], options: ReadingOptions) -> None:
    """Refuse ``--series`` with a name that no source has.

    Raises:
        OptionError: naming the closest one.
    """
    if options.series is None:
        return
    known = {name.lower() for name in names}
    for part in options.series.split(","):
        if part.strip() and part.strip().lower() not in known:
            raise OptionError(
                f"series must name series of the data, but there is no '{part.strip()}'."
                f"{did_you_mean(part.strip(), names)} Series: {some(names, 12)}"
            )


def group_long(rows: SourceRows, column: str, options: ReadingOptions) -> list[Finding]:
    """Put the rows of each series together, series in order of first appearance.

    Raises:
        DataError: if a row of a long file does not name its series in more than a few cases.
    """
    codes, names = rows.codes[column], rows.code_names[column]
    rows.columns.pop(column, None)
    if not rows.columns:
        raise DataError(
            f"a file needs a column of numbers beside its dates and series, but {rows.location} has none but "
            f"'{column}'; add one"
        )
    findings = [Finding("layout", f"long: '{column}' names the series", 1, "", "--layout")]
    unnamed = int((codes < 0).sum())
    if unnamed > 0.2 * len(rows):
        raise DataError(
            f"every row of a long file must name its series, but column '{column}' of {rows.location} is empty in "
            f"{unnamed:,} of {len(rows):,} rows; use --layout single or another --series-column"
        )
    if unnamed:
        row = int(rows.numbers[codes < 0][0])
        text = f"rows left out that name no series in '{column}': {{count}}"
        findings.append(Finding("series", text, unnamed, f"row {row}", "--series-column", warning=True))
    chosen = select_series(names, options)
    places = np.full(len(names) + 1, -1, np.int32)
    places[chosen] = np.arange(len(chosen), dtype=np.int32)
    codes[:] = places[codes]
    if (codes < 0).any():
        rows.keep(codes >= 0)
        codes = rows.codes[column]
    rows.codes = {column: codes}
    if len(codes) and (np.diff(codes) < 0).any():
        rows.reorder(np.argsort(codes, kind="stable"))
    counts = np.bincount(codes, minlength=len(chosen))
    rows.bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows.names = [names[place] for place in chosen]
    return findings


def melt_wide(rows: SourceRows, options: ReadingOptions) -> tuple[SourceRows, list[Finding]]:
    """Every column as a series of its own that begins with the column's first value.

    Args:
        rows: in order of date.
        options: ``series``.
    """
    names = [list(rows.columns)[place] for place in select_series(list(rows.columns), options)]
    firsts, empty = [], []
    for name in names:
        filled = ~np.isnan(rows.columns[name])
        firsts.append(int(filled.argmax()) if filled.any() else len(rows))
        if not filled.any():
            empty.append(name)
    counts = [len(rows) - first for first in firsts]
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(bounds[-1])
    storage = rows.storage
    melted = SourceRows(
        name=rows.name,
        location=rows.location,
        dates=storage.allocate("int64", total),
        numbers=storage.allocate("int32", total),
        columns={_NEW_COLUMN: storage.allocate("float64", total)},
        storage=storage,
        bounds=bounds,
        names=names,
    )
    for place, (name, first) in enumerate(zip(names, firsts, strict=True)):
        span = slice(bounds[place], bounds[place + 1])
        melted.dates[span], melted.numbers[span] = rows.dates[first:], rows.numbers[first:]
        melted.columns[_NEW_COLUMN][span] = rows.columns[name][first:]
        storage.release()
    late = sum(first > 0 for first in firsts)
    text = "wide: each column is a series of 'Close'" + (", from its first value on" if late else "")
    findings = [Finding("layout", text, 1, f"{len(names):,} series", "--layout")]
    if empty:
        findings.append(
            Finding("series", "columns without any value left out: {names}", 1, parts=dict.fromkeys(empty, 1))
        )
    return melted, findings
