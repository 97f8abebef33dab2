"""The dates of rows that do not exist yet, in the rhythm of those that do."""

from __future__ import annotations

import numpy as np

RECENT_ROWS = 20_000
RECENT_DAYS = 56
FEWEST_DAYS = 3
FITS = 0.8
"""Share of recent dates that a rhythm must explain; holidays and single gaps are no reason to give it up."""

_DAY = np.timedelta64(1, "D")
_ROUND_THE_CLOCK = np.timedelta64(16, "h")
_SHORTEST_MONTH = np.timedelta64(28, "D")
_DAYS_A_MONTH = 30.44


def future_dates(dates: np.ndarray, steps: int) -> np.ndarray:
    """The next dates of a series; the first rhythm that explains its recent dates decides:

    1. months, quarters, years: their last day, last weekday or first weekday if the dates are such, else the same day
       of the month;
    2. an equal distance from row to row;
    3. the days of the week and the times of day that recent rows have, so that weekends and closed hours are skipped
       where the data skip them (weekends also where the data are too short to show one, but rest at night). Holidays
       are not known;
    4. the median distance.

    Args:
        dates: ``datetime64[ns]`` ``[rows]``, ascending, at least two.
        steps: how many to give.

    Returns:
        ``datetime64[ns]`` ``[steps]``.
    """
    recent = dates[-RECENT_ROWS:]
    spacing = np.diff(recent)
    typical = np.sort(spacing)[len(spacing) // 2]
    if typical >= _SHORTEST_MONTH:
        monthly = _next_months(recent, steps, float(typical / _DAY))
        if monthly is not None:
            return monthly
    elif (spacing != typical).any():
        sessions = _next_sessions(recent, steps)
        if sessions is not None:
            return sessions
    return recent[-1] + typical * np.arange(1, steps + 1)


def _next_months(recent: np.ndarray, steps: int, days_between: float) -> np.ndarray | None:
    """Every so many months, at the same place in the month; None if rows are not so many months apart."""
    every = max(1, round(days_between / _DAYS_A_MONTH))
    months = recent.astype("datetime64[M]")
    if (np.diff(months.astype(np.int64)) == every).mean() < FITS:
        return None
    days = recent.astype("datetime64[D]")
    coming = months[-1] + every * np.arange(1, steps + 1)
    for place in (_last_day, _last_weekday, _first_weekday):
        if (place(months) == days).mean() >= FITS:
            chosen = place(coming)
            break
    else:
        chosen = np.minimum(coming.astype("datetime64[D]") + (days[-1] - months[-1]), _last_day(coming))
    return chosen.astype("datetime64[ns]") + (recent[-1] - days[-1])


def _last_day(months: np.ndarray) -> np.ndarray:
    return (months + 1).astype("datetime64[D]") - _DAY


def _last_weekday(months: np.ndarray) -> np.ndarray:
    return np.busday_offset(_last_day(months), 0, roll="backward")


def _first_weekday(months: np.ndarray) -> np.ndarray:
    return np.busday_offset(months.astype("datetime64[D]"), 0, roll="forward")


def _next_sessions(recent: np.ndarray, steps: int) -> np.ndarray | None:
    """The usual times of the usual days of the week; None if recent rows do not follow such a timetable."""
    recent = recent[recent > recent[-1] - RECENT_DAYS * _DAY]
    days = recent.astype("datetime64[D]")
    open_days = np.unique(days)
    if len(open_days) < FEWEST_DAYS:
        return None
    time, count = np.unique(recent - days, return_counts=True)
    times = time[2 * count >= len(open_days)]
    if not len(times):
        return None
    calendar = np.bincount(_weekday(np.arange(open_days[0], open_days[-1] + _DAY)), minlength=7)
    # A day of the week is closed where it came by and most often had no row.
    is_open = 2 * np.bincount(_weekday(open_days), minlength=7) >= calendar
    if times[-1] - times[0] < _ROUND_THE_CLOCK:  # what rests at night is taken to rest at weekends not seen yet
        is_open[5:] &= calendar[5:] > 0
    weekdays = np.flatnonzero(is_open)

    def timetable(first: np.datetime64, last: np.datetime64) -> np.ndarray:
        every = np.arange(first, last + _DAY)
        kept = every[np.isin(_weekday(every), weekdays)]
        return (kept.astype("datetime64[ns]")[:, None] + times).ravel()

    past = timetable(days[0], days[-1])
    past = past[(past >= recent[0]) & (past <= recent[-1])]
    if not len(past) or min(np.isin(recent, past).mean(), np.isin(past, recent).mean()) < FITS:
        return None
    needed = -(-steps // (len(times) * len(weekdays))) + 1
    coming = timetable(days[-1], days[-1] + 7 * needed * _DAY)
    return coming[coming > recent[-1]][:steps]


def _weekday(days: np.ndarray) -> np.ndarray:
    """Monday is 0."""
    return (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
