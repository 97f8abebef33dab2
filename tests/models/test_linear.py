"""NLinear and DLinear against the papers' formulas, written out slowly."""

import numpy as np
import pytest
import torch

from src.models import create_model


def build(name, spec, **options):
    torch.manual_seed(0)
    return create_model(name, spec, options).double().eval()


def weights(linear):
    return linear.weight.detach().numpy(), linear.bias.detach().numpy()


@pytest.mark.parametrize("transform", ["level", "return"])
def test_nlinear(transform, make_data):
    """Zeng et al. 2023: subtract the last value, apply the map, add the last value again."""
    data = make_data(target="c,a", horizon=4, transform=transform)
    model = build("linear:nlinear", data.spec)
    weight, bias = weights(model.linear)
    inputs = data.test.select(range(3)).inputs.double()
    forecast = model(inputs).detach().numpy()
    for row in range(3):
        for place, channel in enumerate(data.spec.target_channels):
            window = inputs[row, :, channel].numpy()
            for step in range(4):
                expected = sum(weight[step, t] * (window[t] - window[-1]) for t in range(24)) + bias[step] + window[-1]
                assert forecast[row, step, place] == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("width", [1, 4, 5, 25, 49])
def test_dlinear(width, make_data):
    """Zeng et al. 2023: a moving average (its ends repeated as often as needed) and the rest, a map for each."""
    data = make_data(target="c,a", horizon=4, transform="level")
    model = build("linear:dlinear", data.spec, moving_average=width)
    trend_map, rest_map = weights(model.trend), weights(model.remainder)
    inputs = data.test.select(range(3)).inputs.double()
    forecast = model(inputs).detach().numpy()
    for row in range(3):
        for place, channel in enumerate(data.spec.target_channels):
            window = inputs[row, :, channel].numpy()
            trend = np.empty(24)
            for t in range(24):
                around = range(t - (width - 1) // 2, t + width // 2 + 1)
                assert len(around) == width
                trend[t] = np.mean([window[min(max(place_, 0), 23)] for place_ in around])
            expected = trend_map[0] @ trend + trend_map[1] + rest_map[0] @ (window - trend) + rest_map[1]
            np.testing.assert_allclose(forecast[row, :, place], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["linear:nlinear", "linear:dlinear"])
def test_reads_the_targets_alone(name, make_data):
    data = make_data(horizon=4)
    model = build(name, data.spec)
    inputs = data.test.select(range(3)).inputs.double()
    before = model(inputs)
    inputs[:, :, [0, 2]] += 1.0
    assert torch.equal(model(inputs), before)


def test_nlinear_logits_are_not_shifted(make_data):
    """For directions the window's last value has no place in the answer."""
    data = make_data(task="direction", transform="level")
    model = build("linear:nlinear", data.spec)
    inputs = data.test.select(range(3)).inputs.double()
    torch.testing.assert_close(model(inputs + 5.0), model(inputs), rtol=1e-9, atol=1e-9)
