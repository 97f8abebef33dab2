"""Data sets that need no file: real prices, a random walk, a seasonal series and the adding problem."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError, did_you_mean
from .tables import StackedTables, Table, stack_tables

WALK_DEVIATION = 0.01
"""Standard deviation of a step's log-return in the sample ``walk``."""

SEASONAL_NOISE = {"north": 0.2, "east": 0.4, "south": 0.1}
"""Standard deviation of the noise in each column of the sample ``seasonal``, in the column's units."""

CUT_IN_TIME = -1
"""In ``Sample.parts``: this series is cut into parts in time."""

_ADDING_SERIES = (20_000, 1_000, 1_000)
_ADDING_MAX_ROWS = 4_000_000


@dataclass(frozen=True)
class Sample:
    """Series together with what to assume of them where the user says nothing. A file gets the defaults below.

    Attributes:
        tables: the series.
        transform: default transform.
        targets: default targets, or None for the rule that holds for files.
        features: default features, or None for all columns.
        scale: whether values are standardised.
        period: season length in rows, or None.
        parts: int ``[series]``: 0, 1, 2 where a whole series belongs to training, validation, test; ``CUT_IN_TIME``
            where it is cut; None where every series is.
        horizon: the only horizon that makes sense, or None for any.
        target_history: whether past values of the targets are known (and so may be features).
    """

    tables: StackedTables
    transform: str = "return"
    targets: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    scale: bool = True
    period: int | None = None
    parts: np.ndarray | None = None
    horizon: int | None = None
    target_history: bool = True


def load_sample(name: str, *, window: int, seed: int) -> Sample:
    """Make a sample; the same arguments always give the same values.

    Args:
        name: ``goog``, ``walk``, ``seasonal`` or ``adding``.
        window: look-back rows; the series of ``adding`` are that long.
        seed: of everything that is drawn at random (``goog`` is not).

    Raises:
        DataError: if there is no such sample, or the window is too short for it.
    """
    if name not in SAMPLES:
        raise DataError(f"there is no sample '{name}'.{did_you_mean(name, SAMPLES)} Known: {', '.join(SAMPLES)}")
    return SAMPLES[name](window, seed)


def _goog(window: int, seed: int) -> Sample:
    """Daily prices of Google, 2004-08-19 to 2008-10-14 (1,047 trading days), from matplotlib's own sample data."""
    # Found without importing matplotlib, which would take longer than all the rest of reading.
    package = importlib.util.find_spec("matplotlib")
    if package is None or not package.submodule_search_locations:
        raise DataError("sample:goog comes with matplotlib, which is not installed; pip install -r requirements.txt")
    with np.load(Path(package.submodule_search_locations[0], "mpl-data", "sample_data", "goog.npz")) as file:
        rows = file["price_data"]
    fields = ("open", "high", "low", "close", "volume", "adj_close")
    columns = {field.replace("adj_", "adj ").title(): rows[field].astype(np.float64) for field in fields}
    return Sample(stack_tables([Table(rows["date"].astype("datetime64[ns]"), columns, "goog")]), period=5)


def _walk(window: int, seed: int) -> Sample:
    """A geometric random walk: 3,000 business days with nothing to learn.

    Log-returns are independent and normal with standard deviation ``WALK_DEVIATION`` and mean -deviation^2 / 2, so the
    expected return is exactly 0 and repeating the last price is the best forecast of squared error. The best reachable
    MSE of a scaled one-step return is 1 up to sampling error.
    """
    steps = np.random.default_rng(seed).normal(-(WALK_DEVIATION**2) / 2, WALK_DEVIATION, 2999)
    close = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    days = np.busday_offset(np.full(3000, "2010-01-04", dtype="datetime64[D]"), np.arange(3000)).astype(
        "datetime64[ns]"
    )
    return Sample(stack_tables([Table(days, {"Close": close}, "walk")]), period=5)


def _seasonal(window: int, seed: int) -> Sample:
    """4,000 hours of three columns: a daily wave, a slow straight trend and independent normal noise.

    ``level + rise * t / 4000 + amplitude * sin(2 pi t / 24 + phase) + noise``: amplitudes 1, 2, .5, phases 0, 2, 4.

    The best reachable MSE of any forecast at any horizon is the variance of the noise, ``SEASONAL_NOISE ** 2``: .04,
    .16 and .01 in the columns' units; divided by the square of the scaler's scale, in scaled values.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(4000)
    columns = {}
    shapes = {"north": (10.0, 1.0, 1.0, 0.0), "east": (20.0, 2.0, 2.0, 2.0), "south": (5.0, 0.5, 0.5, 4.0)}
    for name, (level, rise, amplitude, phase) in shapes.items():
        wave = amplitude * np.sin(2 * np.pi * time / 24 + phase)
        columns[name] = level + rise * time / 4000 + wave + rng.normal(0, SEASONAL_NOISE[name], 4000)
    hours = np.datetime64("2020-01-01", "ns") + time * np.timedelta64(1, "h")
    return Sample(stack_tables([Table(hours, columns, "seasonal")]), transform="level", period=24)


def _adding(window: int, seed: int) -> Sample:
    """The adding problem (Bai, Kolter and Koltun 2018, arXiv 1803.01271, section 5.2).

    Every series has ``window`` rows of ``value`` ~ U(0, 1) and ``marker`` (a one at a random place in each half, zeros
    elsewhere) and one last row whose ``sum`` is the sum of the two marked values. The last row's value and marker are
    0, as is ``sum`` before it: a forecast reads value and marker alone. Always answering 1 has an MSE of 1/6.

    20,000 training series (fewer where a long window would take more than four million rows), 1,000 for validation and
    1,000 for test. Dates are a running index.
    """
    if window < 2:
        raise DataError(
            f"sample:adding marks a row in each half of the window, but got window={window}; use at least 2"
        )
    length = window + 1
    training = min(_ADDING_SERIES[0], max(1, _ADDING_MAX_ROWS // length - sum(_ADDING_SERIES[1:])))
    counts = (training, *_ADDING_SERIES[1:])
    count = sum(counts)
    rng = np.random.default_rng(seed)
    values = np.zeros((count, length, 3))
    values[:, :window, 0] = rng.random((count, window))
    every, half = np.arange(count), window // 2
    first, second = rng.integers(0, half, count), rng.integers(half, window, count)
    values[every, first, 1] = values[every, second, 1] = 1.0
    values[:, window, 2] = values[every, first, 0] + values[every, second, 0]
    dates = np.datetime64("2000-01-01", "ns") + np.arange(length) * np.timedelta64(1, "D")
    tables = StackedTables(
        dates=np.tile(dates, count),
        values=values.reshape(-1, 3),
        columns=("value", "marker", "sum"),
        bounds=np.arange(count + 1, dtype=np.int64) * length,
        names=tuple(f"adding-{number}" for number in range(1, count + 1)),
    )
    return Sample(
        tables,
        transform="level",
        targets=("sum",),
        features=("value", "marker"),
        scale=False,
        parts=np.repeat(np.arange(3), counts),
        horizon=1,
        target_history=False,
    )


SAMPLES: dict[str, Callable[[int, int], Sample]] = {
    "goog": _goog,
    "walk": _walk,
    "seasonal": _seasonal,
    "adding": _adding,
}
