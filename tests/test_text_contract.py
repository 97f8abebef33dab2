"""What every model that reads texts promises, beside what it promises on series (``test_contract.py``)."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from src import registry
from src.data.options import DataOptions
from src.data.text import TextData
from src.data.text_samples import load_text_sample
from src.errors import OptionError
from src.models import create_model, load_all
from src.models.base_model import BaseModel
from src.training.config import TrainingConfig
from src.training.device import seed_everything
from tests.contract_cases import SMALL

load_all()
SPEC_KINDS = {known.name: known.model_class.kinds for known in registry.entries()}
NAMES = [name for name, kinds in SPEC_KINDS.items() if "text" in kinds]
NETWORKS = [name for name in NAMES if registry.entry(name).model_class.uses_gradients]
OTHERS = [name for name in SPEC_KINDS if name not in NAMES]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make_data(**options: Any) -> TextData:
    sample = load_text_sample("reviews")
    assert sample.labels is not None
    sample = replace(sample, texts=sample.texts[:300], labels=sample.labels[:300])
    return TextData(sample, DataOptions(data="sample:reviews", **options))


DATA = make_data()
WITH_NGRAMS = make_data(char_ngrams="3-4")


def build(name: str, data: TextData, seed: int = 0, **options: Any) -> BaseModel:
    known = registry.entry(name).model_class.Config.names()
    seed_everything(seed)
    return create_model(name, data.spec, {key: v for key, v in {**SMALL, **options}.items() if key in known})


def fitted(name: str, data: TextData, folder: Path | None = None, **options: Any) -> BaseModel:
    model = build(name, data, **options)
    model.fit(data, TrainingConfig(epochs=2, batch_size=32, device="cpu"), tensorboard_log_dir=folder)
    return model


def test_each_sequence_family_reads_text() -> None:
    assert {name.partition(":")[0] for name in NETWORKS} == {"lstm", "gru", "tcn", "transformer"}
    assert {"baseline:naive", "baseline:words"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [DATA, WITH_NGRAMS], ids=["words", "n-grams"])
def test_outputs_losses_and_gradients(name: str, data: TextData) -> None:
    model = build(name, data, word_dropout=0.5)
    batch = data.train.select(torch.arange(9))
    assert batch.inputs.shape[2] == data.spec.input_shape[1] and batch.targets.dtype == torch.int64
    chances = model.predict(batch.inputs)
    assert chances.shape == (9, 2) and chances.dtype == torch.float32
    torch.testing.assert_close(chances.sum(-1), torch.ones(9))
    losses = model.losses(batch)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    assert set(model.eval().evaluation_metrics(batch)) >= {"loss", "accuracy", "brier"}
    if model.uses_gradients:
        losses["loss"].backward()
        for parameter_name, parameter in model.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_say_why_not(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} cannot be used here: it works on .*, not on text"):
        create_model(name, DATA.spec)


@pytest.mark.parametrize("name", NETWORKS)
def test_overfits_one_batch(name: str) -> None:
    model = build(name, DATA, hidden_size=16, dropout=0.0, word_dropout=0.0, method="ensemble", members=2)
    batch = DATA.train.select(torch.arange(0, 80, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = model.losses(batch)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.02 * losses[0]:
            return
    raise AssertionError(f"the loss went from {losses[0]:.4g} to {losses[-1]:.4g} only")


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_neighbours_do_not_matter(name: str) -> None:
    model = fitted(name, WITH_NGRAMS)
    lengths = [len(text.split()) for text in WITH_NGRAMS.test.texts()]
    assert max(lengths) > 2 * min(lengths), "there is something to pad"
    together = model.predict(WITH_NGRAMS.test.select(torch.arange(12)).inputs)
    alone = torch.cat([model.predict(WITH_NGRAMS.test.select([place]).inputs) for place in range(12)])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)
    padded = torch.nn.functional.pad(WITH_NGRAMS.test.select([0]).inputs, (0, 0, 0, 3))
    torch.testing.assert_close(model.predict(padded), alone[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_words_matters(name: str) -> None:
    model = build(name, DATA).eval()
    inputs = DATA.test.select([0]).inputs
    assert not torch.equal(model(inputs), model(inputs.flip(1)))


@pytest.mark.parametrize("name", NAMES)
def test_fit_twice_with_one_seed_and_copies(name: str, tmp_path: Path) -> None:
    models = [fitted(name, DATA, tmp_path / run) for run in ("one", "two")]
    weights, again = (model.state_dict() for model in models)
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    inputs = DATA.test.select(torch.arange(6)).inputs
    expected = models[0].predict(inputs)
    loaded = BaseModel.load(tmp_path / "one" / "checkpoints" / "best.pt")
    for copied in (loaded, copy.deepcopy(models[0]), pickle.loads(pickle.dumps(models[0]))):
        assert torch.equal(copied.predict(inputs), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_trains_on_a_gpu(name: str) -> None:
    data = make_data(char_ngrams="3-4")
    model = build(name, data)
    model.fit(data, TrainingConfig(epochs=1, batch_size=32, device="cuda"))
    inputs = data.test.select(torch.arange(6)).inputs
    assert inputs.is_cuda
    copied = copy.deepcopy(model).cpu()
    torch.testing.assert_close(copied.predict(inputs.cpu()), model.predict(inputs).cpu(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_learns_what_words_mean(name: str) -> None:
    """With a few epochs more than the other tests: better than chance by far on texts it has not seen."""
    data = FULL_SAMPLE
    model = build(name, data, hidden_size=32, num_layers=1, dropout=0.1, word_dropout=0.0, feed_forward=64)
    model.fit(data, TrainingConfig(epochs=8, batch_size=32, lr=0.01, device="cpu", patience=8))
    batch = data.test.select(torch.arange(len(data.test)))
    accuracy = float((model.predict(batch.inputs).argmax(-1) == batch.targets).float().mean())
    assert accuracy > 0.7


FULL_SAMPLE = TextData(load_text_sample("reviews"), DataOptions(data="sample:reviews"))
