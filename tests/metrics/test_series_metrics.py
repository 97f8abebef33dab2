"""Running sums, fed batch by batch, give what scikit-learn gives on everything at once."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from src.metrics.series import ForecastScores, skill


@st.composite
def shapes(draw):
    """Windows, horizon, targets, a seed, and where the batches are cut."""
    windows = draw(st.integers(1, 60))
    cuts = sorted(draw(st.sets(st.integers(1, windows), max_size=4)) | {0, windows})
    return windows, draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 1000)), cuts


def scored(actual, forecast, naive, cuts, scaled=None):
    scores = ForecastScores(*actual.shape[1:])
    for first, last in itertools.pairwise(cuts):
        part = slice(first, last)
        scores.add_scaled(*(values[part] for values in scaled or (actual, forecast)))
        scores.add(actual[part], forecast[part], None if naive is None else naive[part])
    return scores


@settings(max_examples=80, deadline=None)
@given(shape=shapes(), level=st.sampled_from([0.0, 1e6]))
def test_forecast_scores(shape, level):
    windows, horizon, targets, seed, cuts = shape
    rng = np.random.default_rng(seed)
    actual, forecast, naive = (level + rng.normal(size=(windows, horizon, targets)) for _ in range(3))
    scaled = tuple(rng.normal(size=actual.shape).astype(np.float32) for _ in range(2))
    scores = scored(actual, forecast, naive, cuts, scaled)
    results = scores.results()
    flat = [values.reshape(-1, targets) for values in (actual, forecast, naive)]
    squared = metrics.mean_squared_error(flat[0], flat[1])
    expected = {
        "mse_scaled": metrics.mean_squared_error(
            *(values.astype(np.float64).reshape(-1, targets) for values in scaled)
        ),
        "mae_scaled": metrics.mean_absolute_error(
            *(values.astype(np.float64).reshape(-1, targets) for values in scaled)
        ),
        "mae": metrics.mean_absolute_error(flat[0], flat[1]),
        "rmse": math.sqrt(squared),
        "r2": metrics.r2_score(flat[0], flat[1]) if windows * horizon > 1 else None,
        "skill_vs_naive": 1 - squared / metrics.mean_squared_error(flat[0], flat[2]),
        "direction_accuracy": metrics.accuracy_score((actual > naive).ravel(), (forecast > naive).ravel()),
        "majority_share": max((actual > naive).mean(), (actual <= naive).mean()),
    }
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        assert results[name] == (value if value is None else pytest.approx(value, rel=1e-8, abs=1e-10)), name
    steps = scores.per_step()
    for step in range(horizon):
        truth, guess = (values[:, step].astype(np.float64) for values in scaled)
        assert steps["mse_scaled"][step] == pytest.approx(metrics.mean_squared_error(truth, guess))
        assert steps["mae_scaled"][step] == pytest.approx(metrics.mean_absolute_error(truth, guess))


def test_nothing_added_gives_nothing():
    assert ForecastScores(2, 1).results() == {}


def test_without_a_last_value_there_is_no_skill():
    rng = np.random.default_rng(0)
    results = scored(*rng.normal(size=(2, 9, 1, 1)), None, [0, 4, 9]).results()
    assert [name for name, value in results.items() if value is None] == [
        "skill_vs_naive",
        "direction_accuracy",
        "majority_share",
    ]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_constant_target_has_no_r2(value):
    """Rounding errors of the mean are no deviations to be measured against."""
    actual = np.full((700, 3, 1), value)
    assert scored(actual, actual + 1, actual, [0, 256, 512, 700]).results()["r2"] is None
    varied = np.concatenate([actual, np.random.default_rng(0).normal(size=actual.shape)], 2)
    results = scored(varied, varied * 0.5, varied, [0, 256, 512, 700]).results()
    assert results["r2"] == pytest.approx(metrics.r2_score(*(v[..., 1].ravel() for v in (varied, varied * 0.5))))


def test_skill():
    assert skill(1.0, 4.0) == 0.75
    assert skill(5.0, 4.0) == -0.25
    assert skill(1.0, 0.0) is None
