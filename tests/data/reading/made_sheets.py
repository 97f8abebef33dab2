"""Small files shaped like real ones, with all that whoever made them knows of how they are written."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

ISO = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d")


@dataclass(frozen=True)
class Sheet:
    """A file as whoever made it knows it: cells, and how they are written."""

    header: list[str]
    rows: list[list[str]]
    patterns: tuple[str, ...] = ISO
    separator: str = ","
    decimal: str = "."
    preamble: tuple[str, ...] = ()
    quoted: bool = False
    line_end: str = "\n"
    encoding: str = "utf-8"
    date: int = 0
    clock: int | None = None
    second_date: int | None = None
    blanks: tuple[int, ...] = ()
    tail: str = ""
    headless: bool = False

    def text(self) -> str:
        """The file as text."""
        out = io.StringIO()
        way = csv.QUOTE_ALL if self.quoted else csv.QUOTE_MINIMAL
        writer = csv.writer(out, delimiter=self.separator, quoting=way, lineterminator=self.line_end)
        for line in self.preamble:
            out.write(line + self.line_end)
        for place, row in enumerate(self.rows if self.headless else [self.header, *self.rows]):
            out.write(self.line_end * (place in self.blanks))
            writer.writerow(row)
        return out.getvalue() + self.tail

    def bytes(self) -> bytes:
        """The file."""
        return self.text().encode(self.encoding, "replace")


def _walk(seed: int, rows: int, start: float = 40.0) -> np.ndarray:
    return start * np.exp(np.random.default_rng(seed).normal(0, 0.01, rows).cumsum())


def _bars(rows: int, digits: int = 4) -> list[list[str]]:
    close = _walk(1, rows)
    return [
        [f"{c * 0.99:.{digits}f}", f"{c * 1.02:.{digits}f}", f"{c * 0.97:.{digits}f}", f"{c:.{digits}f}"] for c in close
    ]


def _volumes(rows: int) -> list[str]:
    return [str(int(value)) for value in _walk(2, rows, 8e6)]


def _days(rows: int, pattern: str, step: timedelta = timedelta(days=1), begin: str = "2019-11-20") -> list[str]:
    first = datetime.fromisoformat(begin)
    return [(first + place * step).strftime(pattern) for place in range(rows)]


def shapes(rows: int = 60) -> dict[str, Sheet]:
    """One small file of every shape."""
    bars, volumes = _bars(rows), _volumes(rows)
    names = ["Open", "High", "Low", "Close"]
    found = {}
    table = [
        [day, *bar, bar[3], volume] for day, bar, volume in zip(_days(rows, "%Y-%m-%d"), bars, volumes, strict=True)
    ]
    found["iso"] = Sheet(["Date", *names, "Adj Close", "Volume"], table)
    days = [f"{int(day[:2])}/{int(day[3:5])}/{day[6:]}" for day in _days(rows, "%m/%d/%Y")]
    table = [[day, *bar, volume] for day, bar, volume in zip(days, bars, volumes, strict=True)]
    found["month first, newest first"] = Sheet(
        ["Time", "Open", "High", "Low", "Last", "Volume"], table[::-1], ("%m/%d/%Y",)
    )
    stamps = _days(rows, "%d/%m/%Y %H.00.00", timedelta(hours=1), "2004-03-10 18:00")
    walks = [[f"{value:.1f}".replace(".", ",") for value in _walk(seed, rows, 20)] for seed in (3, 4)]
    table = [
        [*stamp.split(), a, b, str(1000 + place % 37)]
        for place, (stamp, a, b) in enumerate(zip(stamps, *walks, strict=True))
    ]
    for place in (7, 8, 30):
        table[place][2] = "-200"
    found["decimal comma, two columns"] = Sheet(
        ["Date", "Time", "CO(GT)", "C6H6(GT)", "PT08"],
        table,
        ("%d/%m/%Y %H.%M.%S", "%d/%m/%Y"),
        ";",
        ",",
        line_end="\r\n",
        clock=1,
    )
    days = _days(rows, "%Y-%m-%d %H:%M:%S")
    epochs = [str(int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000) for day in days]
    table = [
        [epoch, day, "BTC/USDT", *bar, volume]
        for epoch, day, bar, volume in zip(epochs, days, bars, volumes, strict=True)
    ]
    found["epoch, preamble"] = Sheet(
        ["unix", "date", "symbol", *map(str.lower, names), "Volume BTC"],
        table[::-1],
        preamble=("https://www.example.com",),
        second_date=1,
    )
    table = [
        [day, ticker, *bar[:2], volume]
        for place, (day, bar, volume) in enumerate(zip(_days(rows, "%Y-%m-%d"), bars, volumes, strict=True))
        for ticker in (("AAA", "BB", "NA") if place % 4 else ("AAA", "NA"))
    ]
    found["long"] = Sheet(["date", "ticker", "open", "close", "volume"], table)
    columns = [[f"{value:.3f}" for value in _walk(seed, rows)] for seed in range(4)]
    columns[1][:9] = [""] * 9
    columns[3][20] = ""
    table = [[day, *cells] for day, *cells in zip(_days(rows, "%Y-%m-%d"), *columns, strict=True)]
    found["wide"] = Sheet(["date", "AAPL", "MSFT", "XYZ", "T"], table)
    table = [
        [day, f"{float(bar[3]):.2f}", f"{int(volume):,}", *bar[:3]]
        for day, bar, volume in zip(_days(rows, "%Y/%m/%d"), bars, volumes, strict=True)
    ]
    found["quoted thousands"] = Sheet(["date", "close", "volume", "open", "high", "low"], table[::-1], quoted=True)
    minutes = _days(rows, "%Y-%m-%d %H:%M", timedelta(minutes=1))
    table = [[str(place), minute, *bar] for place, (minute, bar) in enumerate(zip(minutes, bars, strict=True))]
    found["index column"] = Sheet(["", "date", "open", "high", "low", "close"], table, encoding="utf-8-sig", date=1)
    table = [
        [day, *bar, volume]
        for day, bar, volume in zip(_days(rows, "%d-%b-%y", begin="2003-06-19"), bars, volumes, strict=True)
    ]
    found["month names"] = Sheet(["Date", *names, "Adj. Close*"], table[::-1], ("%d-%b-%y",))
    zoned = _days(rows, "%Y-%m-%d %H:%M:%S-04:00", timedelta(minutes=15))
    table = [[day, *bar, volume] for day, bar, volume in zip(zoned, bars, volumes, strict=True)]
    found["time zone"] = Sheet(["Datetime", *names, "Volume"], table)
    table = [
        [f"{day}.0", *bar, f"{volume}.0"] for day, bar, volume in zip(_days(rows, "%Y%m%d"), bars, volumes, strict=True)
    ]
    found["float dates"] = Sheet(["date", *names, "Volume"], table, ("%Y%m%d.0", "%Y%m%d"))
    return found
