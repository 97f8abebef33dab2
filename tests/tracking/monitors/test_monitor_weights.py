"""Update ratios and weight statistics against computation by hand, frozen and zeroed layers among them."""

import pytest
import torch
from torch import nn

from src.tracking.monitors.weights import UpdateRatios, WeightStatistics


def zero(layer):
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def test_the_ratio_is_change_over_weights(loop):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    driven = loop(model, UpdateRatios(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    before = [torch.cat([p.detach().flatten() for p in model[place].parameters()]) for place in (0, 2)]
    values = driven.step(torch.randn(8, 3))
    for place, weights in zip((0, 2), before, strict=True):
        after = torch.cat([p.detach().flatten() for p in model[place].parameters()])
        assert values[f"update_ratio/{place}"] == pytest.approx(
            float((after - weights).norm() / weights.norm()), rel=1e-4
        )
        assert values[f"update_ratio/{place}"] > 1e-4


def test_frozen_and_zeroed_layers(loop):
    """A frozen layer, one whose gradient is zero because the next one is all zeros, and one that leaves zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    zero(model[2])
    nn.init.ones_(model[3].weight)
    driven = loop(model, UpdateRatios(), WeightStatistics(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    values = driven.step(torch.randn(8, 3), lambda x: model(x) - 1)
    assert values["update_ratio/0"] == 0.0
    assert values["update_ratio/1"] == 0.0
    assert values["update_ratio/2"] == 1.0
    zero(model[2])
    model[2].requires_grad_(False)
    values = driven.step(torch.randn(8, 3), detailed=False)
    assert values["update_ratio/2"] == 0.0
    assert values["weight/norm/2"] == 0.0


def test_the_copies_do_not_outlive_the_step(loop):
    monitor = UpdateRatios()
    model = nn.Linear(3, 1)
    driven = loop(model, monitor)
    monitor.before_step()
    assert len(monitor._before) == 2
    driven.step(torch.randn(4, 3))
    assert monitor._before == []


def test_statistics_are_of_all_the_layer_s_weights(loop):
    model = nn.Sequential(nn.Linear(2, 1), nn.LayerNorm(1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
        model[0].bias.fill_(6.0)
    values = loop(model, WeightStatistics()).step(torch.randn(4, 2))
    weights = torch.tensor([1.0, 2.0, 6.0])
    assert values["weight/mean/0"] == pytest.approx(3.0)
    assert values["weight/std/0"] == pytest.approx(float(weights.std(correction=0)))
    assert values["weight/norm/0"] == pytest.approx(float(weights.norm()))
    assert values["weight/norm/1"] == 1.0


def test_between_written_values_only_the_norm_is_looked_at(loop):
    driven = loop(nn.Sequential(nn.Linear(2, 1)), WeightStatistics())
    assert list(driven.step(torch.randn(4, 2), detailed=False)) == ["weight/norm/0"]


def test_parameters_that_cannot_be_measured_are_left_out(loop):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 1)
            self.lazy = nn.LazyLinear(3)
            self.codes = nn.Parameter(torch.zeros(3, dtype=torch.long), requires_grad=False)

        def forward(self, inputs):
            return self.linear(inputs)

    model = Odd()
    optimizer = torch.optim.SGD(model.linear.parameters(), 0.1)
    values = loop(model, UpdateRatios(), WeightStatistics(), optimizer=optimizer).step(torch.randn(4, 2))
    assert {tag.rpartition("/")[2] for tag in values} == {"linear"}
