"""Dates: every way to write one, and what is no date."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from src.data.options import ReadingOptions
from src.data.reading.date_columns import check_date_format, find_date_columns
from src.data.reading.date_order import DateEvidence, decide_dates
from src.data.reading.dates import NOT_A_DATE, parse_clocks, parse_dates
from src.errors import DataError, OptionError


def text(*cells):
    return pd.Series(cells, dtype="str", index=range(2, 2 + len(cells)))


def read(*cells, order="day", date_format=None):
    """ISO texts of what the cells mean, None where they are no dates."""
    instants = parse_dates(text(*cells), date_format).resolve(order)
    return [None if value == NOT_A_DATE else str(np.datetime64(int(value), "ns"))[:23] for value in instants]


@pytest.mark.parametrize(
    ("cell", "meaning"),
    [
        ("2004-08-17", "2004-08-17T00:00:00.000"),
        ("2004/8/7", "2004-08-07T00:00:00.000"),
        ("2004-08-17 16:05", "2004-08-17T16:05:00.000"),
        ("2004-08-17T16:05:07.125", "2004-08-17T16:05:07.125"),
        ("2004-08-17T16:05:07Z", "2004-08-17T16:05:07.000"),
        ("2004-08-17 16:05:07 UTC", "2004-08-17T16:05:07.000"),
        ("2026-05-26 04:00:00-04:00", "2026-05-26T08:00:00.000"),
        ("2026-05-26 04:00:00+0530", "2026-05-25T22:30:00.000"),
        ("19-Sep-03", "2003-09-19T00:00:00.000"),
        ("19 SEPTEMBER 2003", "2003-09-19T00:00:00.000"),
        ("Sep 19, 2003", "2003-09-19T00:00:00.000"),
        ("Fri, 19 Sep 2003 14:00:00 GMT", "2003-09-19T14:00:00.000"),
        ("19sep2003", "2003-09-19T00:00:00.000"),
        ("31/12/1999", "1999-12-31T00:00:00.000"),
        ("31.12.1999 18.30.00", "1999-12-31T18:30:00.000"),
        ("31/12/99 6:30 PM", "1999-12-31T18:30:00.000"),
        ("2020-01-01 12-AM", "2020-01-01T00:00:00.000"),
        ("2024-02-29", "2024-02-29T00:00:00.000"),
        ("2023-12-31 24:00", "2024-01-01T00:00:00.000"),
        ("20040817", "2004-08-17T00:00:00.000"),
        ("19991110.0", "1999-11-10T00:00:00.000"),
        ("200408171530", "2004-08-17T15:30:00.000"),
        ("20040817153059", "2004-08-17T15:30:59.000"),
        ("2004-08", "2004-08-01T00:00:00.000"),
        ("200408", "2004-08-01T00:00:00.000"),
        ("Aug 2004", "2004-08-01T00:00:00.000"),
        ("2004Q3", "2004-07-01T00:00:00.000"),
        ("Q3-2004", "2004-07-01T00:00:00.000"),
        ("1984", "1984-01-01T00:00:00.000"),
        ("38000", "2004-01-14T00:00:00.000"),
        ("38000.75", "2004-01-14T18:00:00.000"),
        ("1643155200", "2022-01-26T00:00:00.000"),
        ("1502928000.0", "2017-08-17T00:00:00.000"),
        ("1643155200000", "2022-01-26T00:00:00.000"),
        ("1735689600000001", "2025-01-01T00:00:00.000"),
        ("1.6431552e12", "2022-01-26T00:00:00.000"),
    ],
)
def test_ways_to_write_a_date(cell, meaning):
    assert read(cell) == [meaning]


@pytest.mark.parametrize(
    "cell",
    ["11:34", "", "soon", "2004-13-01", "2023-02-29", "31/31/2004", "2004-08-17 25:00", "3024-01-01", "12", "1234567",
     "2004-08-17 16:60", "2004Q5", "-5", "99999999999999999999", "2004-08-17 16:00 EST", "1.2.3", "0/0/0000"],
)  # fmt: skip
def test_what_is_no_date(cell):
    assert read(cell) == [None]


def test_nanoseconds_keep_all_their_digits():
    assert parse_dates(text("1735689600123456789")).instants.tolist() == [1735689600123456789]


def test_many_ways_in_one_column_and_empty_cells():
    cells = pd.Series(["2022-01-26 00:00:00", None, "2017-08-17", "x", "17 Aug 2017"], dtype="str")
    instants = parse_dates(cells).instants
    assert (instants == NOT_A_DATE).tolist() == [False, True, False, True, False]
    assert instants[2] == instants[4]


def test_two_digit_years_never_lie_beyond_next_year():
    year = datetime.now(UTC).year
    inside, beyond = f"{(year + 1) % 100:02d}", f"{(year + 2) % 100:02d}"
    assert read(f"1-Jan-{inside}")[0].startswith(str(year + 1))
    assert read(f"1-Jan-{beyond}")[0].startswith(str(year + 2 - 100))


def test_epochs_of_any_unit_and_units_the_user_names():
    same = read("1735689600", "1735689600000", "1735689600000000")
    assert set(same) == {"2025-01-01T00:00:00.000"}
    assert read("86400", date_format="epoch-s") == ["1970-01-02T00:00:00.000"]
    assert read("86400", date_format="epoch-ms") == ["1970-01-01T00:01:26.400"]
    assert read("17~08~2004", "x", date_format="%d~%m~%Y") == ["2004-08-17T00:00:00.000", None]


def test_typed_columns():
    zoned = pd.Series(pd.to_datetime(["2024-03-30 23:00", "2024-03-31 23:00"]).tz_localize("Europe/Berlin"))
    parsed = parse_dates(zoned)
    assert parsed.zoned.all() and parsed.instants.astype("datetime64[ns]").astype(str)[1].startswith("2024-03-31T21:00")
    assert parse_dates(pd.Series([20040817, 20040818])).instants[0] == parse_dates(text("2004-08-17")).instants[0]
    objects = pd.Series([datetime(2004, 8, 17), None], dtype=object)
    assert (parse_dates(objects).instants == NOT_A_DATE).tolist() == [False, True]


def test_clocks():
    hours = parse_clocks(text("18.00.00", "9:30", "4:00 PM", "093000", "930", "25:00", "x")) / 3.6e12
    assert hours[:5].tolist() == [18, 9.5, 16, 9.5, 9.5] and (hours[5:] < 0).all()


def decide(*cells, order=None):
    cells = text(*cells)
    evidence = DateEvidence()
    evidence.add(parse_dates(cells), cells)
    return decide_dates(evidence, "Date", order, "x.csv")


def test_a_day_above_twelve_settles_the_order():
    decision, findings = decide("01/02/2020", "01/13/2020")
    assert decision.order == "month" and "01/13/2020" in findings[0].example
    assert decide("01/02/2020", "13/02/2020")[0].order == "day"
    assert decide("98/12/30", "98/12/31")[0].order == "year"


def test_the_order_of_rows_settles_what_numbers_do_not():
    months = [f"01/{month:02d}/{year}" for year in (2019, 2020) for month in range(1, 13)]
    assert decide(*months)[0].order == "day"
    assert decide(*("/".join((cell[3:5], cell[:2], cell[6:])) for cell in months))[0].order == "month"
    assert decide("03/01/2020", "01/02/2020", "02/03/2020", "11/05/2020")[0].order == "day"


def test_what_nothing_settles_is_refused():
    with pytest.raises(DataError, match=r"both ways, e\.g\. '01/02/2020' in row 2; use --date-format"):
        decide("01/02/2020", "02/03/2020", "03/04/2020")
    assert decide("01/02/2020", "02/03/2020", order="month")[0].order == "month"
    assert decide("01/01/2020", "02/02/2020")[1] == []  # the same either way


def test_day_first_and_month_first_in_one_column_is_refused():
    with pytest.raises(DataError, match=r"day first and month first.*'01/14/2020' in row 3"):
        decide("13/01/2020", "01/14/2020", "15/01/2020")


def test_cells_of_another_kind_are_no_dates():
    """A date that was cut off must not become the first of the month or of the year."""
    cells = text("2004-08-17", "2004-08-18", "2004-08", "2004")
    evidence = DateEvidence()
    evidence.add(parse_dates(cells), cells)
    decision, _ = decide_dates(evidence, "Date", None, "x.csv")
    assert (decision.instants(parse_dates(cells)) == NOT_A_DATE).tolist() == [False, False, True, True]


def frame(**columns):
    return pd.DataFrame({name: pd.Series(cells, dtype="str") for name, cells in columns.items()})


DAYS = [f"2024-01-{day:02d}" for day in range(1, 21)]
NUMBERS = [str(number * 1.5) for number in range(20)]


@pytest.mark.parametrize(
    "name", ["Date", "DATETIME", "Timestamp", "time", "day", "Open Time", "openTime", "<DATE>", "x"]
)
def test_the_column_of_dates_by_name_or_content(name):
    found = find_date_columns(frame(a=NUMBERS, **{name: DAYS}), ReadingOptions(), "x.csv")
    assert (found.date, found.clock) == (name, None)


def test_date_and_time_in_two_columns():
    found = find_date_columns(frame(Date=DAYS, Time=["18.00.00"] * 20, x=NUMBERS), ReadingOptions(), "x.csv")
    assert (found.date, found.clock) == ("Date", "Time")
    options = ReadingOptions(date_column="x, Time")
    assert find_date_columns(frame(x=DAYS, Time=["1:00"] * 20), options, "x.csv").clock == "Time"


def test_of_several_columns_the_whole_one_is_chosen():
    broken = ["no"] * 8 + DAYS[8:]
    found = find_date_columns(
        frame(date=broken, unix=[str(1704067200 + 86400 * i) for i in range(20)]), ReadingOptions(), ""
    )
    assert found.date == "unix" and found.others == ("date",)
    found = find_date_columns(
        frame(unix=[str(1704067200 + 86400 * i) for i in range(20)], date=DAYS), ReadingOptions(), ""
    )
    assert found.date == "date" and found.others == ("unix",)


def test_numbers_are_no_dates():
    for cells in (NUMBERS, [str(i) for i in range(20)], [str(2000 + i % 3) for i in range(20)], ["123456789"] * 20):
        with pytest.raises(DataError, match="a column of dates"):
            find_date_columns(frame(price=cells, y=NUMBERS), ReadingOptions(), "x.csv")


def test_only_times_of_day_are_not_enough():
    with pytest.raises(DataError, match="only times of day, in 'Time'"):
        find_date_columns(frame(Time=["18:00"] * 20, x=NUMBERS), ReadingOptions(), "x.csv")


def test_wrong_options_say_what_is_allowed():
    with pytest.raises(OptionError, match="Did you mean 'day-first'"):
        check_date_format("dayfirst")
    with pytest.raises(OptionError, match=r"no 'Dat'\. Did you mean 'Date'"):
        find_date_columns(frame(Date=DAYS), ReadingOptions(date_column="Dat"), "x.csv")
