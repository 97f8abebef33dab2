"""WindowNormalisation takes out what it puts back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.layers.normalisation import EPSILON, WindowNormalisation


def make(kind, channels, targets):
    layer = WindowNormalisation(kind, channels, targets).double()
    torch.manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return layer


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(["revin", "last", "none"]),
    time=st.integers(1, 20),
    level=st.floats(-1e4, 1e4),
    spread=st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
    targets=st.permutations(range(3)).flatmap(lambda order: st.integers(1, 3).map(lambda n: tuple(order[:n]))),
)
def test_restore_inverts(kind, time, level, spread, targets):
    """Also for constant windows and a single step."""
    layer = make(kind, 3, targets)
    window = level + spread * torch.randn(4, time, 3, dtype=torch.float64)
    normalised, statistics = layer(window)
    assert normalised.shape == window.shape
    assert torch.isfinite(normalised).all()
    restored = layer.restore(normalised[..., list(targets)], statistics)
    torch.testing.assert_close(restored, window[..., list(targets)], rtol=1e-8, atol=1e-8 * max(1.0, spread))


def test_revin_by_hand():
    """Kim et al. 2022: mean and population deviation over time, then the affine map."""
    layer = make("revin", 2, (1,))
    window = torch.randn(3, 10, 2, dtype=torch.float64) * 4 + 7
    normalised, _ = layer(window)
    for row in range(3):
        for channel in range(2):
            values = window[row, :, channel]
            mean = sum(values) / 10
            deviation = (sum((values - mean) ** 2) / 10 + EPSILON) ** 0.5
            expected = (values - mean) / deviation * layer.weight[channel] + layer.bias[channel]
            torch.testing.assert_close(normalised[row, :, channel], expected)


def test_revin_statistics_carry_no_gradient():
    layer = make("revin", 1, (0,))
    window = torch.randn(2, 5, 1, dtype=torch.float64, requires_grad=True)
    normalised, statistics = layer(window)
    assert normalised.requires_grad
    assert not statistics.centre.requires_grad
    assert not statistics.scale.requires_grad


@pytest.mark.parametrize("kind", ["last", "none"])
def test_only_revin_learns(kind):
    assert list(make(kind, 3, (0,)).parameters()) == []
    assert make(kind, 3, (0,)).state_dict() == {}


def test_last_value_becomes_zero():
    window = torch.randn(3, 10, 2)
    normalised, _ = WindowNormalisation("last", 2, (0,))(window)
    assert torch.equal(normalised[:, -1], torch.zeros(3, 2))
