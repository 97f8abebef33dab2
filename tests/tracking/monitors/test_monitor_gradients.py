"""Gradient norms and clipping against computation by hand."""

import math

import pytest
import torch
from torch import nn

from src.tracking.monitors.base import WatchedStep
from src.tracking.monitors.gradients import Clipping, GradientNorms


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"encoder": nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 4)]), "head": nn.Linear(4, 1)})


def run(model, inputs):
    for layer in model["encoder"]:
        inputs = layer(inputs).tanh()
    return model["head"](inputs)


def test_norms_are_those_before_clipping(loop):
    model = small_model()
    driven = loop(model, GradientNorms(), clip=0.01)
    inputs = torch.randn(8, 3)
    values = driven.step(inputs, lambda x: 100 * run(model, x))
    model.zero_grad()
    (100 * run(model, inputs)).square().mean().backward()
    norm = {
        name: math.hypot(*(float(p.grad.norm()) for p in layer.parameters()))
        for name, layer in (
            ("encoder.0", model["encoder"][0]),
            ("encoder.1", model["encoder"][1]),
            ("head", model["head"]),
        )
    }
    for layer, expected in norm.items():
        assert values[f"gradient_norm/layer/{layer}"] == pytest.approx(expected, rel=1e-4)
    assert values["gradient_norm/group/encoder"] == pytest.approx(
        math.hypot(norm["encoder.0"], norm["encoder.1"]), 1e-4
    )
    assert values["gradient_norm/group/head"] == pytest.approx(norm["head"], rel=1e-4)
    assert values["gradient_norm/total"] == pytest.approx(math.hypot(*norm.values()), rel=1e-4)
    layers = torch.tensor(list(norm.values()))
    variation = float(layers.std(correction=0) / layers.mean())
    assert values["gradient_norm/layer_variation"] == pytest.approx(variation, rel=1e-4)
    assert len(values) == 7


def test_parameters_without_gradients_are_left_out_from_step_to_step(loop):
    model = small_model()
    driven = loop(model, GradientNorms())
    assert "gradient_norm/layer/encoder.0" in driven.step(torch.randn(8, 3), lambda x: run(model, x))
    values = driven.step(torch.randn(8, 4), lambda x: model["head"](x))
    assert [tag for tag in values if "/layer/" in tag] == ["gradient_norm/layer/head"]


def test_a_layer_that_is_not_finite_leaves_the_others_readable():
    gradients = {"a.weight": torch.tensor([3.0, 4.0]), "b.weight": torch.tensor([math.nan])}
    values = GradientNorms().on_step(WatchedStep(0, 0, True, {}, gradients))
    assert values["gradient_norm/layer/a"] == 5.0
    assert math.isnan(values["gradient_norm/layer/b"])
    assert math.isnan(values["gradient_norm/total"])


def test_all_zero_gradients_have_no_variation():
    values = GradientNorms().on_step(
        WatchedStep(0, 0, True, {}, {"a.weight": torch.zeros(2), "b.weight": torch.zeros(3)})
    )
    assert set(values.values()) == {0.0}


def test_no_gradients_no_values():
    assert GradientNorms().on_step(WatchedStep(0, 0, True, {}, {})) == {}


def test_clipping_counts_the_latest_steps():
    norms = [torch.tensor(value) for value in (0.5, 2.0, 3.0, 1.0)]
    step = WatchedStep(3, 0, True, {}, {}, norms[1], 0.5, 1.0, recent_gradient_norms=norms)
    values = Clipping().on_step(step)
    assert float(values["clipping/percentage"]) == 50.0
    assert float(values["clipping/norm_after"]) == 1.0


def test_the_norm_after_clipping_is_that_of_the_gradients(loop):
    model = small_model()
    driven = loop(model, Clipping(), clip=0.3)
    values = driven.step(torch.randn(8, 3), lambda x: 100 * run(model, x))
    actual = math.hypot(*(float(p.grad.norm()) for p in model.parameters()))
    assert values["clipping/norm_after"] == pytest.approx(actual, rel=1e-4) == pytest.approx(0.3, rel=1e-4)


def test_without_clipping_there_is_nothing_to_say():
    assert Clipping().on_step(WatchedStep(0, 0, True, {}, {}, torch.tensor(1.0))) == {}
