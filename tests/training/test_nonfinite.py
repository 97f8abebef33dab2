"""Promises about values that are not finite: no weight changes, and the place where it began is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_models import (
    NoisePredictor,
    Recorder,
    Toy,
    assert_same_bits,
    built,
    options,
    run,
    weights_of,
)

from src.data.base import Batch
from src.errors import TrainingError
from src.training.loop import (
    Observer,
    StepReport,
    TrainingState,
)

MakeData = Callable[..., Any]


class Breaking(nn.Module):
    """Passes values on until its training steps are used up; then its output, or only its gradient, is not finite."""

    def __init__(self, what: str, good_steps: int) -> None:
        super().__init__()
        self.what, self.left = what, good_steps

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
        if not self.training or self.left >= 0:
            return values
        return values * math.inf if self.what == "output" else values + (values * 0).sqrt()


class Broken(Toy):
    def __init__(self, what: str, good_steps: int = 4) -> None:
        super().__init__()
        self.what, self.left = what, good_steps
        self.body = nn.Sequential(nn.Linear(4, 8), Breaking(what, good_steps), nn.Linear(8, 1))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        self.left -= 1 if self.training else 0
        nothing = 0.0 if self.what == "loss" and self.left < 0 else 1.0
        return {"loss": super().losses(batch)["loss"] / nothing}


def train_to_the_end(model: Any, data: Any, *observers: Observer) -> tuple[TrainingError, dict[str, Tensor], Recorder]:
    """The error, the weights after the last good step and what was seen."""
    good: dict[str, Tensor] = {}

    class Keep(Recorder):
        def on_start(self, state: TrainingState) -> None:
            super().on_start(state)
            good.update(weights_of(state.model))

        def on_step(self, report: StepReport) -> None:
            super().on_step(report)
            good.update(weights_of(self.state.model))

    recorder = Keep()
    with pytest.raises(TrainingError) as caught:
        run(model, data, options(), recorder, *observers)
    return caught.value, good, recorder


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("output", "it begins in the output of layer body.1"),
        ("gradient", "outputs are finite, the gradient of body.0.bias is not"),
        ("loss", "layer outputs are finite, the loss is not"),
    ],
)
def test_a_step_that_is_not_finite_changes_no_weight_and_is_traced_to_where_it_began(
    make_data: MakeData, what: str, where: str
) -> None:
    data, model = make_data(), built(lambda: Broken(what))
    error, good, seen = train_to_the_end(model, data)
    assert str(error) == (
        f"loss or gradient is not finite at epoch 1, step 1: {where}; try a lower --lr or look at the data"
    )
    assert len(seen.steps) == 4, "the broken step is none that observers hear of"
    assert_same_bits(weights_of(model), good)
    generator = torch.Generator().manual_seed(1)
    expected = list(data.train.batches(32, generator))[1]
    assert torch.equal(error.batch.index, expected.index), "the batch that broke it can be looked at"  # type: ignore[attr-defined]


@pytest.mark.parametrize("field", ["inputs", "targets"])
def test_data_that_are_not_finite_are_named(make_data: MakeData, field: str) -> None:
    data = make_data()
    getattr(data.train, field)[40] = math.nan
    model = built(Toy)
    error, good, _ = train_to_the_end(model, data)
    assert f"the batch's {field} hold values that are not finite" in str(error)
    assert 40 in error.batch.index  # type: ignore[attr-defined]
    assert_same_bits(weights_of(model), good)


def test_a_weight_that_is_not_finite_is_named(make_data: MakeData) -> None:
    model = built(Toy)

    class Spoil(Observer):
        def on_step(self, report: StepReport) -> None:
            with torch.no_grad():
                model.body[2].weight[0, 3] = math.inf

    error, _, _ = train_to_the_end(model, make_data(), Spoil())
    assert "epoch 0, step 1: the weights body.2.weight are not finite" in str(error)


def test_looking_for_the_place_leaves_the_random_state_alone(make_data: MakeData) -> None:
    from src.training.nonfinite import describe_origin

    model, data = built(NoisePredictor), make_data()
    batch = next(data.train.batches(8))
    state, before = torch.get_rng_state(), weights_of(model)
    assert describe_origin(model, batch) == "it did not happen again when the batch was computed once more"
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_bits(weights_of(model), before)
    assert not any(module._forward_hooks for module in model.modules()), "no hook is left behind"


def test_a_validation_loss_that_is_not_finite_ends_the_run(make_data: MakeData) -> None:
    data = make_data()
    data.validation.targets[3] = math.inf
    with pytest.raises(TrainingError, match="the validation loss became inf; try a lower --lr"):
        run(built(Toy), data, options())
