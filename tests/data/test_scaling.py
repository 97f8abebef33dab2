"""Scaling: standardisation of training rows, returns and their inverse."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from src.data.scaling import Scaler, changes_from_levels, levels_from_changes, transform_rows

PRICES = arrays(np.float64, (12, 2), elements=st.floats(0.01, 1e6))


@pytest.mark.parametrize("transform", ["return", "log-return"])
@given(prices=PRICES)
def test_levels_come_back_from_changes(transform, prices):
    changes = changes_from_levels(prices, transform)
    assert (changes[0] == 0).all()
    restored = levels_from_changes(prices[None, 0], changes[None, 1:], transform)
    np.testing.assert_allclose(restored[0], prices[1:], rtol=1e-6)  # 1 + r loses digits after a fall by 1e8


def test_known_returns():
    prices = np.array([[100.0], [110.0], [99.0]])
    np.testing.assert_allclose(changes_from_levels(prices, "return")[1:, 0], [0.1, -0.1])
    np.testing.assert_allclose(changes_from_levels(prices, "log-return")[1:, 0], np.log([1.1, 0.9]))


def test_returns_do_not_reach_from_one_series_into_the_next():
    levels = np.array([[1.0, 5.0], [2.0, 6.0], [100.0, 7.0], [50.0, 8.0]])
    expected = np.array([[0, 5], [1, 6], [0, 7], [-0.5, 8]])
    for first, last in ((0, 4), (0, 1), (1, 3), (2, 4), (3, 4)):
        values = transform_rows(levels, first, last, ["return", "level"], np.array([0, 2, 4]))
        np.testing.assert_array_equal(values, expected[first:last])


def test_levels_are_standardised_per_series_with_ddof_zero():
    rng = np.random.default_rng(0)
    series = [rng.normal(3, 2, (50, 2)), rng.normal(-100, 40, (30, 2))]
    scaler = Scaler.fit([[rows] for rows in series], ["a", "b"], ["level", "level"])
    np.testing.assert_allclose(scaler.center, [rows.mean(axis=0) for rows in series])
    np.testing.assert_allclose(scaler.scale, [rows.std(axis=0) for rows in series])
    scaled = scaler.scaled(np.concatenate(series), np.repeat([0, 1], [50, 30]))
    for rows in (scaled[:50], scaled[50:]):
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(rows.std(axis=0), 1)


def test_returns_are_pooled_and_keep_their_zero():
    rng = np.random.default_rng(0)
    series = [rng.normal(0.5, 1, (50, 2)), rng.normal(0.5, 3, (30, 2))]
    scaler = Scaler.fit([series], ["price", "flow"], ["return", "level"])
    pooled = np.concatenate(series)
    assert scaler.center[0, 0] == 0
    np.testing.assert_allclose(scaler.center[0, 1], pooled[:, 1].mean())
    np.testing.assert_allclose(scaler.scale, pooled.std(axis=0)[None])
    assert scaler.scaled(np.zeros((1, 2)))[0, 0] == 0


def test_a_constant_column_is_not_divided_by_zero():
    scaler = Scaler.fit([[np.full((10, 1), 7.0)]], ["a"], ["level"])
    assert scaler.scale.tolist() == [[1.0]] and scaler.center.tolist() == [[7.0]]


def test_unscaled_uses_each_samples_own_group():
    scaler = Scaler(
        ("a", "b"), ("level", "level"), np.array([[1.0, 2.0], [10.0, 20.0]]), np.array([[2.0, 3.0], [4.0, 5.0]])
    )
    values = scaler.unscaled(np.ones((2, 3, 1)), np.array([1, 0]), [1])
    np.testing.assert_array_equal(values[:, :, 0], [[25.0] * 3, [5.0] * 3])


def test_json_round_trip_is_exact():
    scaler = Scaler.fit([[np.random.default_rng(1).normal(size=(9, 2))]], ["a", "b"], ["log-return", "level"])
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert again.columns == scaler.columns and again.transforms == scaler.transforms
    np.testing.assert_array_equal(again.center, scaler.center)
    np.testing.assert_array_equal(again.scale, scaler.scale)
