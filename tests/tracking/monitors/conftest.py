"""A training loop in a few lines that drives monitors by hand, as the driver does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.tables import Table
from src.tracking.event_writer import EventWriter
from src.tracking.monitors.base import Monitor, WatchedRun, WatchedStep
from src.tracking.training_logger import TrainingLogger


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def logger(tmp_path) -> Iterator[TrainingLogger]:
    with TrainingLogger(writer=EventWriter(str(tmp_path / "run"))) as logger:
        yield logger


@pytest.fixture
def make_data() -> Callable[..., SeriesData]:
    """Call it with ``DataOptions`` values; ``values`` are the positive prices of the columns a, b, ..."""

    def make(values: np.ndarray | None = None, rows: int = 300, **options: Any) -> SeriesData:
        if values is None:
            values = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.02, (rows, 3)), axis=0))
        dates = np.datetime64("2024-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "h")
        table = Table(dates, dict(zip("abcdef", values.T, strict=False)), "made")
        return SeriesData.from_tables([table], DataOptions(**{"data": "made", "window": 24, "target": "b", **options}))

    return make


class Loop:
    """Trains a model and lets one look at every step.

    Attributes:
        values: what the monitors said of the last step.
        norms: gradient norms before clipping.
    """

    def __init__(
        self,
        model: nn.Module,
        monitors: Sequence[Monitor],
        logger: TrainingLogger,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        clip: float = 0.0,
        **run: Any,
    ) -> None:
        self.model, self.monitors, self.clip = model, monitors, clip
        self.optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.0)
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.values: dict[str, float] = {}
        for monitor in monitors:
            monitor.on_start(WatchedRun(model, logger, self.optimizer, **run))

    def step(
        self,
        inputs: Any,
        loss: Callable[[Any], Tensor] | None = None,
        *,
        detailed: bool = True,
        number: int | None = None,
        **step: Any,
    ) -> dict[str, float]:
        """One step; ``loss`` is computed from the model's output, by default the mean of its squares."""
        with torch.no_grad():
            for monitor in self.monitors:
                monitor.before_step()
        self.optimizer.zero_grad()
        value = (self.model(inputs) if loss is None else loss(inputs)).square().mean()
        value.backward()
        named = [(name, parameter) for name, parameter in self.model.named_parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm([parameter.grad for _, parameter in named])
        if self.clip:
            nn.utils.clip_grads_with_norm_([parameter for _, parameter in named], self.clip, norm)
        self.optimizer.step()
        self.losses.append(value.detach())
        self.norms.append(norm)
        watched = WatchedStep(
            step=len(self.losses) - 1 if number is None else number,
            epoch=0,
            detailed=detailed,
            losses={"loss": value.detach()},
            gradients={name: parameter.grad for name, parameter in named},
            gradient_norm=norm,
            gradient_scale=(self.clip / (norm + 1e-6)).clamp(max=1.0) if self.clip else 1.0,
            clip=self.clip,
            **{"recent_losses": self.losses[-100:], "recent_gradient_norms": self.norms[-100:], **step},
        )
        self.values = {}
        with torch.no_grad():
            for monitor in self.monitors:
                self.values |= {tag: float(value) for tag, value in monitor.on_step(watched).items()}
        return self.values


@pytest.fixture
def loop(logger: TrainingLogger) -> Callable[..., Loop]:
    """Call it with a model and monitors."""

    def make(model: nn.Module, *monitors: Monitor, **options: Any) -> Loop:
        return Loop(model, monitors, logger, **options)

    return make
