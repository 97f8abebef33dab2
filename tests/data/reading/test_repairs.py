"""Order, duplicates and missing values: what is done, counted and told."""

import numpy as np
import pytest

from src.data.options import ReadingOptions
from src.data.readers import read_tables
from src.data.reading import storage
from src.data.reading.sources import open_sources
from src.errors import DataError


@pytest.fixture
def read(tmp_path):
    def read_text(text, **options):
        path = tmp_path / "prices.csv"
        path.write_text(text)
        chosen = ReadingOptions(data=str(path), **options)
        return read_tables(open_sources(chosen), chosen)

    return read_text


def day(place):
    return str(np.datetime64("2024-01-01") + place)


def prices(values, name="x"):
    return f"date,{name}\n" + "".join(f"{day(place)},{value}\n" for place, value in enumerate(values))


def told(tables, topic, warning=False):
    return [note.text for note in tables[0].notes if note.topic == topic and note.warning == warning]


GROWING = [100 + number for number in range(40)]


def test_a_plain_file_needs_no_word(read):
    table = read(prices(GROWING))[0]
    assert table.notes == () and table.columns["x"].tolist() == GROWING and table.name == "prices"
    assert table.dates.dtype == np.dtype("datetime64[ns]") and table.columns["x"].dtype == np.float64


def test_newest_first_is_turned_round(read):
    lines = prices(GROWING).splitlines()
    tables = read("\n".join([lines[0], *lines[:0:-1]]))
    assert tables[0].columns["x"].tolist() == GROWING and told(tables, "order") == ["newest first, turned round"]


def test_shuffled_rows_are_sorted(read):
    lines = prices(GROWING).splitlines()
    order = np.random.default_rng(3).permutation(40)
    tables = read("\n".join([lines[0], *(lines[1 + place] for place in order)]))
    assert tables[0].columns["x"].tolist() == GROWING and "sorted" in told(tables, "order")[0]


def test_rows_that_repeat_are_dropped(read):
    lines = prices(GROWING).splitlines()
    tables = read("\n".join([*lines[:5], lines[4], *lines[5:]]))
    assert tables[0].columns["x"].tolist() == GROWING
    assert told(tables, "duplicates") == ["rows left out that repeat the row before: 1 (2024-01-04 in row 6)"]


@pytest.mark.parametrize(("policy", "value"), [("last", 50), ("first", 104), ("mean", 77)])
def test_rows_that_differ_follow_the_option(read, policy, value):
    tables = read(prices(GROWING) + f"{day(4)},50\n", duplicates=policy)
    assert tables[0].columns["x"].tolist() == [*GROWING[:4], value, *GROWING[5:]]
    assert told(tables, "duplicates")[0].endswith("1 (2024-01-05 in row 6 and 42)")


def test_newest_first_keeps_the_row_that_stands_last_in_the_file(read):
    lines = [*prices(GROWING).splitlines(), f"{day(39)},7"]
    tables = read("\n".join([lines[0], *lines[:0:-1]]))  # the 7 stands first
    assert tables[0].columns["x"][-1] == 139


def test_rows_that_differ_can_be_refused(read):
    with pytest.raises(DataError, match=r"1 that differ, the first 2024-01-05 in row 6 and row 42.*--duplicates last"):
        read(prices(GROWING) + f"{day(4)},50\n", duplicates="refuse")


def test_many_conflicts_are_another_mistake(read):
    text = prices(GROWING) + "".join(f"{day(place)},{place}\n" for place in range(5))
    with pytest.raises(DataError, match=r"5 rows of 45 that repeat a date.*--series-column.*--date-column"):
        read(text)
    assert len(read(text, duplicates="first")[0].dates) == 40


def test_gaps_are_filled_from_the_past_only(read):
    values = list(GROWING)
    values[5:8] = ["", "NaN", "null"]
    values[20] = "inf"
    tables = read(prices(values))
    assert tables[0].columns["x"][4:9].tolist() == [104, 104, 104, 104, 108] and tables[0].columns["x"][20] == 119
    assert told(tables, "missing") == [
        "infinity counts as missing: 1 cells in x",
        "cells filled with the value before: 4 (x 4)",
    ]


@pytest.mark.parametrize(("limit", "rows"), [(3, 40), (2, 37), (0, 37)])
def test_longer_gaps_are_left_out(read, limit, rows):
    values = list(GROWING)
    values[5:8] = ["", "", ""]
    tables = read(prices(values), fill_limit=limit)
    assert len(tables[0].dates) == rows and set(tables[0].columns["x"]) <= set(map(float, GROWING))
    if rows < 40:
        assert told(tables, "missing", True)[0].endswith("3 (first 2024-01-06: 3 rows of x)")


def test_rows_before_the_first_value_are_left_out(read):
    text = "date,x,y\n" + "".join(f"{day(place)},{place + 1},{'' if place < 5 else place}\n" for place in range(40))
    tables = read(text)
    assert tables[0].columns["x"].tolist() == list(range(6, 41))
    notes = [note.text for note in tables[0].notes if note.topic == "missing" and note.warning]
    assert notes == ["rows left out before the first value of y: 5 (first 2024-01-01 in row 2)"]


def test_a_gap_after_rows_left_out_is_still_filled_from_before_them(read):
    text = "date,x,y\n" + "".join(
        f"{day(place)},{'' if 4 <= place < 7 else place + 1},{'' if place < 5 else place}\n" for place in range(40)
    )
    assert read(text)[0].columns["x"][:3].tolist() == [4, 4, 8]


def test_columns_mostly_missing_are_left_out(read):
    text = "date,x,y\n" + "".join(
        f"{day(place)},{place + 1},{place if place % 3 == 0 else ''}\n" for place in range(40)
    )
    tables = read(text)
    assert list(tables[0].columns) == ["x"] and "y 26" in told(tables, "missing")[0]
    with pytest.raises(DataError, match=r"every column lacks more, e\.g\. 'x'"):
        read(prices(["", "", *GROWING[:1], "", ""]))


def test_numbers_for_missing_are_found_and_can_be_fixed(read):
    values = [*GROWING[:30], *[-200] * 4, *GROWING[30:]]
    tables = read(prices(values))
    assert told(tables, "missing")[0] == "-200 counts as missing: x 4" and tables[0].columns["x"].min() == 100
    assert read(prices(values), missing="none")[0].columns["x"].min() == -200
    assert told(read(prices(values), missing="-200,105"), "missing")[:2] == [
        "-200 counts as missing: x 4",
        "105 counts as missing: x 1",
    ]


def test_a_number_for_missing_in_one_column_is_one_in_all(read):
    rows = [
        (place, -200 if place in (5, 6, 9) else 100 + place, -200 if place == 7 else 10 + place) for place in range(200)
    ]
    text = "date,x,y,z\n" + "".join(f"{day(place)},{x},{y},{place - 300}\n" for place, x, y in rows)
    tables = read(text)
    assert told(tables, "missing")[0] == "-200 counts as missing: x 3, y 1"
    assert tables[0].columns["y"][7] == 16 and tables[0].columns["z"][100] == -200


def test_a_word_among_numbers_is_refused_or_missing(read):
    values = [*GROWING[:5], "halted", *GROWING[5:]]
    with pytest.raises(DataError, match="'halted' in row 7, column 'x'; mend that cell or use --missing halted"):
        read(prices(values))
    assert len(read(prices(values), missing="halted")[0].dates) == 41


def test_few_rows_without_a_date_are_left_out(read):
    text = prices(GROWING)
    tables = read(text + ",5\nsoon,6\n")
    assert len(tables[0].dates) == 40
    assert told(tables, "dates", True) == ["rows left out that have no date in 'date': 2 (row 42 has nothing)"]
    with pytest.raises(DataError, match=r"at most 20% of the rows may lack a date.*20 of 60.*row 42 with 'soon'"):
        read(text + "soon,6\n" * 20)


def test_words_in_rows_without_a_date_do_not_matter(read):
    assert len(read(prices(GROWING) + "Source,exchange\n")[0].dates) == 40


@pytest.mark.parametrize("text", [prices([1]), prices([1, ""], "x") + "x,1\n", prices(["", 1])])
def test_two_rows_are_needed(read, text):
    with pytest.raises(DataError):
        read(text, fill_limit=0)


def test_series_are_repaired_each_by_itself(read):
    """A gap at the beginning of a series is not filled from the series above it."""
    rows = [(ticker, place, 100 * number + place) for number, ticker in enumerate("abc") for place in range(30)]
    text = "date,ticker,x\n" + "".join(
        f"{day(place)},{ticker},{'' if (ticker, place) in (('b', 0), ('b', 9), ('c', 0)) else value}\n"
        for ticker, place, value in rows
    )
    tables = read(text + f"{day(0)},d,5\n")
    assert [(table.name, len(table.dates)) for table in tables] == [("a", 30), ("b", 29), ("c", 29)]
    assert tables[1].columns["x"][[0, 8]].tolist() == [101, 108]
    assert told(tables, "series") == ["series left out that have fewer than 2 rows: d"]


def test_rows_without_a_time_of_day_are_left_out(read):
    text = "date,time,x\n" + "".join(
        f"{day(place // 10)},{place % 10 + 9}:{'75' if place == 7 else '30'},{place + 1}\n" for place in range(40)
    )
    tables = read(text)
    assert len(tables[0].dates) == 39 and str(tables[0].dates[0]) == "2024-01-01T09:30:00.000000000"
    assert 8 not in tables[0].columns["x"] and "row 9 has '2024-01-01 16:75'" in told(tables, "dates", True)[0]


def test_rows_are_kept_piecewise(monkeypatch):
    monkeypatch.setattr(storage, "_CHUNK", 4)
    array, mask = np.arange(23.0), np.random.default_rng(0).random(23) < 0.6
    expected = array[mask]
    assert storage.keep(array, mask).tolist() == expected.tolist()
