"""What is said of activations: planted dead and saturated units, gates by hand, which layers are seen and when."""

import pytest
import torch
from torch import nn

from src.models import create_model
from src.tracking.monitors.activations import Activations
from src.tracking.monitors.base import WatchedRun
from src.tracking.monitors.tensors import sampled


def dead(values):
    return {tag.rpartition("/")[2]: value for tag, value in values.items() if "/dead_units_percent/" in tag}


def saturated(values):
    return {tag.rpartition("/")[2]: value for tag, value in values.items() if "/saturated_percent/" in tag}


def perceptron(activation):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 1))


def test_dead_units_are_seen_where_they_are_read(loop):
    model = perceptron(nn.ReLU())
    with torch.no_grad():
        model[0].bias[:3] = -100.0
        model[0].bias[3:] = 1.0
    values = loop(model, Activations()).step(torch.randn(64, 4))
    assert dead(values) == {"2": 37.5}  # the first layer reads the data, which are no activations
    assert saturated(values) == {"2": 0.0}  # what ReLU gives has no bound


def test_saturated_units(loop):
    model = perceptron(nn.Tanh())
    assert saturated(loop(model, Activations()).step(torch.randn(64, 4)))["2"] < 5
    with torch.no_grad():
        model[0].weight *= 1000
    assert saturated(loop(model, Activations()).step(torch.randn(64, 4)))["2"] > 95


def test_mean_deviation_and_percentages_by_hand(loop):
    model = perceptron(nn.Tanh())
    inputs = 3 * torch.randn(64, 4)
    read = model[:2](inputs).detach()
    values = loop(model, Activations()).step(inputs)
    assert values["activation/mean/2"] == pytest.approx(float(read.mean()), abs=1e-6)
    assert values["activation/std/2"] == pytest.approx(float(read.std(correction=0)), rel=1e-5)
    assert values["activation/saturated_percent/2"] == pytest.approx(100 * float((read.abs() > 0.99).float().mean()))


def test_the_diagnosis_gets_percentages_only(loop):
    values = loop(perceptron(nn.Tanh()), Activations()).step(torch.randn(64, 4), detailed=False)
    assert set(values) == {"activation/dead_units_percent/2", "activation/saturated_percent/2"}


def test_channels_of_a_convolution_are_its_units(loop):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 4, 3, groups=2), nn.ReLU(), nn.Conv1d(4, 1, 3))
    with torch.no_grad():
        model[0].bias[0] = -100.0
        model[2].bias[:2] = -100.0
    values = loop(model, Activations()).step(torch.randn(16, 2, 40))
    assert dead(values) == {"2": 25.0, "4": 50.0}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_saturated_gates(loop, kind, layers):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = kind(3, 8, layers, batch_first=True)

        def forward(self, inputs):
            return self.recurrent(inputs)[0]

    torch.manual_seed(0)
    model = Recurrent()
    assert saturated(loop(model, Activations()).step(torch.randn(16, 20, 3)))["recurrent"] < 1
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 100
    assert saturated(loop(model, Activations()).step(torch.randn(16, 20, 3)))["recurrent"] > 80


@pytest.mark.parametrize(("kind", "cell", "gates"), [(nn.LSTM, nn.LSTMCell, 4), (nn.GRU, nn.GRUCell, 2)])
def test_gates_of_one_layer_by_hand(loop, kind, cell, gates):
    torch.manual_seed(0)
    model = nn.Sequential(kind(3, 5))  # time first
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 8
    single = cell(3, 5)
    single.load_state_dict({name.replace("_l0", ""): value for name, value in model[0].state_dict().items()})
    inputs = torch.randn(9, 2, 3)
    state, beyond = None, []
    for row in inputs:
        before = torch.zeros(2, 5) if state is None else state[0] if kind is nn.LSTM else state
        sums = row @ single.weight_ih.T + single.bias_ih + before @ single.weight_hh.T + single.bias_hh
        if state is not None:  # the state before the first step is none of the layer's
            beyond.append((sums[:, : gates * 5].abs() > 4).float())
        state = single(row, state)
    share = 100 * float(torch.stack(beyond).mean())
    states = model(inputs)[0].abs().max()
    values = loop(model, Activations()).step(inputs, lambda x: model(x)[0])
    assert states <= 1 and 5 < share < 90
    assert values["activation/saturated_percent/0"] == pytest.approx(share, abs=1e-4)


def test_a_zeroed_recurrent_layer_is_dead(loop, make_data):
    data = make_data()
    model = create_model("lstm:basic", data.spec)
    with torch.no_grad():
        for weight in model.lstm.parameters():
            weight.zero_()
    batch = next(data.train.batches(32))
    values = loop(model, Activations()).step(batch, lambda b: model.losses(b)["loss"])
    assert dead(values)["lstm"] == 100.0
    assert values["activation/std/lstm"] == 0.0


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("tcn:residual", {f"blocks.{n}.{part}" for n in range(4) for part in ("first", "second")} | {"head"}),
        ("lstm:basic", {"lstm", "head"}),
        ("gru:residual", {"layers.0", "layers.1", "head"}),
        ("linear:dlinear", set()),
    ],
)
def test_every_weight_layer_is_seen(loop, make_data, name, layers):
    """Those that read the data are not: nothing there depends on a weight."""
    data = make_data(transform="return")
    model = create_model(name, data.spec)
    values = loop(model, Activations()).step(next(data.train.batches(16)), lambda b: model.losses(b)["loss"])
    reads_data = {"blocks.0.first"}
    assert set(dead(values)) == layers - reads_data


def test_attention_reads_its_tokens_once(loop, make_data):
    data = make_data(transform="return")
    model = create_model("transformer:basic", data.spec)
    values = loop(model, Activations()).step(next(data.train.batches(16)), lambda b: model.losses(b)["loss"])
    first = {layer for layer in dead(values) if layer.startswith("layers.0")}
    assert first == {f"layers.0.{part}" for part in ("attention.query", "attention.output", "expand", "contract")}


def test_evaluation_is_not_looked_at_and_no_hook_stays(loop):
    model = perceptron(nn.Tanh())
    driven = loop(model, Activations())
    model.eval()
    assert driven.step(torch.randn(8, 4)) == {}
    model.train()
    assert driven.step(torch.randn(8, 4))
    for monitor in driven.monitors:
        monitor.before_step()  # of a step that fails
        assert any(module._forward_pre_hooks for module in model)
        monitor.on_end()
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model)


def test_half_precision(loop):
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LSTM(8, 4, batch_first=True))

    def loss(inputs):
        with torch.autocast("cpu", torch.bfloat16):
            return model(inputs)[0].float()

    values = loop(model, Activations()).step(torch.randn(8, 6, 4), loss)
    assert set(dead(values)) == {"2"}


def test_packed_sequences(loop):
    layer = nn.LSTM(3, 4, batch_first=True)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 5, 3), torch.tensor([5, 2]), batch_first=True)
    values = loop(nn.Sequential(layer), Activations()).step(packed, lambda x: layer(x)[0].data)
    assert dead(values) == {"0": 0.0}


def test_histograms_come_every_500_steps(loop, logger):
    driven = loop(perceptron(nn.Tanh()), Activations())
    for number in (0, 100, 400, 500, 700):
        driven.step(torch.randn(8, 4), number=number)
    driven.step(torch.randn(8, 4), number=1010, detailed=False)
    resumed = Activations()
    resumed.load_state_dict(driven.monitors[0].state_dict())
    loop(driven.model, resumed).step(torch.randn(8, 4), number=900)
    logger.close()
    logger.writer.close()
    events = read_events(logger.log_dir)
    assert events["Activations/2"] == [0, 500]


def read_events(folder):
    """Tag to the steps of its events."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = {}
    for file in folder.glob("events.*"):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def test_a_sample_is_of_few_evenly_spaced_vectors():
    values = torch.arange(64 * 8 * 96.0).view(64, 8, 96)  # [samples, channels, time]
    assert torch.equal(sampled(values, 1), values[::8, :, ::3].transpose(1, 2).reshape(256, 8))
    assert sampled(torch.zeros(64, 10), -1).shape == (64, 10)
    assert sampled(torch.zeros(5000, 10), -1).shape == (250, 10)
    assert sampled(torch.zeros(64, 3, 32, 32), 1).shape == (8 * 6 * 6, 3)
    assert torch.equal(sampled(values, 2, 1), values[::2].transpose(0, 1).reshape(8 * 32, 96))  # time first


def test_what_is_kept_during_a_step_is_small():
    model, monitor = perceptron(nn.Tanh()), Activations()
    monitor.on_start(WatchedRun(model, None))
    monitor.before_step()
    model(torch.randn(10_000, 4))
    assert monitor._samples["2"].untyped_storage().nbytes() < 10_000
    monitor.on_end()
