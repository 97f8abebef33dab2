"""The whole way from files to series, held against a slow and obvious parse of each kind of file."""

import csv
import gzip
import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.data import readers
from src.data.options import ReadingOptions
from src.data.readers import read_tables
from src.data.reading.sources import open_sources
from src.data.tables import Table, infer_period, stack_tables
from src.errors import DataError

DATA = Path(os.environ.get("TRAINBOARD_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def read(path, workspace=None, **options):
    chosen = ReadingOptions(data=str(path), **options)
    return read_tables(open_sources(chosen), chosen, workspace)


def accounts(tables):
    return [(note.topic, note.text, note.option, note.warning) for note in tables[0].notes]


def same(first, second):
    assert [table.name for table in first] == [table.name for table in second]
    for one, other in zip(first, second, strict=True):
        assert list(one.columns) == list(other.columns) and np.array_equal(one.dates, other.dates)
        assert all(np.array_equal(one.columns[name], other.columns[name]) for name in one.columns)


def plain_date(row):
    return datetime.fromisoformat(row["Date"] if "Date" in row else row["date"])


def utc_date(row):
    return datetime.fromisoformat(row["Datetime"]).astimezone(UTC).replace(tzinfo=None)


def pattern(column, text):
    def read_date(row):
        try:
            return datetime.strptime(row[column].removesuffix(".0"), text)
        except ValueError:
            return None

    return read_date


@dataclass(frozen=True)
class Kind:
    """All that a person can see in a file, spelled out."""

    columns: str
    date: Callable[[dict[str, str]], datetime | None] = plain_date
    delimiter: str = ","
    skip: int = 0
    missing: tuple[str, ...] = ("", "NULL")
    decimal_comma: bool = False
    wide: bool = False
    topics: tuple[str, ...] = ()
    names: str = ""

    def number(self, text):
        if text in self.missing:
            return None
        return float(text.replace(",", ".") if self.decimal_comma else text.replace(",", ""))


AIR = "CO(GT) PT08.S1(CO) C6H6(GT) PT08.S2(NMHC) NOx(GT) PT08.S3(NOx) NO2(GT) PT08.S4(NO2) PT08.S5(O3) T RH AH"
WIDE = "GOOG AAPL FB BABA AMZN GE AMD WMT BAC GM T UAA SHLD XOM RRC BBY MA PFE JPM SBUX"
KINDS = {
    "messy/EA_15min_tz_aware.csv": Kind(
        "Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits", utc_date, topics=("dates", "columns")
    ),
    "messy/airquality_decimal_comma.csv.gz": Kind(
        AIR.replace(" ", ","),
        lambda row: datetime.strptime(row[""] + row["Time"], "%d/%m/%Y%H.%M.%S") if row["Time"] else None,
        delimiter=";",
        missing=("", "-200"),
        decimal_comma=True,
        topics=("separator", "dates", "decimal sign", "missing"),
    ),
    "messy/bad_missing_dates.csv": Kind(
        "open,high,low,close,volume", pattern("date", "%m/%d/%Y"), topics=("dates", "missing", "prices", "jumps")
    ),
    "messy/btcusdt_epoch_ms_preamble.csv": Kind(
        "open,high,low,close,Volume BTC,Volume USDT,tradecount",
        skip=1,
        topics=("preamble", "dates", "columns", "order", "duplicates", "missing"),
    ),
    "messy/float_dates_987654.csv": Kind(
        "Open,High,Low,Close,Volume,adjClose",
        pattern("date", "%Y%m%d"),
        missing=("", "-1.0"),
        topics=("dates", "missing", "splits"),
    ),
    "messy/jpyusd_time_last_desc.csv": Kind(
        "Open,High,Low,Last,Change,Volume", pattern("Time", "%m/%d/%Y"), topics=("dates", "order")
    ),
    "messy/msft_2003_desc_adjclose_star.csv": Kind(
        "Open,High,Low,Close,Volume,Adj. Close*",
        pattern("Date", "%d-%b-%y"),
        topics=("dates", "order"),
        names="Open,High,Low,Close,Volume,Adj. Close",
    ),
    "messy/tesla_quoted_thousands_desc.csv": Kind(
        "close,volume,open,high,low", pattern("date", "%Y/%m/%d"), topics=("dates", "order")
    ),
    "messy/wide_20_tickers_nan.csv.gz": Kind(WIDE.replace(" ", ","), wide=True, topics=("layout",)),
    "stocks/AAPL_daily_2004_2018.csv": Kind("Open,High,Low,Close,Adj Close,Volume"),
    "stocks/GOOG_daily_2004_2018.csv": Kind("Open,High,Low,Close,Adj Close,Volume"),
    "stocks/IBM_daily_2000_2013.csv": Kind("Open,High,Low,Close,Volume,Adj Close"),
    "stocks/MSFT_daily_2000_2013.csv": Kind("Open,High,Low,Close,Volume,Adj Close", topics=("splits",)),
    "stocks/SPY_1min_2020-12.csv": Kind("open,high,low,close,volume", topics=("encoding",)),
    "stocks/SPY_daily_1999_2020.csv": Kind("open,high,low,close,volume", topics=("columns",)),
}


def slow_parse(content, kind, limit=10):
    """Rows of (date, values) as a person would make them by hand: undated rows out, in order, last of a date kept."""
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=kind.delimiter))
    header = [name.strip() for name in lines[kind.skip]]
    by_date = {}
    for cells in lines[kind.skip + 1 :]:
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        date = kind.date(row) if any(cells) else None
        if date is not None:
            by_date[date] = [kind.number(row[name]) for name in kind.columns.split(",")]
    return slow_fill(sorted(by_date.items()), limit)


def slow_fill(rows, limit):
    """Each gap of at most ``limit`` rows filled with the value before it; other rows with a gap left out."""
    filled = [list(values) for _, values in rows]
    for column in range(len(filled[0])):
        place = 0
        while place < len(rows):
            end = place
            while end < len(rows) and rows[end][1][column] is None:
                end += 1
            if place > 0 and 0 < end - place <= limit:
                for gap in range(place, end):
                    filled[gap][column] = rows[place - 1][1][column]
            place = max(end, place + 1)
    return [(date, values) for (date, _), values in zip(rows, filled, strict=True) if None not in values]


def check_against_slow_parse(path, kind):
    content = path.read_bytes()
    tables = read(path)
    expected = slow_parse_tables(gzip.decompress(content) if path.suffix == ".gz" else content, kind)
    assert len(tables) == len(expected)
    for table, (name, rows) in zip(tables, expected, strict=True):
        names = ["Close"] if kind.wide else (kind.names or kind.columns).split(",")
        assert list(table.columns) == names and (table.name == name or not kind.wide)
        assert table.dates.astype("datetime64[us]").tolist() == [date for date, _ in rows]
        for column, values in enumerate(table.columns.values()):
            assert values.tolist() == [row[column] for _, row in rows], names[column]
    assert set(kind.topics) <= {note.topic for note in tables[0].notes}
    return tables


def slow_parse_tables(content, kind):
    if not kind.wide:
        return [("", slow_parse(content, kind))]
    return [
        (name, slow_parse(content, Kind(name, kind.date, kind.delimiter, kind.skip, kind.missing)))
        for name in kind.columns.split(",")
    ]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real files")
@pytest.mark.parametrize("name", sorted(KINDS))
def test_real_files_agree_with_a_slow_parse(name):
    check_against_slow_parse(DATA / name, KINDS[name])


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real files")
@pytest.mark.parametrize(("name", "columns"), [("ETTh1", 7), ("exchange_rate", 8)])
def test_sensor_files_stay_one_series(name, columns):
    kind = Kind("HUFL,HULL,MUFL,MULL,LUFL,LULL,OT" if columns == 7 else "0,1,2,3,4,5,6,OT")
    if columns == 8:
        kind = Kind(kind.columns, pattern("date", "%Y/%m/%d %H:%M"))
    tables = check_against_slow_parse(DATA / "forecasting" / f"{name}.csv.gz", kind)
    assert {note.topic for note in tables[0].notes} <= {"file", "rows"}  # rows: one file ends without a line end


def day(place, text="%Y-%m-%d", step=1):
    return (datetime(2019, 1, 3) + timedelta(days=place * step)).strftime(text)


def small_files():
    """A few dozen rows of the same shape as each of the messy files."""
    price = [round(100 + 9 * math.sin(place / 7) + place / 10, 4) for place in range(60)]
    bars = [f"{value - 0.5:g},{value + 1:g},{value - 1:g},{value:g}" for value in price]
    lines = {
        "EA_15min_tz_aware": ["Datetime,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits"]
        + [f"2026-{'03-2' if p < 30 else '04-1'}{p % 30 // 4} {9 + p % 4:02d}:15:00-0{5 - p // 30}:00"
           f",{bars[p]},{price[p] * 0.9:.5f},{p * 7 % 13},0,0" for p in range(60)],
        "airquality_decimal_comma": [f" ;Time;{AIR.replace(' ', ';')}"]
        + [";".join([day(p // 24, "%d/%m/%Y"), f"{p % 24:02d}.00.00", "-200" if p in (3, 4, 30) else f"{p},5",
                     *["-200" if p in (7, 50, 51) else f"{p + c},{c}" for c in range(11)], "", ""]) for p in range(200)]
        + [";" * 15] * 3,
        "bad_missing_dates": ["date,open,high,low,close,volume"]
        + [f"{'' if p in (7, 8, 30) else day(p, '%m/%d/%Y')},"
           + (",,,," if 15 <= p < 17 or 40 <= p < 53 else f"{'-5,0,1,0.0001' if p == 20 else bars[p]},{p}")
           for p in range(60)],
        "btcusdt_epoch_ms_preamble": ["https://www.example.com",
                                      "unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount"]
        + [f"{1546473600000 + p * 86400000 if p > 20 else f'{1546473600 + p * 86400}.0'},"
           f"{day(p, '%Y-%m-%d %H:%M:%S' if p > 20 else '%Y-%m-%d')},BTC/USDT,{bars[p]},{p * 3 % 7}.25,{p}.5,"
           f"{'NULL' if p < 9 else p + 5}" for p in range(59, -1, -1)],
        "float_dates_987654": ["date,Open,High,Low,Close,Volume,adjClose"]
        + [f"{day(p, '%Y%m%d')}.0,{bars[p]},{p * 100000.0},{'-1.0' if p > 55 else price[p] / 2}" for p in range(60)],
        "jpyusd_time_last_desc": ["Time,Open,High,Low,Last,Change,Volume"]
        + [f"{day(p, '%m/%d/%Y').lstrip('0')},{bars[p]},{(p - 30) * 1.4e-5:.2E},{p + 3}" for p in range(59, -1, -1)],
        "msft_2003_desc_adjclose_star": ["Date,Open,High,Low,Close,Volume,Adj. Close*"]
        + [f"{day(p, '%d-%b-%y').lstrip('0')},{bars[p]},{p + 3},{price[p] * 0.9:.2f}" for p in range(59, -1, -1)],
        "tesla_quoted_thousands_desc": ['"date","close","volume","open","high","low"',
                                        '"11:34","99","4,787,699","1","2","3"']
        + [f'"{day(p, "%Y/%m/%d")}","{price[p]:.4f}","{p + 1000:,}","{price[p]}","{price[p] + 1}","{price[p] - 1}"'
           for p in range(59, -1, -1)],
        "wide_20_tickers_nan": [f"date,{WIDE.replace(' ', ',')}"]
        + [",".join([day(p), *["" if p < 2 * c or (c == 3 and p in (20, 21)) else f"{price[p] + c}"
                               for c in range(20)]]) for p in range(60)],
    }  # fmt: skip
    return {name: "\n".join(text) + "\n" for name, text in lines.items()}


SMALL = small_files()
FULL_NAMES = {Path(name).name.split(".")[0]: name for name in KINDS if name.startswith("messy")}


def small_kind(name):
    """The kind of the real file, less what only the real values show."""
    kind = KINDS[FULL_NAMES[name]]
    topics = tuple(topic for topic in kind.topics if topic not in ("duplicates", "splits", "jumps"))
    return Kind(**{**kind.__dict__, "topics": topics})


@pytest.mark.parametrize("name", sorted(SMALL))
def test_small_files_of_the_same_shapes(name, tmp_path):
    path = tmp_path / f"{name}.csv"
    path.write_text(SMALL[name])
    check_against_slow_parse(path, small_kind(name))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_blocks_on_disk_give_the_same(name, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BLOCK_ROWS", 23)
    path, workspace = tmp_path / f"{name}.csv", tmp_path / "workspace"
    path.write_text(SMALL[name])
    workspace.mkdir()
    in_memory, on_disk = read(path), read(path, workspace)
    same(in_memory, on_disk)
    assert accounts(in_memory) == accounts(on_disk)
    assert all(isinstance(array, np.memmap) for table in on_disk for array in table.columns.values())
    assert isinstance(on_disk[0].dates, np.memmap)


def test_a_long_file_in_blocks_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BLOCK_ROWS", 13)
    path, workspace = tmp_path / "panel.csv", tmp_path / "workspace"
    workspace.mkdir()
    rows = [
        f"{day(place)},S{series},{place + series if (place + series) % 9 else ''},{place}"
        for place in range(40)
        for series in range(5)
    ]
    np.random.default_rng(0).shuffle(rows)
    path.write_text("\n".join(["date,ticker,x,y", *rows]))
    in_memory, on_disk = read(path), read(path, workspace)
    same(in_memory, on_disk)
    assert accounts(in_memory) == accounts(on_disk) and len(on_disk) == 5


def write_folder(folder, texts):
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def clean(columns, start=0):
    return f"Date,{columns}\n" + "".join(
        ",".join([day(start + place), *[f"{place + column + 1.5}" for column in range(columns.count(",") + 1)]]) + "\n"
        for place in range(30)
    )


@pytest.mark.parametrize("on_disk", [False, True])
def test_files_of_a_folder_share_their_columns(tmp_path, on_disk):
    folder = write_folder(
        tmp_path / "data", {"A": clean("Open,Close,Extra"), "B": clean("Close,Open"), "C": clean("Open,Close")}
    )
    workspace = tmp_path / "workspace" if on_disk else None
    if workspace:
        workspace.mkdir()
    tables = read(folder, workspace)
    assert [table.name for table in tables] == ["A", "B", "C"] and all(
        list(table.columns) == ["Open", "Close"] for table in tables
    )
    assert tables[1].columns["Close"][0] == 1.5 and tables[0].columns["Close"][0] == 2.5
    assert "Extra" in next(note.text for note in tables[0].notes if note.topic == "columns")
    assert stack_tables(tables).values.shape == (90, 2)
    assert [table.name for table in read(folder, series="c,A")] == ["A", "C"]
    write_folder(folder, {"D": clean("weight")})
    with pytest.raises(DataError, match=r"columns in common.*A\.csv has Open, Close, Extra and .*D\.csv has weight"):
        read(folder)


def test_the_same_note_of_many_files_is_one(tmp_path):
    turned = {}
    for number in range(12):
        lines = clean("Close").splitlines()
        turned[f"S{number:02d}"] = "\n".join([lines[0], *lines[:0:-1], ""]) if number < 10 else clean("Close")
    tables = read(write_folder(tmp_path / "data", turned))
    assert accounts(tables) == [("order", "newest first, turned round; 10 of 12 files", "", False)]


def test_typed_columns_of_parquet(tmp_path):
    frame = pd.DataFrame(
        {
            "Date": pd.date_range("2024-01-01", periods=20, tz="America/New_York"),
            "Close": [Decimal(f"{place}.25") for place in range(20)],
            "Volume": pd.array([None if place == 3 else place * 10 for place in range(20)], dtype="Int64"),
            "Symbol": ["X"] * 20,
            "open": np.linspace(1, 2, 20).astype(np.float32),
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    table = read(tmp_path / "x.parquet")[0]
    assert list(table.columns) == ["Close", "Volume", "open"] and table.dates[0] == np.datetime64("2024-01-01T05:00")
    assert table.columns["Close"].tolist() == [place + 0.25 for place in range(20)]
    assert table.columns["Volume"][2:5].tolist() == [20, 20, 40]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("date,x\n2024-01-01,1\n2024-01-02,oops\n2024-01-03,2\n", ["'oops'", "row 3", "column 'x'"]),
        ("date,x\n2024-01-01,1\n\n2024-01-02,2\n2024-01-03,3\n2024-01-04,12;5\n", ["'12;5'", "row 6", "column 'x'"]),
        ("date,name\n2024-01-01,x\n2024-01-02,y\n", ["column of numbers", "date, name"]),
        ("a,b\n1,2\n3,4\n", ["a column of dates", "a, b"]),
        ("date,x\n3024-01-01,1\n3024-01-02,2\n", ["1700", "3024-01-01", "row 2"]),
        ("date,x\n2024-01-01,1\n", ["2 rows"]),
        ("date,x\n2024-01-01,1\nsoon,2\nlater,3\n2024-01-04,3\n", ["'soon'", "row 3", "column 'date'"]),
        ("date,x\n01/02/2024,1\n02/03/2024,2\n03/04/2024,4\n", ["--date-format", "row 2"]),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, content, words):
    path = tmp_path / "prices.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 500
    for word in words:
        assert word in message


def dates(start, step, count):
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(*step)


@pytest.mark.parametrize(
    ("series", "period"),
    [
        (dates("2024-01-01", (1, "h"), 100), 24),
        (dates("2024-01-01", (15, "m"), 500), 96),
        (dates("2024-01-01", (30, "m"), 200), 48),
        (dates("2024-01-01", (1, "D"), 60), 7),
        (np.busday_offset(np.full(60, "2024-01-01", "datetime64[D]"), np.arange(60)).astype("datetime64[ns]"), 5),
        (dates("2024-01-01", (7, "D"), 60), 52),
        (np.arange("2020-01", "2024-01", dtype="datetime64[M]").astype("datetime64[ns]"), 12),
        (np.arange("2000-01", "2024-01", 3, dtype="datetime64[M]").astype("datetime64[ns]"), 4),
        (np.arange("1950", "2024", dtype="datetime64[Y]").astype("datetime64[ns]"), None),
        (dates("2024-01-01", (1, "m"), 100), None),
        (np.concatenate([dates(f"2024-01-0{day}T09", (1, "h"), 7) for day in range(1, 6)]), None),
    ],
)
def test_period_follows_from_the_spacing(series, period):
    assert infer_period(series) == period


def test_tables_must_be_alike_and_sound():
    day = dates("2024-01-01", (1, "D"), 3)
    good = Table(day, {"x": np.ones(3)}, "good")
    with pytest.raises(DataError, match="same columns"):
        stack_tables([good, Table(day, {"y": np.ones(3)}, "other")])
    with pytest.raises(DataError, match=r"finite.*'x' of 'holes' has nan on 2024-01-02"):
        stack_tables([good, Table(day, {"x": np.array([1, np.nan, 2])}, "holes")])
    with pytest.raises(DataError, match="ascend"):
        stack_tables([Table(day[::-1], {"x": np.ones(3)}, "backwards")])
    with pytest.raises(DataError, match="at least 2 rows"):
        stack_tables([Table(day[:1], {"x": np.ones(1)}, "short")])
    with pytest.raises(DataError, match="at least one series"):
        stack_tables([])
