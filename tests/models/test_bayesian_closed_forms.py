"""What a Bayesian model learns, against posteriors that are known exactly, and against the meaning of its words."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any, NamedTuple

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


class Training(NamedTuple):
    """How a method is trained here, and what it is then held to.

    Attributes:
        options: of the model.
        rate, batch, steps: of Adam, with a rate that falls to 0.
        most_left: of the epistemic variance, when there are 1000 instead of 50 points.
    """

    options: dict[str, Any]
    rate: float
    batch: int
    steps: int
    most_left: float


# Dropout drops the same share of units however much it has seen, so that its variance has a floor (Osband 2016, Risk
# versus uncertainty in deep learning). Of six data sets .54 to .80 of it was left here; of an ensemble's variance, in
# five, .04 to .31, and of the Laplace posterior's about .1.
TRAININGS = {
    "dropout": Training({"dropout": 0.1, "hidden_size": 64}, 0.003, 250, 400, 0.85),
    "ensemble": Training({"dropout": 0.0, "hidden_size": 32, "members": 4}, 0.01, 50, 300, 0.6),
    "laplace": Training({"dropout": 0.0, "hidden_size": 32}, 0.01, 50, 300, 0.3),
}


def true_deviation(places: Tensor) -> Tensor:
    return 0.1 + 0.2 * places.abs()


@functools.cache
def learnt(method: str, rows: int) -> tuple[ForecastDistribution, ForecastDistribution]:
    """What a small model says inside and far away after training on so many points of a noisy sine."""
    torch.manual_seed(0)
    training = TRAININGS[method]
    places = 4 * torch.rand(rows, 1, 1) - 2
    values = places.sin() + true_deviation(places) * torch.randn(rows, 1, 1)
    options = {"method": method, "num_layers": 2, "samples": 50, **training.options}
    model: Any = create_model("tcn:bayesian", POINT, options).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=training.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    for _ in range(training.steps):
        index = torch.randint(rows, (min(training.batch, rows),))
        optimiser.zero_grad()
        model.losses(Batch(places[index], values[index], index))["loss"].backward()
        optimiser.step()
        schedule.step()
    if method == "laplace":
        whole = Batch(places, values, torch.arange(rows))
        model.eval().fit_laplace(SimpleNamespace(train=SimpleNamespace(batches=lambda size: [whole])))
    return model.distribution(INSIDE), model.distribution(FAR)


@pytest.mark.parametrize("method", TRAININGS)
def test_epistemic_uncertainty_shrinks_with_more_data_and_aleatoric_does_not(method: str) -> None:
    few, many = learnt(method, FEW)[0], learnt(method, MANY)[0]
    assert many.epistemic.mean() / few.epistemic.mean() < TRAININGS[method].most_left
    assert 0.7 < many.aleatoric.mean() / few.aleatoric.mean() < 1.4


@pytest.mark.parametrize("method", TRAININGS)
def test_aleatoric_uncertainty_is_the_noise_of_the_data(method: str) -> None:
    many = learnt(method, MANY)[0]
    assert spearmanr(many.aleatoric.sqrt().flatten(), true_deviation(INSIDE).flatten())[0] > 0.8
    truth = true_deviation(INSIDE).square().mean()
    assert 0.7 < many.aleatoric.mean() / truth < 1.4
    assert (many.mean - INSIDE.sin()).square().mean() < 0.1 * truth


@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("method", TRAININGS)
def test_epistemic_uncertainty_is_larger_far_from_the_data(method: str, rows: int) -> None:
    inside, far = learnt(method, rows)
    assert far.epistemic.mean() > 2 * inside.epistemic.mean()


# --- predictions of drawn networks ------------------------------------------------------------------------------------

TEXTS = DataSpec(
    kind="text",
    task="classify",
    input_shape=(12, 1),
    target_shape=(3,),
    class_names=("a", "b", "c"),
    class_shares=(0.4, 0.3, 0.3),
    vocabulary=50,
)
KINDS = ("normal", "student", "quantiles", "direction", "classify")


def made(family: str, method: str, kind: str, **options: Any) -> tuple[BayesianModel, Tensor]:
    """A model whose uncertainties nobody overlooks, and a batch of inputs for it."""
    if kind == "classify":
        spec, inputs = TEXTS, torch.randint(2, 50, (9, 12, 1))
        inputs[3, 5:] = inputs[6, 1:] = 0  # shorter texts
    else:
        data = make_data(task="direction" if kind == "direction" else "forecast", horizon=2, target="b,a")
        spec, inputs = data.spec, inputs_of(data, 9)
    sizes = {"hidden_size": 8, "num_layers": 2, "samples": 6, "members": 3, "dropout": 0.3, "method": method}
    if family == "transformer":
        sizes |= {"num_heads": SMALL["num_heads"], "feed_forward": SMALL["feed_forward"]}
    if kind in ("normal", "student", "quantiles"):
        sizes["likelihood"] = kind
    torch.manual_seed(0)
    model: Any = create_model(f"{family}:bayesian", spec, {**sizes, **options})
    for name, parameter in model.named_parameters():
        if name.endswith("raw_deviation"):
            nn.init.constant_(parameter, -1.5)
        elif ".head." in name:
            parameter.data *= 3
    if model.laplace is not None:
        model.laplace.covariance.copy_(torch.eye(model.laplace.covariance.shape[-1]))
    return model.eval(), inputs


def cases() -> list[tuple[str, str, str]]:
    """Every family with every method, and every method with everything that can be said."""
    every = [(family, method, "normal") for family in FAMILIES for method in METHODS]
    every += [("gru", method, kind) for method in METHODS for kind in KINDS[1:]]
    return [case for case in every if case[1:] != ("laplace", "quantiles")] + [("lstm", "variational", "classify")]


@pytest.mark.parametrize(("family", "method", "kind"), cases())
def test_total_uncertainty_is_the_sum_of_both_kinds(family: str, method: str, kind: str) -> None:
    model, inputs = made(family, method, kind)
    distribution = model.distribution(inputs)
    answer = model(inputs, return_uncertainty=True)
    epistemic, aleatoric = answer["epistemic_uncertainty"], answer["aleatoric_uncertainty"]
    assert (epistemic > 0).any() and (aleatoric > 0).all()
    torch.testing.assert_close(answer["total_uncertainty"], epistemic + aleatoric)
    if isinstance(distribution, ForecastDistribution):
        torch.testing.assert_close(distribution.variance, answer["total_uncertainty"])
        return
    chances = distribution.probabilities.double()
    if kind == "direction":
        chances = torch.stack([1 - chances, chances], -1)
    entropy = torch.special.entr(chances).sum(-1).float()
    torch.testing.assert_close(distribution.total, entropy, rtol=1e-4, atol=1e-5)
    assert distribution.epistemic is not None and (distribution.epistemic < math.log(model.config.samples)).all()


@pytest.mark.parametrize(("family", "method", "kind"), cases())
def test_uncertainties_are_those_of_the_drawn_networks(family: str, method: str, kind: str) -> None:
    """The law of total variance, and mutual information, from what each network says."""
    model, inputs = made(family, method, kind)
    count = 3 if method == "ensemble" else 6
    with torch.no_grad():
        outputs = model(inputs, draws=6).double()
    assert outputs.shape[:2] == (count, 9)
    distribution: Any = model.distribution(inputs)
    if isinstance(distribution, ClassDistribution):
        logits = outputs[..., 0]
        drawn = torch.softmax(logits, -1) if kind == "classify" else torch.sigmoid(logits)
        each = torch.stack([drawn, 1 - drawn], -1) if kind == "direction" else drawn
        entropies = torch.special.entr(each).sum(-1)
        torch.testing.assert_close(distribution.probabilities, drawn.mean(0).float(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(distribution.aleatoric, entropies.mean(0).float(), rtol=1e-5, atol=1e-6)
        return
    centre = outputs[..., 4] if kind == "quantiles" else outputs[..., 0]
    torch.testing.assert_close(distribution.epistemic, centre.var(0, correction=0).float(), rtol=1e-4, atol=1e-7)
    if kind == "quantiles":
        return
    torch.testing.assert_close(distribution.mean, centre.mean(0).float(), rtol=1e-5, atol=1e-6)
    variances = (2 * outputs[..., 1]).exp()
    if kind == "student":
        degrees = torch.stack([spread.degrees for spread in model.spreads]).mean(0).detach().double()
        variances = variances * degrees / (degrees - 2)
    torch.testing.assert_close(distribution.aleatoric, variances.mean(0).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("family", "method", "kind"), cases())
def test_a_prediction_does_not_depend_on_its_batch(family: str, method: str, kind: str) -> None:
    model, inputs = made(family, method, kind)
    together = parts_of(model.distribution(inputs))
    torch.randn(13)
    alone = [parts_of(model.distribution(inputs[[row]])) for row in range(9)]
    turned = parts_of(model.train().distribution(inputs.flip(0)))
    assert model.training, "the mode is put back"
    for place, part in enumerate(together):
        torch.testing.assert_close(torch.cat([parts[place] for parts in alone]), part, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(turned[place].flip(0), part, rtol=1e-4, atol=1e-6)


def parts_of(distribution: Any) -> list[Tensor]:
    if isinstance(distribution, ClassDistribution):
        assert distribution.epistemic is not None
        return [distribution.probabilities, distribution.epistemic, distribution.aleatoric]
    quantiles = [] if distribution.quantiles is None else [distribution.quantiles]
    return [distribution.mean, distribution.epistemic, distribution.aleatoric, *quantiles]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_all_networks_are_drawn_in_one_call(family: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = made(family, method, "normal", samples=17)
    rows: list[int] = []
    for network in model.networks:
        encode = network.encode
        monkeypatch.setattr(
            network, "encode", lambda tokens, *rest, e=encode: rows.append(len(tokens)) or e(tokens, *rest)
        )
    model.predict(inputs)
    assert rows == {"ensemble": [9] * 3, "laplace": [9]}.get(method, [17 * 9])


@pytest.mark.parametrize("method", ["dropout", "variational"])
def test_parts_of_a_large_batch_meet_the_same_networks(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = made("tcn", method, "normal")
    whole = parts_of(model.distribution(inputs))
    monkeypatch.setattr("src.models.bayesian_model.MOST_NUMBERS", {"cpu": 6 * 24 * 8 * 2})  # two rows at once
    for part, expected in zip(parts_of(model.distribution(inputs)), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_more_draws_come_closer_to_the_same_answer(method: str) -> None:
    """An ensemble has its members, whatever is asked for."""
    model, inputs = made("gru", method, "normal")
    few, many, more = (model.distribution(inputs[:3], draws) for draws in (4, 300, 900))
    if method == "ensemble":
        assert torch.equal(few.mean, many.mean)
        return
    assert (many.mean - more.mean).abs().mean() < 0.3 * (few.mean - more.mean).abs().mean()
    assert (many.epistemic / more.epistemic).mean() == pytest.approx(1, abs=0.15)
