"""What is said of answers on validation windows: planted echoes, and calibration by hand."""

import numpy as np
import pytest
import torch

from src.metrics.calibration import expected_calibration_error
from src.models import create_model
from src.tracking.monitors.base import WatchedEpoch, WatchedRun
from src.tracking.monitors.calibration import Calibration
from src.tracking.monitors.echo import Echo, echo_correlation, skill_against
from src.tracking.monitors.validation_sample import sample_size

EPOCH = WatchedEpoch(0, 10, {}, {}, True, 1.0, 100)


def after_epoch(monitor, model, data, logger):
    monitor.on_start(WatchedRun(model, logger, data=data))
    return {tag: float(value) for tag, value in monitor.on_epoch_end(EPOCH).items()}


@pytest.mark.parametrize("transform", ["level", "return"])
@pytest.mark.parametrize("target", ["b", "c,a"])
def test_a_model_that_repeats_the_last_value_is_an_echo(make_data, logger, transform, target):
    data = make_data(transform=transform, target=target, horizon=3)
    values = after_epoch(Echo(), create_model("baseline:naive", data.spec), data, logger)
    assert values["forecast/echo_correlation"] > 0.999
    assert values["forecast/skill_vs_last_value"] == pytest.approx(0.0, abs=1e-4)


class Oracle(torch.nn.Module):
    """Knows the future."""

    def __init__(self, data):
        super().__init__()
        self.windows = {batch.inputs[0].numpy().tobytes(): batch.targets for batch in data.validation.batches(1)}

    def predict(self, inputs):
        return torch.cat([self.windows[window.numpy().tobytes()] for window in inputs])


def test_a_model_that_knows_is_none(make_data, logger):
    data = make_data(horizon=3)
    values = after_epoch(Echo(), Oracle(data), data, logger)
    assert abs(values["forecast/echo_correlation"]) < 0.5  # steps of a random walk are unrelated
    assert values["forecast/skill_vs_last_value"] == pytest.approx(1.0, abs=1e-4)


def test_correlation_by_hand_and_over_neighbours_only():
    rng = np.random.default_rng(0)
    history = rng.normal(size=(40, 5, 2))
    history[1::2, -2] = history[::2, -1]
    forecast = rng.normal(size=(40, 2))
    history[7, -2] += 1  # another series begins here
    kept = [pair for pair in range(20) if pair != 3]
    changes = (forecast[1::2] - forecast[::2])[kept]
    known = (history[1::2, -1] - history[::2, -1])[kept]
    expected = np.mean([np.corrcoef(changes[:, n], known[:, n])[0, 1] for n in range(2)])
    assert echo_correlation(forecast, history) == pytest.approx(expected)
    assert echo_correlation(forecast[:14], history[:14]) is None
    assert echo_correlation(np.zeros((40, 2)), history) is None


def test_skill_leaves_out_targets_that_do_not_change():
    actual = np.arange(12.0).reshape(3, 2, 2)
    last = np.stack([actual[..., 0] - 2, actual[..., 1]], -1)
    forecast = np.stack([actual[..., 0] - 1, actual[..., 1]], -1)
    assert skill_against(forecast, last, actual) == pytest.approx(0.75)
    assert skill_against(actual, actual, actual) is None


@pytest.mark.parametrize("monitor", [Echo, Calibration])
def test_there_is_nothing_to_say_without_data_or_answers(monitor, logger, make_data):
    assert after_epoch(monitor(), torch.nn.Linear(1, 1), None, logger) == {}
    assert after_epoch(monitor(), torch.nn.Linear(1, 1), make_data(), logger) == {}


def test_echo_is_for_forecasts_and_calibration_for_probabilities(logger, make_data):
    direction, forecast = make_data(task="direction"), make_data()
    assert after_epoch(Echo(), create_model("lstm:basic", direction.spec), direction, logger) == {}
    assert after_epoch(Calibration(), create_model("lstm:basic", forecast.spec), forecast, logger) == {}


def test_calibration_of_probabilities(logger, make_data):
    data = make_data(task="direction")
    torch.manual_seed(0)
    model = create_model("linear:nlinear", data.spec, {"normalisation": "none"})
    values = after_epoch(Calibration(), model, data, logger)
    batch = data.validation.select(np.arange(len(data.validation)))
    assert sample_size(WatchedRun(model, logger, data=data), 512) == len(data.validation)
    probability = model.predict(batch.inputs)
    confidence = torch.maximum(probability, 1 - probability)
    expected = expected_calibration_error(confidence, (probability > 0.5) == (batch.targets > 0.5))
    assert values["calibration/expected_calibration_error"] == pytest.approx(float(expected), abs=1e-6)
    assert -1 <= values["calibration/uncertainty_error_correlation"] <= 1
    assert "calibration/coverage_90_percent" not in values


class Unsure(torch.nn.Module):
    """Says a mean and a deviation ``width`` times that of the targets."""

    def __init__(self, data, width, as_mapping):
        super().__init__()
        self.width, self.as_mapping = width, as_mapping
        self.deviation = torch.cat([batch.targets for batch in data.validation.batches(64)]).std()
        self.shape = data.spec.target_shape

    def predict(self, inputs):
        mean = torch.zeros(len(inputs), *self.shape)
        deviation = self.width * self.deviation * torch.linspace(0.99, 1.01, mean.numel()).view(mean.shape)
        return {"mean": mean, "std": deviation} if self.as_mapping else (mean, deviation)


@pytest.mark.parametrize("as_mapping", [True, False])
@pytest.mark.parametrize(("width", "low", "high"), [(1.0, 80, 97), (0.1, 5, 30), (10.0, 100, 100)])
def test_coverage_of_models_that_say_how_unsure_they_are(logger, make_data, width, low, high, as_mapping):
    data = make_data(rows=1500, transform="return")
    values = after_epoch(Calibration(), Unsure(data, width, as_mapping), data, logger)
    assert low <= values["calibration/coverage_90_percent"] <= high
    assert abs(values["calibration/uncertainty_error_correlation"]) < 0.4


def test_the_sample_is_a_small_part_of_an_epoch(logger, make_data):
    data = make_data(rows=6000)
    run = WatchedRun(torch.nn.Linear(1, 1), logger, data=data)
    assert sample_size(run, 512) == len(data.train) // 50
    assert sample_size(run, 70) == 70
