"""What a Bayesian model learns, against posteriors that are known exactly, and against the meaning of its words."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from src.data.base import Batch, DataSpec
from src.layers.bayesian import VariationalLinear, WeightPosterior
from src.metrics.distributions import ClassDistribution, ForecastDistribution
from src.models import create_model
from src.models.bayesian_model import BayesianModel
from tests.contract_cases import SMALL, inputs_of, make_data

METHODS = ("dropout", "variational", "ensemble", "laplace")
FAMILIES = ("lstm", "gru", "tcn", "transformer")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


# --- posteriors that are known exactly --------------------------------------------------------------------------------


def minimise(posteriors: nn.Module, negative_bound: Any, steps: int) -> dict[str, Tensor]:
    """Adam on a noisy bound, its steps shrinking to nothing; returns the average of the last third of the way."""
    optimiser = torch.optim.Adam(posteriors.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    sums = {name: torch.zeros_like(value) for name, value in posteriors.named_parameters()}
    for step in range(steps):
        optimiser.zero_grad()
        negative_bound().backward()
        optimiser.step()
        schedule.step()
        if step >= 2 * steps // 3:
            for name, value in posteriors.named_parameters():
                sums[name] += value.detach()
    for name, value in posteriors.named_parameters():
        value.data = sums[name] / (steps - 2 * steps // 3)
    return sums


def check_posterior(posterior: WeightPosterior, mean: Tensor, deviation: Tensor) -> None:
    """Deviations within 2 % of themselves; means within 2 % of a deviation or of themselves."""
    torch.testing.assert_close(posterior.deviation.detach().flatten(), deviation.flatten(), rtol=0.02, atol=0)
    found, exact = posterior.mean.detach().flatten(), mean.flatten()
    assert ((found - exact).abs() <= 0.02 * torch.maximum(exact.abs(), deviation.flatten())).all(), (found, exact)


@pytest.mark.parametrize(("noise", "prior_deviation"), [(0.5, 1.0), (2.0, 0.5)])
def test_linear_regression_reaches_the_conjugate_posterior(noise: float, prior_deviation: float) -> None:
    """With columns at right angles the weights are independent, so that the exact posterior can be reached."""
    rows, features = 16, 3
    design, _ = torch.linalg.qr(torch.cat([torch.ones(rows, 1), torch.randn(rows, features)], 1))
    design = design[:, 1:] * torch.tensor([2.0, 4.0, 8.0])  # orthogonal to a column of ones, which the bias is
    values = design @ torch.tensor([0.5, -1.0, 0.8]) + 0.7 + noise * torch.randn(rows)

    def exact(column: Tensor) -> tuple[Tensor, Tensor]:
        precision = column.square().sum() / noise**2 + prior_deviation**-2
        return column @ values / noise**2 / precision, precision.rsqrt()

    layer = VariationalLinear(nn.Linear(features, 1), prior_deviation)
    many = 64  # times all rows: draws of the outputs

    def negative_bound() -> Tensor:
        errors = values.repeat(many) - layer(design.repeat(many, 1)).squeeze(1)
        spent = layer.weight.divergence() + layer.bias.divergence()
        return errors.square().sum() / (2 * noise**2 * many) + spent

    minimise(layer, negative_bound, 1200)
    mean, deviation = map(torch.stack, zip(*(exact(column) for column in design.T), strict=True))
    check_posterior(layer.weight, mean, deviation)
    check_posterior(layer.bias, *exact(torch.ones(rows)))


@pytest.mark.parametrize("count", [1, 10, 200])
def test_mean_of_normal_values_reaches_the_conjugate_posterior(count: int) -> None:
    noise, prior_deviation = 1.5, 0.8
    values = 0.9 + noise * torch.randn(count)
    precision = torch.tensor([count / noise**2 + prior_deviation**-2])
    posterior = WeightPosterior(torch.zeros(1), prior_deviation)

    def negative_bound() -> Tensor:
        # the sum over values of (value - mean)^2, in terms of their mean and number: the rest is constant
        errors = count * (values.mean() - posterior.draw(256)).square().mean()
        return errors / (2 * noise**2) + posterior.divergence()

    minimise(posterior, negative_bound, 1200)
    check_posterior(posterior, values.sum() / noise**2 / precision, precision.rsqrt())


# --- both kinds of uncertainty ----------------------------------------------------------------------------------------

POINT = DataSpec(
    kind="series",
    task="forecast",
    input_shape=(1, 1),
    target_shape=(1, 1),
    feature_names=("x",),
    target_names=("y",),
)
"""One number is read and another one said."""
FEW, MANY = 50, 1000
INSIDE = torch.linspace(-2, 2, 81).view(-1, 1, 1)
FAR = torch.cat([torch.linspace(-8, -6, 20), torch.linspace(6, 8, 20)]).view(-1, 1, 1)
OPTIONS = {
    "dropout": {"method": "dropout", "dropout": 0.05},
    "ensemble": {"method": "ensemble", "members": 4, "dropout": 0.0},
}


def true_deviation(places: Tensor) -> Tensor:
    return 0.1 + 0.2 * places.abs()


@functools.cache
def learnt(method: str, rows: int) -> tuple[ForecastDistribution, ForecastDistribution]:
    """What a small model says inside and far away after training on so many points of a noisy sine."""
    torch.manual_seed(0)
    places = 4 * torch.rand(rows, 1, 1) - 2
    values = places.sin() + true_deviation(places) * torch.randn(rows, 1, 1)
    sizes = {"hidden_size": 32, "num_layers": 2, "samples": 50}
    model = create_model("tcn:bayesian", POINT, {**sizes, **OPTIONS[method]}).train()
    steps = 400
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        index = torch.randint(rows, (FEW,))
        optimiser.zero_grad()
        model.losses(Batch(places[index], values[index], index))["loss"].backward()
        optimiser.step()
        schedule.step()
    return model.distribution(INSIDE), model.distribution(FAR)


@pytest.mark.parametrize("method", OPTIONS)
def test_epistemic_uncertainty_shrinks_with_more_data_and_aleatoric_does_not(method: str) -> None:
    few, many = learnt(method, FEW)[0], learnt(method, MANY)[0]
    assert many.epistemic.mean() / few.epistemic.mean() < 0.6
    assert 0.7 < many.aleatoric.mean() / few.aleatoric.mean() < 1.4


@pytest.mark.parametrize("method", OPTIONS)
def test_aleatoric_uncertainty_is_the_noise_of_the_data(method: str) -> None:
    many = learnt(method, MANY)[0]
    assert spearmanr(many.aleatoric.sqrt().flatten(), true_deviation(INSIDE).flatten())[0] > 0.8
    truth = true_deviation(INSIDE).square().mean()
    assert 0.7 < many.aleatoric.mean() / truth < 1.4
    assert (many.mean - INSIDE.sin()).square().mean() < 0.1 * truth


@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("method", OPTIONS)
def test_epistemic_uncertainty_is_larger_far_from_the_data(method: str, rows: int) -> None:
    inside, far = learnt(method, rows)
    assert far.epistemic.mean() > 2 * inside.epistemic.mean()
