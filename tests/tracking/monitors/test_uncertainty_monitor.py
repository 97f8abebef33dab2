"""What the calibration monitor says of models that answer with distributions, by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from src.data.base import Batch
from src.metrics.distributions import ClassDistribution, ForecastDistribution
from src.tracking.monitors.base import WatchedEpoch, WatchedRun
from src.tracking.monitors.calibration import Calibration
from src.tracking.monitors.validation_sample import DRAWS

EPOCH = WatchedEpoch(0, 10, {}, {}, True, 1.0, 100)
COUNT = 40


class Samples:
    """Numbers from 0 as inputs, and their targets."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, index: Any) -> Batch:
        places = torch.as_tensor(index)
        return Batch(places.float(), self.targets[places], places)


class Speaker(torch.nn.Module):
    """Says a distribution of each sample, and remembers how many networks it was asked to draw."""

    def __init__(self, **said: Any) -> None:
        super().__init__()
        self.said, self.draws = said, set[int]()

    def distribution(self, inputs: Tensor, draws: int | None = None) -> Any:
        assert draws is not None
        self.draws.add(draws)
        torch.rand(3)  # a model may draw
        kind = ClassDistribution if "probabilities" in self.said else ForecastDistribution
        values = {name: self.said[name] for name in self.said}
        return kind(**{name: _at(value, inputs.long()) for name, value in values.items()})

    def predict(self, inputs: Tensor) -> Tensor:
        raise AssertionError("its distribution is known")


def _at(value: Any, places: Tensor) -> Any:
    return value[places] if isinstance(value, Tensor) else value


class Watch:
    """Asks the monitor about a model; ``histograms`` has what was drawn, ``values`` what it said."""

    def __init__(self, model: Speaker, task: str, targets: Tensor, epoch: int = 0) -> None:
        self.histograms: list[tuple[dict[str, Tensor], int]] = []
        writer = SimpleNamespace(add_histograms=lambda spread, step: self.histograms.append((spread, step)))
        samples = Samples(targets)
        data: Any = SimpleNamespace(spec=SimpleNamespace(task=task), train=samples, validation=samples)
        logger: Any = SimpleNamespace(writer=writer)
        monitor = Calibration()
        monitor.on_start(WatchedRun(model, logger, data=data))
        said = monitor.on_epoch_end(replace(EPOCH, epoch=epoch))
        self.values = {tag: float(value) for tag, value in said.items()}


def classes(right: Tensor, confidence: Tensor, epistemic: Tensor | None) -> tuple[Speaker, Tensor]:
    """A model of three classes that says class 1 of everything, and the labels that make it right where it is to be."""
    chances = torch.stack([(1 - confidence) / 2, confidence, (1 - confidence) / 2], 1)
    entropy = torch.special.entr(chances).sum(1)
    aleatoric = entropy if epistemic is None else entropy - epistemic
    return Speaker(probabilities=chances, epistemic=epistemic, aleatoric=aleatoric), torch.where(right, 1, 2)


def test_classes_by_hand() -> None:
    sure = torch.arange(COUNT) < COUNT // 2
    confidence = torch.where(sure, 0.9, 0.5)
    right = sure  # right where it is sure, wrong where it is not
    model, labels = classes(right, confidence, torch.full((COUNT,), 0.05))
    watch = Watch(model, "classify", labels)
    assert watch.values["calibration/confidence_gap"] == pytest.approx(0.7 - 0.5, abs=1e-6)
    assert watch.values["calibration/expected_calibration_error"] == pytest.approx((0.1 + 0.5) / 2, abs=1e-6)
    assert watch.values["calibration/uncertainty_error_correlation"] == pytest.approx(1.0)
    assert watch.values["uncertainty/epistemic_mean"] == pytest.approx(0.05)
    assert watch.values["uncertainty/aleatoric_mean"] == pytest.approx(float(model.said["aleatoric"].mean()))
    assert model.draws == {DRAWS}


def test_errors_where_it_is_sure_correlate_the_other_way() -> None:
    sure = torch.arange(COUNT) < COUNT // 2
    model, labels = classes(~sure, torch.where(sure, 0.9, 0.5), None)
    watch = Watch(model, "classify", labels)
    assert watch.values["calibration/uncertainty_error_correlation"] == pytest.approx(-1.0)
    assert "uncertainty/epistemic_mean" not in watch.values and not watch.histograms, "one network answers"


def test_directions_are_asked_for_their_distribution() -> None:
    up = torch.cat([torch.full((COUNT // 2,), 0.8), torch.full((COUNT // 2,), 0.4)]).view(COUNT, 1, 1)
    happened = torch.ones(COUNT, 1, 1)
    happened[COUNT // 2 :] = torch.tensor([1.0, 0.0]).repeat(COUNT // 4).view(-1, 1, 1)
    epistemic = torch.linspace(0, 0.2, COUNT).view(COUNT, 1, 1)
    model = Speaker(
        probabilities=up, epistemic=epistemic, aleatoric=torch.special.entr(up) + torch.special.entr(1 - up)
    )
    watch = Watch(model, "direction", happened)
    assert watch.values["calibration/confidence_gap"] == pytest.approx(0.7 - 0.75, abs=1e-6)
    assert watch.values["calibration/expected_calibration_error"] == pytest.approx((0.2 + 0.1) / 2, abs=1e-6)
    assert watch.values["calibration/uncertainty_error_correlation"] > 0.5
    assert watch.values["uncertainty/epistemic_mean"] == pytest.approx(0.1)
    assert model.draws == {DRAWS}


@pytest.mark.parametrize(("highest", "coverage"), [(2.0, 100.0), (0.5, 50.0)])
def test_intervals_are_those_of_the_distribution_not_normal_ones(highest: float, coverage: float) -> None:
    """Half of all values are 1; the variance alone would put all of them outside."""
    targets = torch.tensor([0.0, 1.0]).repeat(COUNT // 2).view(COUNT, 1, 1)
    flat = torch.zeros(COUNT, 1, 1)
    quantiles = torch.tensor([-1.0, 0.0, highest]).expand(COUNT, 1, 1, 3)
    model = Speaker(
        mean=flat, epistemic=flat + 1e-6, aleatoric=flat + 1e-6, quantiles=quantiles, levels=(0.05, 0.5, 0.95)
    )
    assert Watch(model, "forecast", targets).values["calibration/coverage_90_percent"] == pytest.approx(coverage)


def test_forecasts_that_know_where_they_err() -> None:
    size = torch.linspace(0.1, 2, COUNT).view(COUNT, 1, 1)
    signs = torch.tensor([1.0, -1.0]).repeat(COUNT // 2).view(COUNT, 1, 1)
    model = Speaker(mean=torch.zeros(COUNT, 1, 1), epistemic=0.25 * size**2, aleatoric=0.75 * size**2)
    watch = Watch(model, "forecast", size * signs)  # one deviation off: inside
    assert watch.values["calibration/uncertainty_error_correlation"] == pytest.approx(1.0)
    assert watch.values["calibration/coverage_90_percent"] == 100
    assert watch.values["uncertainty/aleatoric_mean"] == pytest.approx(3 * watch.values["uncertainty/epistemic_mean"])
    far = Watch(model, "forecast", 1.7 * size * signs)
    assert far.values["calibration/coverage_90_percent"] == 0


@pytest.mark.parametrize(("epoch", "is_drawn"), [(0, True), (1, False), (9, False), (10, True)])
def test_the_spread_is_drawn_every_tenth_epoch(epoch: int, is_drawn: bool) -> None:
    epistemic = torch.linspace(0, 0.1, COUNT)
    model, labels = classes(torch.ones(COUNT, dtype=torch.bool), torch.full((COUNT,), 0.8), epistemic)
    watch = Watch(model, "classify", labels, epoch)
    assert "uncertainty/epistemic_mean" in watch.values
    assert len(watch.histograms) == is_drawn
    if is_drawn:
        spread, step = watch.histograms[0]
        assert step == EPOCH.step and set(spread) == {"uncertainty/epistemic", "uncertainty/aleatoric"}
        np.testing.assert_allclose(spread["uncertainty/epistemic"], epistemic)


def test_random_numbers_stay_as_they_are() -> None:
    model, labels = classes(torch.ones(COUNT, dtype=torch.bool), torch.full((COUNT,), 0.8), None)
    before = torch.get_rng_state()
    Watch(model, "classify", labels)
    assert torch.equal(torch.get_rng_state(), before)
