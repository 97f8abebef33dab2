"""Text in columns: every cell as it stands, with its row; what is not plain is said, what cannot be is one line."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.options import ReadingOptions
from src.data.reading.text_files import open_text
from src.data.tables import RawTable
from src.errors import DataError, OptionError, UserError

ROWS = "2024-01-01,1.5,20\n2024-01-02,3.5,40\n2024-01-03,5.5,60\n"
PLAIN = "date,open,volume\n" + ROWS


def read(content: str | bytes, **options) -> RawTable:
    (table,) = blocks(content, None, **options)
    return table


def blocks(content: str | bytes, rows: int | None, **options) -> list[RawTable]:
    data = content if isinstance(content, bytes) else content.encode()
    text = open_text("prices", "prices.csv", lambda: io.BytesIO(data), ReadingOptions(**options))
    return list(text.blocks(rows))


def cells(table: RawTable) -> list[list[str]]:
    return table.cells.fillna("").to_numpy().tolist()


def said(table: RawTable) -> dict[str, str]:
    return {note.topic: note.text for note in table.notes}


def test_a_plain_file_says_nothing():
    table = read(PLAIN)
    assert list(table.cells.columns) == ["date", "open", "volume"] and table.cells.index.tolist() == [2, 3, 4]
    assert cells(table) == [line.split(",") for line in ROWS.splitlines()]
    assert all(dtype == "str" for dtype in table.cells.dtypes)
    assert (table.name, table.location, table.notes) == ("prices", "prices.csv", ())


@pytest.mark.parametrize(
    ("content", "name", "first"),
    [
        ("Tag;Kurs;Menge\n01.02.2024;1,5;1.000\n02.02.2024;2,5;2.000\n", "semicolon", ["01.02.2024", "1,5", "1.000"]),
        ("01.02.2024;1,5;2,5\n02.02.2024;2,5;3,5\n", "semicolon", ["01.02.2024", "1,5", "2,5"]),
        ("date\ta\tb\n2024-01-01\t1,5\t2,5\n2024-01-02\t1,5\t2,5\n", "tab", ["2024-01-01", "1,5", "2,5"]),
        ("date|a\n2024-01-01|1\n2024-01-02|2\n", "pipe", ["2024-01-01", "1"]),
        ("date   a    b\n2024-01-01  1.5   2\n2024-01-02 10.5  20 \n", "space", ["2024-01-01", "1.5", "2"]),
        ("# date a b\n2024-01-01 1 2\n2024-01-02 3 4\n", "space", ["2024-01-01", "1", "2"]),
        ("date a\n2024-01-01 10:00 1.5\n2024-01-01 11:00 2.5\n", "space", ["2024-01-01", "10:00", "1.5"]),
        ("sep=;\ndate;a\n2024-01-01;1\n2024-01-02;2\n", "semicolon, as the first line says", ["2024-01-01", "1"]),
    ],
)
def test_separators_are_found(content, name, first):
    table = read(content)
    assert said(table)["separator"] == name and cells(table)[0] == first and len(table.cells) == 2


def test_a_comma_separates_although_dates_hold_spaces_and_quoted_cells_separators():
    table = read('date, close, note\n2024-01-01 10:00, "1,234.5", "a;b;c"\n2024-01-01 11:00, "1,234", "d ""e"""\n')
    assert cells(table)[0] == ["2024-01-01 10:00", "1,234.5", "a;b;c"] and cells(table)[1][2] == 'd "e"'
    assert not table.notes


def test_a_comma_separates_although_one_column_holds_a_semicolon_in_every_row():
    table = read("date,close,tags\n" + "2024-01-01,1.5,a;b\n" * 20)
    assert list(table.cells.columns) == ["date", "close", "tags"] and cells(table)[0] == ["2024-01-01", "1.5", "a;b"]


def test_the_separator_can_be_said():
    assert cells(read("date:a\n2024:1\n2025:2\n", separator=":")) == [["2024", "1"], ["2025", "2"]]
    assert list(read(PLAIN, separator="semicolon").cells.columns) == ["date,open,volume"]
    for wrong in ("xx", "a", '"'):
        with pytest.raises(OptionError, match="--separator must be"):
            read(PLAIN, separator=wrong)


@pytest.mark.parametrize(
    ("before", "first_row", "rows"),
    [
        ("https://www.example.org\n", 3, "row 1"),
        ("# from: x, y\n# made 2024-01-05\n\n", 5, "rows 1 to 2"),
        ("Prices of Apple,,\nfrom the exchange,,\n", 4, "rows 1 to 2"),
        ("Symbol,AAPL,x\nCurrency,USD,x\n", 4, "rows 1 to 2"),
    ],
)
def test_lines_before_the_header_are_left_out_and_said(before, first_row, rows):
    table = read(before + PLAIN)
    assert list(table.cells.columns) == ["date", "open", "volume"]
    assert (
        table.cells.index[0] == first_row and len(table.cells) == 3 and f"left out {rows} " in said(table)["preamble"]
    )


def test_a_row_of_units_below_the_header_is_left_out_and_said():
    table = read("date,open,volume\n,USD,pieces\n" + ROWS)
    assert table.cells.index.tolist() == [3, 4, 5] and "left out row 2 below it: 'USD pieces'" in said(table)["header"]


@pytest.mark.parametrize(
    ("content", "names", "words"),
    [
        (ROWS, ["column_1", "column_2", "column_3"], "none: the columns are column_1 to column_3"),
        (",open,volume\n" + ROWS, ["column_1", "open", "volume"], "without a name: column_1"),
        ("open,volume\n" + ROWS, ["column_1", "open", "volume"], "the first column has none"),
        ("date,open\n" + ROWS, ["date", "open", "column_3"], "the last one without"),
        ("d,a,a\n" + ROWS, ["d", "a", "a.2"], "more than once"),
        ("d,a,a,a.2\n2024-01-01,1,2,3\n", ["d", "a", "a.3", "a.2"], "more than once"),
        ("date,0,OT\n" + ROWS, ["date", "0", "OT"], None),
        ("Price,Close,High\nTicker,AAPL,AAPL\nDate,,\n" + ROWS, ["Date", "Close", "High"], "3 rows, all of AAPL"),
        ("Price,Close,High\nTicker,AAPL,AAPL\n" + ROWS, ["Date", "Close", "High"], "2 rows, all of AAPL"),
        (",Close,Close\n,A,B\nDate,,\n" + ROWS, ["Date", "Close A", "Close B"], "a price and a ticker each"),
        ("Ticker,A,B\nPrice,Open,Open\nDate,,\n" + ROWS, ["Date", "Open A", "Open B"], "a price and a ticker each"),
    ],
)
def test_names_of_columns(content, names, words):
    table = read(content)
    assert list(table.cells.columns) == names and cells(table)[0][0] == "2024-01-01"
    headers = " ".join(note.text for note in table.notes if note.topic == "header")
    assert (words in headers) if words else not table.notes


def test_the_header_can_be_said():
    assert list(read(PLAIN, header="none").cells.columns) == ["column_1", "column_2", "column_3"]
    table = read("a,b,c\n" + PLAIN, header="2")
    assert list(table.cells.columns) == ["date", "open", "volume"] and table.cells.index[0] == 3
    late = "x\n" * 500 + PLAIN
    assert read(late, header="501").cells.index.tolist() == [502, 503, 504]
    for wrong in ("0", "first", "-1"):
        with pytest.raises(OptionError, match="--header must be the number of a row"):
            read(PLAIN, header=wrong)
    with pytest.raises(OptionError, match=r"row 2 of prices\.csv is blank"):
        read("a,b\n\n1,2\n", header="2")


def test_empty_columns_at_the_end_of_lines_are_left_out():
    for header in ("date,open,", "date,open"):
        table = read(f"{header}\n2024-01-01,1,\n2024-01-02,2,\n")
        assert list(table.cells.columns) == ["date", "open"] and "1 empty column" in said(table)["separator"]
    with pytest.raises(DataError, match="has 'x' in row 402, after the 2 columns that have a name"):
        read("date,open,\n" + "2024-01-01,1,\n" * 400 + "2024-01-02,2,x\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_blank_lines_and_line_breaks_in_cells(end):
    lines = ["date,news,x", "", '2024-01-01,"a', 'b, c",2', " ", "2024-01-02,d,4", ",,", ""]
    table = read(end.join(lines))
    assert cells(table) == [["2024-01-01", f"a{end}b, c", "2"], ["2024-01-02", "d", "4"]]
    assert table.cells.index.tolist() == [3, 6]


@pytest.mark.parametrize(
    ("end", "words", "warning"),
    [
        ("2024-01-04,7", "left out the last row (5), which is cut off: 2 of 3 cells", True),
        ("2024-", "left out the last row (5), which is cut off: 1 of 3 cells", True),
        ('"2024-01-04","7.5","8', "left out the last row (5), which is cut off: 3 of 3 cells", True),
        ("\nTotal,100\nSource: exchange\n", "left out rows 6 to 7 after the data: 'Total 100'", False),
        ("Adjusted for splits, dividends, and, more\n", "left out row 5 after the data", False),
    ],
)
def test_what_stands_after_the_data_is_left_out_and_said(end, words, warning):
    table = read(PLAIN + end)
    (note,) = table.notes
    assert len(table.cells) == 3 and (note.topic, note.warning) == ("rows", warning) and words in note.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["prices.csv is empty"]),
        (b" \r\n\n", ["prices.csv is empty"]),
        (bytes(range(1, 256)) * 20, ["binary data"]),
        (PLAIN.encode() * 500 + b"2024-01-01,\0,1\n", ["zero byte in row 2001"]),
        ("date,x,y\n2024-01-01,1\n2024-01-02,1,2\n2024-01-03,1,2\n", ["2 instead of 3 in row 2"]),
        ("date,x,y\n2024-01-01,1,2\n2024-01-02,1\n2024-01-03,1,2\n", ["2 instead of 3 in row 3", "mend that row"]),
        ("date,x\n2024-01-01,1\n2024-01-02,1,234\n2024-01-03,1\n", ["3 instead of 2 in row 3", "quote cells"]),
        ("date,x\n2024-01-01,1\n2024-01-02,1,234\n", ["3 instead of 2 in row 3"]),
        ("date,x\n" + "2024-01-01,1.5,2.5,3,4\n" * 9, ["2 names for 5 cells; complete the header"]),
        (PLAIN + "remark\n" * 6, ["1 instead of 3 in row 5"]),
        (PLAIN + "remark\n" + ROWS, ["1 instead of 3 in row 5"]),
        ("date,x\n2024-01-01,1,234\n2024-01-02,2,345\n", ["2 names for 3 cells", "thousands as in '1,234'"]),
        ("date,x,y\n2024-01-01,1,5,2,5\n2024-01-02,1,7,3,5\n", ["3 names for 5 cells", "decimal commas as in '1,5'"]),
        ('date,x\n2024-01-01,"1\n2024-01-02,2\n2024-01-03,3\n', ["opens one in row 2 and never closes it"]),
        ('date,x\n2024-01-01,"1\n' + "2024-01-02,2\n" * 20_000, ["opens one in row 2 and never closes it"]),
        ('date,x,y\n2024-01-01,"1,2\n2024-01-02,3",4\n2024-01-03,5,6\n', ["in row 2 and closes it in row 3"]),
    ],
)
def test_what_is_no_table_is_one_line(content, words):
    with pytest.raises(DataError) as caught:
        read(content)
    message = str(caught.value)
    assert "\n" not in message and "prices.csv" in message and len(message) < 400
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("encoding", "mark", "words"),
    [
        ("utf-8", b"", None),
        ("utf-8", b"\xef\xbb\xbf", "UTF-8 with a byte-order mark"),
        ("utf-16", b"", "read as utf-16"),
        ("utf-16-be", b"\xfe\xff", "read as utf-16"),
        ("utf-16-le", b"", "read as utf-16-le"),
        ("utf-16-be", b"", "read as utf-16-be"),
        ("utf-32", b"", "read as utf-32"),
        ("cp1252", b"", "read as cp1252, as it is not UTF-8"),
    ],
)
def test_encodings_are_found(encoding, mark, words):
    table = read(mark + "date,Größe €\n2024-01-01,1\n2024-01-02,2\n".encode(encoding))
    assert list(table.cells.columns) == ["date", "Größe €"] and len(table.cells) == 2
    assert said(table).get("encoding") == words


def test_a_byte_that_is_not_utf8_far_down_decides_for_the_first_block_too():
    content = (PLAIN + "2024-01-04,7,8\n" * 100_000).encode() + "2024-01-05,ä,9\n".encode("latin-1")
    first, *_, last = blocks(content, 30_000)
    assert "cp1252" in said(first)["encoding"] and cells(last)[-1][1] == "ä"


def test_the_encoding_can_be_said():
    content = "date,x\n2024-01-01,é\n".encode("latin-1")
    assert cells(read(content, encoding="latin-1"))[0][1] == "é"
    with pytest.raises(DataError, match="is not utf-8: byte 18 in row 2 cannot be read"):
        read(content, encoding="utf-8")
    for wrong in ("utf8x", "hex"):
        with pytest.raises(OptionError, match=f"there is no '{wrong}'"):
            read(content, encoding=wrong)


@pytest.mark.parametrize("quoted", [False, True])
def test_blocks_hold_the_same_rows_and_the_first_alone_has_notes(quoted):
    day = '"2024-01-01","{0}","{1}"' if quoted else "2024-01-01;{0};{1}"
    separator = "," if quoted else ";"
    lines = [f"made by{separator}hand", separator.join(("date", "x", "y"))]
    lines += [day.format(number, 2 * number) for number in range(90_000)]
    lines[50_000] = ""
    content = "\n".join([*lines, "end"])
    whole = read(content)
    parts = blocks(content, 7_777)
    assert len(whole.cells) == 89_999 and [len(part.cells) for part in parts] == [7_777] * 11 + [4_452]
    pd.testing.assert_frame_equal(pd.concat([part.cells for part in parts]), whole.cells, check_index_type=False)
    assert parts[0].notes == whole.notes and {"preamble", "rows"} <= set(said(whole))
    assert not any(part.notes for part in parts[1:])
    assert whole.cells.index[[0, -1]].tolist() == [3, 90_002] and 50_001 not in whole.cells.index


def test_a_header_alone_gives_no_rows():
    (table,) = blocks("date,x\n", 10)
    assert list(table.cells.columns) == ["date", "x"] and len(table.cells) == 0


CELLS = st.one_of(
    st.decimals(-1e6, 1e6, allow_nan=False, places=2).map(str),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=6),
    st.sampled_from(["1,234", "a;b", 'say "x"', "NULL", ""]),
)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    size=st.integers(1, 9),
)
def test_what_the_csv_module_writes_is_read_back(rows, separator, end, quoting, size):
    rows = [[f"2024-01-{day:02d}", str(day * 1.5), *row] for day, row in enumerate(rows, start=1)]
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerows([["date", "close", "a", "b", "c"], *rows])
    content = written.getvalue()
    table = read(content, separator=separator)
    assert cells(table) == [[cell.strip() for cell in row] for row in rows]
    assert table.cells.index.tolist() == list(range(2, len(rows) + 2))
    assert [row for part in blocks(content, size, separator=separator) for row in cells(part)] == cells(table)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_files_end_in_cells_or_in_one_line(data):
    content = bytearray((data.draw(st.sampled_from(["", "note\n"])) + PLAIN + ROWS).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        new = data.draw(st.sampled_from([b'"', b",", b"\n", b";", b"\0", b"\xff", b"\r", b"x", b""]))
        content[place : place + data.draw(st.integers(0, 3))] = new
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        table = read(bytes(content))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert table.cells.columns.is_unique and table.cells.index.is_monotonic_increasing
