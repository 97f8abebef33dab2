"""The comparison of an EMA target with its encoder."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.metrics.ema import ema_metrics


def test_equal_and_scaled_encoders() -> None:
    encoder = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    target = copy.deepcopy(encoder)
    same = ema_metrics(encoder, target)
    assert float(same["avg_parameter_divergence"]) == 0 and float(same["weight_magnitude_ratio"]) == pytest.approx(1)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.mul_(0.9)
    found = ema_metrics(encoder, target)
    assert float(found["avg_parameter_divergence"]) == pytest.approx(0.1, rel=1e-4)
    assert float(found["weight_magnitude_ratio"]) == pytest.approx(0.9, rel=1e-5)
    assert not found["weight_magnitude_ratio"].requires_grad


def test_only_shared_parameters_count_and_none_is_an_error() -> None:
    encoder, target = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=True)
    with torch.no_grad():
        encoder.weight.fill_(3.0)
        target.weight.fill_(4.0)
    found = ema_metrics(encoder, target)
    assert float(found["avg_parameter_divergence"]) == pytest.approx(1 / 3)
    assert math.isclose(float(found["weight_magnitude_ratio"]), 4 / 3, rel_tol=1e-6)
    with pytest.raises(UserError, match="share none; make the target with copy"):
        ema_metrics(encoder, nn.Linear(2, 2))
