"""Risk against coverage, and noticing what is strange, against hand, brute force and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from src.metrics.selective import area_under_risk_coverage, out_of_distribution_auroc, risk_coverage

WHOLE = st.integers(0, 5).map(float)


def test_the_most_certain_answer_first() -> None:
    coverage, risk = risk_coverage([0.9, 0.1, 0.5, 0.3], [1, 0, 1, 0])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == [0, 0, pytest.approx(1 / 3), 0.5]
    assert float(area_under_risk_coverage([0.9, 0.1, 0.5, 0.3], [1, 0, 1, 0])) == pytest.approx((1 / 3 + 0.5) / 4)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 9)), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_ties_are_expectations_over_all_orders(samples: list[tuple[int, float]]) -> None:
    orders = [
        np.cumsum([error for _, error in order]) / np.arange(1, len(samples) + 1)
        for order in itertools.permutations(samples)
        if all(first[0] <= second[0] for first, second in itertools.pairwise(order))
    ]
    uncertainty, error = (torch.tensor(values) for values in zip(*samples, strict=True))
    np.testing.assert_allclose(risk_coverage(uncertainty, error)[1], np.mean(orders, 0), atol=1e-9)
    np.testing.assert_allclose(area_under_risk_coverage(uncertainty, error), np.mean(orders), atol=1e-9)


def test_best_worst_and_useless_uncertainty() -> None:
    error = np.random.default_rng(0).exponential(size=200)
    best, worst = area_under_risk_coverage(error, error), area_under_risk_coverage(-error, error)
    useless = area_under_risk_coverage(np.ones(200), error)
    assert best < useless < worst
    assert float(useless) == pytest.approx(error.mean())
    assert float(risk_coverage(error, error)[1][-1]) == pytest.approx(error.mean()), "all answered"


def test_auroc_is_scikit_learns_ties_included() -> None:
    generator = np.random.default_rng(0)
    inside, outside = generator.integers(0, 8, 300), generator.integers(2, 11, 150)
    truth = np.r_[np.zeros(300), np.ones(150)]
    expected = roc_auc_score(truth, np.r_[inside, outside])
    assert float(out_of_distribution_auroc(inside, outside)) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_known_cases() -> None:
    assert float(out_of_distribution_auroc([1.0, 2.0], torch.tensor([[3.0], [4.0]]))) == 1
    assert float(out_of_distribution_auroc([1.0, 3.0], [2.0])) == 0.5
    assert float(out_of_distribution_auroc([1.0, 1.0], [1.0])) == 0.5
    assert float(out_of_distribution_auroc([1.0, 2.0], [float("inf")])) == 1


@given(st.lists(WHOLE, min_size=1, max_size=12), st.lists(WHOLE, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_auroc_counts_pairs_and_is_symmetric(inside: list[float], outside: list[float]) -> None:
    pairs = [(strange > known) + (strange == known) / 2 for known in inside for strange in outside]
    found = float(out_of_distribution_auroc(inside, outside))
    assert found == pytest.approx(np.mean(pairs), abs=1e-12)
    assert float(out_of_distribution_auroc(outside, inside)) == pytest.approx(1 - found, abs=1e-12)


def test_what_is_undefined_is_nan() -> None:
    nan = float("nan")
    assert out_of_distribution_auroc([1.0, nan], [2.0]).isnan() and out_of_distribution_auroc([1.0], [nan]).isnan()
    assert out_of_distribution_auroc([], [2.0]).isnan() and out_of_distribution_auroc([2.0], []).isnan()
    assert risk_coverage([0.1, nan, nan], [0.0, 1.0, 1.0])[1].isnan().all()
    assert area_under_risk_coverage([0.1, nan], [0.0, 1.0]).isnan() and area_under_risk_coverage([], []).isnan()
