"""Recurrent models against PyTorch's own layers."""

import pytest
import torch
from torch import nn

from src.models import create_model


def build(name, spec, **options):
    torch.manual_seed(0)
    return create_model(name, spec, {"hidden_size": 7, "num_layers": 2, **options}).eval()


def test_basic_lstm_is_torch_lstm_and_linear(make_data):
    data = make_data(horizon=3, target="c,a")
    model = build("lstm:basic", data.spec)
    lstm, linear = nn.LSTM(3, 7, 2, batch_first=True), nn.Linear(7, 6)
    lstm.load_state_dict(model.lstm.state_dict())
    linear.load_state_dict(model.head.state_dict())
    inputs = data.test.select(range(5)).inputs
    states, _ = lstm(inputs)
    expected = linear(states[:, -1]).view(5, 3, 2)
    torch.testing.assert_close(model(inputs), expected, rtol=1e-6, atol=1e-6)


def test_bidirectional_reads_both_ends(make_data):
    data = make_data()
    model = build("lstm:bidirectional", data.spec)
    inputs = data.test.select(range(5)).inputs
    states, _ = model.lstm(inputs)
    # Forwards the last step has read everything, backwards the first one has.
    expected = model.head(torch.cat([states[:, -1, :7], states[:, 0, 7:]], -1))
    torch.testing.assert_close(model(inputs)[:, 0], expected, rtol=1e-6, atol=1e-6)


def test_attention_lstm_by_hand(make_data):
    data = make_data()
    model = build("lstm:attention", data.spec)
    for parameter in model.parameters():
        nn.init.normal_(parameter)  # large, so that the shares of the steps are far from equal
    inputs = data.test.select(range(5)).inputs
    states, _ = model.lstm(inputs)
    last, pooling = states[:, -1], model.attention
    scores = [pooling.score(torch.tanh(pooling.state(states[:, t]) + pooling.last(last))) for t in range(24)]
    weights = torch.softmax(torch.cat(scores, 1), 1)
    context = sum(weights[:, t, None] * states[:, t] for t in range(24))
    expected = model.head(torch.tanh(model.merge(torch.cat([last, context], 1))))
    torch.testing.assert_close(model(inputs)[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_basic_gru_is_torch_gru_and_linear(make_data):
    data = make_data()
    model = build("gru:basic", data.spec)
    inputs = data.test.select(range(5)).inputs
    states, _ = model.gru(inputs)
    torch.testing.assert_close(model(inputs)[:, 0], model.head(states[:, -1]), rtol=1e-6, atol=1e-6)


def test_residual_gru_keeps_what_it_reads(make_data):
    """With silent layers, what is left is the embedding of the newest step."""
    data = make_data()
    model = build("gru:residual", data.spec)
    for layer in model.layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    inputs = data.test.select(range(5)).inputs
    expected = model.head(model.final_norm(model.embedding(inputs[:, -1])))
    torch.testing.assert_close(model(inputs)[:, 0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 3])
def test_dropout_is_off_in_evaluation_only(layers, make_data):
    data = make_data()
    model = build("lstm:basic", data.spec, num_layers=layers, dropout=0.5)
    inputs = data.test.select(range(5)).inputs
    assert torch.equal(model(inputs), model(inputs))
    model.train()
    assert not torch.equal(model(inputs), model(inputs))
