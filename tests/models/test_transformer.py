"""Transformers: computing less for the same answer, and looking at attention without touching it."""

import pytest
import torch

from src import registry
from src.layers.attention import attention_weights
from src.models import create_model, load_all
from src.models.transformer import TransformerLayer

load_all()
NAMES = [known.name for known in registry.entries() if "series" in known.model_class.kinds]
SMALL = {"hidden_size": 8, "num_layers": 2, "num_heads": 2, "feed_forward": 16, "trees": 5}


def build(name, spec, **options):
    known = registry.entry(name).model_class.Config.names()
    torch.manual_seed(0)
    return create_model(name, spec, {key: value for key, value in {**SMALL, **options}.items() if key in known})


def test_last_layer_for_the_last_token_only():
    """Equal outputs and gradients, those of the tokens included."""
    torch.manual_seed(0)
    layer = TransformerLayer(8, 2, 16, 0.0).double()
    tokens = torch.randn(3, 11, 8, dtype=torch.float64)
    results = []
    for last_only in (True, False):
        layer.zero_grad()
        read = tokens.clone().requires_grad_()
        output = layer(read, last_only=last_only)
        assert output.shape == (3, 1 if last_only else 11, 8)
        output[:, -1].square().sum().backward()
        results.append([output[:, -1].detach(), read.grad, *(value.grad for value in layer.parameters())])
    for less, full in zip(*results, strict=True):
        torch.testing.assert_close(less, full, rtol=1e-10, atol=1e-12)


def test_model_reads_the_newest_token(make_data):
    data = make_data()
    model = build("transformer:basic", data.spec).double().eval()
    inputs = data.test.select(range(5)).inputs.double()
    tokens = model.to_tokens(inputs)
    states = model.embed(tokens)
    for layer in model.layers:
        states = layer(states)
    expected = model.final_norm(states)[:, -1]
    torch.testing.assert_close(model.encode(tokens), expected, rtol=1e-10, atol=1e-12)
    assert model.predict(inputs).shape == (5, 1, 1)


def attention_shapes(name, spec, batch):
    window = spec.input_shape[0]
    if name == "lstm:attention":
        return {"attention": (batch, 1, 1, window)}
    if name == "transformer:basic":
        return {"layers.0.attention": (batch, 2, window, window), "layers.1.attention": (batch, 2, 1, window)}
    if name == "transformer:patch":  # channels are in the batch; 24 steps make 2 patches of 16 that overlap by half
        return {f"layers.{layer}.attention": (batch * len(spec.target_names), 2, 2, 2) for layer in (0, 1)}
    if name == "transformer:inverted":
        return {f"layers.{layer}.attention": (batch, 2, 3, 3) for layer in (0, 1)}
    return {}


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(":bayesian")])
@pytest.mark.parametrize("training", [False, True])
def test_attention_weights(name, training, make_data):
    data = make_data(transform="level", target="c,a")
    model = build(name, data.spec, dropout=0.0).train(training)
    inputs = data.test.select(range(5)).inputs
    before = model(inputs)
    with attention_weights(model) as collected:
        asked = model(inputs)
        assert collected == {}
    torch.testing.assert_close(asked, before, rtol=1e-5, atol=1e-6)
    expected = attention_shapes(name, data.spec, 5)
    if name.partition(":")[0] in ("lstm", "gru", "tcn", "transformer", "linear", "baseline"):
        assert {key: tuple(value.shape) for key, value in collected.items()} == expected
    for weights in collected.values():
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert not weights.requires_grad
    with attention_weights(model) as nothing:
        pass
    assert nothing == {}
    assert torch.equal(model(inputs), before)


def test_attention_is_put_back_after_an_error(make_data):
    model = build("transformer:basic", make_data().spec)
    with pytest.raises(ValueError, match="stop"), attention_weights(model):
        raise ValueError("stop")
    assert not any(layer.attention.keep_weights for layer in model.layers)


@pytest.mark.parametrize("transform", ["level", "return"])
def test_inverted_does_not_know_the_order_of_channels(transform, make_data):
    """Permuted channels and targets: the forecast is permuted along."""
    data = make_data(transform=transform, target="c,a", horizon=3)
    model = build("transformer:inverted", data.spec).double().eval()
    inputs = data.test.select(range(4)).inputs.double()
    order = [2, 0, 1]  # channel i of the permuted input is channel order[i]
    permuted = create_model(
        "transformer:inverted",
        type(data.spec)(**{**vars(data.spec), "target_channels": (order.index(0), order.index(2))}),
        model.config.to_dict(),
    ).double()
    state = model.state_dict()
    for name in ("normaliser.weight", "normaliser.bias"):
        if name in state:
            torch.nn.init.normal_(state[name], 1.0, 0.1)
            state[name] = state[name][order]
    permuted.load_state_dict(state)
    expected = model(inputs)
    torch.testing.assert_close(permuted.eval()(inputs[:, :, order]), expected[:, :, [1, 0]], rtol=1e-9, atol=1e-10)


def test_basic_knows_the_order_of_steps(make_data):
    data = make_data()
    model = build("transformer:basic", data.spec).eval()
    inputs = data.test.select(range(4)).inputs
    shuffled = torch.cat([inputs[:, :-1].flip(1), inputs[:, -1:]], 1)
    assert not torch.allclose(model(inputs), model(shuffled))
