"""Decompositions of uncertainty: extremes that are known, sums that are exact, and the law of total variance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from src.metrics.uncertainty import class_uncertainty, forecast_uncertainty


def test_draws_that_agree_leave_noise_only() -> None:
    found = class_uncertainty([[[0.5, 0.5], [1.0, 0.0]]] * 4)
    assert found.probabilities.tolist() == [[0.5, 0.5], [1, 0]]
    assert found.total.tolist() == found.aleatoric.tolist() == [pytest.approx(math.log(2)), 0]
    assert found.epistemic.tolist() == [0, 0]
    rounded = class_uncertainty(np.random.default_rng(0).dirichlet([1.0] * 5, (1, 1000)).repeat(3, 0)).epistemic
    assert float(rounded.min()) >= 0 and float(rounded.max()) < 1e-14


def test_certain_draws_that_disagree_know_no_noise() -> None:
    found = class_uncertainty(torch.eye(3).unsqueeze(1))
    assert found.probabilities.tolist() == [[pytest.approx(1 / 3)] * 3]
    assert float(found.total) == float(found.epistemic) == pytest.approx(math.log(3))
    assert float(found.aleatoric) == 0


def test_entropies_are_scipys() -> None:
    drawn = np.random.default_rng(0).dirichlet([0.5, 1, 2], (7, 5))
    found = class_uncertainty(drawn)
    np.testing.assert_allclose(found.total, entropy(drawn.mean(0), axis=-1), rtol=1e-12)
    np.testing.assert_allclose(found.aleatoric, entropy(drawn, axis=-1).mean(0), rtol=1e-12)
    # the mutual information once more, as the mean divergence of the draws from their mean
    divergence = entropy(drawn, drawn.mean(0, keepdims=True), axis=-1).mean(0)
    np.testing.assert_allclose(found.epistemic, divergence, atol=1e-12)


@given(st.integers(1, 8), st.integers(2, 6), st.floats(0.01, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_parts_of_the_entropy_make_the_whole(draws: int, classes: int, concentration: float, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet([concentration] * classes, (draws, 4)).astype(np.float32)
    found = class_uncertainty(drawn)
    assert all(part.shape == (4,) and part.dtype == torch.float64 for part in found[1:])
    assert float((found.total - found.aleatoric - found.epistemic).abs().max()) <= 1e-12
    assert bool((found.epistemic >= 0).all()) and float(found.epistemic.max()) <= math.log(draws) + 1e-6


def test_forecasts_by_hand() -> None:
    found = forecast_uncertainty([[1.0], [3.0]], [[0.5], [1.5]])
    assert [part.tolist() for part in found] == [[2], [2], [1], [1]], "mean, total, noise, and 1^2 either side of 2"
    alone = forecast_uncertainty([[1.0]], [[0.5]])
    assert [part.tolist() for part in alone] == [[1], [0.5], [0.5], [0]]


@given(st.integers(1, 9), st.floats(-100, 100), st.floats(0, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_parts_of_the_variance_make_that_of_the_mixture(draws: int, centre: float, spread: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    means, variances = generator.normal(centre, spread, (draws, 2, 3)), generator.gamma(2.0, size=(draws, 2, 3))
    found = forecast_uncertainty(torch.tensor(means), variances)
    assert found.total.shape == (2, 3)
    assert float((found.total - found.aleatoric - found.epistemic).abs().max()) <= 1e-12
    second_moment = (variances + means**2).mean(0)
    np.testing.assert_allclose(found.total, second_moment - means.mean(0) ** 2, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.mean, means.mean(0))
