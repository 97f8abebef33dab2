"""Every method and likelihood of the Bayesian variants: what comes out, that it repeats, what is fitted afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from src.data.text import TextData
from src.errors import OptionError
from src.metrics.distributions import ClassDistribution, ForecastDistribution
from src.models import create_model
from src.models.base_model import BaseModel
from src.models.bayesian_model import METHODS, BayesianModel, with_laplace
from src.training.config import TrainingConfig
from tests.contract_cases import build, make_data
from tests.test_text_contract import DATA as TEXTS

LIKELIHOODS = ("normal", "student", "quantiles")
CASES = [(method, kind) for method in METHODS for kind in LIKELIHOODS if (method, kind) != ("laplace", "quantiles")]
FEW = {"members": 2, "samples": 6}


def trained(name: str, data: Any, folder: Path | None = None, epochs: int = 2, **options: Any) -> BayesianModel:
    model = build(name, data.spec, **FEW, **options)
    config = TrainingConfig(epochs=epochs, batch_size=32, device="cpu", schedule="constant", patience=9)
    model.fit(data, config, run_dir=folder, resume=True)
    assert isinstance(model, BayesianModel)
    return model


def inputs_of(data: Any, count: int = 6) -> torch.Tensor:
    return data.test.select(torch.arange(count)).inputs


@pytest.mark.parametrize(("method", "likelihood"), CASES)
@pytest.mark.parametrize("transform", ["return", "level"])
def test_forecasts_are_distributions(method: str, likelihood: str, transform: str) -> None:
    data = make_data(transform=transform, horizon=5, target="c,a")
    model = trained("gru:bayesian", data, method=method, likelihood=likelihood)
    said = model.distribution(inputs_of(data))
    assert isinstance(said, ForecastDistribution)
    assert said.mean.shape == said.epistemic.shape == said.aleatoric.shape == (6, 5, 2)
    assert (said.epistemic > 0).all() and (said.aleatoric > 0).all()
    inner, outer = said.interval(0.5), said.interval(0.9)
    assert (outer[0] < inner[0]).all() and (inner[0] < inner[1]).all() and (inner[1] < outer[1]).all()
    assert torch.equal(model.predict(inputs_of(data)), said.mean)
    answer = model(inputs_of(data), return_uncertainty=True)
    torch.testing.assert_close(
        answer["total_uncertainty"], answer["epistemic_uncertainty"] + answer["aleatoric_uncertainty"]
    )
    actual = data.test.select(torch.arange(6)).targets
    assert torch.isfinite(said.crps(actual)).all()
    density = said.nll(actual)
    assert (density is None) == (likelihood == "quantiles")
    assert density is None or torch.isfinite(density).all()


@pytest.mark.parametrize("method", METHODS)
def test_classes_and_directions(method: str) -> None:
    for data, shape in ((TEXTS, (6, 2)), (make_data(task="direction", target="c,a"), (6, 1, 2))):
        model = trained("transformer:bayesian", data, method=method)
        said = model.distribution(inputs_of(data))
        assert isinstance(said, ClassDistribution) and said.epistemic is not None
        assert said.probabilities.shape == shape and (said.epistemic >= 0).all()
        entropy = said.probabilities
        if shape[1:] == (2,):
            total = torch.special.entr(entropy).sum(-1)
        else:
            total = torch.special.entr(entropy) + torch.special.entr(1 - entropy)
        torch.testing.assert_close(said.total, total, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_resumed_runs_end_with_the_same_bits(method: str, tmp_path: Path) -> None:
    data = make_data(transform="return")
    trained("lstm:bayesian", data, tmp_path / "one", epochs=4, method=method)
    trained("lstm:bayesian", data, tmp_path / "two", epochs=2, method=method)
    trained("lstm:bayesian", data, tmp_path / "two", epochs=4, method=method)
    one, two = (BaseModel.load(tmp_path / name / "checkpoints" / "best.pt").state_dict() for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert (tmp_path / "one" / "metrics.csv").read_text().count("\n") == 5


def test_the_parts_of_the_lower_bound() -> None:
    data = make_data(transform="return")
    model = build("tcn:bayesian", data.spec, method="variational", kl_weight=0.5, kl_annealing=2.0)
    assert isinstance(model, BayesianModel)
    model.before_training(data, 10, 1)
    batch = data.train.select(torch.arange(8))
    weights = []
    for _ in range(30):
        parts = model.losses(batch)
        expected = parts["negative_log_likelihood"] + parts["divergence_weight"] * parts["divergence"]
        torch.testing.assert_close(parts["loss"], expected)
        weights.append(float(parts["divergence_weight"]))
        model.after_step()
    assert weights[0] == 0.0 and weights[10] == pytest.approx(0.25) and weights[20:] == [0.5] * 10


def test_what_is_fitted_after_training_is_in_the_checkpoint(tmp_path: Path) -> None:
    data = make_data(transform="return")
    model = trained("gru:bayesian", data, tmp_path, method="laplace")
    assert model.laplace is not None and float(model.laplace.covariance.diagonal(dim1=1, dim2=2).min()) > 0
    assert float(model.temperature) != 1.0
    loaded = BaseModel.load(tmp_path / "checkpoints" / "best.pt")
    assert torch.equal(loaded.predict(inputs_of(data)), model.predict(inputs_of(data)))
    last = BaseModel.load(tmp_path / "checkpoints" / "last.pt")
    assert float(last.temperature) == 1.0, "training goes on from what training left"


def test_the_temperature_mends_a_model_that_is_too_sure() -> None:
    model = trained("transformer:bayesian", TEXTS, epochs=1, calibrate=False, method="ensemble")
    assert float(model.temperature) == 1.0
    with torch.no_grad():
        for network in model.networks:
            network.head.weight.mul_(40)  # type: ignore[union-attr, operator]
    before = model.evaluation_metrics(TEXTS.validation.select(torch.arange(40)))["loss"]
    model.fit_temperature(TEXTS)
    assert float(model.temperature) > 2
    assert model.evaluation_metrics(TEXTS.validation.select(torch.arange(40)))["loss"] < before


@pytest.mark.parametrize("data", [make_data(transform="return"), make_data(transform="level", horizon=5), TEXTS])
@pytest.mark.parametrize("name", ["lstm:attention", "transformer:basic"])
def test_a_plain_network_gets_its_uncertainty_afterwards(name: str, data: Any) -> None:
    plain = build(name, data.spec)
    plain.fit(data, TrainingConfig(epochs=2, batch_size=32, device="cpu"))
    model = with_laplace(plain, data)
    assert model.name == name
    torch.testing.assert_close(model(inputs_of(data)), plain(inputs_of(data)))
    said = model.distribution(inputs_of(data))
    assert said.epistemic is not None and (said.epistemic > 0).all()
    if isinstance(data, TextData):
        torch.testing.assert_close(said.probabilities.sum(-1), torch.ones(6))  # type: ignore[union-attr]
    else:
        targets = data.validation.select(torch.arange(len(data.validation)))
        lower, upper = model.distribution(targets.inputs).interval(0.9)  # type: ignore[union-attr]
        inside = ((targets.targets >= lower) & (targets.targets <= upper)).float().mean()
        assert 0.75 < float(inside) <= 1.0


def test_what_cannot_be() -> None:
    data = make_data()
    with pytest.raises(OptionError, match="method=dropout needs units to drop, but got dropout=0"):
        create_model("lstm:bayesian", data.spec, {"dropout": 0.0})
    with pytest.raises(OptionError, match="method=laplace needs a density"):
        create_model("lstm:bayesian", data.spec, {"method": "laplace", "likelihood": "quantiles"})
    with pytest.raises(OptionError, match="at most 4096 of them, but got"):
        create_model("transformer:bayesian", TEXTS.spec, {"method": "laplace", "hidden_size": 2048, "num_layers": 1})
    with pytest.raises(OptionError, match="needs a sequence model with one linear head, but linear:dlinear is none"):
        with_laplace(build("linear:dlinear", data.spec), data)
