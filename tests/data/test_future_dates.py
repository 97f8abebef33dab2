"""Dates go on in the rhythm of the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.data.future_dates import future_dates

STEPS = 15


def goes_on(dates: pd.DatetimeIndex) -> None:
    """The last dates follow from those before them."""
    known = dates.as_unit("ns").to_numpy()
    np.testing.assert_array_equal(future_dates(known[:-STEPS], STEPS), known[-STEPS:])


@pytest.mark.parametrize(
    "rhythm",
    [
        *("30s", "15min", "h", "5h", "D", "2D", "10D", "B", "W-FRI"),
        *("ME", "MS", "BME", "BMS", "2ME", "QE-DEC", "QS", "BQE", "YE", "YS"),
    ],
)
def test_regular_dates(rhythm: str) -> None:
    goes_on(pd.date_range("2019-01-01", periods=120, freq=rhythm))


def test_a_time_of_day_is_kept() -> None:
    goes_on(pd.date_range("2019-01-01", periods=120, freq="B") + pd.Timedelta(hours=17, minutes=30))
    goes_on(pd.date_range("2019-01-01", periods=60, freq="ME") + pd.Timedelta(hours=17))


def test_the_same_day_of_every_month() -> None:
    goes_on(pd.date_range("2019-01-01", periods=60, freq="MS") + pd.Timedelta(days=14))


def test_a_day_that_a_month_does_not_have_becomes_its_last() -> None:
    dates = np.array([f"2023-{month:02}-30" for month in range(3, 13)], dtype="datetime64[ns]")
    expected = np.array(["2024-01-30", "2024-02-29", "2024-03-30"], dtype="datetime64[ns]")
    np.testing.assert_array_equal(future_dates(dates, 3), expected)


def test_closed_hours_and_weekends_are_skipped() -> None:
    days = pd.date_range("2020-01-01", periods=100, freq="B")
    goes_on(pd.DatetimeIndex([day + pd.Timedelta(hours=9.5 + hour) for day in days for hour in range(7)]))
    hours = pd.date_range("2020-01-01", periods=3000, freq="h")
    goes_on(hours[hours.day_of_week < 5])


def test_weekends_are_known_of_minute_bars_too() -> None:
    days = pd.date_range("2020-12-01", periods=14, freq="B")
    goes_on(
        pd.DatetimeIndex([day + pd.Timedelta(minutes=570 + bar) for day in days for bar in range(391)])[: -391 * 3 + 5]
    )


def test_a_week_may_end_on_thursday() -> None:
    days = pd.date_range("2020-01-01", periods=200, freq="D")
    goes_on(days[~days.day_of_week.isin([4, 5])])


def test_a_day_of_the_week_that_has_not_come_by_yet_is_no_closed_one() -> None:
    hours = [day + pd.Timedelta(hours=9 + hour) for day in pd.date_range("2024-01-01", periods=4) for hour in range(8)]
    known = pd.DatetimeIndex(hours[:-8]).as_unit("ns").to_numpy()  # Monday to Wednesday
    assert future_dates(known, 8).tolist() == pd.DatetimeIndex(hours[-8:]).as_unit("ns").to_numpy().tolist()


def test_what_rests_at_night_rests_at_the_first_weekend() -> None:
    days = pd.date_range("2024-01-02", periods=5, freq="B")  # Tuesday to Friday, then Monday
    goes_on(pd.DatetimeIndex([day + pd.Timedelta(minutes=570 + 15 * bar) for day in days for bar in range(STEPS)]))


def test_holidays_and_gaps_do_not_break_the_rhythm() -> None:
    goes_on(pd.date_range("2020-01-01", periods=100, freq="B").delete([20, 45, 80]))
    goes_on(pd.date_range("2020-01-01", periods=300, freq="h").delete([50, 51, 90]))
    goes_on(pd.date_range("2015-01-01", periods=90, freq="ME").delete([30]))


def test_dates_without_a_rhythm_go_on_at_their_median_distance() -> None:
    seconds = np.cumsum(np.random.default_rng(0).integers(1, 9, 501))
    dates = np.datetime64("2020-01-01", "ns") + seconds * np.timedelta64(1, "s")
    typical = np.sort(np.diff(dates))[250]
    np.testing.assert_array_equal(future_dates(dates, 3), dates[-1] + typical * np.arange(1, 4))


def test_two_rows_are_enough() -> None:
    dates = np.array(["2020-01-01", "2020-01-03"], dtype="datetime64[ns]")
    assert future_dates(dates, 2).astype("datetime64[D]").astype(str).tolist() == ["2020-01-05", "2020-01-07"]
