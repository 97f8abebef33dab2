"""The reader: what a clean file gives, and one clear line for everything that is not one."""

import gzip

import numpy as np
import pytest

from src.data.readers import Table, infer_period, read_table, stack_tables
from src.errors import DataError

CLEAN = "Date,Open,Close\n2024-01-01,1,2.5\n2024-01-02,3,4\n2024-01-03,5,6\n"


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="prices.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


def test_a_clean_file(write):
    table = read_table(write(CLEAN))
    assert table.dates.dtype == np.dtype("datetime64[ns]")
    assert table.dates.tolist() == np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "datetime64[ns]").tolist()
    assert list(table.columns) == ["Open", "Close"] and table.columns["Close"].tolist() == [2.5, 4.0, 6.0]
    assert table.columns["Open"].dtype == np.float64
    assert (table.name, table.messages) == ("prices", ())


@pytest.mark.parametrize("name", ["prices.csv.gz", "no_suffix"])
def test_a_gzipped_file_whatever_its_name(write, name):
    table = read_table(write(gzip.compress(CLEAN.encode()), name))
    assert table.columns["Open"].tolist() == [1, 3, 5]


@pytest.mark.parametrize("header", ["DATE", "datetime", "Timestamp", "time", " date "])
def test_names_of_date_columns(write, header):
    text = f"a,{header},b\n1,2024-01-01 10:00,2\n3,2024-01-01 11:00,4\n"
    assert list(read_table(write(text)).columns) == ["a", "b"]


def test_a_date_column_of_another_name_and_an_unnamed_index(write):
    table = read_table(write(",day,price\n0,2024-01-01,2\n1,2024-01-02,4\n"))
    assert list(table.columns) == ["price"] and len(table.dates) == 2
    assert list(read_table(write(",price\n2024-01-01,2\n2024-01-02,4\n")).columns) == ["price"]


@pytest.mark.parametrize("cells", [("20240131", "20240201"), ("20240131.0", "20240201.0"), ("1/31/2024", "2/1/2024")])
def test_other_ways_to_write_a_date(write, cells):
    table = read_table(write("date,x\n" + "".join(f"{cell},1\n" for cell in cells)))
    assert table.dates.tolist() == np.array(["2024-01-31", "2024-02-01"], "datetime64[ns]").tolist()


def test_time_zones_become_utc_and_are_said(write):
    table = read_table(write("date,x\n2024-03-30 23:00+01:00,1\n2024-03-31 23:00+02:00,2\n"))
    assert table.dates.tolist() == np.array(["2024-03-30T22", "2024-03-31T21"], "datetime64[ns]").tolist()
    assert "UTC" in table.messages[0]


def test_newest_first_is_sorted_and_said(write):
    table = read_table(write("date,x\n2024-01-03,3\n2024-01-02,2\n2024-01-01,1\n"))
    assert table.columns["x"].tolist() == [1, 2, 3] and (np.diff(table.dates).astype(int) > 0).all()
    assert table.columns["x"].flags.c_contiguous and "newest first" in table.messages[0]


def test_text_columns_are_left_out_and_said(write):
    table = read_table(write("date,symbol,x\n2024-01-01,AB,1\n2024-01-02,AB,2\n"))
    assert list(table.columns) == ["x"] and "'symbol'" in table.messages[0]


def test_byte_order_mark_windows_lines_and_blank_last_lines(write):
    table = read_table(write(b"\xef\xbb\xbf" + CLEAN.replace("\n", "\r\n").encode() + b"\r\n\r\n"))
    assert list(table.columns) == ["Open", "Close"] and len(table.dates) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b" \n\n", ["empty"]),
        (b"date\n2024-01-01\n2024-01-02\n", ["only the column 'date'"]),
        (b"date;x\n2024-01-01;1\n2024-01-02;1\n", ["only the column 'date;x'", "commas"]),
        (b"2024-01-01,1\n2024-01-02,2\n2024-01-03,2\n", ["must be a header", "2024-01-01, 1"]),
        (b"a,b\n1,2\n3,4\n", ["a column of dates", "a, b"]),
        (b"date,name\n2024-01-01,x\n2024-01-02,y\n", ["numeric column", "date, name"]),
        (b"date,x,y\n2024-01-01,1,2\n2024-01-02,3,oops\n2024-01-03,3,4\n", ["'oops'", "row 3", "column 'y'"]),
        (b"date,x\n2024-01-01,1\n\n2024-01-02,2\n2024-01-03,?\n", ["'?'", "row 5", "column 'x'"]),
        (b"date,x\n2024-01-01,1\n2024-01-02,inf\n", ["'inf'", "row 3", "column 'x'"]),
        (b"date,x,y\n2024-01-01,1,2\n2024-01-02,,4\n2024-01-03,3,NaN\n", ["2 empty", "row 3", "column 'x'"]),
        (b"date,x\n2024-01-01,1\n,2\n", ["1 empty", "row 3", "column 'date'"]),
        (b"date,x\n2024-01-01,1\nsoon,2\n", ["'soon'", "row 3", "column 'date'"]),
        (b"date,x\n1704067200000,1\n1704153600000,2\n", ["2024-01-31", "row 2", "column 'date'"]),
        (b"date,x\n3024-01-01,1\n3024-01-02,2\n", ["1678", "3024"]),
        (b"date,x\n2024-01-01,1\n2024-01-02,2\n2024-01-01,3\n", ["order of date", "row 4"]),
        (b"date,x\n2024-01-01,1\n2024-01-02,2\n2024-01-02,3\n", ["may stand once", "2024-01-02", "rows 3 and 4"]),
        (b"date,x\n2024-01-02,1\n2024-01-02,2\n2024-01-01,3\n", ["may stand once", "rows 2 and 3"]),
        (b"date,x\n", ["at least 2 rows", "has 0"]),
        (b"date,x\n2024-01-01,1\n", ["at least 2 rows", "has 1"]),
        (b"date,x\n2024-01-01,1,7\n2024-01-02,2,8\n", ["as many cells as the header"]),
        (b"date,x\n2024-01-01,1\n2024-01-02,2,8\n", ["as many cells as the header", "line 3"]),
        (b"date,x, x\n2024-01-01,1,2\n2024-01-02,2,2\n", ["'x' twice"]),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["UTF-8"]),
        ("date,x\n2024-01-01,1\n".encode("utf-16"), ["UTF-8"]),
        ("date,x\n2024-01-01,é\n".encode("latin-1"), ["UTF-8"]),
        (gzip.compress(CLEAN.encode())[:-9], ["damaged"]),
        (b"\x1f\x8bnot gzip", ["damaged"]),
    ],
)
def test_every_bad_file_is_one_line(write, content, words):
    path = write(content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert "\n" not in message and path in message and len(message) < 500
    for word in words:
        assert word in message


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*nowhere\.csv"):
        read_table(str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match="is a folder"):
        read_table(str(tmp_path))


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
