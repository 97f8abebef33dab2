"""VICReg's terms against cases by hand and the published formulas (arXiv 2105.04906, equations 1 to 4)."""

import math

import numpy as np
import pytest
import torch

from src.metrics.vicreg import covariance_loss, variance_loss


def test_variance_by_hand() -> None:
    features = torch.tensor([[0.0, 5.0, -1.0], [1.0, 5.0, 3.0]])
    # Unbiased variances 0.5, 0 and 8: deviations .7071, .01 (epsilon) and 2.83, which is enough.
    expected = ((1 - math.sqrt(0.5 + 1e-4)) + (1 - math.sqrt(1e-4)) + 0) / 3
    assert variance_loss(features).item() == pytest.approx(expected, abs=1e-6)


def test_covariance_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])
    # The covariance of both is (2 + 2 + 0) / 2 = 2: 2 x 2^2 / 2 dimensions.
    assert covariance_loss(features).item() == pytest.approx(4.0)


def test_against_numpy() -> None:
    features = np.random.default_rng(0).normal(size=(50, 7)) @ np.random.default_rng(1).normal(size=(7, 7))
    covariance = np.cov(features.T)
    off = covariance - np.diag(np.diag(covariance))
    given = torch.from_numpy(features)
    assert covariance_loss(given).item() == pytest.approx((off**2).sum() / 7)
    deviations = np.sqrt(features.var(axis=0, ddof=1) + 1e-4)
    assert variance_loss(given).item() == pytest.approx(np.maximum(0, 1 - deviations).mean())


def test_collapsed_features_are_pushed_apart() -> None:
    features = (
        torch.ones(8, 3) + 1e-3 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    ).requires_grad_()
    loss = variance_loss(features)
    assert loss > 0.98
    loss.backward()
    before = features.detach()
    after = before - 0.1 * features.grad  # type: ignore[operator]
    assert (after.var(0) > before.var(0)).all()


@pytest.mark.parametrize("loss", [variance_loss, covariance_loss])
def test_a_single_sample_says_nothing(loss) -> None:  # type: ignore[no-untyped-def]
    assert loss(torch.ones(1, 4)).item() == 0.0
