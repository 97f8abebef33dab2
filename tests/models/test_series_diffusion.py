"""Paths of a series drawn by diffusion: from the right distribution, the same for the same window, kept in files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cases import build, fitted, inputs_of, make_data
from scipy import stats

from src.comparison.evaluate import predict_intervals, predict_windows
from src.data.base import Batch, DataSpec
from src.errors import OptionError
from src.metrics.distributions import ForecastDistribution
from src.models import create_model
from src.models.base_model import BaseModel
from src.models.diffusion import SeriesDiffusion
from src.tracking.options import LoggingOptions
from src.training.config import TrainingConfig
from src.training.device import seed_everything

NAME = "diffusion:series"
FEW = {"draws": 12, "sampling_steps": 4}
SHARES, DEVIATION = (0.35, 0.65), 0.15


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in a training run."""
    torch.set_num_threads(1)


# ---- the right distribution


@dataclass(frozen=True)
class Drawn:
    """A part of made-up data, its samples in memory."""

    inputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, index: torch.Tensor) -> Batch:
        return Batch(self.inputs[index], self.targets[index], index)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        yield from map(self.select, order.split(batch_size))


def two_modes(windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Futures of two steps: above or below the mean of the window, in both alike, and the further the higher it is."""
    level = windows.mean((1, 2))
    sign = torch.where(torch.rand(len(windows), generator=generator) < SHARES[1], 1.0, -1.0)
    noise = DEVIATION * torch.randn(len(windows), 2, 1, generator=generator)
    return (level + sign * (0.8 + 0.4 * level))[:, None, None] + noise


class TwoModes:
    """Windows of four rows at one of many levels, and what comes after them."""

    spec = DataSpec("series", "forecast", (4, 1), (2, 1), ("x",), ("x",))  # without its own history: not normalised

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for part, count in (("train", 3000), ("validation", 400), ("test", 2)):
            levels = 2 * torch.rand(count, 1, 1, generator=generator) - 1
            windows = levels + 0.02 * torch.randn(count, 4, 1, generator=generator)
            setattr(self, part, Drawn(windows, two_modes(windows, generator)))

    def to(self, device: torch.device) -> TwoModes:
        return self

    def fingerprint(self) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
def learnt() -> SeriesDiffusion:
    """Trained on two modes; the factor that validation fits, which moves modes apart, is left out."""
    torch.set_num_threads(1)
    data: Any = TwoModes()
    seed_everything(0)
    options = {"hidden_size": 48, "dropout": 0.0, "encoder_layers": 1, "sampling_steps": 2, "ema_decay": 0.99}
    model = create_model(NAME, data.spec, options)
    config = TrainingConfig(epochs=40, lr=5e-3, batch_size=128, schedule="one-cycle", device="cpu", patience=99)
    model.fit(data, config, logging=LoggingOptions(monitors=False))
    model.config = replace(model.config, sampling_steps=50)
    model.get_buffer("spread").fill_(1.0)
    assert isinstance(model, SeriesDiffusion)
    return model


@pytest.mark.parametrize("level", [-0.8, 0.0, 0.7])
def test_paths_come_from_both_modes_of_their_window(level: float, learnt: SeriesDiffusion) -> None:
    """Drawn values pass for true ones in a two-sample test; normal ones of the same mean and variance do not."""
    window = torch.full((1, 4, 1), level)
    paths = learnt.paths(window, 300)[:, 0, :, 0]
    truth = two_modes(window.expand(300, -1, -1), torch.Generator().manual_seed(1))[..., 0]
    normal = truth.mean(0) + truth.std(0) * torch.randn(300, 2, generator=torch.Generator().manual_seed(2))
    for step in range(2):
        assert stats.ks_2samp(paths[:, step].numpy(), truth[:, step].numpy()).pvalue > 0.01
        assert stats.ks_2samp(normal[:, step].numpy(), truth[:, step].numpy()).pvalue < 1e-4
    up = paths > level
    assert (up[:, 0] == up[:, 1]).float().mean() > 0.95, "a path stays in its mode"


def test_few_steps_draw_too_narrow_and_the_validation_part_mends_it() -> None:
    """Every straight step of k takes the cosine of 90 / k degrees off the deviation of what is normal."""
    data: Any = TwoModes()
    spec = data.spec
    model = create_model(NAME, spec, {"hidden_size": 8, "sampling_steps": 3})
    assert isinstance(model, SeriesDiffusion)  # untrained, so it takes values for standard normal ones
    narrow = float(model.distribution(torch.zeros(1, 4, 1), 2000).deviation.mean())
    assert narrow == pytest.approx(torch.cos(torch.tensor(torch.pi / 4)).item() ** 2, abs=0.02)

    normal = torch.randn(400, 2, 1, generator=torch.Generator().manual_seed(3))
    data.validation = Drawn(torch.zeros(400, 4, 1), normal)
    model.after_training(data)
    assert float(model.spread) == pytest.approx(1.5, abs=0.01), "as wide as it may become"
    mended = float(model.distribution(torch.zeros(1, 4, 1), 2000).deviation.mean())
    assert mended == pytest.approx(1.5 * narrow, rel=1e-4)


# ---- the same for the same window


@pytest.mark.parametrize("channels", ["mixed", "independent"])
@pytest.mark.parametrize("transform", ["return", "level"])
def test_a_forecast_is_its_sorted_paths_and_depends_on_its_window_alone(transform: str, channels: str) -> None:
    data = make_data(transform=transform, horizon=5, target="c,a")
    model = fitted(NAME, data, channels=channels, **FEW)
    inputs = inputs_of(data)
    said, paths = model.distribution(inputs), model.paths(inputs, 12)
    assert isinstance(said, ForecastDistribution) and said.quantiles is not None
    assert paths.shape == (12, 6, 5, 2)
    assert torch.equal(said.quantiles, paths.sort(0).values.movedim(0, -1))
    assert said.levels == tuple((number + 0.5) / 12 for number in range(12))
    assert torch.equal(said.mean, model.predict(inputs)) and not said.epistemic.any()
    assert (said.aleatoric > 0).all() and torch.isfinite(said.crps(paths[0])).all()

    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(model.paths(inputs, 12), paths), "no random generator is asked"
    assert torch.equal(torch.get_rng_state(), state)
    other = model.paths(inputs, 12, seed=1)
    assert not torch.allclose(other, paths, atol=1e-3)
    torch.testing.assert_close(model.paths(inputs[2:3], 12)[:, 0], paths[:, 2], rtol=1e-4, atol=1e-5)

    every = torch.arange(len(data.test)).numpy()
    forecast = predict_windows(model, data.spec, data.test, every)
    assert (predict_windows(model, data.spec, data.test, every[3:5]) == forecast[3:5]).all(), "to the bit"
    intervals = predict_intervals(model, data.spec, data.test, every[:7])
    assert intervals is not None and (intervals[1][0] < intervals[1][1]).all()


def test_a_level_shifted_by_a_constant_shifts_the_forecast_by_it() -> None:
    data = make_data(transform="level", horizon=5, target="b")
    model = fitted(NAME, data, **FEW)
    inputs = inputs_of(data)
    torch.testing.assert_close(model.paths(inputs + 3.0, 4), model.paths(inputs, 4) + 3.0, rtol=1e-3, atol=1e-3)
    scaled = (inputs - inputs.mean(1, keepdim=True)) * 2 + inputs.mean(1, keepdim=True)
    widths = [model.distribution(windows).deviation for windows in (inputs, scaled)]
    torch.testing.assert_close(widths[1], 2 * widths[0], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("normalisation", ["auto", "none"])
def test_intervals_of_returns_are_as_wide_as_the_window_moves(normalisation: str) -> None:
    data = make_data(transform="return")
    model = build(NAME, data.spec, normalisation=normalisation, **FEW)  # untrained: it adds nothing of its own
    inputs = inputs_of(data)
    calm, lively, still = (model.distribution(inputs * factor).deviation for factor in (1.0, 2.0, 0.0))
    torch.testing.assert_close(lively, 2 * calm)
    assert (still > 0).all() and (still < calm).all()


def test_independent_channels_are_read_by_themselves() -> None:
    data = make_data(transform="level", horizon=3, target="a,b")
    model = fitted(NAME, data, channels="independent", **FEW)
    inputs = inputs_of(data)
    changed = inputs.clone()
    changed[..., data.spec.target_channels[1]] += torch.randn(inputs.shape[:2])
    paths, others = model.paths(inputs, 4), model.paths(changed, 4)
    assert torch.equal(paths[..., 0], others[..., 0]) and not torch.allclose(paths[..., 1], others[..., 1])
    with pytest.raises(OptionError, match="channels=independent needs the targets' own history"):
        create_model(NAME, TwoModes.spec, {"channels": "independent"})


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("prediction", ["x0", "v", "noise"])
def test_whatever_is_predicted_an_untrained_network_takes_all_values_for_normal(prediction: str, sampler: str) -> None:
    data = make_data(transform="level", horizon=3)
    model = build(NAME, data.spec, prediction=prediction, sampler=sampler, sampling_steps=60, normalisation="none")
    said = model.distribution(inputs_of(data), 400)
    torch.testing.assert_close(said.deviation, torch.ones_like(said.deviation), rtol=0.15, atol=0)
    assert said.mean.abs().max() < 0.15


# ---- what is kept


def test_the_scale_and_the_spread_are_kept_by_checkpoints_and_resumed_runs(tmp_path: Path) -> None:
    data = make_data(transform="level", horizon=5, target="c,a")
    config = {"batch_size": 32, "device": "cpu", "schedule": "constant", "patience": 9}

    def train(folder: str, epochs: int) -> BaseModel:
        model = build(NAME, data.spec, **FEW)
        model.fit(data, TrainingConfig(epochs=epochs, **config), run_dir=tmp_path / folder, resume=True)
        return model

    whole = train("whole", 3)
    train("parts", 1)
    resumed = train("parts", 3)
    loaded = BaseModel.load(tmp_path / "whole" / "checkpoints" / "best.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        assert torch.equal(value, loaded.state_dict()[name]), name
    scale = whole.get_buffer("target_scale")
    assert scale.shape == (5, 2) and (scale[1:] > scale[:-1]).float().mean() > 0.5, "later steps lie further away"
    assert float(whole.get_buffer("spread")) != 1.0
    assert torch.equal(loaded.predict(inputs_of(data)), whole.predict(inputs_of(data)))
