"""Splits: the three forms of ``--split``, borders as published, and parts that never share a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.splits import parse_split, split_rows
from src.errors import DataError, OptionError

DAYS = np.datetime64("2020-01-01", "ns") + np.arange(100) * np.timedelta64(1, "D")


def test_fractions_that_sum_to_one_give_the_rest_to_validation():
    count = 7588  # int(.7 n) and int(.2 n), as the published loaders do it
    parts = split_rows(parse_split("0.7,0.1,0.2"), count)
    assert parts == ((0, 5311), (5311, 7588 - 1517), (7588 - 1517, 7588))


def test_fractions_below_one_leave_later_rows_unused():
    assert split_rows(parse_split("0.5,0.2,0.1"), 100) == ((0, 50), (50, 70), (70, 80))


def test_counts_leave_later_rows_unused():
    assert split_rows(parse_split("8640,2880,2880"), 17420) == ((0, 8640), (8640, 11520), (11520, 14400))


def test_dates_begin_validation_and_test():
    rule = parse_split("2020-01-11, 2020-01-21T12:00")
    assert split_rows(rule, DAYS) == ((0, 10), (10, 21), (21, 100))


def test_dates_outside_the_data_leave_parts_empty():
    assert split_rows(parse_split("1500-01-01,9999-01-01"), DAYS) == ((0, 0), (0, 100), (100, 100))


def test_gap_takes_rows_after_each_border():
    assert split_rows(parse_split("50,30,20"), 100, gap=5) == ((0, 50), (55, 80), (85, 100))
    assert split_rows(parse_split("50,30,20"), 100, gap=40) == ((0, 50), (80, 80), (100, 100))


@given(
    st.lists(st.floats(0.01, 0.33), min_size=3, max_size=3),
    st.integers(0, 500),
    st.integers(0, 50),
)
def test_parts_never_overlap(fractions, count, gap):
    parts = split_rows(parse_split(",".join(map(str, fractions))), count, gap)
    borders = [border for part in parts for border in part]
    assert borders == sorted(borders) and borders[0] == 0 and borders[-1] <= count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "three fractions"),
        ("0.8,0.2", "three fractions"),
        ("0.7,0.2,0.2", "sums to 1.1"),
        ("0.7,0.3,0", "above 0"),
        ("0.7,-0.1,0.2", "above 0"),
        ("nan,0.1,0.1", "above 0"),
        ("inf,0.1,0.1", "above 0"),
        ("100,0,20", "at least 1 row"),
        ("a,b,c", "three row counts"),
        ("1,2,3,4", "three fractions"),
        ("2021-01-01,2020-01-01", "swap them"),
        ("2020-01-01,2020-01-01", "swap them"),
        ("2020-13-01,2021-01-01", "two dates"),
        ("2020-01-01T00:00+02:00,2021-01-01T00:00+02:00", "time zone"),
    ],
)
def test_nonsense_is_one_line(text, words):
    with pytest.raises(OptionError, match=words) as caught:
        parse_split(text)
    assert "\n" not in str(caught.value)


def test_counts_beyond_the_data():
    with pytest.raises(DataError, match="needs 14400 rows, but there are 100"):
        split_rows(parse_split("8640,2880,2880"), 100)


def test_dates_need_dates():
    with pytest.raises(OptionError, match="rows with dates"):
        split_rows(parse_split("2020-01-01,2020-02-01"), 100)
