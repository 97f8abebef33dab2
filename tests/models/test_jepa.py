"""Joint-embedding prediction: what is hidden stays hidden, targets are not trained, the average follows by its formula,
collapse is named, and what was learnt can be gone on from."""

from __future__ import annotations

import copy
import csv
import functools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import make_data

from src import HJEPATensorBoardLogger
from src.data.loading import load_data
from src.data.options import DataOptions
from src.errors import OptionError
from src.metrics.vicreg import covariance_loss, variance_loss
from src.models import create_model
from src.models.base_model import BaseModel
from src.models.jepa import JEPA
from src.training.config import TrainingConfig
from src.training.device import seed_everything

SMALL = {"hidden_size": 16, "num_heads": 2, "feed_forward": 32, "predictor_size": 16}
COLLAPSING = {
    "momentum_start": 0.0,
    "momentum_end": 0.0,
    "predictor_layers": 0,
    "variance_weight": 0.0,
    "covariance_weight": 0.0,
    "seen_weight": 0.0,
    "target_scale": "raw",
}


@functools.cache
def digits() -> Any:
    return load_data(DataOptions(data="sample:digits"))


def built(name: str = "jepa:hierarchical", data: Any = None, **options: Any) -> Any:
    seed_everything(0)
    return create_model(name, (data or digits()).spec, {**SMALL, **options})


def train(model: Any, folder: Path | None = None, epochs: int = 1, **more: Any) -> Any:
    config = TrainingConfig(epochs=epochs, batch_size=64, lr=2e-3, device="cpu", patience=epochs)
    return model.fit(digits(), config, run_dir=folder, **more)


# ---- the model of the guide


@pytest.mark.parametrize("encoder", ["convolution", "transformer"])
def test_the_guides_calls_work_with_the_model_and_the_logger(encoder: str, tmp_path: Path) -> None:
    model = built(encoder=encoder)
    images = digits().train.select(torch.arange(8)).inputs
    mask = model.masking_fn(images.shape[0])
    output = model(images, mask, return_all_levels=True)
    assert [tuple(level.shape) for level in output["predictions"]] == [(8, 16, 16), (8, 4, 16), (8, 1, 16)]
    assert [level.shape for level in output["targets"]] == [level.shape for level in output["predictions"]]
    assert output["context_features"][:, 1:, :].shape == (8, model.get_num_patches(), 16)
    assert not any(target.requires_grad for target in output["targets"])
    finest = model(images, mask.reshape(8, 4, 4))
    assert torch.equal(finest["targets"], output["targets"][0])
    with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="run") as logger:
        logger.log_prediction_quality(output["predictions"], output["targets"], 0)
        logger.log_masking_statistics(mask, model.get_num_patches(), 0)
        logger.log_hierarchy_feature_stats(output["predictions"], output["targets"], 0)
        momentum = model.update_target_encoder(0)
        logger.log_ema_dynamics(model.context_encoder, model.target_encoder, momentum, 1.0, 0)


def test_what_is_hidden_changes_neither_context_nor_prediction() -> None:
    model = built().eval()
    images = digits().train.select(torch.arange(4)).inputs
    mask = torch.zeros(4, 16, dtype=torch.bool)
    mask[:, 5] = True  # rows and columns 2 and 3
    others = images.clone()
    others[:, :, 2:4, 2:4] += 2.0
    one, two = (model(samples, mask, return_all_levels=True, target_images=images) for samples in (images, others))
    assert torch.equal(one["context_features"], two["context_features"])
    assert all(torch.equal(a, b) for a, b in zip(one["predictions"], two["predictions"], strict=True))
    changed = model(images, mask, return_all_levels=True, target_images=others)["targets"]
    assert not torch.equal(changed[0], one["targets"][0])


def test_the_loss_by_hand() -> None:
    model = built(view_change=0.0, level_weights="0.5,0.3,0.2").train()
    batch = digits().train.select(torch.arange(32))
    torch.manual_seed(3)
    losses = model.losses(batch)
    torch.manual_seed(3)
    mask = model.masking_fn(32)
    levels = model.compare(batch.inputs, mask)
    total = torch.zeros(())
    for number, weight in enumerate((0.5, 0.3, 0.2)):
        target = levels.features[number]
        flat = target.flatten(0, 1)
        target = (target - flat.mean(0)) / (flat.var(0, correction=0) + 1e-4).sqrt()
        hidden = levels.masks[number]
        expected = (levels.predictions[number][hidden] - target[hidden]).square().mean()
        torch.testing.assert_close(losses[f"h{number}"], expected)
        total = total + weight * expected
    whole = levels.predictions[2][:, 0]
    total = total + 0.3 * variance_loss(whole) + 0.1 * covariance_loss(whole)
    seen = levels.context[2][:, 0]
    total = total + 0.1 * (variance_loss(seen) + covariance_loss(seen))
    torch.testing.assert_close(losses["loss"], total)


def test_the_target_encoder_follows_by_its_formula_and_is_never_trained() -> None:
    model = built(momentum_start=0.9, momentum_end=1.0)
    model.before_training(digits(), steps_per_epoch=5, epochs=4)
    model.losses(digits().train.select(torch.arange(16)))["loss"].backward()
    assert all(parameter.grad is None for parameter in model.target_encoder.parameters())
    with torch.no_grad():
        for parameter in model.context_encoder.parameters():
            parameter.add_(1.0)
    before = copy.deepcopy(model.target_encoder).state_dict()
    assert model.update_target_encoder(10) == pytest.approx(0.95)  # half of 20 steps
    for name, parameter in model.target_encoder.named_parameters():
        context = model.context_encoder.get_parameter(name)
        torch.testing.assert_close(parameter, 0.95 * before[name] + 0.05 * context)
    assert model.update_target_encoder(1000) == 1.0
    model.step.fill_(10)
    before = copy.deepcopy(model.target_encoder).state_dict()
    model.after_step()
    assert model.step == 11
    name, parameter = next(iter(model.target_encoder.named_parameters()))
    torch.testing.assert_close(parameter, 0.95 * before[name] + 0.05 * model.context_encoder.get_parameter(name))


def test_targets_come_from_whole_units_while_the_context_drops_some() -> None:
    model = built(encoder="transformer", dropout=0.5, view_change=0.0).train()
    images = digits().train.select(torch.arange(4)).inputs
    mask = model.masking_fn(4)
    one, two = (model(images, mask, return_all_levels=True) for _ in range(2))
    assert torch.equal(one["targets"][0], two["targets"][0])
    assert not torch.equal(one["predictions"][0], two["predictions"][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level_weights": "1,2"}, "3 numbers"),
        ({"level_weights": "1,-1,1"}, "none below 0"),
        ({"num_heads": 3}, "must divide"),
        ({"patch": 8}, "1 x 1 patches"),
        ({"patch": 3}, "power of two"),
        ({"encoder": "x"}, "encoder"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        built(**options)


def test_convolutions_read_pictures_only() -> None:
    with pytest.raises(OptionError, match="reads pictures"):
        built(data=make_data(), encoder="convolution")


# ---- training


def test_training_on_digits_beats_the_untrained_encoder_and_raises_nothing(tmp_path: Path) -> None:
    model = built(hidden_size=32)
    result = train(model, tmp_path, epochs=10)
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    probes = [float(row["validation_probe"]) for row in rows]
    assert result.best == max(probes) == pytest.approx(probes[result.best_epoch])
    assert float(rows[result.best_epoch]["validation_probe_gain"]) > 0.0
    assert {"train_h0", "train_h1", "train_h2", "train_variance", "validation_probe_knn"} <= rows[0].keys()
    assert json.loads((tmp_path / "findings.json").read_text())["findings"] == []
    metrics = model.part_metrics(digits(), "test")
    assert 0.85 < metrics["knn_accuracy"] <= 1.0


def test_collapse_made_on_purpose_is_named_soon(tmp_path: Path) -> None:
    train(built(hidden_size=32, **COLLAPSING), tmp_path, epochs=8)
    findings = json.loads((tmp_path / "findings.json").read_text())["findings"]
    named = [finding for finding in findings if finding["rule"].startswith("collapse_")]
    assert named
    assert min(finding["step"] for finding in named) <= 150


@pytest.mark.parametrize("kind", ["pictures", "series"])
def test_a_resumed_training_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    data = digits() if kind == "pictures" else make_data()
    whole, halves = (built(data=data) for _ in range(2))
    config = TrainingConfig(epochs=3, batch_size=128, device="cpu", schedule="constant")
    whole.fit(data, config, run_dir=tmp_path / "whole")

    class Stop(Exception):
        pass

    from src.training.loop import Observer

    class StopAfterTwo(Observer):
        def on_epoch_end(self, report: Any) -> None:
            if report.epoch == 2:
                raise Stop

    with pytest.raises(Stop):
        halves.fit(data, config, run_dir=tmp_path / "halves", observers=[StopAfterTwo()])
    again = built(data=data)
    again.fit(data, config, run_dir=tmp_path / "halves", resume=True)
    one, two = whole.state_dict(), again.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "name", ["jepa:hierarchical", "jepa:flat", "jepa:untrained", "pixels:linear", "pixels:neighbours"]
)
def test_copies_of_readers_of_pictures_say_the_same(name: str, tmp_path: Path) -> None:
    model = create_model(name, digits().spec, SMALL if name.startswith("jepa:") else {})
    train(model, tmp_path)
    images = digits().test.select(torch.arange(40)).inputs
    said = model.predict(images)
    assert said.shape == (40, 10)
    torch.testing.assert_close(said.sum(1), torch.ones(40))
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for copied in [*copies, BaseModel.load(tmp_path / "checkpoints" / "best.pt")]:
        assert torch.equal(copied.predict(images), said)
        alone = torch.cat([copied.predict(image[None]) for image in images[:5]])
        torch.testing.assert_close(alone, said[:5], rtol=1e-4, atol=1e-6)


# ---- going on from it


def test_a_transformer_starts_from_the_encoder_of_a_series() -> None:
    data = make_data(transform="level", window=48)
    options = {"hidden_size": 16, "num_heads": 2, "feed_forward": 32, "num_layers": 2, "patch": 4}
    jepa = create_model("jepa:hierarchical", data.spec, {**options, "predictor_size": 16})
    transformer: Any = create_model("transformer:basic", data.spec, options)
    taken = transformer.start_from(jepa.encoder_weights())
    parts = ("embedding.", "positions", "layers.", "final_norm.", "normaliser.")
    assert set(taken) == {name for name in transformer.state_dict() if name.startswith(parts)}
    inputs = data.train.select(torch.arange(3)).inputs
    encoded, _ = transformer.eval().encode_inputs(inputs)
    finest = jepa.target_encoder(jepa._prepared(inputs))[0]
    torch.testing.assert_close(encoded, finest[:, -1])
    assert {**jepa.encoder_options()}.items() >= options.items()
    other = create_model("transformer:basic", data.spec, {**options, "hidden_size": 32})
    with pytest.raises(OptionError, match="own shape"):
        other.start_from(jepa.encoder_weights())
    again: Any = create_model("jepa:hierarchical", data.spec, {**options, "predictor_size": 16})
    again.start_from(jepa.encoder_weights())
    for encoder in (again.context_encoder, again.target_encoder):
        assert all(
            torch.equal(encoder.state_dict()[name], value) for name, value in jepa.target_encoder.state_dict().items()
        )


@pytest.mark.parametrize("name", ["jepa:hierarchical", "jepa:flat", "jepa:untrained"])
def test_embeddings_have_the_size_they_say(name: str) -> None:
    for data in (digits(), make_data()):
        model = built(name, data)
        assert isinstance(model, JEPA)
        embedded = model.embed(data.train.select(torch.arange(5)).inputs)
        assert embedded.shape == (5, model.embedding_size)
