"""Baselines against slow references in prices and against scikit-learn itself."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge

from src.comparison.evaluate import evaluate, predictions_csv
from src.errors import OptionError
from src.layers.trees import TreeEnsemble
from src.models import create_model
from src.models.base_model import BaseModel

TRANSFORMS = ["level", "return", "log-return"]
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0)


def prices(rows=200, seed=0):
    return 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, (rows, 3)), axis=0))


def first_rows(data):
    """The first target row of every test window."""
    origins = data.test.origin_dates(np.arange(len(data.test)))
    return ((origins - np.datetime64("2024-01-01", "ns")) // np.timedelta64(1, "h")).astype(int) + 1


def forecast_prices(model, data):
    index = np.arange(len(data.test))
    return data.test.to_units(index, model.predict(data.test.select(index).inputs).numpy())


def slow_naive(path, ahead):
    return path[-1]


def slow_drift(path, ahead):
    return path[-1] + ahead * (path[-1] - path[0]) / (len(path) - 1)


def slow_seasonal(period):
    def forecast(path, ahead):
        place = len(path) - 1 + ahead  # where the wanted value would stand
        while place >= len(path):
            place -= period
        return path[place]

    return forecast


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("target", ["b", "c,a"])
@pytest.mark.parametrize(
    ("name", "options", "reference"),
    [
        ("baseline:naive", {}, slow_naive),
        ("baseline:drift", {}, slow_drift),
        ("baseline:seasonal", {"period": 3}, slow_seasonal(3)),
        ("baseline:seasonal", {"period": 24}, slow_seasonal(24)),
        ("baseline:seasonal", {}, slow_seasonal(24)),  # hourly rows
    ],
)
def test_price_baselines(name, options, reference, transform, target, make_data):
    values = prices()
    data = make_data(values, transform=transform, target=target, horizon=7)
    forecast = forecast_prices(create_model(name, data.spec, options), data)
    points = 24 if transform == "level" else 25  # a window of returns spans one price more
    columns = ["abc".index(column) for column in target.split(",")]
    assert len(forecast) == len(first_rows(data)) > 10
    for row, first in enumerate(first_rows(data)):
        path = values[first - points : first, columns]
        expected = [reference(path, ahead) for ahead in range(1, 8)]
        np.testing.assert_allclose(forecast[row], expected, rtol=2e-6)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_naive_is_persistence_exactly(transform, make_data):
    """No skill, no called move, no difference in the table: rounding must not look like knowledge."""
    values = prices()
    values[170:180] = values[170]  # a flat stretch, where nothing is up
    data = make_data(values, transform=transform, target="b", horizon=3)
    model = create_model("baseline:naive", data.spec)
    results, _ = evaluate(model, data, "test")
    assert results["skill_vs_naive"] == pytest.approx(0.0, abs=1e-9)
    index = np.arange(len(data.test))
    rises = (data.test.actual(index) > data.test.persistence(index)).mean()
    assert results["direction_accuracy"] == pytest.approx(1 - rises, abs=1e-12)
    rows = [line.split(",") for line in predictions_csv(model, data).splitlines()]
    forecast, naive = rows[0].index("forecast"), rows[0].index("naive")
    assert all(row[forecast] == row[naive] for row in rows[1:])


def test_naive_direction_is_the_share_of_ups(make_data):
    data = make_data(task="direction", horizon=2, target="c,a")
    predicted = create_model("baseline:naive", data.spec).predict(data.test.select(range(5)).inputs)
    np.testing.assert_allclose(predicted.numpy(), np.tile(data.spec.up_share, (5, 2, 1)), rtol=1e-6)
    results, _ = evaluate(create_model("baseline:naive", data.spec), data, "test")
    assert results["skill_vs_naive"] == pytest.approx(0.0, abs=1e-6)


def test_drift_never_forecasts_a_price_below_zero(make_data):
    values = np.interp(np.arange(200), [0, 150, 165, 199], [200, 200, 20, 20])[:, None] * np.ones(3)
    data = make_data(values, transform="return", horizon=30, split="120,30,50")
    forecast = forecast_prices(create_model("baseline:drift", data.spec), data)
    assert np.isfinite(forecast).all()
    assert (forecast > 0).all()
    assert forecast.min() < 0.01


def test_season_longer_than_the_window_is_refused(make_data):
    with pytest.raises(OptionError, match="period=25 and window=24; use --window 25 or more"):
        create_model("baseline:seasonal", make_data().spec, {"period": 25})


# ---- what scikit-learn fits


def slow_rows(data, part, lags):
    """Windows as scikit-learn shall see them, what is added again, and what is wanted, target by target.

    Returns:
        ``read [windows, targets or 1, columns]``, ``base [windows, targets]``, ``wanted [windows, horizon, targets]``.
    """
    split, spec = getattr(data, part), data.spec
    batch = split.select(range(len(split)))
    inputs, targets = batch.inputs.numpy().astype(np.float64), batch.targets.numpy().astype(np.float64)
    read, base = [], []
    for window in inputs:
        newest = window[-lags:]
        own = newest[:, list(spec.target_channels)]
        level = spec.transform == "level"
        base.append(own[-1] if level and spec.task == "forecast" else np.zeros(own.shape[1]))
        if level:
            newest, own = newest - newest[-1], own - own[-1]
        read.append([newest.ravel()] if own.shape[1] == 1 else list(own.T))
    return np.array(read), np.array(base), targets


SKLEARN_CASES = [
    pytest.param(task, transform, target, id=f"{task}-{transform}-{target}")
    for task in ("forecast", "direction")
    for transform in ("level", "return")
    for target in ("b", "c,a")
]


@pytest.mark.parametrize(("task", "transform", "target"), SKLEARN_CASES)
def test_ridge_is_scikit_learns(task, transform, target, make_data, tmp_path):
    data = make_data(task=task, transform=transform, target=target, horizon=2)
    lags = 5
    model = create_model("baseline:ridge", data.spec, {"lags": lags})
    model.fit_directly(data, 0)

    def stacked(part):
        read, base, wanted = slow_rows(data, part, lags)
        answers = wanted - base[:, None]  # [windows, horizon, targets]
        return read.reshape(-1, read.shape[-1]), answers.transpose(0, 2, 1).reshape(-1, 2), read, base, wanted

    train_read, train_answers, *_ = stacked("train")

    def fit(penalty):
        if task == "forecast":
            fitted = SklearnRidge(alpha=penalty).fit(train_read, train_answers)
            return fitted.predict
        fits = [LogisticRegression(C=1 / penalty, max_iter=500).fit(train_read, column) for column in train_answers.T]
        return lambda rows: np.stack([one.predict_proba(rows)[:, 1] for one in fits], 1)

    def forecast(predict, part):
        rows, _, read, base, wanted = stacked(part)
        answers = predict(rows).reshape(len(read), -1, 2).transpose(0, 2, 1)
        return answers + base[:, None], wanted

    def loss(penalty):
        guess, wanted = forecast(fit(penalty), "validation")
        if task == "forecast":
            return ((guess - wanted) ** 2).mean()
        return -(wanted * np.log(guess) + (1 - wanted) * np.log(1 - guess)).mean()

    expected, _ = forecast(fit(min(PENALTIES, key=loss)), "test")
    inputs = data.test.select(range(len(data.test))).inputs
    np.testing.assert_allclose(model.predict(inputs).numpy(), expected, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "ridge.pt")
    assert torch.equal(BaseModel.load(tmp_path / "ridge.pt").predict(inputs), model.predict(inputs))


@pytest.mark.parametrize(("task", "transform", "target"), SKLEARN_CASES)
def test_boosting_is_scikit_learns(task, transform, target, make_data, tmp_path, monkeypatch):
    """The tensors answer what the fitted booster answers to rows made by hand."""
    boosters = []
    copy_from = TreeEnsemble.copy_from
    monkeypatch.setattr(TreeEnsemble, "copy_from", lambda self, one: (boosters.append(one), copy_from(self, one)))
    data = make_data(task=task, transform=transform, target=target, horizon=3, rows=400)
    options = {"lags": 4, "trees": 30, "max_depth": 4, "learning_rate": 0.2}
    model = create_model("baseline:boosting", data.spec, options)
    model.fit_directly(data, 0)
    (booster,) = boosters
    assert booster.n_iter_ > 1

    read, base, _ = slow_rows(data, "test", 4)
    count = len(data.spec.target_names)
    expected = np.zeros((len(read), 3, count))
    for number in range(count):
        for step in range(3):
            question = [number, step] if count > 1 else [step]
            rows = np.stack([[*row[number], *question] for row in read])
            answer = booster.predict(rows) if task == "forecast" else booster.predict_proba(rows)[:, 1]
            expected[:, step, number] = answer + base[:, number]
    inputs = data.test.select(range(len(data.test))).inputs
    np.testing.assert_allclose(model.predict(inputs).numpy(), expected, rtol=1e-6, atol=1e-6)
    assert expected.std(0).min() > 0
    model.save(tmp_path / "boosting.pt")
    assert torch.equal(BaseModel.load(tmp_path / "boosting.pt").predict(inputs), model.predict(inputs))


@pytest.mark.parametrize("name", ["baseline:ridge", "baseline:boosting"])
def test_fitting_again_forgets_the_first_fit(name, make_data):
    first, second = make_data(seed=1, rows=400, target="b"), make_data(seed=2, rows=200, target="b")
    both, fresh = (create_model(name, second.spec, {"lags": 4}) for _ in range(2))
    both.fit_directly(first, 0)
    for model in (both, fresh):
        model.fit_directly(second, 0)
    inputs = second.test.select(range(10)).inputs
    assert torch.equal(both.predict(inputs), fresh.predict(inputs))


@pytest.mark.parametrize("name", ["baseline:ridge", "baseline:boosting"])
@pytest.mark.parametrize("rising", [True, False])
def test_one_direction_only(name, rising, make_data):
    """Where training rows have only gone up (or never), that is the answer, and a sure one."""
    values = prices()
    steps = np.abs(np.diff(np.log(values[:140]), axis=0)) + 1e-4
    values[1:140] = values[0] * np.exp(np.cumsum(steps if rising else -steps, axis=0))
    data = make_data(values, task="direction", target="b", split="140,30,30")
    model = create_model(name, data.spec)
    model.fit_directly(data, 0)
    predicted = model.predict(data.test.select(range(10)).inputs)
    assert ((predicted > 0.999) if rising else (predicted < 0.001)).all()


@pytest.mark.parametrize("name", ["baseline:ridge", "baseline:boosting"])
def test_lags_longer_than_the_window_read_the_window(name, make_data):
    data = make_data(target="b")
    models = [create_model(name, data.spec, {"lags": lags}) for lags in (24, 90)]
    for model in models:
        model.fit_directly(data, 0)
    inputs = data.test.select(range(10)).inputs
    assert torch.equal(models[0].predict(inputs), models[1].predict(inputs))


def test_fitted_baselines_learn_what_can_be_learnt(make_data):
    """A daily wave: both are far better than persistence."""
    time = np.arange(600)
    wave = 100 + 10 * np.sin(2 * np.pi * time / 24)[:, None] + np.random.default_rng(0).normal(0, 0.3, (600, 1))
    data = make_data(wave, target="a", transform="level", horizon=6)
    for name in ("baseline:ridge", "baseline:boosting", "baseline:seasonal"):
        model = create_model(name, data.spec)
        model.fit_directly(data, 0)
        assert evaluate(model, data, "test")[0]["skill_vs_naive"] > 0.95, name
