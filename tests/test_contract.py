"""What every registered model promises. A new model is covered by being registered.

``tests/golden/losses.json`` holds the first losses of every model; after a wanted change of a model's arithmetic, write
it anew with ``REGENERATE_GOLDEN=1 python -m pytest tests/test_contract.py -k golden``.
"""

import copy
import csv
import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from contract_cases import NAMES, NETWORKS, any_data, build, data_of, fitted, inputs_of, make_data, make_values
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import registry
from src.errors import OptionError
from src.models import create_model
from src.models.base_model import BaseModel
from src.tracking.event_writer import EventWriter, SilentWriter
from src.training.config import TrainingConfig
from src.training.loop import Observer

GOLDEN = Path(__file__).parent / "golden" / "losses.json"
REGENERATE = "REGENERATE_GOLDEN=1 python -m pytest tests/test_contract.py -k golden"
CASES = [
    pytest.param(task, transform, horizon, targets, id=f"{task}-{transform}-{horizon}-ahead-{targets}")
    for task in ("forecast", "direction")
    for transform in ("level", "return")
    for horizon in (1, 5)
    for targets in ("b", "c,a")
]


@pytest.fixture(autouse=True)
def one_thread():
    """As in a training run; two threads only wait for one another over models this small."""
    torch.set_num_threads(1)


# ---- shapes, losses, gradients


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("task", "transform", "horizon", "target"), CASES)
def test_outputs_losses_and_gradients(name, task, transform, horizon, target):
    data = make_data(task, transform, horizon, target)
    reason = registry.entry(name).model_class.unsupported(data.spec)
    if reason is not None:
        with pytest.raises(OptionError, match=name) as refusal:
            create_model(name, data.spec)
        assert reason in str(refusal.value)
        assert "\n" not in str(refusal.value)
        return
    model = build(name, data.spec)
    batch = data.train.select(torch.arange(9))

    predicted = model.predict(batch.inputs)
    assert predicted.shape == batch.targets.shape == (9, *data.spec.target_shape)
    assert predicted.dtype == torch.float32
    assert torch.isfinite(predicted).all()
    if task == "direction":
        assert ((predicted >= 0) & (predicted <= 1)).all()

    losses = model.losses(batch)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    if model.uses_gradients:
        losses["loss"].backward()
        for parameter_name, parameter in trained(model).items():
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name


def trained(model):
    """Name to parameter, without those that follow others, or stay as they are."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_moves(name):
    """No layer is built and then left out of the computation."""
    data = any_data(name, horizon=5, transform="level")
    model = build(name, data.spec)
    before = {key: parameter.detach().clone() for key, parameter in trained(model).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for step in range(3):
        optimizer.zero_grad()
        model.losses(data.train.select(torch.arange(32) + step))["loss"].backward()
        optimizer.step()
    still = [key for key, parameter in trained(model).items() if torch.equal(parameter, before[key])]
    assert still == []
    assert model.parameter_count == sum(value.numel() for value in before.values())


@pytest.mark.parametrize("name", NAMES)
def test_builds_from_defaults(name):
    data = any_data(name, window=96)
    known = registry.entry(name)
    model = create_model(name, data.spec)
    assert model.name == name
    assert model.config.to_dict().items() >= dict(known.presets).items()
    assert known.summary
    assert "\n" not in known.summary
    assert model.predict(inputs_of(data)).shape == (6, 1, 1)


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith("jepa:")])  # their targets move
@pytest.mark.parametrize("transform", ["level", "return"])
def test_overfits_one_batch(name, transform):
    data = any_data(name, transform=transform)
    model = build(name, data.spec, hidden_size=16, dropout=0.0, method="ensemble", members=2)
    batch = data.train.select(torch.arange(0, 80, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    model.train()
    losses = []
    for _ in range(600):
        optimizer.zero_grad()
        loss = model.losses(batch)["loss"]
        loss.backward()
        optimizer.step()
        model.after_step()
        losses.append(loss.item())
        if losses[-1] < 0.02 * losses[0]:
            return
    raise AssertionError(f"the loss went from {losses[0]:.4g} to {losses[-1]:.4g} only")


@pytest.mark.parametrize("name", NAMES)
def test_batch_of_one_equals_its_row(name):
    for task in ("forecast", "direction"):
        data = make_data(task, "level", 5, "c,a")
        if registry.entry(name).model_class.unsupported(data.spec) is None:
            model = fitted(name, data)
            inputs = inputs_of(data)
            together = model.predict(inputs)
            alone = torch.cat([model.predict(row[None]) for row in inputs])
            torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_prediction_is_without_noise_and_keeps_the_mode(name):
    data = any_data(name)
    model = build(name, data.spec, dropout=0.5)
    inputs = inputs_of(data)
    for training in (True, False):
        model.train(training)
        random_state = torch.get_rng_state()
        assert torch.equal(model.predict(inputs), model.predict(inputs))
        assert model.training is training
        assert torch.equal(torch.get_rng_state(), random_state)
        assert not model.predict(inputs).requires_grad


# ---- training


def loss_table(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", NAMES)
def test_fit_twice_with_one_seed(name, tmp_path):
    """Same seed, same losses, bit for bit; and what a run leaves behind."""
    data = any_data(name, horizon=5)
    models = [fitted(name, data, tmp_path / run, epochs=2) for run in ("one", "two")]
    for file in ("metrics.csv", "checkpoints/best.pt", "checkpoints/last.pt"):
        assert (tmp_path / "one" / file).is_file(), file
    assert len(list((tmp_path / "one").glob("events.out.tfevents.*"))) == 1
    table = loss_table(tmp_path / "one")
    assert table == loss_table(tmp_path / "two")
    assert [row["epoch"] for row in table] == ["0", "1"]
    assert all(math.isfinite(float(row[key])) for row in table for key in ("train_loss", "validation_loss", "best"))
    weights, again = (model.state_dict() for model in models)
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[key], again[key]) for key in weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_other_seed_other_losses(name):
    data = any_data(name)
    one, two = (build(name, data.spec, seed=seed).losses(data.train.select([0, 1]))["loss"] for seed in (1, 2))
    assert not torch.equal(one, two)


# ---- copies


def assert_same_model(copied, model, inputs):
    assert type(copied) is type(model)
    assert (copied.name, copied.config, copied.spec) == (model.name, model.config, model.spec)
    assert torch.equal(copied.predict(inputs), model.predict(inputs))
    ours = {tensor.data_ptr() for tensor in model.state_dict().values() if tensor.numel()}
    assert not ours & {tensor.data_ptr() for tensor in copied.state_dict().values() if tensor.numel()}


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_equal_and_usable(name, tmp_path):
    """save/load, deepcopy and pickle, of a fresh model, a fitted one, and one whose writer is open."""
    data = any_data(name, horizon=5, target="c,a")
    inputs = inputs_of(data)
    for number, model in enumerate((build(name, data.spec), fitted(name, data, tmp_path / "run"))):
        if number == 0:
            model.set_writer(EventWriter(tmp_path / "open"))
            model.train().log("Custom/x", torch.ones(()))
        path = tmp_path / f"{number}.pt"
        model.save(path)
        for load in (BaseModel.load, type(model).load):
            assert_same_model(load(path), model, inputs)
            assert not load(path).training
        for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert_same_model(copied, model, inputs)
            assert isinstance(copied.writer, SilentWriter)
            assert copied.collect_logged() == {}
            copied.writer.add_scalar("Custom/x", 1.0, 0)
            copied.fit(data, TrainingConfig(epochs=1, device="cpu"), tensorboard_log_dir=tmp_path / "again")
            assert torch.isfinite(copied.predict(inputs)).all()
        if number == 0:
            assert isinstance(model.writer, EventWriter)
            assert model.collect_logged() == {"Custom/x": 1.0}
            model.writer.close()


@pytest.mark.parametrize("name", ["linear:nlinear", "lstm:basic"])
def test_a_compiled_model_can_be_copied(name):
    """What ``--compile`` leaves in a model is no part of its copies."""
    data = any_data(name)
    model = build(name, data.spec)
    inputs = inputs_of(data)
    expected = model.predict(inputs)
    model.compile()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied.predict(inputs), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_trains_on_a_gpu(name):
    data = data_of(make_values(), horizon=5, target="c,a")
    model = build(name, data.spec)
    model.fit(data, TrainingConfig(epochs=1, batch_size=32, device="cuda"))
    inputs = inputs_of(data)
    predicted = model.predict(inputs)
    assert inputs.is_cuda
    assert predicted.is_cuda
    copied = copy.deepcopy(model).cpu()
    torch.testing.assert_close(copied.predict(inputs.cpu()), predicted.cpu(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_best_checkpoint_of_a_run_is_the_fitted_model(name, tmp_path):
    data = any_data(name)
    model = fitted(name, data, tmp_path, epochs=2)
    assert_same_model(BaseModel.load(tmp_path / "checkpoints" / "best.pt"), model, inputs_of(data))


# ---- the future does not matter


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transform", ["level", "return"])
def test_the_future_does_not_matter(name, transform):
    """Rows after the window's last look-back row change neither fit nor forecast, by a single bit."""
    values = make_values()
    border = 215  # in the test part, which begins at row 190
    changed = values.copy()
    changed[border:] *= np.random.default_rng(1).uniform(0.5, 2.0, changed[border:].shape)
    for task in ("forecast", "direction"):
        options = {"task": task, "transform": transform, "horizon": 5, "target": "c,a", "split": "150,40,50"}
        both = [data_of(rows, **options) for rows in (values, changed)]
        if registry.entry(name).model_class.unsupported(both[0].spec) is not None:
            continue
        assert both[0].spec == both[1].spec
        origins = both[0].test.origin_dates(torch.arange(len(both[0].test)))
        (place,) = np.flatnonzero(origins == np.datetime64("2024-01-01", "ns") + np.timedelta64(border - 1, "h"))
        forecasts = []
        for data in both:
            model = fitted(name, data)
            forecasts.append(model.predict(data.test.select(torch.arange(len(origins))).inputs))
        one, two = forecasts
        assert torch.equal(one[: place + 1], two[: place + 1])
        if not torch.equal(one[0], one[1]):  # the forecast looks at its window at all
            assert not torch.equal(one[place + 1 :], two[place + 1 :])


# ---- logging


class OpenWriter(Observer):
    """Looks at the model's writer while it trains."""

    def __init__(self, model):
        self.model, self.writers = model, []

    def on_epoch_end(self, report):
        self.writers.append(type(copy.deepcopy(self.model).writer))
        self.model.writer.add_scalar("Custom/by_hand", 2.0, report.epoch)


@pytest.mark.parametrize("name", NETWORKS)
def test_log_reaches_table_and_tensorboard(name, tmp_path):
    data = any_data(name)
    model = build(name, data.spec)
    calls = {"training": 0, "evaluation": 0}

    def log(module, inputs, output):
        calls["training" if model.training else "evaluation"] += 1
        model.log("Custom/calls", float(calls["training"]))
        model.log("Custom/spread", (output[0] if isinstance(output, list) else output).std(correction=0))

    # What predicts features is itself asked only for what is read from them, what draws paths only for forecasts.
    parts = [getattr(model, part, None) for part in ("context_encoder", "network", "average_network")]
    for part in [part for part in parts if isinstance(part, torch.nn.Module)] or [model]:
        part.register_forward_hook(log)
    watcher = OpenWriter(model)
    config = TrainingConfig(epochs=2, batch_size=32, device="cpu")
    model.fit(data, config, tensorboard_log_dir=tmp_path, observers=[watcher])
    steps = calls["training"] // 2
    assert steps == -(-len(data.train) // 32)
    assert calls["evaluation"] > 0
    means = [(steps + 1) / 2, steps + (steps + 1) / 2]  # of 1..steps, then steps+1..2*steps
    table = loss_table(tmp_path)
    assert [float(row["Custom/calls"]) for row in table] == means
    assert all(float(row["Custom/spread"]) >= 0 for row in table)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("Custom/calls")] == list(enumerate(means))
    assert [event.value for event in events.Scalars("Custom/by_hand")] == [2.0, 2.0]
    assert {"Custom/spread", "Loss/train"} <= set(events.Tags()["scalars"])
    assert watcher.writers == [SilentWriter, SilentWriter]
    assert isinstance(model.writer, SilentWriter)


@pytest.mark.parametrize("name", NAMES)
def test_graph_is_written(name, tmp_path):
    data = any_data(name, target="c,a")
    model = build(name, data.spec)
    writer = EventWriter(tmp_path)
    written = writer.add_model_graph(model, inputs_of(data))
    writer.close()
    assert written or not model.uses_gradients
    assert EventAccumulator(str(tmp_path)).Reload().Tags()["graph"] is written


# ---- golden losses


def golden_losses(name):
    """The losses of the first three steps; of a model without gradients, its loss once fitted."""
    data = any_data(name, horizon=5, target="c,a")
    model = build(name, data.spec)
    batches = [data.train.select(torch.arange(16) + 16 * number) for number in range(3)]
    if not model.uses_gradients:
        model.fit_directly(data, 0)
        return [float(model.losses(batches[0])["loss"])]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.train()
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = model.losses(batch)["loss"]
        loss.backward()
        optimizer.step()
        model.after_step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_golden_losses(name):
    known = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    losses = golden_losses(name)
    if os.environ.get("REGENERATE_GOLDEN"):
        entries = {key: known[key] for key in NAMES if key in known} | {name: losses}
        GOLDEN.write_text("{\n" + ",\n".join(f'  "{key}": {json.dumps(row)}' for key, row in entries.items()) + "\n}\n")
        return
    if name not in known:
        pytest.skip(f"{name} has no golden losses yet: {REGENERATE}")
    assert losses == pytest.approx(known[name], rel=1e-4), f"wanted? then {REGENERATE}"


def test_golden_losses_are_of_known_models():
    assert set(json.loads(GOLDEN.read_text())) <= set(NAMES)
