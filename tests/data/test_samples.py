"""Samples keep the promises of their descriptions."""

import numpy as np
import pytest

from src.data.samples import SAMPLES, SEASONAL_NOISE, WALK_DEVIATION, load_sample
from src.errors import DataError


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_seed_gives_the_same_values(name):
    first, again = (load_sample(name, window=12, seed=3).tables for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.dates, again.dates)
    other = load_sample(name, window=12, seed=4).tables.values
    assert np.array_equal(first.values, other) == (name == "goog")


def test_goog_is_the_real_series():
    tables = load_sample("goog", window=96, seed=0).tables
    assert tables.columns == ("Open", "High", "Low", "Close", "Volume", "Adj Close")
    assert len(tables.dates) == 1047 and tables.dates[0] == np.datetime64("2004-08-19")
    assert tables.values[0].tolist() == [100.0, 104.06, 95.96, 100.34, 22351900.0, 100.34]


@pytest.mark.parametrize("seed", range(5))
def test_walk_has_nothing_to_learn(seed):
    close = load_sample("walk", window=96, seed=seed).tables.values[:, 0]
    returns = np.diff(close) / close[:-1]
    assert len(close) == 3000
    autocorrelation = np.corrcoef(returns[:-1], returns[1:])[0, 1]
    assert abs(autocorrelation) < 3.3 / np.sqrt(len(returns))
    assert abs(returns.mean()) < 3.3 * WALK_DEVIATION / np.sqrt(len(returns))
    assert returns.std() == pytest.approx(WALK_DEVIATION, rel=0.05)


def test_seasonal_noise_is_the_best_reachable_error():
    tables = load_sample("seasonal", window=96, seed=0).tables
    time = np.arange(4000)
    known = np.column_stack([np.ones(4000), time, np.sin(2 * np.pi * time / 24), np.cos(2 * np.pi * time / 24)])
    for name, values in zip(tables.columns, tables.values.T, strict=True):
        rest = values - known @ np.linalg.lstsq(known, values, rcond=None)[0]
        assert rest.std() == pytest.approx(SEASONAL_NOISE[name], rel=0.05)
        assert abs(np.corrcoef(rest[:-1], rest[1:])[0, 1]) < 3.3 / np.sqrt(4000)
        assert values.std() > 3 * SEASONAL_NOISE[name]


@pytest.mark.parametrize("window", [2, 3, 50])
def test_adding_sums_the_marked_values(window):
    sample = load_sample("adding", window=window, seed=0)
    series = sample.tables.values.reshape(-1, window + 1, 3)
    values, markers, sums = series[:, :-1, 0], series[:, :-1, 1], series[:, -1, 2]
    np.testing.assert_allclose((values * markers).sum(axis=1), sums, rtol=1e-15)
    half = window // 2
    assert (markers[:, :half].sum(axis=1) == 1).all() and (markers[:, half:].sum(axis=1) == 1).all()
    assert values.min() >= 0 and values.max() <= 1 and values.mean() == pytest.approx(0.5, abs=0.01)
    assert (series[:, -1, :2] == 0).all() and (series[:, :-1, 2] == 0).all()
    assert ((sums - 1) ** 2).mean() == pytest.approx(1 / 6, abs=0.005)
    assert np.bincount(sample.parts).tolist() == [20000, 1000, 1000]


def test_adding_stays_small_for_long_windows():
    sample = load_sample("adding", window=600, seed=0)
    assert len(sample.tables.dates) <= 4_000_000
    assert np.bincount(sample.parts)[1:].tolist() == [1000, 1000]


def test_adding_needs_two_halves():
    with pytest.raises(DataError, match="window=1"):
        load_sample("adding", window=1, seed=0)


def test_an_unknown_sample_names_the_closest():
    with pytest.raises(DataError, match="Did you mean 'seasonal'"):
        load_sample("seasnal", window=96, seed=0)
