"""Figures of a study: nothing overlaps, nothing is hidden by an outlier, and every mark means what the legend says."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from src.tuning.config import HyperparameterConfig
from src.tuning.dimension import Dimension
from src.tuning.reports import TrialRecord
from src.tuning.space import SearchSpace
from src.tuning.study_figures import (
    BEST_COLOUR,
    ValueScale,
    _background,
    contour_figure,
    draw_all,
    history_figure,
    importance_figure,
    parallel_figure,
    slice_figure,
)
from src.tuning.study_summary import StudySummary

LR = Dimension("lr", "training", "float", 1e-3, 1e-5, 1e-1, log=True)
SIZE = Dimension("hidden_size", "model", "int", 64, 16, 512, log=True)
NORMALISATION = Dimension(
    "normalisation", "model", "choice", "revin", choices=("revin", "mean_of_window", "none", "last")
)
MANY = (
    LR,
    SIZE,
    NORMALISATION,
    Dimension("num_layers", "model", "int", 2, 1, 6),
    Dimension("dropout", "model", "float", 0.1, 0.0, 0.5),
    Dimension("weight_decay", "training", "float", 0.01, 1e-6, 1e-1, log=True),
    Dimension("batch_size", "training", "choice", 64, choices=(16, 32, 64, 128, 256)),
    Dimension("a_name_that_is_longer_than_anything_fits", "model", "float", 0.5, 0.123456, 0.987654),
    Dimension("another_name_that_is_rather_too_long", "model", "choice", True, choices=(True, False)),
    Dimension("money", "model", "choice", "$a_1$", choices=("$a_1$", "100 $", "a choice with a very long name")),
    Dimension("feed_forward", "model", "int", 128, 32, 2048, log=True),
)
FIGURES: dict[str, Callable[[StudySummary], Figure]] = {
    "history": history_figure,
    "slices": slice_figure,
    "contour": contour_figure,
    "parallel coordinates": parallel_figure,
    "importances": importance_figure,
}


def record(
    number: int, status: str = "completed", value: float | None = 1.0, phase: str = "random", **values: Any
) -> Any:
    folder = f"m/trial_{number}"
    return TrialRecord(
        "gru:residual", number, number, phase, status, value, folder, "here", 4, 4, hyperparameters=values
    )


def summary(dimensions: tuple[Dimension, ...], records: list[TrialRecord], objective: str = "mse") -> StudySummary:
    completed = [known for known in records if known.status == "completed" and known.value is not None]
    sign = -1 if objective == "accuracy" else 1
    best = min(completed, key=lambda known: sign * known.value, default=None)  # type: ignore[operator]
    shares = {d.name: 1 / len(dimensions) for d in dimensions} if len(records) >= 12 else {}
    return StudySummary(
        "gru:residual",
        objective,
        SearchSpace("gru:residual", dimensions, {}),
        HyperparameterConfig(),
        tuple(records),
        None if best is None else best.number,
        shares,
    )


def search(count: int, dimensions: tuple[Dimension, ...], *, outliers: bool = False) -> StudySummary:
    generator = np.random.default_rng(count)
    records = []
    for number in range(count):
        values = {d.name: d.from_unit(generator.random()) for d in dimensions}
        status = ("completed", "pruned", "completed", "failed", "completed")[number % 5]
        value = float(generator.uniform(0.1, 0.4)) * (1e6 if outliers and number % 11 == 7 else 1)
        phase = ("random", "bayesian", "fine_tune")[3 * number // count]
        records.append(record(number, status, None if status == "failed" else value, phase, **values))
    return summary(dimensions, records)


def texts(figure: Figure) -> list[Text]:
    """All that a reader sees: not the labels of ticks beyond the ends of an axis, nor those of hidden panels."""
    figure.canvas.draw()
    hidden: set[int] = set()
    for axes in figure.axes:
        hidden |= set() if axes.get_visible() else {id(text) for text in axes.findobj(Text)}
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            beyond = (tick for tick in axis.get_major_ticks() if not min(limits) <= tick.get_loc() <= max(limits))
            hidden |= {id(label) for tick in beyond for label in (tick.label1, tick.label2)}
    found = {id(text): text for text in figure.findobj(Text) if text.get_visible() and text.get_text()}
    return [text for key, text in found.items() if key not in hidden]


def corners(text: Text) -> np.ndarray:
    """The four corners of a text, which may stand aslant, ``[4, 2]`` in dots."""
    angle, anchored = text.get_rotation(), text.get_rotation_mode() == "anchor"
    if angle in (0.0, 90.0) or not anchored:
        box = text.get_window_extent()
        return np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]])
    text.set_rotation(0)
    box, (x, y) = text.get_window_extent(), text.get_transform().transform(text.get_position())
    text.set_rotation(angle)
    turn = np.deg2rad(angle)
    flat = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]]) - (x, y)
    return flat @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + (x, y)


def overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two rectangles share more than an edge: no axis separates them."""
    for shape in (first, second):
        for start, end in zip(shape, np.roll(shape, -1, axis=0), strict=True):
            normal = np.array([end[1] - start[1], start[0] - end[0]]) / np.hypot(*(end - start))
            one, two = first @ normal, second @ normal
            if one.max() <= two.min() + 0.5 or two.max() <= one.min() + 0.5:
                return False
    return True


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("dimensions", [(LR, SIZE), (LR, SIZE, NORMALISATION), MANY], ids=["2", "3", "11"])
@pytest.mark.parametrize("count", [12, 60])
def test_no_text_covers_another_or_is_cut_off(name: str, dimensions: tuple[Dimension, ...], count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = FIGURES[name](search(count, dimensions, outliers=True))
        found = [(text.get_text(), corners(text)) for text in texts(figure)]
        assert not any("$" in text.get_text() and text.get_parse_math() for text in texts(figure)), "no formulas"
    width, height = figure.canvas.get_width_height()
    for words, shape in found:
        assert (shape >= 0).all() and (shape <= (width, height)).all(), f"'{words}' is cut off"
    for (first, one), (second, two) in itertools.combinations(found, 2):
        assert not overlap(one, two), f"'{first}' and '{second}' overlap"


def test_the_history_shows_how_every_trial_ended() -> None:
    records = [record(0), record(1, "pruned", 0.8), record(2, "killed", None), record(3, value=0.5, phase="bayesian")]
    axes = history_figure(summary((LR,), records)).axes[0]
    points = {
        line.get_marker() + str(line.get_markerfacecolor()): line for line in axes.lines if line.get_marker() != "None"
    }
    assert [tuple(line.get_xydata()[0]) for key, line in points.items() if key == "owhite"] == [(2, 0.8)]
    cross = next(line for line in points.values() if line.get_marker() == "x")
    assert cross.get_xdata()[0] == 3 and cross.get_ydata()[0] > 1.0, "at the edge of the worse values"
    assert axes.get_ylim()[1] > cross.get_ydata()[0]
    (best,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert list(best.get_ydata()) == [1.0, 1.0, 1.0, 0.5]
    (boundary,) = (line for line in axes.lines if line.get_linestyle() == "--")
    assert boundary.get_xdata()[0] == 3.5, "before the first trial of the next phase"


def test_values_far_worse_than_most_do_not_squeeze_the_others() -> None:
    values = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 1e9]
    study = summary((LR,), [record(n, value=value, lr=1e-3) for n, value in enumerate(values)])
    scale = ValueScale.of(study)
    assert not scale.log and scale.value(0) == pytest.approx(0.1) and scale.value(1) == pytest.approx(0.15)
    assert scale.is_beyond(1e9) and not scale.is_beyond(0.15)
    axes = history_figure(study).axes[0]
    assert axes.get_ylim()[1] < 0.2
    (far,) = (line for line in axes.lines if line.get_marker() == "^")
    assert far.get_xdata()[0] == 7


@pytest.mark.parametrize(
    ("values", "objective", "log", "best", "edge"),
    [
        ([0.1, 1.0, 3.0, 9.0, 12.0], "mse", True, 0.1, 12.0),
        ([-1.0, 1.0, 30.0, 40.0], "loss", False, -1.0, 40.0),
        ([0.5, 0.6, 0.7, 0.9], "accuracy", False, 0.9, 0.5),
        ([0.01, 0.1, 0.5, 0.9], "accuracy", True, 0.9, 0.01),
        ([0.25, 0.25], "brier", False, 0.25, 0.275),
    ],
)
def test_the_axis_goes_from_the_best_to_the_worst(
    values: list[float], objective: str, log: bool, best: float, edge: float
) -> None:
    study = summary((LR,), [record(n, value=value, lr=1e-3) for n, value in enumerate(values)], objective)
    scale = ValueScale.of(study)
    assert scale.log == log
    assert (scale.value(0), scale.value(1)) == (pytest.approx(best), pytest.approx(edge))
    assert scale.shares(values).min() == 0


def test_slices_and_parallel_lines_stand_at_the_values_places() -> None:
    values = [
        {"lr": 1e-3, "hidden_size": 64, "normalisation": "none"},
        {"lr": 1e-1, "hidden_size": 512, "normalisation": "last"},
    ]
    records = [record(n, value=n + 1.0, **row) for n, row in enumerate(values)]
    study = summary((LR, SIZE, NORMALISATION), records)
    panels = slice_figure(study).axes
    assert [panel.get_xlabel() for panel in panels[:3]] == ["lr", "hidden_size", "normalisation"]
    (points,) = (line for line in panels[0].lines if line.get_marker() == "o")
    assert list(points.get_xdata()) == pytest.approx([0.5, 1.0])
    axes = parallel_figure(study).axes[0]
    (best,) = (line for line in axes.lines if line.get_color() == BEST_COLOUR)
    assert list(best.get_ydata()) == pytest.approx([0.5, SIZE.to_unit(64), 0.625, 0.0])
    assert best.get_linewidth() > max(axes.collections[0].get_linewidths())
    assert len(axes.collections[0].get_segments()) == 2


def test_a_trial_that_never_got_its_values_is_left_out() -> None:
    study = summary((LR, SIZE), [record(0, "killed", None), record(1, lr=1e-2, hidden_size=32)])
    assert len(dict(draw_all(study))) == 4


def test_a_contour_shows_the_two_numbers_that_mattered_most() -> None:
    study = search(20, (NORMALISATION, LR, SIZE, MANY[4]))
    shares = {"normalisation": 0.6, "dropout": 0.3, "hidden_size": 0.08, "lr": 0.02}
    axes = contour_figure(StudySummary(**{**vars(study), "importances": shares})).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("dropout", "hidden_size")
    assert len(axes.images) == 1
    assert not contour_figure(search(8, (LR, SIZE))).axes[0].images, "few trials have no background"


def test_the_background_is_white_far_from_every_trial() -> None:
    grid = _background(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.2, 0.9]))
    assert grid[0, 0] == pytest.approx(0.2, abs=0.01) and grid[-1, -1] == pytest.approx(0.9, abs=0.01)
    assert np.isnan(grid[0, -1]) and np.isnan(grid[-1, 0])


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        (summary((LR, SIZE), []), set()),
        (summary((LR, SIZE), [record(0, "failed", None, lr=1e-3, hidden_size=64)]), set()),
        (summary((LR,), [record(0, lr=1e-3)]), {"history", "slices"}),
        (
            summary((NORMALISATION, LR), [record(0, lr=1e-3, normalisation="none")]),
            {"history", "slices", "parallel_coordinates"},
        ),
        (search(12, (LR, SIZE)), {"history", "slices", "importances", "parallel_coordinates", "contour"}),
    ],
    ids=["no trial", "only failed", "one dimension", "one number", "all"],
)
def test_only_figures_with_something_to_show_are_drawn(study: StudySummary, expected: set[str]) -> None:
    assert {tag.removeprefix("study/") for tag, _ in drawn(study)} == expected


def drawn(study: StudySummary) -> Iterator[tuple[str, Figure]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tag, figure in draw_all(study):
            figure.canvas.draw()
            yield tag, figure


def test_values_that_are_all_zero_can_be_drawn() -> None:
    records = [record(n, value=0.0, lr=1e-3, hidden_size=64 + n) for n in range(12)]
    assert len(list(drawn(summary((LR, SIZE), records)))) == 5
