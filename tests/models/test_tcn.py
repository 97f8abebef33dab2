"""The TCN's cone gives what the full computation gives."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.data.base import DataSpec
from src.errors import OptionError
from src.models import create_model
from src.models.tcn import receptive_cone


def make_tcn(window, kernel, blocks, *, name="tcn:residual", features=2, dropout=0.0, patch=1, seed=0):
    spec = DataSpec(
        kind="series",
        task="forecast",
        input_shape=(window, features),
        target_shape=(1, 1),
        feature_names=("a", "b", "c")[:features],
        target_names=("a",),
        target_channels=(0,),
    )
    torch.manual_seed(seed)
    options = {"hidden_size": 6, "kernel": kernel, "num_layers": blocks, "dropout": dropout, "patch": patch}
    model = create_model(name, spec, options)
    for parameter in model.parameters():  # biases start at zero, which would hide a missing one
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def compare(model, tokens, tolerance):
    """Outputs and all gradients, through ``encode`` and through ``sequence``, under the same random numbers."""
    weights = torch.randn(tokens.shape[0], model.encoded_size, generator=torch.Generator().manual_seed(1)).to(tokens)
    results = []
    for compute in (model.encode, lambda tokens: model.sequence(tokens)[:, -1]):
        read = tokens.clone().requires_grad_()
        model.zero_grad(set_to_none=True)
        torch.manual_seed(7)
        encoded = compute(read)
        (encoded * weights).sum().backward()
        gradients = {name: value.grad for name, value in model.blocks.named_parameters()}
        results.append({"output": encoded.detach(), "input": read.grad, **gradients})
    cone, full = results
    for name, expected in full.items():
        assert cone[name] is not None, name
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(
            cone[name] / scale, expected / scale, rtol=0, atol=tolerance, msg=lambda m, n=name: n + m
        )


@settings(max_examples=60, deadline=None)
@given(
    window=st.integers(1, 70),
    kernel=st.sampled_from([2, 3, 5]),
    blocks=st.integers(1, 5),
    name=st.sampled_from(["tcn:basic", "tcn:residual"]),
    dropout=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 100),
)
@example(window=64, kernel=2, blocks=3, name="tcn:basic", dropout=0.3, seed=0)
@example(window=10, kernel=5, blocks=5, name="tcn:residual", dropout=0.3, seed=0)
def test_cone_equals_full_computation(window, kernel, blocks, name, dropout, seed):
    model = make_tcn(window, kernel, blocks, name=name, dropout=dropout, seed=seed)
    tokens = torch.randn(4, window, 2, generator=torch.Generator().manual_seed(seed))
    compare(model.train(), tokens, 1e-5)
    compare(model.eval(), tokens, 1e-5)
    compare(model.double().train(), tokens.double(), 1e-12)


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_receptive_field(kernel, blocks):
    """The newest output depends on exactly as many of the newest steps as the model says."""
    claimed = 1 + 2 * (kernel - 1) * (2**blocks - 1)
    window = claimed + 5
    model = make_tcn(window, kernel, blocks).double().eval()
    assert model.receptive_field == claimed
    # With positive weights and inputs no rectifier is ever off: every step that is read shows in the gradient.
    for parameter in model.parameters():
        parameter.data.abs_()
    tokens = torch.rand(1, window, 2, dtype=torch.float64, requires_grad=True)
    model.encode(tokens).sum().backward()
    depends = tokens.grad.abs().sum((0, 2)) > 0
    assert depends.tolist() == [False] * 5 + [True] * claimed
    with torch.no_grad():
        before = model.encode(tokens)
        changed = tokens.clone()
        changed[:, :5] += 100.0
        assert torch.equal(model.encode(changed), before)
        changed[:, 5] += 100.0
        assert not torch.equal(model.encode(changed), before)


@pytest.mark.parametrize("window", [1, 7, 30, 96])
def test_cone_is_less_work_than_the_window(window):
    """Every block computes no more values than there are steps; the deepest block gives one."""
    cone = receptive_cone(window, 3, 4)
    assert cone[-1][1] == 1
    assert all(outputs <= window and inner <= window for inner, outputs, _ in cone)
    if window == 96:
        assert sum(inner + outputs for inner, outputs, _ in cone) < 0.5 * 8 * window


def test_convolutions_are_causal():
    """No step of the sequence knows the steps after it."""
    model = make_tcn(20, 3, 2).eval()
    tokens = torch.randn(2, 20, 2)
    changed = tokens.clone()
    changed[:, 12:] += 1.0
    with torch.no_grad():
        before, after = model.sequence(tokens), model.sequence(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.equal(before[:, 12], after[:, 12])


def test_whole_forecast_with_patches():
    """The cone counts tokens, not time steps, where tokens are patches."""
    model = make_tcn(30, 3, 3, patch=4).double()
    assert model.token_count == 8
    compare(model, model.to_tokens(torch.randn(3, 30, 2, dtype=torch.float64)), 1e-12)


def test_kernel_of_one_is_refused():
    with pytest.raises(OptionError, match="kernel must be at least 2"):
        make_tcn(10, 1, 2)
