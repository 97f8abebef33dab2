"""The graph of any model, taken without touching the model."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from src.tracking.event_writer import EventWriter


class Recurrent(nn.Module):
    """Packs its input and answers with a dict that also holds things that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 8, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> dict[str, Any]:
        packed = pack_padded_sequence(inputs, torch.full((len(inputs),), inputs.shape[1]), batch_first=True)
        _, (hidden, _) = self.lstm(packed)
        return {"forecast": self.head(hidden[-1]), "nothing": None, "steps": 3, "states": (hidden, [hidden])}


class Noisy(nn.Module):
    """Draws random numbers from three generators, prints, warns and changes its own state in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.register_buffer("calls", torch.zeros(1))
        self.calls: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        print("noise on the console")
        warnings.warn("a warning", stacklevel=1)
        self.calls = self.calls + 1
        with torch.no_grad():
            self.body[0].weight.mul_(0.5)
        return self.body(inputs + torch.randn(1) + random.random() + np.random.rand())  # noqa: NPY002


def packed_input() -> Any:
    return pack_padded_sequence(torch.randn(4, 10, 3), torch.tensor([10, 9, 5, 3]), batch_first=True)


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 4, 16, batch_first=True), 2)


CASES = {
    "lstm": (lambda: nn.LSTM(3, 8, batch_first=True), torch.randn(4, 10, 3)),
    "lstm with packed input": (lambda: nn.LSTM(3, 8, batch_first=True), (packed_input(),)),
    "lstm that packs, dict output": (Recurrent, torch.randn(4, 10, 3)),
    "gru": (lambda: nn.GRU(3, 8), torch.randn(10, 4, 3)),
    "noisy convolution": (Noisy, torch.randn(2, 3, 9)),
    "transformer": (encoder, torch.randn(2, 5, 12)),
    "attention, several inputs": (lambda: nn.MultiheadAttention(12, 4, batch_first=True), (torch.randn(2, 5, 12),) * 3),
    "integers": (lambda: nn.Embedding(10, 4), torch.tensor([[1, 2]])),
}


def written_graph(log_dir: Path) -> GraphDef:
    accumulator = EventAccumulator(str(log_dir))
    accumulator.Reload()
    return accumulator.Graph()


def written_summary(log_dir: Path) -> str:
    accumulator = EventAccumulator(str(log_dir))
    accumulator.Reload()
    (event,) = accumulator.Tensors("Model/summary/text_summary")
    return event.tensor_proto.string_val[0].decode()


@pytest.mark.parametrize("name", CASES)
def test_graph_and_summary_are_written(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build, inputs = CASES[name]
    model = build()
    with warnings.catch_warnings(), EventWriter(tmp_path) as writer:
        warnings.simplefilter("error")
        assert writer.add_model_graph(model, inputs)
    assert capfd.readouterr() == ("", "")
    nodes = written_graph(tmp_path).node
    assert len(nodes) > 3 and any(node.name.startswith(type(model).__name__) for node in nodes)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert f"**{total:,}**" in written_summary(tmp_path)


def test_a_transformer_shows_its_parts_and_not_one_fused_operation(tmp_path: Path) -> None:
    torch.backends.mha.set_fastpath_enabled(True)
    build, inputs = CASES["transformer"]
    with EventWriter(tmp_path) as writer:
        assert writer.add_model_graph(build(), inputs)
    operations = {node.op for node in written_graph(tmp_path).node}
    assert {"aten::linear", "aten::layer_norm"} <= operations and not any("_fwd" in name for name in operations)


def everything_of(model: nn.Module) -> dict[str, Any]:
    return {
        "modes": [module.training for module in model.modules()],
        "values": {name: tensor.clone() for name, tensor in model.state_dict(keep_vars=True).items()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "identities": [id(tensor) for tensor in model.state_dict(keep_vars=True).values()],
        "hooks": [(dict(module._forward_hooks), dict(module._backward_hooks)) for module in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "random": torch.get_rng_state(),
        "python random": random.getstate(),
        "numpy random": np.random.get_state()[1].copy(),  # noqa: NPY002
        "fast path": torch.backends.mha.get_fastpath_enabled(),
    }


@pytest.mark.parametrize("fails", [False, True], ids=["traced", "failing"])
@pytest.mark.parametrize("name", ["noisy convolution", "transformer"])
def test_the_model_and_the_random_state_are_untouched(name: str, fails: bool, tmp_path: Path) -> None:
    torch.backends.mha.set_fastpath_enabled(True)
    build, inputs = CASES[name]
    model = build().train()
    last = list(model.modules())[-1]
    last.eval()  # modes differ within the model
    next(model.parameters()).requires_grad_(False)
    next(reversed(list(model.parameters()))).grad = torch.ones_like(next(reversed(list(model.parameters()))))
    calls: list[str] = []
    last.register_forward_hook(lambda *_: calls.append("forward"))
    model.register_full_backward_hook(lambda *_: calls.append("backward"))
    before = everything_of(model)
    with EventWriter(tmp_path) as writer:
        assert writer.add_model_graph(model, torch.zeros(1, 1) if fails else inputs) is not fails
    after = everything_of(model)
    assert calls == []
    assert str(before.pop("modes")) == str(after.pop("modes"))
    torch.testing.assert_close(after.pop("values"), before.pop("values"), rtol=0, atol=0)
    torch.testing.assert_close(after.pop("random"), before.pop("random"), rtol=0, atol=0)
    assert (before.pop("numpy random") == after.pop("numpy random")).all()
    assert str(before) == str(after)


class Refusing(nn.Module):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.layer, self.error = nn.Linear(2, 1), error

    def forward(self, inputs: Tensor) -> Any:
        if self.error is not None:
            raise self.error
        return "no tensor"


@pytest.mark.parametrize(
    "error", [None, RuntimeError("first line\nsecond"), KeyError("key"), RecursionError(), ValueError()]
)
def test_a_model_that_cannot_be_traced_gets_a_text(error: Exception | None, tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        assert writer.add_model_graph(Refusing(error), torch.zeros(1, 2)) is False
    text = written_summary(tmp_path)
    assert "| layer | Linear | weight 1x2, bias 1 | 3 |" in text and "There is no graph of this model: " in text
    assert "second" not in text


def test_models_without_values_or_inputs_get_a_text(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        assert writer.add_model_graph(nn.LazyLinear(4), torch.zeros(1, 2)) is False
        assert writer.add_model_graph(nn.Linear(2, 1), None) is False


def test_shared_parameters_count_once(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    with EventWriter(tmp_path) as writer:
        assert writer.add_model_graph(model, torch.zeros(1, 4))
    assert "**16**" in written_summary(tmp_path)


def test_a_model_set_to_compile_is_traced_as_it_is(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    model.compile()
    compiled = model._compiled_call_impl
    with EventWriter(tmp_path) as writer:
        assert writer.add_model_graph(model, torch.zeros(1, 2))
    assert model._compiled_call_impl is compiled
