"""Proper scores against numbers computed by hand, SciPy's densities, scikit-learn's losses and numerical integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats
from sklearn.metrics import brier_score_loss, log_loss, mean_pinball_loss

from src.metrics.proper_scores import (
    as_double,
    brier_score,
    interval_score,
    negative_log_likelihood,
    normal_crps,
    normal_nll,
    pinball_loss,
    quantile_crps,
    sample_crps,
    student_crps,
    student_nll,
)

PROBABILITIES = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]
DEGREES = [1.05, 1.5, 2.0, 4.3, 30.0, 99.5, 100.5, 3000.0]


def integrated_crps(distribution, actual: float) -> float:
    """The definition: the integral of (F(x) - 1{x >= actual})^2."""
    options = {"limit": 400, "epsabs": 1e-12, "epsrel": 1e-10}
    below = integrate.quad(lambda x: distribution.cdf(x) ** 2, -math.inf, actual, **options)[0]
    return below + integrate.quad(lambda x: distribution.sf(x) ** 2, actual, math.inf, **options)[0]


def test_class_scores_by_hand() -> None:
    expected = -(math.log(0.7) + math.log(0.1)) / 2
    assert float(negative_log_likelihood(PROBABILITIES, [0, 1])) == pytest.approx(expected, abs=1e-12)
    by_hand = (0.3**2 + 0.2**2 + 0.1**2 + 0.1**2 + 0.9**2 + 0.8**2) / 2
    assert float(brier_score(PROBABILITIES, [0, 1])) == pytest.approx(by_hand, abs=1e-12)
    assert float(brier_score([[0.0, 1.0]], [0])) == 2, "as wrong as can be"
    assert float(brier_score([[0.0, 1.0]], [1])) == float(negative_log_likelihood([[0.0, 1.0]], [1])) == 0


def test_class_scores_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    probabilities, labels = generator.dirichlet([1.0, 2, 3, 0.5], 300), generator.integers(0, 4, 300)
    assert float(negative_log_likelihood(probabilities, labels)) == pytest.approx(
        log_loss(labels, probabilities, labels=range(4)), rel=1e-12
    )
    theirs = brier_score_loss(labels, probabilities, labels=range(4), scale_by_half=False)
    assert float(brier_score(torch.tensor(probabilities), torch.tensor(labels))) == pytest.approx(theirs, rel=1e-12)


def test_one_impossible_event_does_not_make_the_mean_infinite() -> None:
    assert float(negative_log_likelihood([[1.0, 0.0]], [1])) == pytest.approx(-math.log(1e-7))


@pytest.mark.parametrize("score", [negative_log_likelihood, brier_score])
def test_class_scores_are_proper(score) -> None:
    """Drawn from (0.6, 0.3, 0.1), nothing else than saying so is better."""
    truth = np.array([0.6, 0.3, 0.1])
    labels = [0] * 60 + [1] * 30 + [2] * 10

    def of(said: np.ndarray) -> float:
        return float(score(np.tile(said, (100, 1)), labels))

    others = np.random.default_rng(1).dirichlet([5.0, 3, 2], 50)
    assert all(of(other) > of(truth) for other in others)


def test_pinball_loss_by_hand_and_scikit_learns() -> None:
    # 3 is 2 above the quantile 1 of level 0.1, and 1 below the quantile 4 of level 0.9
    assert float(pinball_loss([3.0], [[1.0, 4.0]], [0.1, 0.9])) == pytest.approx((0.1 * 2 + 0.1 * 1) / 2)
    generator = np.random.default_rng(0)
    actual, quantiles, levels = generator.normal(size=50), generator.normal(size=(50, 3)), [0.1, 0.5, 0.8]
    theirs = [mean_pinball_loss(actual, quantiles[:, k], alpha=level) for k, level in enumerate(levels)]
    assert float(pinball_loss(actual, quantiles, levels)) == pytest.approx(np.mean(theirs), rel=1e-12)
    assert quantile_crps(actual, quantiles, levels).mean() == pytest.approx(2 * np.mean(theirs), rel=1e-12)


def test_the_pinball_loss_is_least_at_the_quantile() -> None:
    actual = np.arange(101.0)
    losses = [float(pinball_loss(actual, np.full((101, 1), guess), [0.8])) for guess in range(101)]
    assert int(np.argmin(losses)) == 80


def test_quantile_crps_comes_near_the_closed_form() -> None:
    levels = (np.arange(400) + 0.5) / 400
    actual = np.array([[-2.0, 0.1], [1.0, 5.0]])
    quantiles = np.broadcast_to(stats.norm(1, 2).ppf(levels), (2, 2, 400))
    estimate = quantile_crps(actual, quantiles, levels)
    assert estimate.shape == (2, 2)
    assert torch.allclose(estimate, normal_crps(actual, 1, 2), atol=2e-3)


def test_densities_are_scipys() -> None:
    generator = np.random.default_rng(0)
    actual, centre, spread = generator.normal(0, 5, (3, 40)), generator.normal(size=40), generator.uniform(0.1, 3, 40)
    expected = -stats.norm(centre, spread).logpdf(actual)
    np.testing.assert_allclose(normal_nll(actual, centre, spread), expected, rtol=1e-12)
    for degrees in (0.3, *DEGREES):
        expected = -stats.t(degrees, centre, spread).logpdf(actual)
        np.testing.assert_allclose(student_nll(actual, centre, spread, degrees), expected, rtol=1e-11)


@pytest.mark.parametrize("actual", [-7.0, 0.4, 1.3, 60.0])
def test_normal_crps_is_the_integral(actual: float) -> None:
    expected = integrated_crps(stats.norm(0.4, 1.7), actual)
    assert float(normal_crps(actual, 0.4, 1.7)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("degrees", [1.5, 2.0, 4.3, 30.0, 150.0])
def test_student_crps_is_the_integral(degrees: float) -> None:
    for actual in (-7.0, 0.4, 1.3):
        expected = integrated_crps(stats.t(degrees, 0.4, 1.7), actual)
        assert float(student_crps(actual, 0.4, 1.7, degrees)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("degrees", DEGREES)
def test_student_crps_with_scipys_distribution_function(degrees: float) -> None:
    """The published formula, term for term; here the probabilities are this package's own."""
    distance = np.concatenate([[0.0, 1e-9], np.geomspace(1e-3, 1e3, 200)])
    distance = np.concatenate([-distance, distance])
    central = np.sign(distance) * special.betainc(0.5, degrees / 2, distance**2 / (degrees + distance**2))
    betas = np.exp(special.betaln(0.5, degrees - 0.5) - 2 * special.betaln(0.5, degrees / 2))
    expected = (
        distance * central
        + 2 * stats.t.pdf(distance, degrees) * (degrees + distance**2) / (degrees - 1)
        - 2 * math.sqrt(degrees) / (degrees - 1) * betas
    )
    np.testing.assert_allclose(student_crps(distance, 0, 1, degrees), expected, rtol=1e-11, atol=1e-11)


def test_many_degrees_are_a_normal_distribution_and_too_few_have_no_mean() -> None:
    actual = torch.linspace(-6, 6, 50)
    np.testing.assert_allclose(student_crps(actual, 0.5, 2, 1e9), normal_crps(actual, 0.5, 2), atol=1e-8)
    np.testing.assert_allclose(student_nll(actual, 0.5, 2, 1e9), normal_nll(actual, 0.5, 2), atol=1e-7)
    assert student_crps(0.0, 0.0, 1.0, torch.tensor([0.5, 1.0, 1.001])).isnan().tolist() == [True, True, False]


def test_without_a_deviation_the_crps_is_the_absolute_error() -> None:
    assert normal_crps([2.0, 3.0, -1.0], [2.0, 1.0, 1.0], 0.0).tolist() == [0, 2, 2]


def test_shapes_broadcast_and_precision_is_double() -> None:
    actual, spread = torch.zeros(3, 1, dtype=torch.float32), torch.ones(4, requires_grad=True)
    for score in (normal_nll(actual, 0, spread), normal_crps(actual, 0, spread), student_crps(actual, 0, spread, 3)):
        assert score.shape == (3, 4) and score.dtype == torch.float64 and not score.requires_grad


@given(st.floats(-50, 50), st.floats(-5, 5), st.floats(0.01, 20), st.floats(1.05, 500), st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_crps_has_the_unit_of_the_data(
    actual: float, centre: float, spread: float, degrees: float, unit: float
) -> None:
    """Shifted and stretched data have stretched scores; and the error is the most that it can be."""
    for score in (lambda *a: normal_crps(*a), lambda *a: student_crps(*a, degrees)):
        plain = float(score(actual, centre, spread))
        assert plain > 0
        assert float(score(7 + unit * actual, 7 + unit * centre, unit * spread)) == pytest.approx(
            unit * plain, rel=1e-6
        )
        assert plain <= float(score(centre, centre, spread)) + abs(actual - centre) + 1e-9


def test_sample_crps_by_hand() -> None:
    # distances to 1: 1, 1, 3; of the pairs 2, 4, 2
    assert float(sample_crps(1.0, [0.0, 2.0, 4.0])) == pytest.approx(5 / 3 - 8 / 3 / 2)
    assert float(sample_crps(1.0, [4.0])) == 3, "of one sample the absolute error"
    shuffled = sample_crps([[1.0, 0.0]], [[[4.0, 0.0]], [[0.0, 0.0]], [[2.0, 0.0]]])
    assert shuffled.tolist() == [[pytest.approx(1 / 3), 0]]


def test_sample_crps_is_fair_for_any_number_of_samples() -> None:
    generator = np.random.default_rng(0)
    for count in (2, 3, 20):
        samples = generator.normal(1, 2, (count, 200_000 // count))
        estimate = sample_crps(np.full(samples.shape[1], 0.3), samples).mean()
        assert float(estimate) == pytest.approx(float(normal_crps(0.3, 1, 2)), abs=0.03)


def test_interval_score_by_hand() -> None:
    # widths 2, 2, 2; outside by 0, 1 (below) and 3 (above), at 2 / 0.2 each
    score = interval_score([0.0, -2.0, 4.0], [-1.0] * 3, [1.0] * 3, 0.8)
    assert float(score) == pytest.approx(2 + 10 * (1 + 3) / 3)


def test_the_interval_score_is_least_at_the_central_interval() -> None:
    actual = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    reaches = np.linspace(1, 2.5, 151)
    scores = [float(interval_score(actual, -reach, reach, 0.9)) for reach in reaches]
    assert reaches[int(np.argmin(scores))] == pytest.approx(stats.norm.ppf(0.95), abs=0.011)


def test_as_double_leaves_the_graph_and_keeps_the_shape() -> None:
    double = as_double(torch.ones(2, 3, requires_grad=True))
    assert double.dtype == torch.float64 and double.shape == (2, 3) and not double.requires_grad
