"""Calibration against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from src.metrics.calibration import (
    calibration_verdict,
    confidence_gap,
    expected_calibration_error,
    interval_coverage,
    uncertainty_error_correlation,
)


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
    assert float(expected_calibration_error(confidence, generator.uniform(0, 1, 20000) < confidence)) < 0.02
    assert float(expected_calibration_error(confidence, generator.uniform(0, 1, 20000) < confidence**3)) > 0.15


def test_coverage_counts_the_bounds() -> None:
    actual = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert float(interval_coverage(actual, actual - 1, torch.tensor([[0.0, 0.5], [3.0, 3.5]]))) == 0.75


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
