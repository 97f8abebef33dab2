"""The task ``direction``: loss, what evaluation asks for, and what weighing returns does to a model."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from contract_cases import NETWORKS, build
from sklearn import metrics
from torch import nn

from src.comparison.evaluate import evaluate
from src.errors import OptionError, UserError
from src.models import create_model
from src.models.base_model import BaseModel
from src.registry import entry
from src.training.config import TrainingConfig


class Counting(BaseModel):
    """One linear map that counts its forward passes; its loss may be a constant off."""

    @dataclass(frozen=True)
    class Config(BaseModel.Config):
        """None."""

    def __init__(self, spec, config=None):
        super().__init__(spec, config or self.Config())
        self.linear = nn.Linear(int(np.prod(spec.input_shape)), int(np.prod(spec.target_shape)))
        self.passes = 0

    def forward(self, inputs):
        self.passes += 1
        return self.linear(inputs.flatten(1)).view(-1, *self.spec.target_shape)


class OwnLosses(Counting):
    def losses(self, batch):
        return {"loss": super().losses(batch)["loss"] + 1}


@pytest.fixture
def direction_data(make_data):
    return make_data(task="direction", horizon=2, target="b,a", cost_bps=20.0)


@pytest.fixture
def batch(direction_data):
    return direction_data.train.select(torch.arange(30))


# ---- the loss


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_without_returns_the_loss_is_the_cross_entropy(alpha, direction_data, batch):
    model = build("linear:dlinear", direction_data.spec, weight_alpha=alpha)
    losses = model.losses(batch)
    assert list(losses) == ["loss"]
    plain = nn.functional.binary_cross_entropy_with_logits(model(batch.inputs), batch.targets)
    assert losses["loss"].item() == alpha * plain.item(), "to the last bit"


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 3.0), (0.0, 2.0), (0.25, 100.0)])
@pytest.mark.parametrize("name", ["linear:nlinear", "lstm:basic"])
def test_the_loss_weighs_cross_entropy_against_the_expected_return(name, alpha, beta, direction_data, batch):
    model = build(name, direction_data.spec, weight_alpha=alpha, weight_beta=beta).eval()
    losses = {key: value.item() for key, value in model.losses(batch).items()}
    up, returns = (values.double().numpy().ravel() for values in (batch.targets, batch.returns))
    probability = model.predict(batch.inputs).double().numpy().ravel()
    size = 2 * probability - 1
    expected = (size * returns - np.abs(size) * 0.002).mean()
    cross_entropy = metrics.log_loss(up, probability)
    assert losses == {
        "loss": pytest.approx(alpha * cross_entropy - beta * expected, rel=1e-5),
        "cross_entropy": pytest.approx(cross_entropy, rel=1e-5),
        "expected_return": pytest.approx(expected, rel=1e-4, abs=1e-9),
    }


# Those that learn the task themselves: a representation's head is fitted, and some do forecasts alone.
LEARNERS = [name for name in NETWORKS if not name.startswith("jepa:") and "direction" in entry(name).model_class.tasks]


@pytest.mark.parametrize("name", LEARNERS)
def test_every_network_has_the_weights(name, direction_data, batch):
    model = build(name, direction_data.spec, weight_beta=5.0)
    losses = model.losses(batch)
    assert set(losses) == {"loss", "cross_entropy", "expected_return"}
    losses["loss"].backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_forecasts_know_nothing_of_it(make_data):
    data = make_data()
    batch = data.train.select(torch.arange(9))
    model = build("linear:dlinear", data.spec, weight_alpha=3.0, weight_beta=5.0)
    assert model.losses(batch).keys() == {"loss"} == model.evaluation_metrics(batch).keys()
    assert model.losses(batch)["loss"].item() == nn.functional.mse_loss(model(batch.inputs), batch.targets).item()


def test_wrong_weights_are_refused_in_one_line(direction_data, batch, make_data):
    with pytest.raises(OptionError, match="weight_alpha and weight_beta must not both be 0"):
        create_model("linear:dlinear", direction_data.spec, {"weight_alpha": 0})
    with pytest.raises(OptionError, match=r"weight_beta must be at least 0\.0, but got -1\.0"):
        create_model("linear:dlinear", direction_data.spec, {"weight_beta": -1})
    values = np.random.default_rng(0).normal(size=(200, 3))
    below = make_data(values, task="direction", transform="level")
    with pytest.raises(OptionError, match="weight_beta needs returns"):
        create_model("linear:dlinear", below.spec, {"weight_beta": 1.0})
    create_model("linear:dlinear", below.spec)
    model = build("linear:dlinear", direction_data.spec, weight_beta=1.0)
    with pytest.raises(UserError, match="needs batches with returns"):
        model.losses(batch._replace(returns=None))


# ---- what evaluation asks for


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_evaluation_metrics(beta, direction_data, batch):
    model = build("linear:dlinear", direction_data.spec, seed=3, weight_beta=beta).eval()
    values = {name: value.item() for name, value in model.evaluation_metrics(batch).items()}
    losses = {name: value.item() for name, value in model.losses(batch).items()}
    assert values.items() >= losses.items()
    probability = model.predict(batch.inputs).numpy()
    up, returns = batch.targets.numpy(), batch.returns.numpy()
    called, size = probability > 0.5, 2 * probability - 1
    assert 0 < called.mean() < 1
    expected = {
        "accuracy": metrics.accuracy_score(up.ravel(), called.ravel()),
        "brier": metrics.brier_score_loss(up.ravel(), probability.ravel()),
        "actual_calls": called.mean(),
        "simulated_return": (size * returns - np.abs(size) * 0.002).mean(),
        "actual_call_returns": returns[called].sum() / returns.size,
    }
    assert {name: values[name] for name in values.keys() - losses.keys()} == pytest.approx(expected, rel=1e-4)


def test_means_over_batches_are_the_scores_of_the_whole(direction_data):
    """Weighted by batch size, as the training loop does it."""
    model = build("linear:dlinear", direction_data.spec, seed=3).eval()
    split, sums = direction_data.validation, {}
    with torch.no_grad():
        for part in split.batches(7):
            for name, value in model.evaluation_metrics(part).items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(part.index) / len(split)
    scores, _ = evaluate(model, direction_data, "validation")
    count = len(split) * 4
    assert sums.pop("brier") == pytest.approx(sums["loss"], rel=1.0)  # a score of its own, checked above
    assert sums == pytest.approx(
        {
            "loss": scores["log_loss"],
            "accuracy": scores["accuracy"],
            "simulated_return": scores["simulated_return"],
            "actual_calls": scores["calls"] / count,
            "actual_call_returns": scores["call_returns"] / count,
        },
        rel=1e-4,
    )


def test_one_forward_pass_does_it_all(direction_data, batch):
    model = Counting(direction_data.spec)
    assert len(model.evaluation_metrics(batch)) == 6 and model.passes == 1
    own = OwnLosses(direction_data.spec)
    values = own.evaluation_metrics(batch)
    assert values["loss"] == own.losses(batch)["loss"] > 1 and "accuracy" in values


def test_where_there_are_no_returns_there_is_still_accuracy(make_data):
    data = make_data(np.random.default_rng(0).normal(size=(200, 3)), task="direction", transform="level")
    values = build("linear:dlinear", data.spec).evaluation_metrics(data.train.select([0, 1]))
    assert set(values) == {"loss", "accuracy", "brier", "actual_calls"}


# ---- what it does to a model


def lopsided_prices(rows=400):
    """Seven small rises of ten, and three falls so deep that the mean return is -0.8 %; nothing can be foreseen."""
    rises = np.random.default_rng(1).random(rows) < 0.7
    prices = 100 * np.cumprod(np.where(rises, 1.01, 0.95))
    return np.stack([prices] * 3, axis=1)


def test_weighing_returns_turns_a_model_from_being_right_to_earning(make_data):
    """Cross-entropy says 70 % up and loses; with returns weighed it says down, more so the more they weigh."""
    data = make_data(lopsided_prices(), task="direction", target="a", features="a", window=4, split="0.8,0.1,0.1")
    probabilities, earned = [], []
    for beta in (0.0, 100.0, 1000.0):
        torch.manual_seed(0)
        model = create_model("linear:dlinear", data.spec, {"weight_beta": beta, "moving_average": 5})
        model.fit(data, TrainingConfig(epochs=40, batch_size=64, lr=0.02, device="cpu", patience=99))
        scores, _ = evaluate(model, data, "train")
        every = data.train.select(torch.arange(len(data.train)))
        probabilities.append(model.predict(every.inputs).mean().item())
        earned.append(scores["simulated_return"])
    assert probabilities[0] == pytest.approx(0.7, abs=0.06)
    assert all(less < more for more, less in itertools.pairwise(probabilities)), probabilities
    assert earned[0] < 0 < earned[1] < earned[2]
