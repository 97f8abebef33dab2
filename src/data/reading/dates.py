"""From the cells of a column to instants: every way to write a date that can be told from the cell itself.

A text cell is read by its shape, the cell with every digit replaced by 0: all cells of one shape have their year,
month, day and clock at the same places, so that each shape is understood once and its digits are read as arrays. What a
cell cannot say by itself, whether 01/02/2003 is the first of February, is left open until the whole column is known
(``ParsedDates.resolve``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pandas as pd

NOT_A_DATE = np.iinfo(np.int64).min
ORDERS = ("day", "month", "year")
KINDS = (
    "none", "day", "short year", "month", "quarter", "year", "compact", "excel",
    "seconds", "milliseconds", "microseconds", "nanoseconds",
)  # fmt: skip
DAY = 86_400_000_000_000
_SECOND = 1_000_000_000
FIRST_YEAR, LAST_YEAR = 1700, 2200  # well inside what 64 bits of nanoseconds can hold
_MOST_SHAPES = 400
_LONGEST = 50  # characters of a date
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAME = (  # English only: what begins alike elsewhere may be another month, such as marraskuu, November
    "(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[.,]?\s+)?"
_CLOCK = (
    r"(?:[t,]?\s*(?P<H>00?)(?P<s2>[:.])(?P<M>00)(?:(?P=s2)(?P<S>00)(?:[.,](?P<f>0{1,9}))?)?"
    r"|[ -](?P<H2>00?)(?=[ -]?[ap]m))"
    r"(?:[ -]?(?P<half>[ap])\.?m\.?)?"
)
_ZONE = r"(?:\s*(?:z|utc|gmt|(?P<sign>[+-])(?P<zh>00)(?::?(?P<zm>00))?))"
_DATE_SHAPES = (
    r"(?P<y>0000)(?P<s>[-/. ])(?P<m>00?)(?P=s)(?P<d>00?)",
    r"(?P<a>00?)(?P<s>[-/. ])(?P<b>00?)(?P=s)(?P<c>0000|00)",
    rf"(?P<d>00?)(?:st|nd|rd|th)?[-/. ]?{_MONTH_NAME}\.?,?[-/ ]?(?P<y>0000|00)",
    rf"{_MONTH_NAME}\.?[-/ ]?(?P<d>00?)(?:st|nd|rd|th)?(?:,\s*|[-/ ])(?P<y>0000)",
    rf"(?P<y>0000)[-/. ]?{_MONTH_NAME}[-/. ]?(?P<d>00?)",
    r"(?P<y>0000)(?P<m>00)(?P<d>00)(?=[t ])",
    r"(?P<y>0000)[-/.](?P<m>00?)",
    r"(?P<m>00?)[-/.](?P<y>0000)",
    rf"{_MONTH_NAME}\.?[-/., ]*(?P<y>0000|00)",
    rf"(?P<y>0000)[-/. ]?{_MONTH_NAME}",
    r"(?P<y>0000)[-/. ]?q(?P<q>0)",
    r"q(?P<q>0)[-/. ]?(?P<y>0000)",
)
_SHAPES = tuple(re.compile(f"{_WEEKDAY}{shape}(?:{_CLOCK})?(?P<zone>{_ZONE})?") for shape in _DATE_SHAPES)
_CLOCK_SHAPE = re.compile(_CLOCK)
_NUMBER = r"\d+(?:\.\d*)?(?:[eE]\+?\d+)?"


@dataclass
class ParsedDates:
    """The dates of some cells.

    Attributes:
        instants: int64 ``[cells]``, nanoseconds since 1970; ``NOT_A_DATE`` where a cell is none or is left open.
        kinds: int8 ``[cells]``: how each cell is written, a place in ``KINDS``.
        clocks: whether any cell has a time of day.
        zoned: bool ``[cells]``: which cells name their zone; such instants are UTC.
        open_cells: int64 ``[open]``, the places of cells whose order of day and month is open.
        open_parts: int64 ``[open, 4]``: their three numbers and the rest in nanoseconds.
        open_short_year: bool ``[open]``: the year has two digits.
    """

    instants: np.ndarray
    kinds: np.ndarray
    zoned: np.ndarray
    clocks: bool = False
    open_cells: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    open_parts: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.int64))
    open_short_year: np.ndarray = field(default_factory=lambda: np.empty(0, bool))

    def chosen(self, mask: np.ndarray) -> ParsedDates:
        """Only some of the cells. ``mask``: bool ``[cells]``."""
        places = np.cumsum(mask) - 1
        kept = mask[self.open_cells]
        return ParsedDates(
            self.instants[mask],
            self.kinds[mask],
            self.zoned[mask],
            self.clocks,
            places[self.open_cells[kept]],
            self.open_parts[kept],
            self.open_short_year[kept],
        )

    def resolve(self, order: str) -> np.ndarray:
        """All instants if numeric dates begin with the day, the month or the (two-digit) year."""
        if not len(self.open_cells):
            return self.instants
        instants = self.instants.copy()
        instants[self.open_cells] = self.resolve_open(order)
        return instants

    def resolve_open(self, order: str) -> np.ndarray:
        """The instants of the open cells only, in their order of place."""
        first, second, third, rest = self.open_parts.T
        if order == "year":
            result = _instants(_full_years(first, True), second, third, rest)
            return np.where(self.open_short_year, result, NOT_A_DATE)
        day, month = (first, second) if order == "day" else (second, first)
        return _instants(np.where(self.open_short_year, _full_years(third, True), third), month, day, rest)


def parse_dates(cells: pd.Series, date_format: str | None = None) -> ParsedDates:
    """Read a column of any type.

    Args:
        cells: text, numbers or datetimes.
        date_format: None, ``epoch-s``, ``epoch-ms``, ``epoch-us``, ``epoch-ns`` or a ``strptime`` pattern.
    """
    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        return _from_datetimes(cells.dt.tz_convert("UTC").dt.tz_localize(None), zones=True)
    if pd.api.types.is_datetime64_dtype(cells.dtype):
        return _from_datetimes(cells)
    if date_format is not None and "%" in date_format:
        return _from_pattern(cells, date_format)
    unit = date_format.removeprefix("epoch-") if date_format and date_format.startswith("epoch-") else None
    if pd.api.types.is_numeric_dtype(cells.dtype):
        parsed = _nothing(len(cells))
        _read_numbers(cells.to_numpy(np.float64, na_value=np.nan), np.arange(len(cells)), unit, parsed)
        return parsed
    texts = cells if isinstance(cells.dtype, pd.StringDtype) else cells.map(str, na_action="ignore").astype("str")
    return _from_texts(texts, unit)


def parse_clocks(cells: pd.Series) -> np.ndarray:
    """Times of day (``18:00``, ``18.00.00``, ``6:00 PM``, 93000) in nanoseconds; ``NOT_A_DATE`` where there is none."""
    texts = cells if isinstance(cells.dtype, pd.StringDtype) else cells.map(str, na_action="ignore").astype("str")
    result = np.full(len(cells), NOT_A_DATE)
    for shape, places, digits in _by_shape(texts):
        match = _CLOCK_SHAPE.fullmatch(shape)
        if match is not None:
            result[places] = _clock(match, digits)
        elif re.fullmatch(r"0{1,6}(\.0)?", shape):
            number = _digits(digits, (0, len(shape.removesuffix(".0"))))
            hours, minutes, seconds = (
                (number, 0 * number, 0 * number)
                if len(shape) <= 2
                else (number // 100, number % 100, 0 * number)
                if len(shape.removesuffix(".0")) <= 4
                else (number // 10_000, number // 100 % 100, number % 100)
            )
            clock = ((hours * 60 + minutes) * 60 + seconds) * _SECOND
            result[places] = np.where((hours < 24) & (minutes < 60) & (seconds < 60), clock, NOT_A_DATE)
    return result


def _nothing(cells: int) -> ParsedDates:
    return ParsedDates(np.full(cells, NOT_A_DATE), np.zeros(cells, np.int8), np.zeros(cells, bool))


def _from_datetimes(cells: pd.Series, zones: bool = False) -> ParsedDates:
    days = cells.to_numpy("datetime64[s]")
    usable = ~np.isnat(days) & (days >= np.datetime64(f"{FIRST_YEAR}")) & (days < np.datetime64(f"{LAST_YEAR}"))
    instants = np.full(len(cells), NOT_A_DATE)
    instants[usable] = cells.to_numpy()[usable].astype("datetime64[ns]").astype(np.int64)
    return ParsedDates(instants, usable.astype(np.int8), usable & zones, bool((instants[usable] % DAY).any()))


def _from_pattern(cells: pd.Series, pattern: str) -> ParsedDates:
    texts = cells.map(lambda cell: str(cell).removesuffix(".0"), na_action="ignore")
    zones = "%z" in pattern or "%Z" in pattern
    dates = pd.to_datetime(texts, format=pattern, errors="coerce", utc=zones)
    if getattr(dates.dt, "tz", None) is not None:
        dates = dates.dt.tz_localize(None)
    return _from_datetimes(dates, zones)


def _from_texts(texts: pd.Series, unit: str | None) -> ParsedDates:
    parsed = _nothing(len(texts))
    opened: list[tuple[np.ndarray, np.ndarray, bool]] = []
    for shape, places, digits in _by_shape(texts):
        if re.fullmatch(_NUMBER.replace(r"\d", "0"), shape):
            _read_numbers(texts.iloc[places].to_numpy(object), places, unit, parsed)
            continue
        match = next((found for known in _SHAPES if (found := known.fullmatch(shape))), None)
        if match is not None:
            _read_shape(match, places, digits, parsed, opened)
    if opened:
        places = np.concatenate([group[0] for group in opened])
        order = np.argsort(places, kind="stable")
        parsed.open_cells = places[order]
        parsed.open_parts = np.concatenate([group[1] for group in opened])[order]
        parsed.open_short_year = np.concatenate([np.full(len(group[0]), group[2]) for group in opened])[order]
    return parsed


def _by_shape(texts: pd.Series) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Cells grouped by shape: lower-case shape, places ``[group]``, code points ``[group, length]`` less that of 0."""
    cells = texts.to_numpy(object, na_value="")
    longest = max(map(len, cells), default=0)
    if not longest:
        return []
    width = min(longest, _LONGEST)
    characters = cells.astype(f"U{width}").view(np.int32).reshape(len(cells), width) - ord("0")
    shapes = np.where((characters >= 0) & (characters <= 9), 0, characters)
    if (shapes == shapes[0]).all():
        codes, first = np.zeros(len(cells), np.int64), np.array([0])
    else:
        codes, _ = pd.factorize((shapes + ord("0")).view(f"U{width}").ravel().astype(object))
        first = np.unique(codes, return_index=True)[1]
    if len(first) > _MOST_SHAPES:  # no column of dates
        return []
    groups = []
    for number, place in enumerate(first):
        shape = "".join(chr(code + ord("0")) for code in shapes[place]).rstrip("\0").lower()
        if shape and len(shape) == len(cells[place]) and len(cells[place]) <= _LONGEST:
            places = np.flatnonzero(codes == number) if len(first) > 1 else np.arange(len(cells))
            groups.append((shape, places, characters[places] if len(first) > 1 else characters))
    return groups


def _digits(characters: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """The number that stands at the same place of every cell, int64 ``[cells]``."""
    number = np.zeros(len(characters), np.int64)
    for place in range(*span):
        number = number * 10 + characters[:, place]
    return number


def _read_shape(
    match: re.Match[str],
    places: np.ndarray,
    characters: np.ndarray,
    parsed: ParsedDates,
    opened: list[tuple[np.ndarray, np.ndarray, bool]],
) -> None:
    """Read all cells of one shape into ``parsed``, or into ``opened`` if the order of day and month is open."""
    groups = match.groupdict()
    rest = np.zeros(len(places), np.int64)
    if groups["H"] or groups["H2"]:
        rest = _clock(match, characters)
        parsed.clocks = True
    if groups["zone"]:
        if groups["sign"] and not (groups["H"] or groups["H2"]):  # 2024-01-31-05: an offset belongs to a clock time
            return
        parsed.zoned[places] = True
        if groups["sign"]:
            minutes = _digits(characters, match.span("zh")) * 60
            minutes += _digits(characters, match.span("zm")) if groups["zm"] else 0
            rest = np.where(
                rest == NOT_A_DATE, rest, rest - (1 if groups["sign"] == "+" else -1) * minutes * 60 * _SECOND
            )
    parsed.kinds[places] = KINDS.index(_kind(groups))
    if groups.get("a"):
        parts = [_digits(characters, match.span(name)) for name in "abc"]
        opened.append((places, np.stack([*parts, rest], axis=1), len(groups["c"]) == 2))
        return
    one = np.ones(len(places), np.int64)
    year = _full_years(_digits(characters, match.span("y")), len(groups["y"]) == 2)
    if groups.get("name"):
        month = one * (_MONTHS.index(groups["name"][:3]) + 1)
    elif groups.get("q"):
        quarter = _digits(characters, match.span("q"))
        month = np.where((quarter >= 1) & (quarter <= 4), quarter * 3 - 2, 0)
    else:
        month = _digits(characters, match.span("m"))
    day = _digits(characters, match.span("d")) if groups.get("d") else one
    parsed.instants[places] = _instants(year, month, day, rest)


def _kind(groups: dict[str, str | None]) -> str:
    if groups.get("q"):
        return "quarter"
    if not groups.get("a") and not groups.get("d"):
        return "month"
    return "short year" if len(groups.get("y") or groups.get("c") or "") == 2 else "day"


def _clock(match: re.Match[str], characters: np.ndarray) -> np.ndarray:
    """Nanoseconds since midnight, ``NOT_A_DATE`` where there is no such time."""
    groups = match.groupdict()
    zero = np.zeros(len(characters), np.int64)
    hours = _digits(characters, match.span("H" if groups["H"] else "H2"))
    minutes = _digits(characters, match.span("M")) if groups["M"] else zero
    seconds = _digits(characters, match.span("S")) if groups["S"] else zero
    good = (minutes < 60) & (seconds < 60) & (hours * 3600 + minutes * 60 + seconds <= 86_400)
    if groups["half"]:
        good &= (hours >= 1) & (hours <= 12)
        hours = hours % 12 + (12 if groups["half"] == "p" else 0)
    clock = ((hours * 60 + minutes) * 60 + seconds) * _SECOND
    if groups["f"]:
        start, end = match.span("f")
        clock += _digits(characters, (start, end)) * 10 ** (9 - (end - start))
    return np.where(good, clock, NOT_A_DATE)


def _full_years(years: np.ndarray, short: bool) -> np.ndarray:
    """Two-digit years become the latest that do not lie beyond next year."""
    if not short:
        return years
    return np.where(years + 2000 <= datetime.now(UTC).year + 1, years + 2000, years + 1900)


def _instants(year: np.ndarray, month: np.ndarray, day: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Nanoseconds since 1970, ``NOT_A_DATE`` where the calendar has no such day."""
    good = (year >= FIRST_YEAR) & (year < LAST_YEAR) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    good &= rest != NOT_A_DATE
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(good, day - 1, 0)
    good &= days.astype("datetime64[M]") == months
    return np.where(good, days.astype(np.int64) * DAY + np.where(good, rest, 0), NOT_A_DATE)


def _read_numbers(cells: np.ndarray, places: np.ndarray, unit: str | None, parsed: ParsedDates) -> None:
    """Dates written as numbers, told apart by their size, into ``parsed``.

    Args:
        cells: float64, or text that is a number.
        places: where they stand.
        unit: of epochs, if the user said so.
        parsed: receives the instants.
    """
    floats = cells.astype(np.float64)
    whole = np.where(np.isfinite(floats) & (np.abs(floats) < 9e18), np.floor(floats), -1).astype(np.int64)
    if cells.dtype == object and all(cell.isdigit() for cell in cells):  # more digits than a float holds
        whole = np.array(
            [int(cell) if len(cell) < 19 else -1 if len(cell) > 19 else int(cell) for cell in cells], dtype=object
        )
        whole = np.where(whole < 2**63, whole, -1).astype(np.int64)
    part = np.where((whole >= 0) & (whole < 10**15), floats - whole, 0.0)
    result = np.full(len(cells), NOT_A_DATE)
    if unit is None:
        _read_calendar_numbers(whole, part, result, places, parsed)
    for kind, (low, high), scale in _EPOCHS:
        chosen = (whole >= low) & (whole <= high) if unit is None else np.isfinite(floats) & (unit == _UNITS[kind])
        chosen &= result == NOT_A_DATE
        if chosen.any():
            good = chosen & (np.abs(floats) < 7e18 / scale)
            result[good] = whole[good] * scale + np.rint(part[good] * scale).astype(np.int64)
            parsed.kinds[places[good]] = KINDS.index(kind)
    parsed.instants[places] = result


_EPOCHS = (
    ("seconds", (100_000_000, 7_200_000_000), _SECOND),
    ("milliseconds", (100_000_000_000, 7_200_000_000_000), 1_000_000),
    ("microseconds", (100_000_000_000_000, 7_200_000_000_000_000), 1_000),
    ("nanoseconds", (100_000_000_000_000_000, 7_200_000_000_000_000_000), 1),
)
_UNITS = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


def _read_calendar_numbers(
    whole: np.ndarray, part: np.ndarray, result: np.ndarray, places: np.ndarray, parsed: ParsedDates
) -> None:
    """20040817, 200408171530, 20040817153000, 200408, 2004 and day numbers of spreadsheets."""
    zero, one = np.zeros_like(whole), np.ones_like(whole)

    def take(kind: str, chosen: np.ndarray, instants: np.ndarray) -> None:
        good = chosen & (instants != NOT_A_DATE)
        result[good] = instants[good]
        parsed.kinds[places[good]] = KINDS.index(kind)

    for digits, divisor in ((8, 1), (12, 10_000), (14, 1_000_000)):
        chosen = (whole >= 18 * 10 ** (digits - 2)) & (whole < 22 * 10 ** (digits - 2)) & (part == 0)
        if not chosen.any():
            continue
        day, clock = whole // divisor, whole % divisor * (100 if digits == 12 else 1)
        hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
        rest = np.where((hours < 24) & (minutes < 60) & (seconds < 60), (hours * 60 + minutes) * 60 + seconds, -1)
        rest = np.where(rest >= 0, rest * _SECOND, NOT_A_DATE)
        take("compact", chosen, _instants(day // 10_000, day // 100 % 100, day % 100, rest))
        parsed.clocks |= digits > 8
    chosen = (whole >= 180_000) & (whole < 220_000) & (part == 0)
    take("month", chosen, _instants(whole // 100, whole % 100, one, zero))
    take("year", (whole >= 1800) & (whole < 2200) & (part == 0), _instants(whole, one, one, zero))
    clock = np.rint(np.nan_to_num(part) * 86_400_000).astype(np.int64) * 1_000_000
    days = np.clip(whole, 20_000, 60_000)
    excel = (whole >= 20_000) & (whole <= 60_000)
    take("excel", excel, (days - 25_569) * DAY + clock)
    parsed.clocks |= bool((excel & (part > 0)).any())
