"""Damaged copies of files: whatever is done to them, what loads is what stands there, and what does not is told."""

from __future__ import annotations

import csv
import gzip
import os
import random
import re
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import damage
import made_sheets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sheets import Sheet
from slow_reading import instants, numbers, reference_rows

from src.data.options import ReadingOptions
from src.data.readers import read_tables
from src.data.reading.sources import open_sources
from src.data.tables import Table
from src.errors import UserError

DATA = Path(os.environ.get("TRAINBOARD_TEST_DATA", Path(__file__).parents[4] / "shared/data"))
SHAPES = made_sheets.shapes()
EXAMPLES = 36
REAL = {  # columns of date and clock, and what else must be known of real files
    "messy/airquality_decimal_comma.csv.gz": {
        "clock": 1,
        "separator": ";",
        "decimal": ",",
        "patterns": ("%d/%m/%Y %H.%M.%S",),
    },
    "messy/bad_missing_dates.csv": {"patterns": ("%m/%d/%Y",)},
    "messy/btcusdt_epoch_ms_preamble.csv": {"preamble": ("https://www.CryptoDataDownload.com",), "second_date": 1},
    "messy/EA_15min_tz_aware.csv": {},
    "messy/float_dates_987654.csv": {"patterns": ("%Y%m%d.0",)},
    "messy/jpyusd_time_last_desc.csv": {"patterns": ("%m/%d/%Y",)},
    "messy/msft_2003_desc_adjclose_star.csv": {"patterns": ("%d-%b-%y",)},
    "messy/tesla_quoted_thousands_desc.csv": {},
    "messy/wide_20_tickers_nan.csv.gz": {},
    "stocks/AAPL_daily_2004_2018.csv": {},
    "stocks/SPY_1min_2020-12.csv": {},
    "stocks/SPY_daily_1999_2020.csv": {"date": 1},
}
REAL_ROWS = 200

_LEFT_OUT = (
    r"rows left out that have no date in [^|]*?: ([\d,]+)",
    r"rows left out that repeat the row before: ([\d,]+)",
    r"dates with rows that differ, [^|]*?left out: ([\d,]+)",
    r"rows left out before the first value of [^|]*?: ([\d,]+)",
    r"rows left out in gaps of more than [^|]*?: ([\d,]+)",
    r"rows left out that name no series in [^|]*?: ([\d,]+)",
)
_SPAN = re.compile(r"left out rows? (\d+)(?: to (\d+))?")


@dataclass
class Account:
    """What the notes say."""

    text: str

    def left_out(self) -> int:
        """How many rows."""
        count = sum(
            int(found[1].replace(",", "")) for pattern in _LEFT_OUT for found in re.finditer(pattern, self.text)
        )
        count += sum(int(found[2] or found[1]) - int(found[1]) + 1 for found in _SPAN.finditer(self.text))
        return count + self.text.count("left out the last row")

    def filled(self) -> int:
        """How many cells."""
        found = re.search(r"cells filled with the value before: ([\d,]+)", self.text)
        return int(found[1].replace(",", "")) if found else 0

    def names(self, word: str) -> bool:
        """Whether a column or series is spoken of."""
        return word in self.text or " more" in self.text


def load(content: bytes, folder: Path, packed: bool = False) -> list[Table] | str:
    """Tables, or the message of a refusal; anything else that is raised is what these tests look for."""
    path = folder / ("prices.csv.gz" if packed else "prices.csv")
    path.write_bytes(content)
    options = ReadingOptions(data=str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read_tables(open_sources(options), options)
        except UserError as error:
            message = str(error)
    assert "\n" not in message and "\r" not in message and len(message) - len(str(path)) < 600, message
    assert "prices.csv" in message, message
    return message


def check(tables: list[Table], sheet: Sheet, content: bytes) -> None:
    """Compare with the slow parse: every value, every date, every row, every column.

    Args:
        tables: what was loaded.
        sheet: how the damaged file is written.
        content: its bytes.
    """
    told = Account(" | ".join(f"{note.topic}: {note.text}" for note in tables[0].notes))
    header, rows = reference_rows(sheet, content)
    moments = [_moments(row, sheet) for row in rows]
    wide = "wide: " in told.text
    long = re.search(r"long: '(.*?)' names the series", told.text)
    key = _places(long[1], header)[0] if long else None
    filled = lost = 0
    for table in tables:
        assert (np.diff(table.dates.astype(np.int64)) > 0).all()
        mine = [
            (row, found)
            for row, found in zip(rows, moments, strict=True)
            if key is None or _cell(row, key) == table.name
        ]
        assert len(table.dates) <= len(mine), "rows were invented"
        for name, values in table.columns.items():
            places = _places(table.name if wide else name, header)
            assert places, f"nobody knows the column {name}"
            decimals = ".," if "a guess" in told.text or "decimal sign: comma" in told.text else sheet.decimal
            filled += _foreign(table.dates.astype(np.int64), values, mine, places, decimals)
        if wide:
            lost = max(lost, _after_first(table, mine, places, sheet) - len(table.dates))
        else:
            lost += len(mine) - len(table.dates)
    if key is not None:
        lost += sum(_cell(row, key) not in {table.name for table in tables} for row in rows)
        if "fewer than 2 rows" in told.text:
            names = Counter(_cell(row, key) for row in rows)
            lost -= sum(count for name, count in names.items() if name not in {table.name for table in tables})
    assert filled <= told.filled(), f"{filled} cells hold what does not stand in the file; told: {told.text}"
    assert lost <= told.left_out(), f"{lost} rows are gone; told: {told.text}"
    _check_columns(tables, header, rows, sheet, told, wide, key)
    zoned = [
        ":" in cell and re.search(r"(Z|UTC|[+-]\d\d:?\d\d)$", cell) is not None
        for cell in (_cell(row, sheet.date) for row in rows)
    ]
    assert not any(zoned) or all(zoned) or "time zone" in told.text or sheet.second_date is not None or lost
    if len(rows[-1]) == len(header) and not content.endswith((b"\n", b"\r", b"\0")) and "left out row" not in told.text:
        assert "has no line end" in told.text or "last row" in told.text


def _after_first(table: Table, rows: list[tuple[list[str], set[int]]], places: list[int], sheet: Sheet) -> int:
    """How many rows stand from the first value of a column on."""
    first = int(table.dates.astype(np.int64)[0])
    return sum(
        min(moments, default=first) >= first or any(numbers(_cell(row, place), sheet.decimal) for place in places)
        for row, moments in rows
    )


def _cell(row: list[str], place: int | None) -> str:
    return row[place] if place is not None and place < len(row) else ""


def _moments(row: list[str], sheet: Sheet) -> set[int]:
    """What the date of a row may be."""
    day = _cell(row, sheet.date)
    if sheet.clock is not None:
        both = instants(f"{day} {_cell(row, sheet.clock)}", sheet.patterns)
        return both if both or _cell(row, sheet.clock) else instants(day, sheet.patterns)
    found = instants(day, sheet.patterns)
    return found | instants(_cell(row, sheet.second_date), sheet.patterns)


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower()) or name.strip()


def _places(name: str, header: list[str]) -> list[int]:
    """Which columns of the header a name may mean."""
    if name in header:
        return [header.index(name)]
    same = [place for place, cell in enumerate(header) if _bare(cell) == _bare(name) and cell]
    if same:
        return same[:1] if all(header[place] == header[same[0]] for place in same) else same
    numbered = re.fullmatch(r"(.*)\.(\d+)", name)
    if numbered:
        base = [place for place, cell in enumerate(header) if _bare(cell) == _bare(numbered[1])]
        return base[int(numbered[2]) - 1 : int(numbered[2])] or base
    counted = re.fullmatch(r"column_(\d+)", name)
    return [int(counted[1]) - 1] if counted else []


def _foreign(
    dates: np.ndarray, values: np.ndarray, rows: list[tuple[list[str], set[int]]], places: list[int], decimals: str
) -> int:
    """How many values stand in no row of their date; each must be the value before it."""
    allowed: dict[int, set[float]] = {}
    for row, moments in rows:
        for moment in moments:
            for place in places:
                for decimal in decimals:
                    allowed.setdefault(moment, set()).update(numbers(_cell(row, place), decimal))
    count = 0
    for number, (date, value) in enumerate(zip(dates.tolist(), values.tolist(), strict=True)):
        assert date in allowed, f"{np.datetime64(date, 'ns')} stands in no row"
        if not any(np.isclose(value, other, rtol=1e-12, atol=0) for other in allowed[date]):
            assert number and value == values[number - 1], (
                f"{value} on {np.datetime64(date, 'ns')} is not {allowed[date]}"
            )
            count += 1
    return count


def _check_columns(
    tables: list[Table],
    header: list[str],
    rows: list[list[str]],
    sheet: Sheet,
    told: Account,
    wide: bool,
    key: int | None,
) -> None:
    """Every column that is mostly numbers is there, or spoken of."""
    names = [table.name for table in tables] if wide else list(tables[0].columns)
    found = {place for name in names for place in _places(name, header)}
    for place, name in enumerate(header):
        if place in found or place in (sheet.date, sheet.second_date, sheet.clock, key):
            continue
        count = sum(bool(numbers(_cell(row, place), sheet.decimal)) for row in rows)
        if count > 0.6 * len(rows):
            assert told.names(name.strip("*. ")) or "first column" in told.text, (
                f"column {place} '{name}' is gone: {told.text}"
            )


def one_round(sheet: Sheet, draw: damage.Draw, folder: Path) -> str:
    """Damage a file, load it, check it: ``loaded`` or ``refused``."""
    steps = []
    for _ in range(1 + (draw(3) == 0)):
        step = damage.OF_CELLS[draw(len(damage.OF_CELLS))]
        steps.append(step.__name__)
        sheet = step(sheet, draw)
    of_bytes = damage.OF_BYTES[draw(len(damage.OF_BYTES))]
    content = of_bytes(sheet.bytes(), draw)
    packed = of_bytes is damage.packed_and_cut
    result = load(content, folder, packed)
    if isinstance(result, str):
        return "refused"
    assert not packed, "a damaged gzip was loaded"
    try:
        check(result, sheet, content)
    except AssertionError as error:
        raise AssertionError(f"{error} [{' + '.join(steps)} + {of_bytes.__name__}]") from None
    return "loaded"


def real_sheet(name: str) -> Sheet:
    """The first rows of a real file."""
    known = REAL[name]
    packed = (DATA / name).read_bytes()
    lines = (gzip.decompress(packed) if name.endswith(".gz") else packed).decode("utf-8-sig").splitlines()
    lines = lines[len(known.get("preamble", ())) :][: REAL_ROWS + 1]
    cut = list(csv.reader(lines, delimiter=known.get("separator", ",")))
    return Sheet(cut[0], cut[1:], **{"patterns": made_sheets.ISO, **known})


def rounds(sheet: Sheet, examples: int) -> None:
    """Damage a file in many ways, always the same; a good part of the copies must load."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.integers(0, 2**40))
        def damaged(seed):
            outcomes[one_round(sheet, random.Random(seed).randrange, Path(folder))] += 1

        damaged()
    assert outcomes["loaded"] >= examples // 4 and outcomes.total() >= examples, outcomes


@pytest.mark.parametrize("shape", SHAPES)
def test_a_damaged_copy_is_loaded_truly_or_refused_in_one_line(shape):
    rounds(SHAPES[shape], EXAMPLES)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real files")
@pytest.mark.parametrize("name", REAL)
def test_a_damaged_copy_of_a_real_file(name):
    rounds(real_sheet(name), 10)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real files")
@pytest.mark.parametrize("name", REAL)
def test_the_beginning_of_a_real_file(name, tmp_path):
    sheet = real_sheet(name)
    tables = load(sheet.bytes(), tmp_path)
    assert not isinstance(tables, str), tables
    check(tables, sheet, sheet.bytes())


@pytest.mark.parametrize("shape", SHAPES)
def test_an_undamaged_copy_loads_whole(shape, tmp_path):
    sheet = SHAPES[shape]
    tables = load(sheet.bytes(), tmp_path)
    assert not isinstance(tables, str), tables
    check(tables, sheet, sheet.bytes())
    if shape not in ("long", "wide"):
        assert len(tables[0].dates) == len(sheet.rows)
