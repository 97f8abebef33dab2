"""Forecast figures are drawn for every kind of task and leave nothing behind."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.comparison.forecast_figures import NEWEST, ForecastFigures, draw_forecasts
from src.data.loading import load_data
from src.data.options import DataOptions
from src.models import create_model
from src.tracking import tags
from src.tracking.event_writer import EventWriter
from src.training.config import TrainingConfig


@pytest.mark.parametrize("task", ["forecast", "direction"])
@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("target", ["a", "b,a"])
def test_figures_are_drawn(task, horizon, target, make_data, make_model):
    data = make_data(horizon=horizon, task=task, target=target)
    model = make_model("linear:dlinear", data)
    for part in ("validation", "test"):
        figure = draw_forecasts(model, data, part, "a title")
        figure.canvas.draw()
        assert np.asarray(figure.canvas.buffer_rgba())[..., :3].std() > 0
        assert "a title" in figure.axes[0].get_title()
        panels = {("forecast", 1): 2, ("forecast", 5): 3}.get((task, horizon), 1)
        assert len(figure.axes) == panels
    assert plt.get_fignums() == []


def test_the_lines_are_the_forecasts(make_data, make_model):
    """Newest windows, in original units."""
    data = make_data(horizon=1)
    model = make_model("linear:dlinear", data)
    figure = draw_forecasts(model, data, "test", "title")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    index = np.arange(len(data.test))
    np.testing.assert_allclose(lines["actual"], data.test.actual(index)[:, 0, 0])
    predicted = model.predict(data.test.select(index).inputs).numpy()
    np.testing.assert_allclose(lines["forecast"], data.test.to_units(index, predicted)[:, 0, 0])


@pytest.mark.parametrize("transform", ["level", "return"])
@pytest.mark.parametrize("horizon", [1, 3])
def test_the_band_is_the_interval_of_the_distribution(horizon, transform, make_data):
    """In original units, and drawn anew with the figure."""
    data = make_data(horizon=horizon, transform=transform)
    options = {"hidden_size": 8, "num_heads": 2, "feed_forward": 16, "num_layers": 1, "samples": 4}
    model = create_model("transformer:bayesian", data.spec, options)
    figure = None
    for _ in range(2):
        figure = draw_forecasts(model, data, "test", "title", figure)
        count = len(data.test)
        index = np.arange(count) if horizon == 1 else np.linspace(0, count - 1, 3).astype(int)
        said = model.distribution(data.test.select(index).inputs)
        scaled = torch.stack([said.mean, *said.interval()]).numpy()
        lower, upper = data.test.bounds_to_units(index, scaled)[..., 0]
        assert (lower < upper).all()
        for number, axes in enumerate(figure.axes[:1] if horizon == 1 else figure.axes):
            (band,) = [area for area in axes.collections if area.get_label() == "90 % interval"]
            corners = band.get_paths()[0].vertices[:, 1]
            wanted = (lower[:, 0], upper[:, 0]) if horizon == 1 else (lower[number], upper[number])
            assert corners.min() == pytest.approx(wanted[0].min()) and corners.max() == pytest.approx(wanted[1].max())
            assert axes.get_ylim()[0] <= corners.min() and corners.max() <= axes.get_ylim()[1]
        assert "90 % interval" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_there_is_no_band_without_a_distribution(make_data, make_model):
    data = make_data(horizon=1)
    figure = draw_forecasts(make_model("linear:dlinear", data), data, "test", "title")
    assert not figure.axes[0].collections


def test_targets_without_history(make_model):
    data = load_data(DataOptions(data="sample:adding", window=8))
    figure = draw_forecasts(make_model("linear:dlinear", data), data, "test", "title")
    assert len(figure.axes[0].get_lines()[0].get_ydata()) == NEWEST
    assert plt.get_fignums() == []


def test_a_single_window(make_data, make_model):
    data = make_data(60, horizon=5, split="45,5,10")
    assert len(data.validation) == 1
    assert len(draw_forecasts(make_model("linear:dlinear", data), data, "validation", "title").axes) == 1


def test_figures_of_a_run(make_data, tmp_path):
    """At the first, every tenth and the last epoch."""
    data = make_data()
    model = create_model("linear:dlinear", data.spec)
    with EventWriter(tmp_path) as writer:
        config = TrainingConfig(epochs=13, device="cpu", patience=99)
        model.fit(data, config, observers=[ForecastFigures(data, writer)])
    images = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload().Images(tags.FORECAST_IMAGE)
    assert [image.step for image in images] == [0, 10, 12]
    assert plt.get_fignums() == []
