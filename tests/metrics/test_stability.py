"""Stability of a loss and its running mean against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from src.metrics.stability import RunningMean, loss_stability


def floats(values: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def test_a_straight_line_is_smooth_and_has_its_slope() -> None:
    found = floats(loss_stability([10 - 0.5 * step for step in range(11)]))
    assert found == pytest.approx(
        {"loss_smoothness": 1, "loss_trend_slope": -0.5, "loss_spike_ratio": 5 / 7.5}, rel=1e-6
    )


def test_definitions_on_a_rough_loss() -> None:
    losses = np.random.default_rng(0).uniform(1, 3, 60)
    found = floats(loss_stability(torch.tensor(losses)))
    assert found["loss_smoothness"] == pytest.approx(1 / (1 + np.diff(losses).std() / losses.mean()), rel=1e-5)
    assert found["loss_trend_slope"] == pytest.approx(np.polyfit(range(60), losses, 1)[0], rel=1e-4)
    assert found["loss_spike_ratio"] == pytest.approx(losses[-1] / np.median(losses), rel=1e-5)


def test_only_the_last_100_steps_count_and_fewer_than_3_say_nothing() -> None:
    tail = [1.0 + 0.01 * step for step in range(100)]
    assert floats(loss_stability([1e9] * 50 + tail)) == pytest.approx(floats(loss_stability(tail)))
    assert loss_stability([1.0, 2.0]) == {} == loss_stability([])


def test_numbers_tensors_and_one_tensor_agree() -> None:
    losses = [3.0, 2.0, 2.5, 1.0]
    tensors = [torch.tensor(loss, requires_grad=True) for loss in losses]
    expected = floats(loss_stability(losses))
    assert floats(loss_stability(tensors)) == pytest.approx(expected)
    assert floats(loss_stability([*losses[:3], tensors[3]])) == pytest.approx(expected)
    assert floats(loss_stability(torch.tensor(losses))) == pytest.approx(expected)
    assert not any(value.requires_grad for value in loss_stability(tensors).values())


def test_a_running_mean_is_of_the_latest_values_and_forgets_nan() -> None:
    mean = RunningMean(3)
    assert [float(mean.add(value)) for value in (1.0, 3.0, torch.tensor(5.0), 7.0)] == pytest.approx([1, 2, 3, 5])
    assert math.isnan(float(mean.add(math.nan)))
    assert float([mean.add(2.0) for _ in range(3)][-1]) == pytest.approx(2)
