"""Entropies against the model's own weights, planted one-token and uniform attention, pictures."""

import math

import pytest
import torch
from torch import nn

from src.layers.attention import AttentionPooling, MultiHeadAttention, attention_weights
from src.metrics.attention import attention_entropy
from src.models import create_model
from src.tracking.monitors.attention import AttentionEntropy
from src.tracking.monitors.attention_picture import SIDE, attention_picture


@pytest.mark.parametrize("name", ["transformer:basic", "transformer:inverted", "transformer:patch", "lstm:attention"])
def test_the_entropy_is_that_of_the_model_s_own_weights(loop, make_data, name):
    data = make_data()
    model = create_model(name, data.spec, {"dropout": 0.0})
    batch = next(data.train.batches(4))
    with torch.no_grad(), attention_weights(model) as weights:
        model(batch.inputs)
    values = loop(model, AttentionEntropy()).step(batch, lambda b: model.losses(b)["loss"])
    assert weights
    for layer, own in weights.items():
        expected = float(attention_entropy(own).mean())
        assert values[f"attention/entropy/{layer}"] == pytest.approx(expected, rel=1e-4)
        normalised = values[f"attention/entropy_normalised/{layer}"]
        assert normalised == pytest.approx(expected / math.log(own.shape[-1]), rel=1e-4)


class Foreign(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.5, **options)
        self.asked = {}

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens, need_weights=False, **self.asked)[0]


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bias": False}, {"kdim": 8, "vdim": 8}])
@pytest.mark.parametrize("mask", ["none", "causal", "per sample", "padding", "added"])
def test_torch_s_own_attention(loop, options, mask):
    torch.manual_seed(0)
    model = Foreign(**options)
    tokens = torch.randn(3, 6, 8) if options.get("batch_first") else torch.randn(6, 3, 8)
    if mask == "causal":
        model.asked = {"attn_mask": torch.ones(6, 6, dtype=torch.bool).triu(1), "is_causal": True}
    elif mask == "per sample":
        drawn = torch.rand(6, 6, 6) > 0.7
        model.asked = {"attn_mask": drawn & ~torch.eye(6, dtype=torch.bool)}
    elif mask == "padding":
        model.asked = {"key_padding_mask": torch.tensor([[False] * 6, [False] * 4 + [True] * 2, [False] * 6])}
    elif mask == "added":
        model.asked = {"attn_mask": torch.randn(6, 6)}
    values = loop(model, AttentionEntropy()).step(tokens)
    model.eval()
    asked = dict(model.asked) | {"need_weights": True, "average_attn_weights": False}
    with torch.no_grad():
        own = model.attention(tokens, tokens, tokens, **asked)[1]
    assert values["attention/entropy/attention"] == pytest.approx(float(attention_entropy(own).mean()), rel=1e-4)


def test_attention_forced_onto_one_token(loop):
    torch.manual_seed(0)
    layer = MultiHeadAttention(8, 2)
    with torch.no_grad():
        layer.query.weight *= 1000
    values = loop(nn.Sequential(layer), AttentionEntropy()).step(torch.randn(16, 30, 8), lambda x: layer(x, x))
    assert values["attention/entropy_normalised/0"] < 0.02


def test_attention_to_all_tokens_alike(loop):
    layer = AttentionPooling(8)
    nn.init.zeros_(layer.score.weight)
    states = torch.randn(16, 30, 8)
    values = loop(nn.Sequential(layer), AttentionEntropy()).step(states, lambda x: layer(x, x[:, -1]))
    assert values["attention/entropy_normalised/0"] == pytest.approx(1.0)
    assert values["attention/entropy/0"] == pytest.approx(math.log(30))


def test_many_samples_and_queries_are_sampled(loop):
    """The estimate is near the value over everything."""
    torch.manual_seed(0)
    layer = MultiHeadAttention(16, 4)
    tokens = torch.randn(64, 96, 16)
    layer.keep_weights = True
    with torch.no_grad():
        layer.query.weight *= 5
        layer(tokens, tokens)
    own = attention_entropy(layer.weights)
    layer.keep_weights = False
    values = loop(nn.Sequential(layer), AttentionEntropy()).step(tokens, lambda x: layer(x, x), detailed=False)
    assert values["attention/entropy/0"] == pytest.approx(float(own.mean()), rel=0.05)


def test_models_without_attention_and_evaluation(loop):
    assert loop(nn.Sequential(nn.Linear(3, 1)), AttentionEntropy()).step(torch.randn(4, 3)) == {}
    layer = MultiHeadAttention(8, 2).eval()
    assert loop(nn.Sequential(layer), AttentionEntropy()).step(torch.randn(4, 5, 8), lambda x: layer(x, x)) == {}
    assert not layer._forward_pre_hooks


def test_pictures_come_every_500_steps_one_layer_at_a_time(loop, monkeypatch, logger):
    drawn = []
    monkeypatch.setattr(logger, "log_image", lambda tag, image, step: drawn.append((tag, step, image.ndim)))
    layers = nn.ModuleList([MultiHeadAttention(8, 2), MultiHeadAttention(8, 2)])
    driven = loop(layers, AttentionEntropy())
    for number in range(0, 900, 100):
        driven.step(torch.randn(4, 5, 8), lambda x: layers[1](layers[0](x, x), x), number=number)
    driven.step(torch.randn(4, 5, 8), lambda x: layers[0](x, x), number=1500, detailed=False)
    resumed = AttentionEntropy()
    resumed.load_state_dict(driven.monitors[0].state_dict())
    loop(layers, resumed).step(torch.randn(4, 5, 8), lambda x: layers[0](x, x), number=900)
    assert drawn == [("Attention/0", 100, 3), ("Attention/1", 200, 3), ("Attention/0", 600, 3), ("Attention/1", 700, 3)]


def blueness(picture, x, y):
    """0 for the lightest and 1 for the darkest blue."""
    return (251 - float(picture[y, x, 1])) / (251 - 48)


@pytest.mark.parametrize("size", [4, 96, 500])
def test_every_head_is_painted_in_one_scale(size):
    """Head 0 looks at the newest key, head 1 at all keys of the first half alike."""
    weights = torch.zeros(2, size, size)
    weights[0, :, -size // 4 :] = 4 / size
    weights[1, :, : size // 2] = 2 / size
    picture = attention_picture(weights.numpy(), "layers.0")
    ys = [y for y in range(picture.shape[0]) if tuple(picture[y, 60]) == (128, 128, 128)]  # upper and lower frame
    assert ys[1] - ys[0] == SIDE + 1
    y = ys[0] + SIDE // 2
    first, second = (
        next(x for x in range(start, 600) if tuple(picture[y, x]) == (128, 128, 128)) for start in (0, 205)
    )
    assert blueness(picture, first + 10, y) == pytest.approx(0, abs=0.02)
    assert blueness(picture, first + SIDE - 10, y) == pytest.approx(1, abs=0.02)
    assert blueness(picture, second + 10, y) == pytest.approx((251 - 174) / (251 - 48), abs=0.02)
    assert blueness(picture, second + SIDE - 10, y) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("heads", "queries", "keys"), [(1, 1, 96), (5, 7, 1), (20, 12, 9), (1, 1, 1)])
def test_any_number_of_heads_queries_and_keys(heads, queries, keys):
    weights = torch.softmax(torch.randn(heads, queries, keys), -1).numpy()
    picture = attention_picture(weights, "a.rather.long.name.of.a.layer")
    assert picture.dtype == "uint8" and picture.ndim == 3 and picture.shape[2] == 3
    assert attention_picture(0 * weights, "").shape[2] == 3
