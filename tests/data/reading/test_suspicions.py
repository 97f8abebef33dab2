"""Suspicious values: told with name, date and size, and never changed."""

import numpy as np
import pytest

from src.data.reading.rows_of_source import SourceRows
from src.data.reading.storage import Storage
from src.data.reading.suspicions import find_odd_dates, find_suspicions

DAY = 86_400_000_000_000


def rows(dates=None, series=1, **columns):
    count = len(next(iter(columns.values())))
    start = np.datetime64("2020-01-01", "ns").astype(np.int64)
    dates = start + np.tile(np.arange(count // series), series) * DAY if dates is None else dates
    return SourceRows(
        name="a",
        location="a.csv",
        dates=dates,
        numbers=np.arange(2, 2 + count, dtype=np.int32),
        columns={name.replace("_", " "): np.asarray(values, float) for name, values in columns.items()},
        storage=Storage(None),
        bounds=np.arange(0, count + 1, count // series),
        names=["a", "b", "c"][:series],
    )


def walk(count=400, seed=0):
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, count)))


def told(found):
    return {finding.topic: f"{finding.text} ({finding.example})" for finding in found}


def test_plain_prices_need_no_word():
    close = walk()
    plain = rows(Open=close, High=close * 1.01, Low=close * 0.99, Close=close, Volume=np.arange(400) + 10)
    before = close.copy()
    assert find_suspicions(plain) == [] and find_odd_dates(plain) == []
    assert np.array_equal(plain.columns["Close"], before)


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 10, 3 / 2, 4])
def test_a_split(factor):
    close = walk()
    split = close.copy()
    split[200:] *= factor
    found = find_suspicions(rows(Close=split))
    assert [finding.count for finding in found] == [1] and "2020-07-19" in told(found)["splits"]
    assert find_suspicions(rows(Close=split, Adj_Close=close))[0].topic == "splits"
    assert find_suspicions(rows(Close=split, Adj_Close=split)) == []  # the price really fell


def test_a_fall_that_is_no_split():
    close = walk()
    close[200:] *= 0.6
    assert find_suspicions(rows(Close=close)) == []


def test_a_hundredfold_jump_and_not_across_series():
    close = walk()
    close[200] *= 1000
    found = told(find_suspicions(rows(Close=close)))
    assert "{parts}" in found["jumps"] and "Close on 2020-07-19" in found["jumps"]
    two = np.concatenate([walk(), 1000 * walk(seed=1)])
    assert find_suspicions(rows(Close=two, series=2)) == []


def test_impossible_prices():
    close = walk()
    low, high = close * 0.99, close * 1.01
    low[7], high[9], close[11] = -1, 50, 0
    found = [
        f"{finding.text} ({finding.example})" for finding in find_suspicions(rows(High=high, Low=low, Close=close))
    ]
    assert "prices of zero or below: {parts} (Low is -1 on 2020-01-08)" in found
    assert any(text.startswith("rows with the high below the low: {count} (2020-01-10: 50 below") for text in found)


def test_negative_values_of_other_columns_are_fine():
    assert find_suspicions(rows(change=np.random.default_rng(0).normal(size=400))) == []


def test_what_does_not_change():
    close = walk()
    close[50:75] = close[50]
    found = find_suspicions(rows(Close=close, dividend=np.zeros(400)))
    assert found[0].parts == {"dividend": 1} and "constant" in found[0].text
    assert found[1].count == 1 and "25 rows of" in found[1].example and "2020-02-20" in found[1].example
    close[74] += 0.5
    close[50:69] += 0.1  # 19 and 5 rows
    assert len(find_suspicions(rows(Close=close))) == 0


def test_digits_that_single_precision_loses():
    found = find_suspicions(rows(id=np.arange(400) + 9e9, Close=walk()))
    assert [(finding.topic, dict(finding.parts)) for finding in found] == [("precision", {"id": 398})]


def test_odd_dates():
    start = np.datetime64("2020-01-01", "ns").astype(np.int64)
    dates = start + np.arange(400) * DAY
    dates[200:] += 30 * DAY
    found = find_odd_dates(rows(dates, Close=walk()))
    assert found[0].count == 1 and "first 2020-07-18 to 2020-08-18" in found[0].example and "1 day" in found[0].text
    future = np.datetime64("2100-01-01", "ns").astype(np.int64) + np.arange(400) * DAY
    assert "rows after today" in find_odd_dates(rows(future, Close=walk()))[0].text


def test_nights_and_weekends_are_no_gaps():
    start = np.datetime64("2020-01-06T09:30", "ns").astype(np.int64)
    minutes = np.concatenate([start + day * DAY + np.arange(50) * 60 * 10**9 for day in (0, 1, 2, 3, 4, 7, 8, 9)])
    assert find_odd_dates(rows(minutes, Close=walk())) == []
    one_break = start + np.arange(400) * 60 * 10**9
    one_break[200:] += 3 * 3600 * 10**9
    assert find_odd_dates(rows(one_break, Close=walk()))[0].count == 1


def test_no_step_across_series_is_a_gap():
    assert find_odd_dates(rows(Close=walk(), series=2)) == []
