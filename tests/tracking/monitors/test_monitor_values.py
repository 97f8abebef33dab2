"""Learning rate, stability, performance, inputs, representation and moving average against computation by hand."""

import copy
import math

import pytest
import torch
from torch import nn

from src.data.base import Batch
from src.errors import UserError
from src.metrics.representation import collapse_metrics
from src.tracking.monitors.base import WatchedEpoch, WatchedRun, WatchedStep
from src.tracking.monitors.ema import ExponentialMovingAverage
from src.tracking.monitors.inputs import Inputs
from src.tracking.monitors.learning_rate import LearningRate
from src.tracking.monitors.performance import Performance
from src.tracking.monitors.representation import RepresentationCollapse
from src.tracking.monitors.stability import LossStability


def step(number=0, detailed=True, **values):
    return WatchedStep(number, 0, detailed, {}, {}, **values)


# --- learning rate ----------------------------------------------------------------------------------------------------


def planned(logger, monitor, total, rate_at=lambda step: 0.1 / (step + 1)):
    """The plan that a start writes, step to rate."""
    seen = {}
    logger.listeners.append(lambda at, values: seen.update({at: values["learning_rate/schedule_ahead"]}))
    monitor.on_start(WatchedRun(nn.Linear(1, 1), logger, total_steps=total, learning_rate_at=rate_at))
    logger.flush()
    logger.listeners.clear()
    return seen


def test_the_schedule_ahead_stands_at_the_steps_it_is_for(logger):
    plan = planned(logger, LearningRate(), 5000)
    assert len(plan) == 200
    assert min(plan) == 0 and max(plan) == 4999
    assert all(rate == pytest.approx(0.1 / (at + 1)) for at, rate in plan.items())
    assert sorted(planned(logger, LearningRate(), 3)) == [0, 1, 2]
    assert sorted(planned(logger, LearningRate(), 1)) == [0]


def test_a_resumed_run_has_its_plan_already_unless_it_is_a_longer_one(logger):
    monitor, resumed, longer = LearningRate(), LearningRate(), LearningRate()
    assert planned(logger, monitor, 50)
    resumed.load_state_dict(monitor.state_dict())
    longer.load_state_dict(monitor.state_dict())
    assert not planned(logger, resumed, 50)
    assert planned(logger, longer, 80)


def test_a_schedule_that_nobody_knows_is_not_written(logger):
    assert not planned(logger, LearningRate(), 50, None)
    unknown = LearningRate()
    planned(logger, unknown, 50, None)
    assert unknown.on_step(step(learning_rate=0.0)) == {}
    assert LearningRate().on_step(step(learning_rate=0.25)) == {"learning_rate/current": 0.25}


# --- stability --------------------------------------------------------------------------------------------------------


def test_stability_of_the_latest_losses():
    losses = [torch.tensor(float(value)) for value in (10, 9, 8, 7, 30)]
    values = {tag: float(value) for tag, value in LossStability().on_step(step(recent_losses=losses)).items()}
    assert set(values) == {f"stability/loss_{name}" for name in ("smoothness", "trend_slope", "spike_ratio")}
    assert values["stability/loss_spike_ratio"] == pytest.approx(30 / 9)
    assert values["stability/loss_trend_slope"] == pytest.approx(3.8)
    assert LossStability().on_step(step(recent_losses=losses[:1])) == {}


# --- performance ------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr("src.tracking.monitors.performance.time.perf_counter", lambda: self.now)


def test_written_times_are_means_since_the_last_written_value(monkeypatch):
    clock, monitor = Clock(monkeypatch), Performance()
    monitor.on_step(step(0, seconds={"data": 0.001}, samples=64))
    clock.now += 0.5
    look = monitor.on_step(step(10, False, seconds={"data": 0.002, "forward": 0.01}, samples=64))
    assert look["performance/data_time_ms"] == 2.0
    assert look["performance/step_time_ms"] == pytest.approx(50.0)
    clock.now += 1.5
    values = monitor.on_step(step(20, seconds={"data": 0.004, "forward": 0.03, "step": 1.0}, samples=64))
    assert values["performance/data_time_ms"] == pytest.approx(3.0)
    assert values["performance/forward_time_ms"] == pytest.approx(20.0)
    assert values["performance/step_time_ms"] == pytest.approx(100.0)
    assert values["performance/steps_per_second"] == pytest.approx(10.0)
    assert values["performance/samples_per_second"] == pytest.approx(640.0)
    assert 0.05 < values["performance/peak_memory_gb"] < 64
    assert "performance/gpu_memory_allocated_gb" not in values


def test_the_time_of_a_validation_does_not_count(monkeypatch):
    clock, monitor = Clock(monkeypatch), Performance()
    monitor.on_step(step(0, samples=8))
    clock.now += 1.0
    monitor.on_step(step(10, False))
    clock.now += 1000.0
    monitor.on_epoch_end(WatchedEpoch(0, 14, {}, {}, True, 1.0, 100))
    clock.now += 0.5
    values = monitor.on_step(step(19, samples=8))
    assert values["performance/step_time_ms"] == pytest.approx(100.0)
    assert values["performance/samples_per_second"] == pytest.approx(80.0)


# --- inputs -----------------------------------------------------------------------------------------------------------


def looks(monitor, *batches):
    return [{tag: float(value) for tag, value in monitor.on_step(step(batch=batch)).items()} for batch in batches]


def test_constant_features_are_those_that_never_change():
    torch.manual_seed(0)
    batches = [torch.randn(64, 24, 5) for _ in range(12)]
    for number, inputs in enumerate(batches):
        inputs[..., 1] = 3.0
        inputs[..., 2] = float(number == 1)  # changes once, and is forgotten ten batches later
        inputs[0, 0, 3] = float("inf")
        inputs[5, 5, 4] = float("nan")
    found = looks(Inputs(), *(Batch(inputs, inputs, torch.arange(64)) for inputs in batches))
    assert [values["input/constant_features"] for values in found] == [2, *[1] * 10, 2]
    assert {values["input/nonfinite_values"] for values in found} == {2.0}


def test_a_resumed_run_knows_the_batches_before():
    monitor, resumed = Inputs(), Inputs()
    looks(monitor, torch.zeros(8, 3))
    resumed.load_state_dict(monitor.state_dict())
    assert looks(resumed, torch.tensor([[0.0, 1.0, 2.0]] * 8))[0]["input/constant_features"] == 1


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        (torch.ones(8, 3), 3),
        ((torch.ones(8, 3), torch.zeros(8)), 3),
        ({"inputs": torch.ones(8, 4), "labels": torch.zeros(8)}, 4),
        ({"pixels": torch.ones(8, 3, 16, 16)}, 3),
    ],
)
def test_any_kind_of_batch(batch, count):
    assert looks(Inputs(), batch)[0]["input/constant_features"] == count


@pytest.mark.parametrize("batch", [None, torch.zeros(8, 5, dtype=torch.long), "text", torch.zeros(0, 3), {}])
def test_batches_without_features(batch):
    assert looks(Inputs(), batch) == [{}]


# --- representation ---------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, inputs):
        return self.head(self.encoder(inputs).tanh())


def test_a_collapsed_representation(loop):
    torch.manual_seed(0)
    model = Encoder()
    values = loop(model, RepresentationCollapse()).step(torch.randn(64, 6))
    rich = values["representation/effective_rank"]
    assert rich > 4
    assert values["representation/dead_dimensions_percent"] == 0.0
    nn.init.zeros_(model.encoder.weight)
    values = loop(model, RepresentationCollapse()).step(torch.randn(64, 6))
    assert values["representation/effective_rank"] == pytest.approx(1.0, abs=1e-3)
    assert values["representation/mean_std_per_dim"] == pytest.approx(0.0, abs=1e-6)
    assert values["representation/mean_similarity"] == pytest.approx(1.0, abs=1e-5)
    assert values["representation/dead_dimensions_percent"] == 100.0


def test_a_named_layer(loop):
    torch.manual_seed(0)
    model, inputs = Encoder(), torch.randn(64, 6)
    values = loop(model, RepresentationCollapse("encoder")).step(inputs)
    expected = collapse_metrics(model.encoder(inputs))
    assert values == {tag: pytest.approx(float(expected[tag.partition("/")[2]]), rel=1e-4) for tag in values}
    assert len(values) == 4
    with pytest.raises(UserError, match=r"no 'encodr'.*encoder"):
        loop(model, RepresentationCollapse("encodr"))


def test_a_model_that_answers_from_its_data_has_no_representation(loop):
    assert loop(nn.Sequential(nn.Linear(3, 1)), RepresentationCollapse()).step(torch.randn(8, 3)) == {}


# --- moving average ---------------------------------------------------------------------------------------------------


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.context_encoder = nn.Linear(3, 4)
        self.target_encoder = copy.deepcopy(self.context_encoder).requires_grad_(False)

    def forward(self, inputs):
        return self.context_encoder(inputs)

    @torch.no_grad()
    def follow(self, momentum):
        for own, average in zip(self.context_encoder.parameters(), self.target_encoder.parameters(), strict=True):
            average.lerp_(own, 1 - momentum)


def test_the_momentum_is_measured(loop):
    torch.manual_seed(0)
    model = Pair()
    monitor = ExponentialMovingAverage()
    driven = loop(model, monitor, optimizer=torch.optim.SGD(model.context_encoder.parameters(), 1.0))
    driven.step(torch.randn(8, 3))
    monitor.before_step()
    model.follow(0.9)
    values = monitor.on_step(step())
    own, average = (
        torch.cat([p.flatten() for p in e.parameters()]) for e in (model.context_encoder, model.target_encoder)
    )
    assert float(values["ema/momentum_current"]) == pytest.approx(0.9, abs=1e-3)
    divergence = float((own.detach() - average).norm() / own.detach().norm())
    assert float(values["ema/avg_parameter_divergence"]) == pytest.approx(divergence, rel=1e-4)
    ratio = float(average.norm() / own.detach().norm())
    assert float(values["ema/weight_magnitude_ratio"]) == pytest.approx(ratio, rel=1e-4)


def test_equal_networks_have_a_momentum_too(loop):
    values = loop(Pair(), ExponentialMovingAverage()).step(torch.randn(8, 3))
    assert values["ema/momentum_current"] == 1.0
    assert values["ema/avg_parameter_divergence"] == 0.0


def test_a_pair_may_be_given_and_most_models_have_none(loop):
    model = nn.Sequential(nn.Linear(3, 3))
    assert loop(model, ExponentialMovingAverage()).step(torch.randn(8, 3)) == {}
    other = nn.Sequential(nn.Linear(3, 3))
    values = loop(model, ExponentialMovingAverage(model, other)).step(torch.randn(8, 3))
    assert values["ema/avg_parameter_divergence"] > 0
    assert math.isfinite(values["ema/weight_magnitude_ratio"])
