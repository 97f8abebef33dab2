"""Models the training loop knows nothing of, and ways to train them and to look at what happened."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from src.data.base import Batch
from src.training.config import TrainingConfig
from src.training.device import seed_everything
from src.training.loop import (
    EpochReport,
    Observer,
    StepReport,
    TrainingResult,
    TrainingState,
    build_state,
    train,
)

CPU = torch.device("cpu")


class Toy(nn.Module):
    """What the loop asks for and nothing more: a regression that is no ``BaseModel``."""

    selection_metric = ("loss", "min")

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(inputs)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        error = self(batch.inputs) - batch.targets
        return {"loss": error.square().mean(), "absolute": error.abs().mean().detach()}

    def after_step(self) -> None:
        """Nothing moves here."""

    def validation_metrics(self, data: Any) -> dict[str, float]:
        return {}

    def collect_logged(self) -> dict[str, float]:
        return {}


class MovingTarget(Toy):
    """Learns to predict a slowly following copy of itself; what is best is decided by a probe, more being better."""

    selection_metric = ("probe", "max")

    def __init__(self, probe_values: Sequence[float] = ()) -> None:
        super().__init__()
        self.target = copy.deepcopy(self.body).requires_grad_(False)
        self.probe_values = list(probe_values)
        self.probed = 0

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = 0.5 * self.target(batch.inputs) + 0.5 * batch.targets
        return {"loss": (self(batch.inputs) - wanted).square().mean()}

    @torch.no_grad()
    def after_step(self) -> None:
        for slow, fast in zip(self.target.parameters(), self.body.parameters(), strict=True):
            slow.lerp_(fast, 0.1)

    def validation_metrics(self, data: Any) -> dict[str, float]:
        """Share of variance that a least-squares readout of the slow copy explains, or the value written down."""
        self.probed += 1
        if self.probe_values:
            return {"probe": self.probe_values[self.probed - 1]}
        with torch.no_grad():
            features = torch.cat([self.target[:2](data.validation.inputs), torch.ones(len(data.validation), 1)], 1)
        solution = torch.linalg.lstsq(features, data.validation.targets).solution
        left = (features @ solution - data.validation.targets).square().mean()
        return {"probe": 1 - float(left / data.validation.targets.var())}


class NoisePredictor(Toy):
    """Predicts the noise that was mixed into its input at a random time: no two computations of its loss agree."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 4))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        time = torch.rand(len(batch.inputs), 1)
        noise = torch.randn_like(batch.inputs)
        mixed = (1 - time).sqrt() * batch.inputs + time.sqrt() * noise
        return {"loss": (self(torch.cat([mixed, time], 1)) - noise).square().mean()}


class Recorder(Observer):
    """Keeps everything it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.steps: list[StepReport] = []
        self.epochs: list[EpochReport] = []
        self.reason = ""

    def on_start(self, state: TrainingState) -> None:
        self.state = state
        self.calls.append("start")

    def on_step(self, report: StepReport) -> None:
        self.steps.append(report)
        self.calls.append("step")

    def on_epoch_end(self, report: EpochReport) -> None:
        self.epochs.append(report)
        self.calls.append("epoch")

    def on_end(self, reason: str) -> None:
        self.calls.append("end")
        self.reason = reason


def options(**values: Any) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 3, "batch_size": 32, "lr": 0.01, "device": "cpu", **values})


def run(
    model: Any, data: Any, config: TrainingConfig, *observers: Observer
) -> tuple[TrainingResult, Recorder, TrainingState]:
    """Train and tell what was seen."""
    recorder = Recorder()
    seed_everything(config.seed)
    state = build_state(model, data, config, CPU)
    return train(state, [recorder, *observers]), recorder, state


def built(model_class: Callable[[], Any], seed: int = 0) -> Any:
    seed_everything(seed)
    return model_class()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), f"{name} differs"


def bare_loop(model: Any, data: Any, config: TrainingConfig) -> list[dict[str, Any]]:
    """The same training written down by hand: what each step's loss and gradient norm were, per epoch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    epochs = []
    for epoch in range(config.epochs):
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
        losses, norms, absolute = [], [], []
        model.train()
        for batch in data.train.batches(config.batch_size, generator):
            optimizer.zero_grad()
            parts = model.losses(batch)
            parts["loss"].backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, config.clip or math.inf)))
            optimizer.step()
            model.after_step()
            losses.append(parts["loss"].item())
            absolute.append(parts.get("absolute", parts["loss"]).item())
        epochs.append({"loss": losses, "norm": norms, "absolute": absolute})
    return epochs
