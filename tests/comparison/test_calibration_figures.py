"""Reliability diagrams and curves of risk and coverage: what is drawn is what was counted."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from src.comparison.calibration_figures import reliability_figure, risk_coverage_figure
from src.metrics.calibration import reliability_bins
from src.metrics.selective import risk_coverage


def test_bars_are_the_bins():
    bins = reliability_bins([0.1, 0.2, 0.9, 1.0], [0, 1, 1, 0], bins=4)
    figure = reliability_figure(bins, "a title")
    figure.canvas.draw()
    above, below = figure.axes
    accuracy, gap = above.containers
    assert [bar.get_height() for bar in accuracy] == [0.5, 0.5]
    assert [bar.get_x() for bar in accuracy] == [0, 0.75] and {bar.get_width() for bar in accuracy} == {0.25}
    assert [bar.get_y() + bar.get_height() for bar in gap] == pytest.approx([0.15, 0.95]), "up to the confidence"
    assert [bar.get_height() for bar in below.containers[0]] == [2, 2]
    (diagonal,) = above.lines
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert above.get_title() == "a title"
    assert plt.get_fignums() == []


def test_the_error_stands_in_the_title():
    bins = reliability_bins(torch.tensor([0.5]), torch.tensor([True]))
    assert reliability_figure(bins, "a title", 0.1234).axes[0].get_title() == "a title (ECE 12.3 %)"


def test_nothing_to_draw_is_drawn():
    reliability_figure(reliability_bins([], []), "a title").canvas.draw()
    risk_coverage_figure({}, "a title").canvas.draw()
    risk_coverage_figure({"undefined": risk_coverage([float("nan")], [1.0])}, "a title").canvas.draw()


def test_a_line_for_each_curve_and_room_above():
    curves = {"one": risk_coverage([0.1, 0.2, 0.3], [0, 1, 1]), "two": ([0.5, 1.0], [0.25, 0.75])}
    figure = risk_coverage_figure(curves, "a title")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0, 0.5, 2 / 3])
    assert axes.lines[1].get_xdata().tolist() == [0.5, 1]
    assert axes.get_ylim()[1] > 0.75
    assert axes.get_title() == "a title"
    assert plt.get_fignums() == []


def test_one_early_error_does_not_flatten_the_rest():
    error = torch.zeros(5000)
    error[0] = error[-500:] = 1
    axes = risk_coverage_figure({"model": risk_coverage(torch.arange(5000), error)}, "a title").axes[0]
    assert 0.1 < axes.get_ylim()[1] < 0.2
    drawn = axes.lines[0].get_xdata()
    assert len(drawn) == 1000 and drawn[0] == 1 / 5000 and drawn[-1] == 1, "long curves are thinned, not cut"
