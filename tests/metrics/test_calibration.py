"""Calibration against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import spearmanr

from src.metrics.calibration import (
    adaptive_calibration_error,
    calibration_verdict,
    confidence_gap,
    expected_calibration_error,
    fit_temperature,
    interval_coverage,
    interval_width,
    reliability_bins,
    shared_by_rank,
    sharpness,
    uncertainty_error_correlation,
)

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def test_calibration_error_of_known_bins() -> None:
    confidence = torch.tensor([0.95] * 10 + [0.55] * 10)
    correct = torch.tensor([True] * 9 + [False] + [True] * 3 + [False] * 7)
    expected = (abs(0.95 - 0.9) * 10 + abs(0.55 - 0.3) * 10) / 20
    assert float(expected_calibration_error(confidence, correct)) == pytest.approx(expected)
    assert float(confidence_gap(confidence, correct)) == pytest.approx(0.75 - 0.6)


def test_bins_hold_their_upper_bound_and_the_ends_have_a_place() -> None:
    # 0.5 and 0.4 are in the same one of two bins, so their errors cancel out; in bins of their own they do not.
    assert float(expected_calibration_error([0.5, 0.4], [1, 0], bins=2)) == pytest.approx(0.05)
    assert float(expected_calibration_error([0.0, 1.0], [0, 1])) == 0


def test_a_calibrated_forecaster_has_a_small_error() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0, 1, 20000)
    for error in (expected_calibration_error, adaptive_calibration_error):
        assert float(error(confidence, generator.uniform(0, 1, 20000) < confidence)) < 0.02
        assert float(error(confidence, generator.uniform(0, 1, 20000) < confidence**3)) > 0.15


def test_adaptive_bins_hold_equally_many() -> None:
    # All in one of 15 equal widths, where their errors cancel out; in two bins of two samples they do not.
    confidence, correct = [0.951, 0.952, 0.953, 0.954], [True, True, False, False]
    assert float(expected_calibration_error(confidence, correct)) == pytest.approx(0.9525 - 0.5)
    expected = ((2 - 0.951 - 0.952) + (0.953 + 0.954)) / 4
    assert float(adaptive_calibration_error(confidence, correct, bins=2)) == pytest.approx(expected)
    assert float(adaptive_calibration_error(confidence[:3], correct[:3], bins=5)) == pytest.approx(
        (0.049 + 0.048 + 0.953) / 3
    ), "with more bins than samples each has its own"


def test_adaptive_bins_do_not_depend_on_the_order_of_equal_confidences() -> None:
    correct = torch.tensor([True] * 7 + [False] * 3)
    for seed in range(5):
        shuffled = correct[torch.randperm(10, generator=torch.Generator().manual_seed(seed))]
        assert float(adaptive_calibration_error([0.7] * 10, shuffled, bins=5)) == pytest.approx(0, abs=1e-12)


@given(ANSWERS, st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_errors_are_shares_and_no_less_than_the_gap(answers: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = zip(*answers, strict=True)
    for error in (expected_calibration_error, adaptive_calibration_error):
        gap = abs(float(confidence_gap(confidence, correct)))
        assert gap - 1e-12 <= float(error(confidence, correct, bins)) <= 1 + 1e-12
        assert float(error(confidence, correct, bins=1)) == pytest.approx(gap, abs=1e-12)


def test_reliability_bins_by_hand() -> None:
    bins = reliability_bins([0.1, 0.2, 0.25, 0.9, 1.0], [0, 0, 1, 1, 1], bins=4)
    assert bins.lower.tolist() == [0, 0.25, 0.5, 0.75] and bins.upper.tolist() == [0.25, 0.5, 0.75, 1]
    assert bins.count.tolist() == [3, 0, 0, 2] and bins.count.dtype == torch.int64
    np.testing.assert_allclose(bins.confidence, [0.55 / 3, math.nan, math.nan, 0.95])
    np.testing.assert_allclose(bins.accuracy, [1 / 3, math.nan, math.nan, 1])


@given(ANSWERS, st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_reliability_bins_hold_all_samples_and_the_calibration_error(
    answers: list[tuple[float, bool]], bins: int
) -> None:
    confidence, correct = zip(*answers, strict=True)
    found = reliability_bins(confidence, correct, bins)
    assert int(found.count.sum()) == len(answers)
    assert (found.count == 0).tolist() == found.accuracy.isnan().tolist() == found.confidence.isnan().tolist()
    error = (found.count * (found.confidence - found.accuracy).abs()).nansum() / len(answers)
    assert float(error) == pytest.approx(float(expected_calibration_error(confidence, correct, bins)), abs=1e-12)


def test_coverage_counts_the_bounds() -> None:
    actual = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert float(interval_coverage(actual, actual - 1, torch.tensor([[0.0, 0.5], [3.0, 3.5]]))) == 0.75


def test_width_and_sharpness_are_means() -> None:
    assert float(interval_width([[0.0, 1.0]], [[1.0, 4.0]])) == 2
    assert float(sharpness(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))) == 3


def test_equal_keys_share_a_mean() -> None:
    keys, values = shared_by_rank([3, 1, 2, 1], [5.0, 1.0, 4.0, 2.0])
    assert keys.tolist() == [1, 1, 2, 3] and values.tolist() == [1.5, 1.5, 4, 5]


def make_logits(seed: int, temperature: float, samples: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right about their labels when divided by the temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (samples, 4))
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.5])
def test_the_temperature_is_the_minimum_that_scipy_finds(temperature: float) -> None:
    logits, labels = make_logits(0, temperature)

    def loss(logarithm: float) -> float:
        return -log_softmax(logits / math.exp(logarithm), axis=1)[np.arange(len(labels)), labels].mean()

    found = fit_temperature(torch.tensor(logits), torch.tensor(labels))
    expected = math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found == pytest.approx(temperature, rel=0.25)


@given(st.floats(0.2, 5), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_logits_times_k_have_a_temperature_times_k(k: float, seed: int) -> None:
    logits, labels = make_logits(seed, 1.0, 100)
    assert fit_temperature(k * logits, labels) == pytest.approx(k * fit_temperature(logits, labels), rel=1e-9)


def test_temperatures_at_the_bounds() -> None:
    logits = 50 * torch.eye(3)
    assert fit_temperature(logits, [0, 1, 2]) == 0.05, "always right: the surer the better"
    assert fit_temperature(1e-3 * logits, [0, 1, 2]) == 0.05
    assert fit_temperature(logits, [1, 2, 0]) == 20, "always wrong"
    assert fit_temperature(1e4 * logits, [1, 2, 0]) == 20
    assert fit_temperature(torch.zeros(4, 3), [0, 1, 2, 0]) == 1, "nothing to choose by"
    assert math.isnan(fit_temperature([[math.nan, 0.0]], [0]))


def test_temperature_where_newtons_steps_alone_would_leave() -> None:
    """Very sure of everything and right in 3 of 4: the slope is flat nearly everywhere."""
    logits = torch.tensor([[15.0, 0.0]] * 4, dtype=torch.float64)
    expected = 15 / math.log(3)
    assert fit_temperature(logits, [0, 0, 0, 1]) == pytest.approx(expected, rel=1e-9)
    assert fit_temperature(logits / 100, [0, 0, 0, 1]) == pytest.approx(expected / 100, rel=1e-9)


def test_classes_that_are_ruled_out_do_not_matter_to_the_temperature() -> None:
    logits, labels = make_logits(3, 2.0)
    masked = np.concatenate([logits, np.full((len(logits), 1), -np.inf)], 1)
    assert fit_temperature(masked, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-12)


def test_rank_correlation_is_scipys_ties_included() -> None:
    generator = np.random.default_rng(0)
    uncertainty, error = generator.integers(0, 6, 200), generator.normal(0, 1, 200)
    expected = spearmanr(uncertainty, np.abs(error)).statistic
    assert float(uncertainty_error_correlation(uncertainty, error)) == pytest.approx(expected, abs=1e-9)
    assert float(uncertainty_error_correlation([1, 2, 3], [0.1, -0.2, 9])) == pytest.approx(1)
    assert math.isnan(float(uncertainty_error_correlation([1, 1, 1], [0.1, 0.2, 9])))


@pytest.mark.parametrize(
    ("gap", "correlation", "verdict"),
    [
        (0.0, 0.4, "well-calibrated"),
        (0.05, None, "well-calibrated"),
        (0.06, 0.4, "over-confident"),
        (-0.06, 0.4, "under-confident"),
        (0.0, 0.05, "uninformative"),
        (0.0, math.nan, "uninformative"),
    ],
)
def test_verdicts(gap: float, correlation: float | None, verdict: str) -> None:
    assert calibration_verdict(gap, correlation) == verdict
