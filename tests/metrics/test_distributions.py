"""Distributions of forecasts and classes against SciPy's, and against the definitions of their parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.metrics import mean_pinball_loss
from torch import Tensor

from src.metrics.distributions import (
    LEVEL,
    ClassDistribution,
    ForecastDistribution,
    normal_quantile,
    student_quantile,
)
from src.metrics.uncertainty import class_uncertainty

SHARES = (0.001, 0.025, 0.05, 0.3, 0.5, 0.7, 0.95, 0.975, 0.999)
LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
SHAPE = (7, 2, 3)


def made(degrees: Tensor | None = None) -> ForecastDistribution:
    generator = torch.Generator().manual_seed(0)
    mean, epistemic, aleatoric = torch.rand(3, *SHAPE, generator=generator, dtype=torch.float64)
    return ForecastDistribution(4 * mean - 2, epistemic + 0.01, 3 * aleatoric + 0.1, degrees)


def scipys(distribution: ForecastDistribution):
    """The same distribution, its scale such that its variance is the sum of both parts."""
    deviation = np.sqrt((distribution.epistemic + distribution.aleatoric).numpy())
    if distribution.degrees is None:
        return stats.norm(distribution.mean.numpy(), deviation)
    degrees = distribution.degrees.expand(SHAPE).numpy()
    return stats.t(degrees, distribution.mean.numpy(), deviation / stats.t(degrees).std())


CASES = {
    "normal": made(),
    "t 2.5": made(torch.tensor(2.5, dtype=torch.float64)),
    "t of each target": made(torch.tensor([3.0, 5.0, 40.0], dtype=torch.float64)),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> ForecastDistribution:
    return CASES[request.param]


def test_variance_is_the_sum_of_both_parts(case: ForecastDistribution) -> None:
    torch.testing.assert_close(case.variance, case.epistemic + case.aleatoric, rtol=0, atol=0)
    torch.testing.assert_close(case.deviation.square(), case.variance)
    assert scipys(case).var() == pytest.approx(case.variance.numpy(), rel=1e-12)


def test_quantiles_and_intervals(case: ForecastDistribution) -> None:
    theirs = scipys(case)
    for share in SHARES:
        ours = case.quantile(share)
        assert ours.shape == SHAPE
        np.testing.assert_allclose(ours.numpy(), theirs.ppf(share), rtol=1e-9, atol=1e-9)
    for level in (0.5, 0.9, 0.99):
        for bound, expected in zip(case.interval(level), theirs.interval(level), strict=True):
            np.testing.assert_allclose(bound.numpy(), expected, rtol=1e-9, atol=1e-9)
    assert LEVEL == 0.9
    for bound, expected in zip(case.interval(), theirs.interval(0.9), strict=True):
        np.testing.assert_allclose(bound.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_density_and_crps(case: ForecastDistribution) -> None:
    theirs = scipys(case)
    actual = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
    np.testing.assert_allclose(case.nll(actual).numpy(), -theirs.logpdf(actual.numpy()), rtol=1e-9, atol=1e-9)
    ours = case.crps(actual)
    assert ours.shape == SHAPE
    for place in ((0, 0, 0), (3, 1, 1), (6, 1, 2)):
        assert float(ours[place]) == pytest.approx(integrated(theirs, place, float(actual[place])), rel=1e-5)


def integrated(theirs, place: tuple[int, ...], actual: float) -> float:
    """The definition: twice the pinball loss, integrated over all shares (Gneiting and Raftery 2007)."""
    *degrees, mean, scale = (float(np.broadcast_to(value, SHAPE)[place]) for value in theirs.args)
    single = stats.t(*degrees, mean, scale) if degrees else stats.norm(mean, scale)

    def pinball(share: float) -> float:
        error = actual - single.ppf(share)
        return 2 * max(share * error, (share - 1) * error)

    middle = float(single.cdf(actual))
    return sum(integrate.quad(pinball, *ends, epsabs=1e-8, epsrel=1e-7)[0] for ends in ((0, middle), (middle, 1)))


def test_many_degrees_are_the_normal_distribution() -> None:
    normal, student = made(), made(torch.tensor(1e7, dtype=torch.float64))
    actual = torch.zeros(SHAPE, dtype=torch.float64)
    for ours, other in (
        (student.interval(), normal.interval()),
        (student.crps(actual), normal.crps(actual)),
        (student.nll(actual), normal.nll(actual)),
    ):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)


def test_heavier_tails_at_the_same_variance() -> None:
    normal, student = made(), made(torch.tensor(3.0, dtype=torch.float64))
    torch.testing.assert_close(student.variance, normal.variance)
    (low, high), (lower, higher) = normal.interval(0.999), student.interval(0.999)
    assert (lower < low).all() and (higher > high).all()
    (low, high), (lower, higher) = normal.interval(0.5), student.interval(0.5)
    assert (lower > low).all() and (higher < high).all()


def test_standard_quantiles_in_single_precision() -> None:
    for share in SHARES:
        assert normal_quantile(share) == pytest.approx(stats.norm.ppf(share), abs=1e-9)
        ours = student_quantile(share, torch.tensor([[2.5], [8.0]]))
        assert ours.shape == (2, 1) and ours.dtype == torch.float32
        np.testing.assert_allclose(ours.numpy(), stats.t.ppf(share, [[2.5], [8.0]]), rtol=1e-5, atol=1e-6)


def test_intervals_hold_the_share_they_promise() -> None:
    generator = np.random.default_rng(0)
    for distribution in (made(), made(torch.tensor(4.0, dtype=torch.float64))):
        actual = torch.from_numpy(scipys(distribution).rvs((2000, *SHAPE), random_state=generator))
        for level in (0.5, 0.9):
            low, high = distribution.interval(level)
            inside = ((actual >= low) & (actual <= high)).double().mean()
            # 84,000 values: five standard errors are below .009
            assert float(inside) == pytest.approx(level, abs=0.009)


# --- learnt quantiles -------------------------------------------------------------------------------------------------


def of_quantiles(quantiles: Tensor, levels: tuple[float, ...] = LEVELS) -> ForecastDistribution:
    nothing = torch.zeros(quantiles.shape[:-1], dtype=quantiles.dtype)
    return ForecastDistribution(quantiles[..., len(levels) // 2], nothing, nothing, quantiles=quantiles, levels=levels)


def some_quantiles() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*SHAPE, len(LEVELS), generator=generator, dtype=torch.float64).sort(-1).values


def test_known_levels_are_returned_as_they_are() -> None:
    quantiles = some_quantiles()
    distribution = of_quantiles(quantiles)
    for place, level in enumerate(LEVELS):
        torch.testing.assert_close(distribution.quantile(level), quantiles[..., place], rtol=1e-12, atol=1e-12)
    low, high = distribution.interval(0.9)
    torch.testing.assert_close(low, quantiles[..., LEVELS.index(0.05)], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(high, quantiles[..., LEVELS.index(0.95)], rtol=1e-9, atol=1e-9)


def test_quantiles_between_and_beyond_the_levels() -> None:
    quantiles = some_quantiles()
    distribution = of_quantiles(quantiles)
    shares = np.concatenate([[0.001, 0.01], np.linspace(0.03, 0.97, 41), [0.99, 0.999]])
    for share in shares:
        expected = [np.interp(share, LEVELS, row) for row in quantiles.flatten(0, -2).numpy()]
        np.testing.assert_allclose(distribution.quantile(float(share)).flatten().numpy(), expected, atol=1e-12)


def test_crps_of_quantiles_is_twice_the_mean_pinball_loss() -> None:
    quantiles = some_quantiles()
    distribution = of_quantiles(quantiles)
    actual = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = distribution.crps(actual)
    assert ours.shape == SHAPE and distribution.nll(actual) is None
    truth = actual.flatten().numpy()
    losses = [
        mean_pinball_loss(truth, quantiles[..., place].flatten().numpy(), alpha=level)
        for place, level in enumerate(LEVELS)
    ]
    assert float(ours.mean()) == pytest.approx(2 * np.mean(losses), rel=1e-12)


def test_crps_of_many_quantiles_is_that_of_the_distribution() -> None:
    levels = tuple((np.arange(999) + 0.5) / 999)
    quantiles = torch.tensor(stats.norm(0.3, 1.7).ppf(levels))
    normal = ForecastDistribution(*(torch.tensor([value], dtype=torch.float64) for value in (0.3, 0.0, 1.7**2)))
    for actual in (-3.0, 0.3, 1.0):
        value = torch.tensor([actual], dtype=torch.float64)
        assert float(of_quantiles(quantiles[None], levels).crps(value)) == pytest.approx(
            float(normal.crps(value)), rel=1e-3
        )


# --- classes ----------------------------------------------------------------------------------------------------------


def entropy(chances: Tensor) -> Tensor:
    return torch.from_numpy(stats.entropy(chances.numpy(), axis=-1))


def test_total_of_one_network_is_its_entropy() -> None:
    chances = torch.softmax(torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64), -1)
    torch.testing.assert_close(ClassDistribution(chances, None, entropy(chances)).total, entropy(chances))


def test_total_of_drawn_networks_is_the_entropy_of_their_mean() -> None:
    logits = 2 * torch.randn(20, 9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = torch.softmax(logits, -1)
    parts = class_uncertainty(drawn)
    distribution = ClassDistribution(parts.probabilities, parts.epistemic, parts.aleatoric)
    torch.testing.assert_close(distribution.total, entropy(drawn.mean(0)))
    torch.testing.assert_close(distribution.aleatoric, entropy(drawn).mean(0))
    # mutual information: the mean Kullback-Leibler divergence of the draws from their mean
    divergence = (drawn * (drawn / drawn.mean(0)).log()).sum(-1).mean(0)
    torch.testing.assert_close(distribution.epistemic, divergence)
    assert (distribution.epistemic > 0.01).all() and (distribution.total < math.log(4)).all()
