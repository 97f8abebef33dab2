"""Small files that nobody would write on purpose, and what must be read from each, with what is said of it."""

from __future__ import annotations

import lzma

import numpy as np
import pytest
from small_files import DAYS, HEADER, ROWS, WHOLE, dated, each_day, load, panel, refusal, replaced_rows, valued, zipped

HOURS = [f"2023-11-04 {hour:02d}:00" for hour in range(24)] + [
    f"2023-11-05 {hour:02d}:00" for hour in (0, 1, 1, *range(2, 12))
]
LEAP = [f"2016-12-31 23:59:{second:02d}" for second in range(50, 61)] + [f"2017-01-01 00:00:{s:02d}" for s in range(6)]
ZONES = [f"2024-01-{day:02d} 10:00:00{'-05:00' if day % 2 else '+01:00'}" for day in range(1, 12)]
SOME_ZONES = [f"2024-01-{day:02d} 10:00:00{'-05:00' if day == 4 else ''}" for day in range(1, 12)]

# the sixth cell of twelve, its value, and what is told ("" for nothing at all)
CELLS = {
    "1.234": ("1.234", 1.234, ""),
    "1,234": ('"1,234"', 1234, "comma in close"),
    "Indian groups": ('"1,23,456.78"', 123456.78, "comma in close"),
    "1e3": ("1e3", 1000, ""),
    "1E+05": ("1E+05", 100000, "factor of 100"),
    "5.": ("5.", 5, ""),
    "+3": ("+3", 3, ""),
    "Arabic digits": ("١٢٣", 123, ""),
    "percent": ("12%", 12, "percent signs dropped"),
    "currency": ("$5", 5, "currency signs dropped"),
    "brackets": ("(3)", -3, "brackets are negative"),
    "a minus behind": ("3-", -3, "a minus behind a number"),
    "N/A": ("N/A", 104.5, "filled with the value before: 1 (close 1)"),
    "n.a.": ("n.a.", 104.5, "filled with the value before: 1"),
    "infinity": ("inf", 104.5, "infinity counts as missing: 1"),
    "more than a number can be": ("1e400", 104.5, "infinity counts as missing: 1"),
    "nearly too much": ("1e308", 1e308, "factor of 100"),
    "an old C library's NaN": ("1.#QNAN", 104.5, "filled with the value before: 1"),
    "no-break space": ("5\u00a0", 5, ""),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_cell_among_plain_numbers(case, tmp_path):
    cell, value, part = CELLS[case]
    (table,) = load(valued(cell), tmp_path)
    told = " | ".join(note.text for note in table.notes)
    assert len(table.dates) == 12 and table.columns["close"][5] == value and part in told and (part or not told)


# content, rows, first date, values in the sixth row, and what is told ("" for nothing at all)
LOADED = {
    "sep= behind a mark": (
        b"\xef\xbb\xbfsep=;\r\n" + valued("5").replace(",", ";").encode(),
        12,
        "2024-01-01",
        {"close": 5},
        "as the first line says",
    ),
    "30 February": (
        dated(*DAYS[:10], "2024-02-30"),
        10,
        "2024-01-01",
        {"close": 105.5},
        "no date in 'date': 1 (row 12 has '2024-02-30')",
    ),
    "24:00": (dated(*(f"{day} 24:00" for day in DAYS)), 31, "2024-01-02", {"close": 105.5}, ""),
    "leap second": (dated(*LEAP), 16, "2016-12-31T23:59:50", {"close": 105.5}, "no date in 'date': 1 (row 12"),
    "an hour twice": (
        dated(*HOURS),
        36,
        "2023-11-04",
        {"close": 105.5},
        "rows that differ, the last row kept, others left out: 1 (2023-11-05 01:00:00",
    ),
    "two zones": (dated(*ZONES), 11, "2024-01-01T15:00", {"close": 105.5}, "kept as UTC"),
    "a zone in one row only": (
        dated(*SOME_ZONES),
        11,
        "2024-01-01T10:00",
        {"close": 105.5},
        "no time zone, unlike the others, and are taken as UTC: 10",
    ),
    "year 1 in one row": (dated("0001-01-01", *DAYS[:12]), 12, "2024-01-01", {"close": 106.5}, "no date in 'date': 1"),
    "fractions of epochs": (
        dated(*(f"{1_700_000_000 + 86_400 * place}.25" for place in range(10))),
        10,
        "2023-11-14T22:13:20.250",
        {"close": 105.5},
        "seconds",
    ),
    "spreadsheet days": (
        dated(*(str(45_000 + place) for place in range(10))),
        10,
        "2023-03-15",
        {"close": 105.5},
        "day numbers of a spreadsheet",
    ),
    "quarters": (
        dated(*(f"Q{q} {year}" for year in (2020, 2021) for q in (1, 2, 3, 4))),
        8,
        "2020-01-01",
        {"close": 105.5},
        "quarters",
    ),
    "weekdays": (
        dated(*(f'"Monday, January {day}, 2024"' for day in range(1, 10))),
        9,
        "2024-01-01",
        {"close": 105.5},
        "",
    ),
    "12 o'clock": (
        dated(*(f"01/{day}/2024 12:30 AM" for day in range(13, 23))),
        10,
        "2024-01-13T00:30",
        {"close": 105.5},
        "month first",
    ),
    "short years, year first": (
        dated(*(f"24-{month:02d}-{day:02d}" for month in (3, 4) for day in range(1, 29))),
        56,
        "2024-03-01",
        {"close": 105.5},
        "year first",
    ),
    "short years, day first": (
        dated(*(f"{day:02d}/03/24" for day in range(1, 25))),
        24,
        "2024-03-01",
        {"close": 105.5},
        "day first (row 14: 13/03/24)",
    ),
    "a huge epoch": (
        dated("1e308", *(str(1_700_000_000 + place) for place in range(12))),
        12,
        "2023-11-14T22:13:20",
        {"close": 106.5},
        "no date in 'date': 1",
    ),
    "all 1.234 between semicolons": (
        valued("5.234", "{}.234").replace(",", ";"),
        12,
        "2024-01-01",
        {"close": 5.234},
        "point in close, a guess: it could group thousands",
    ),
    ".5": (valued(".5", "{}"), 12, "2024-01-01", {"close": 0.5}, "factor of 100"),
    "identifiers": (
        each_day("date,close,id", "{day},{n}.5,90071992547409{n:02d}"),
        31,
        "2024-01-01",
        {"close": 5.5},
        "single precision",
    ),
    "200 columns": (
        each_day("date," + ",".join(f"c{n}" for n in range(200)), "{day}," + ",".join(["1{n}.5"] * 200)),
        31,
        "2024-01-01",
        {"c199": 15.5},
        "",
    ),
    "a name with a comma": (WHOLE.replace("open", '"o,n"'), 31, "2024-01-01", {"o,n": 15.5}, ""),
    "a name with a quote": (WHOLE.replace("open", '"o""n"'), 31, "2024-01-01", {'o"n': 15.5}, ""),
    "a name with a line end": (WHOLE.replace("open", '"o\nn"'), 31, "2024-01-01", {"o n": 15.5}, ""),
    "emoji": (WHOLE.replace("open", "📈🚀"), 31, "2024-01-01", {"📈🚀": 15.5}, ""),
    "right to left": (WHOLE.replace("open", "سعر"), 31, "2024-01-01", {"سعر": 15.5}, ""),
    "a name twice": (
        WHOLE.replace("open", "close"),
        31,
        "2024-01-01",
        {"close": 15.5, "close.2": 16.25},
        "more than once",
    ),
    "date is text, when is the date": (
        each_day("date,when,close", "note {n},{day},{n}.5"),
        31,
        "2024-01-01",
        {"close": 5.5},
        "left out: date",
    ),
    "two dates": (
        each_day("start_date,end_date,close", "{day},{next},{n}.5"),
        31,
        "2024-01-01",
        {"close": 5.5},
        "from column 'start_date', not end_date",
    ),
    "two dates and a time": (
        each_day("start_date,end_date,time,close", "{day},{next},10:00,{n}.5"),
        31,
        "2024-01-01T10:00",
        {"close": 5.5},
        "not end_date",
    ),
    "a volume like epochs": (
        each_day("date,close,volume", "{day},1{n:02d}.5,15{n:02d}00000"),
        31,
        "2024-01-01",
        {"volume": 150_500_000.0},
        "",
    ),
    "truth values": (
        each_day("date,close,x", "{day},{n}.5,TRUE"),
        31,
        "2024-01-01",
        {"close": 5.5},
        "not numbers, left out: x",
    ),
    "a column of nothing": (each_day("date,close,x", "{day},{n}.5,"), 31, "2024-01-01", {"close": 5.5}, "left out: x"),
    "quoted numbers": (
        '"' + WHOLE.strip().replace(",", '","').replace("\n", '"\n"') + '"\n',
        31,
        "2024-01-01",
        {"close": 16.25},
        "",
    ),
    "tabs behind commas": (WHOLE.replace(",", ",\t"), 31, "2024-01-01", {"close": 16.25}, ""),
    "CR alone": (WHOLE.replace("\n", "\r"), 31, "2024-01-01", {"close": 16.25}, ""),
    "CR CR LF": (WHOLE.replace("\n", "\r\r\n"), 31, "2024-01-01", {"close": 16.25}, ""),
    "no line end": (WHOLE[:-2], 31, "2024-01-01", {"close": 16.25}, "if the file was cut off, its last cell was too"),
    "xz": (lzma.compress(WHOLE.encode()), 31, "2024-01-01", {"close": 16.25}, "unpacked with xz"),
    "UTF-16": (WHOLE.encode("utf-16"), 31, "2024-01-01", {"close": 16.25}, "read as utf-16"),
    "UTF-16 without a mark": (WHOLE.encode("utf-16-le"), 31, "2024-01-01", {"close": 16.25}, "read as utf-16-le"),
    "Markdown": (
        "| date | close |\n|---|--:|\n" + "".join(f"| {day} | {n}.5 |\n" for n, day in enumerate(DAYS)),
        31,
        "2024-01-01",
        {"close": 5.5},
        "pipe",
    ),
    "fixed width": (each_day("date        close", "{day}  {n:5d}"), 31, "2024-01-01", {"close": 5}, "space"),
    "joined files": (
        HEADER + "\n".join(ROWS[:10]) + "\n" + HEADER + "\n".join(ROWS[10:]) + "\n",
        31,
        "2024-01-01",
        {"close": 16.25},
        "no date in 'date': 1 (row 12 has 'date')",
    ),
    "a comment of full width": (
        replaced_rows(r9=ROWS[9] + "\n# a,b,c,d"),
        31,
        "2024-01-01",
        {"close": 16.25},
        "no date in 'date': 1 (row 12",
    ),
    "a total": (
        WHOLE + "Total,310,400,99999\n",
        31,
        "2024-01-01",
        {"close": 16.25},
        "no date in 'date': 1 (row 33 has 'Total')",
    ),
    "remarks below": (
        WHOLE + "\nAverage;\nSource: x\n",
        31,
        "2024-01-01",
        {"close": 16.25},
        "left out rows 34 to 35 after the data",
    ),
    "an old end of file": (WHOLE + "\x1a", 31, "2024-01-01", {"close": 16.25}, "after the data: '\ufffd'"),
    "negative prices": (
        replaced_rows(r5="2024-01-06,-37.6,-37.6,5"),
        31,
        "2024-01-01",
        {"open": -37.6, "close": -37.6},
        "prices of zero or below: open 1, close 1",
    ),
    "no volume ever": (
        each_day("date,close,volume", "{day},{n}.5,0"),
        31,
        "2024-01-01",
        {"volume": 0.0},
        "constant: volume",
    ),
    "a split": (
        each_day("date,close", "{day},400.5")
        .replace("0.5\n2024-01-17", "0.5\n2024-01-17X")
        .replace("X,400.5", ",100.5"),
        31,
        "2024-01-01",
        {},
        "split",
    ),
    "a row of units": (
        "date,close\n,USD\n" + "".join(row.rsplit(",", 2)[0] + "\n" for row in ROWS),
        31,
        "2024-01-01",
        {"close": 15.5},
        "left out row 2 below it",
    ),
}


@pytest.mark.parametrize("case", LOADED)
def test_loaded_with_a_true_account(case, tmp_path):
    content, rows, first, values, part = LOADED[case]
    (table,) = load(content, tmp_path)
    assert len(table.dates) == rows and table.dates[0] == np.datetime64(first)
    assert {name: table.columns[name][5] for name in values} == values
    told = " | ".join(note.text for note in table.notes)
    assert part in told and (part or not told)


@pytest.mark.parametrize(
    ("first", "second"), [("NAN", "NA"), ("TRUE", "INF"), ("NULL", "AAPL"), ("0700", "0005"), ("1e5", "-")]
)
def test_tickers_that_look_like_something_else(first, second, tmp_path):
    tables = load(panel(first, second), tmp_path)
    assert [table.name for table in tables] == [first, second] and not any(
        "missing" in n.topic for n in tables[0].notes
    )
    assert [table.columns["close"][3] for table in tables] == [13.5, 53.5]


def test_a_row_without_a_ticker_is_counted(tmp_path):
    tables = load(panel("A", "BB").replace("2024-01-05,A", "2024-01-05,"), tmp_path)
    assert [len(table.dates) for table in tables] == [30, 31]
    assert any("name no series in 'ticker': 1 (row 10)" in note.text for note in tables[0].notes)


def test_series_keep_their_own_calendars(tmp_path):
    rows = [
        f"{day},{ticker},{n}.5" for n, day in enumerate(DAYS) for ticker in ("A", "B") if ticker == "B" or n % 7 < 5
    ]
    tables = load("date,ticker,close\n" + "\n".join(rows) + "\n", tmp_path)
    assert [(table.name, len(table.dates)) for table in tables] == [("A", 23), ("B", 31)]
    assert tables[0].columns["close"].tolist() == [n + 0.5 for n in range(31) if n % 7 < 5]


@pytest.mark.parametrize("names", [("AAPL", "MSFT"), ("AAPL", "NA"), ("SPY", "TRUE")])
def test_a_wide_file_with_an_index_column(names, tmp_path):
    tables = load(each_day(f",date,{names[0]},{names[1]}", "{n},{day},{n}.5,5{n}.5"), tmp_path)
    assert [table.name for table in tables] == list(names) and tables[1].columns["Close"][3] == 53.5


def test_a_zip_with_two_tables_gives_two_series(tmp_path):
    tables = load(zipped(a__csv=WHOLE, b__csv=WHOLE.replace("10.5", "9.5")), tmp_path)
    assert [(table.name, table.columns["open"][0]) for table in tables] == [("a", 10.5), ("b", 9.5)]


def test_a_bad_cell_behind_one_in_a_row_without_date_is_found(tmp_path):
    """The first cell that is no number stands in a row that is left out; the second must not pass for missing."""
    rows = [f"{day},{place}.5" for place, day in enumerate(DAYS)]
    rows[3], rows[20] = "2024,bad", f"{DAYS[20]},worse"
    assert "'worse' in row 22" in refusal("date,close\n" + "\n".join(rows) + "\n", tmp_path)


def test_epochs_as_asked_do_not_overflow(tmp_path):
    epochs = dated("1e308", *(str(1_700_000_000 + place) for place in range(20)))
    assert len(load(epochs, tmp_path, date_format="epoch-s")[0].dates) == 20


def test_columns_of_numbers_rising_like_epochs_are_dates_where_nothing_else_is(tmp_path):
    text = "a,close\n" + "".join(f"{1_700_000_000 + 3600 * n},{n}.5\n" for n in range(30))
    (table,) = load(text, tmp_path)
    assert list(table.columns) == ["close"] and table.dates[0] == np.datetime64("2023-11-14T22:13:20")
