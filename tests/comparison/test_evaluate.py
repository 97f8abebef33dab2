"""Every window once, and a table from which the results can be computed again."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from contract_cases import NAMES, build
from torch import nn

from src import registry
from src.comparison import evaluate as module
from src.comparison.evaluate import evaluate, predict_windows, predictions, predictions_csv
from src.data.loading import load_data
from src.data.options import DataOptions


def read(text):
    return pd.read_csv(io.StringIO(text))


class Counting:
    """Forecasts like the model inside and counts how often it was shown each window."""

    def __init__(self, model):
        self.model, self.sizes, self.seen = model, [], set()

    def predict(self, inputs):
        self.sizes.append(len(inputs))
        self.seen |= {window.tobytes() for window in inputs.numpy()}
        return self.model.predict(inputs)


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("task", ["forecast", "direction"])
def test_every_window_once(part, task, make_data, make_model, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SIZE", 7)
    data = make_data(300, 211, horizon=3, task=task)
    counting, model = (Counting(make_model("linear:dlinear", data)) for _ in range(2))
    split = getattr(data, part)
    evaluate(counting, data, part)
    assert sum(counting.sizes) == len(split)
    assert counting.seen == {window.tobytes() for window in split.select(np.arange(len(split))).inputs.numpy()}
    shown = [(batch, forecast) for batch, forecast in predictions(model, split, np.arange(len(split)))]
    assert set(model.sizes) == {7}, "another size of batch gives other bits"
    order = torch.cat([batch.index for batch, _ in shown])
    assert order.sort().values.tolist() == list(range(len(split)))
    alike = split.select(order)
    assert torch.equal(torch.cat([batch.inputs for batch, _ in shown]), alike.inputs)
    assert torch.equal(torch.cat([batch.targets for batch, _ in shown]), alike.targets)
    np.testing.assert_allclose(
        np.concatenate([forecast for _, forecast in shown]), model.predict(alike.inputs), rtol=1e-5, atol=1e-6
    )


# Odd windows and several independent channels are where a row's place in a batch was seen to matter.
SHAPES = {
    "odd": {"window": 31, "horizon": 5, "transform": "log-return", "target": "a,b"},
    "levels": {"window": 24, "horizon": 1, "transform": "level"},
    "direction": {"window": 25, "horizon": 2, "task": "direction"},
}


def randomised(name, data):
    """The model, its fitted tensors (if it is fitted by no gradient) drawn at random."""
    model = build(name, data.spec, lags=31).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and tensor.numel() and not tensor.isfinite().all():
            tensor.data.normal_()
        elif tensor.is_floating_point() and tensor.numel() and not tensor.abs().max():
            nn.init.normal_(tensor.data, 0, 0.1)
    return model


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_depends_on_its_window_only(name, shape, make_data):
    """To the last bit: alone, and among others in any order and number."""
    data = make_data(420, 300, seed=3, **SHAPES[shape])
    if registry.entry(name).model_class.unsupported(data.spec):
        return
    model, split = randomised(name, data), data.train
    every = predict_windows(model, data.spec, split, np.arange(len(split)))
    assert len(every) > 300 and np.isfinite(every).all()
    some = np.random.default_rng(0).permutation(len(split))[:150]
    assert predict_windows(model, data.spec, split, some).tobytes() == every[some].tobytes()
    for number in some[:6]:
        alone = np.array([number])
        assert predict_windows(model, data.spec, split, alone).tobytes() == every[alone].tobytes()


def test_the_number_of_threads_does_not_matter(make_data, make_model):
    """Attention of usual size divides its sums among threads."""
    data = make_data(window=24, horizon=3)
    model, index = make_model("transformer:basic", data), np.arange(100)
    one = predict_windows(model, data.spec, data.train, index)
    torch.set_num_threads(2)
    assert predict_windows(model, data.spec, data.train, index).tobytes() == one.tobytes()
    assert torch.get_num_threads() == 2, "as it was before"


@pytest.mark.parametrize("transform", ["level", "return", "log-return"])
@pytest.mark.parametrize("target", ["a", "b,a"])
def test_batch_size_does_not_matter(transform, target, make_data, make_model, monkeypatch):
    data = make_data(horizon=3, transform=transform, target=target)
    model = make_model("linear:dlinear", data)
    whole, whole_details = evaluate(model, data, "test")
    monkeypatch.setattr(module, "BATCH_SIZE", 5)
    parts, part_details = evaluate(model, data, "test")
    whole_steps, part_steps = whole_details["per_step"], part_details["per_step"]
    assert parts == pytest.approx(whole, rel=1e-6)
    assert part_steps == {name: pytest.approx(values, rel=1e-6) for name, values in whole_steps.items()}
    assert all(len(values) == 3 for values in whole_steps.values())


@pytest.mark.parametrize("transform", ["level", "return", "log-return"])
def test_table_gives_the_results_again(transform, make_data, make_model):
    data = make_data(horizon=3, transform=transform)
    model = make_model("linear:dlinear", data)
    results, _ = evaluate(model, data, "test")
    table = read(predictions_csv(model, data))
    error, naive_error = table["forecast"] - table["actual"], table["naive"] - table["actual"]
    assert (error**2).mean() ** 0.5 == pytest.approx(results["rmse"], rel=1e-6)
    assert error.abs().mean() == pytest.approx(results["mae"], rel=1e-6)
    assert 1 - (error**2).mean() / (naive_error**2).mean() == pytest.approx(results["skill_vs_naive"], rel=1e-5)
    right = (table["forecast"] > table["naive"]) == (table["actual"] > table["naive"])
    assert right.mean() == pytest.approx(results["direction_accuracy"])
    assert len(table) == 3 * len(data.test)
    assert list(table["step"][:4]) == [1, 2, 3, 1]


def test_direction_table_gives_the_results_again(make_data, make_model):
    data = make_data(horizon=2, task="direction", target="b,a")
    model = make_model("linear:dlinear", data)
    results, details = evaluate(model, data, "test")
    table = read(predictions_csv(model, data))
    assert details == {"confusion_matrix": pd.crosstab(table["up"], table["probability"] > 0.5).to_numpy().tolist()}
    assert list(table.columns) == ["origin", "date", "step", "target", "up", "probability"]
    assert ((table["probability"] > 0.5) == table["up"]).mean() == pytest.approx(results["accuracy"])
    share = table["target"].map(dict(zip(data.spec.target_names, data.spec.up_share, strict=True)))
    brier, naive = ((guess - table["up"]) ** 2 for guess in (table["probability"], share))
    assert 1 - brier.sum() / naive.sum() == pytest.approx(results["skill_vs_naive"], rel=1e-5)
    returns = np.concatenate([batch.returns.numpy().ravel() for batch in data.test.batches(50)])
    size = 2 * table["probability"] - 1
    assert (size * returns - size.abs() * 5e-4).mean() == pytest.approx(results["simulated_return"], rel=1e-5)
    assert results["calls"] == (table["probability"] > 0.5).sum()
    assert returns[table["probability"] > 0.5].sum() == pytest.approx(results["call_returns"], rel=1e-5)


@pytest.mark.parametrize("name", ["baseline:naive", "baseline:ridge", "linear:dlinear"])
def test_baselines_and_networks_are_scored_alike(name, make_data, make_model):
    data = make_data(task="direction", cost_bps=0.0)
    model = make_model(name, data)
    if not model.uses_gradients:
        model.fit_directly(data, 0)
    results, _ = evaluate(model, data, "test")
    assert set(results) == {
        *("accuracy", "balanced_accuracy", "majority_share", "f1", "mcc", "log_loss", "brier", "skill_vs_naive"),
        *("simulated_return", "buy_and_hold_return", "calls", "call_returns"),
    }
    if name == "baseline:naive":  # the same answer to everything
        assert results["mcc"] == 0.0 and results["balanced_accuracy"] == 0.5
        position = 2 * data.spec.up_share[0] - 1
        assert results["simulated_return"] == pytest.approx(position * results["buy_and_hold_return"])


def test_returns_go_with_their_window(make_data, make_model):
    data = make_data(horizon=3, task="direction")
    model = make_model("linear:dlinear", data)
    for batch, _ in predictions(model, data.test, np.arange(len(data.test))):
        assert torch.equal(batch.returns, data.test.select(batch.index).returns)


def test_rows_say_what_they_are(make_data, make_model):
    """Series, dates, step and target belong to the value beside them."""
    data = make_data(300, 211, horizon=3, target="b,a", transform="return")
    table = read(predictions_csv(make_model("baseline:naive", data), data))
    assert list(table.columns) == ["series", "origin", "date", "step", "target", "actual", "forecast", "naive"]
    assert set(table["series"]) == {"s0", "s1"}
    ahead = (pd.to_datetime(table["date"]) - pd.to_datetime(table["origin"])).dt.days
    assert (ahead == table["step"]).all()
    for number, count in enumerate((300, 211)):
        steps = np.random.default_rng(number).normal(0, 0.02, (count, 2))
        prices = pd.DataFrame(50 * np.exp(np.cumsum(steps, 0)), columns=["a", "b"])
        prices.index = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(count), "D")
        rows = table[table["series"] == f"s{number}"]
        for column, date in (("actual", "date"), ("naive", "origin")):
            expected = [prices.loc[day, name] for day, name in zip(rows[date], rows["target"], strict=True)]
            np.testing.assert_allclose(rows[column], expected, rtol=1e-7)


def test_a_short_second_series_is_named(make_data, make_model):
    """The column of names depends on all windows, not on a sample of them."""
    data = make_data(20_007, 14, horizon=1)
    names = data.test.series_names(np.arange(len(data.test)))
    assert names.count("s1") == 2 < 3000 <= names.count("s0")
    assert names[::3].count("s1") == 0
    table = read(predictions_csv(make_model("baseline:naive", data), data))
    assert table["series"].tolist() == names


@pytest.mark.parametrize("most", [1, 50, 100, 131, 10**6])
def test_long_parts_are_thinned_evenly(most, make_data, make_model, monkeypatch):
    """Above the limit whole windows are left out at equal distances; at the limit none."""
    monkeypatch.setattr(module, "MOST_PREDICTION_ROWS", most)
    monkeypatch.setattr(module, "BATCH_SIZE", 10)
    data = make_data(horizon=3)
    model = make_model("linear:dlinear", data)
    total = 3 * len(data.test)
    table = read(predictions_csv(model, data))
    assert len(table) <= max(most, 3)
    assert (table.groupby("origin").size() == 3).all()
    origins = pd.to_datetime(table["origin"].unique())
    distances = np.diff(origins).astype("timedelta64[D]").astype(int)
    every = -(-total // most)
    assert set(distances) <= {every}
    assert len(origins) == -(-len(data.test) // every)


def test_targets_without_history(make_model):
    """The adding problem has no last value, so no persistence and no skill."""
    data = load_data(DataOptions(data="sample:adding", window=8))
    model = make_model("linear:dlinear", data)
    results, _ = evaluate(model, data, "test")
    assert results["skill_vs_naive"] is None
    assert results["rmse"] > 0
    assert "naive" not in read(predictions_csv(model, data)).columns
