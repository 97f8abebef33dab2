"""Figures of what a model's certainty is worth, drawn without a display and without global state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..metrics.calibration import ReliabilityBins

FEW_TICKS = 4
FEW_LINES = 3
POINTS = 1000
STEADY = 0.05
"""From this coverage on a curve of risks rests on enough samples to decide how high the axis reaches."""


def reliability_figure(bins: ReliabilityBins, title: str, error: float | None = None) -> Figure:
    """How often a model is right against how sure it is, and below how often it is that sure.

    Blue is the accuracy of a bin; red reaches from there to the mean confidence of the bin, up where the model is too
    sure, down where it is not sure enough.

    Args:
        bins: from ``reliability_bins``.
        title: heading.
        error: expected calibration error, from 0 to 1, for the heading; None to leave it out.
    """
    lower, upper, count, confidence, accuracy = (_array(values) for values in bins)
    figure = _figure((3, 1))
    above, below = figure.axes
    filled = count > 0
    places = {"x": lower[filled], "width": (upper - lower)[filled], "align": "edge", "linewidth": 0.6}
    above.bar(height=accuracy[filled], color="tab:blue", alpha=0.7, edgecolor="white", label="accuracy", **places)
    gap = confidence[filled] - accuracy[filled]
    above.bar(
        bottom=accuracy[filled], height=gap, color="tab:red", alpha=0.3, edgecolor="tab:red", label="gap", **places
    )
    above.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="perfect calibration")
    above.set_ylabel("accuracy")
    above.set_ylim(0, 1.02)
    above.set_yticks(np.linspace(0, 1, 6))
    below.bar(height=count[filled], color="tab:gray", alpha=0.7, edgecolor="white", **places)
    below.set_ylabel("samples")
    below.set_xlabel("confidence")
    below.set_xlim(0, 1)
    below.yaxis.set_major_locator(MaxNLocator(FEW_TICKS, integer=True))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _finish(figure, title if error is None else f"{title} (ECE {100 * error:.1f} %)")
    above.legend(loc="upper left", fontsize=9, frameon=False)
    return figure


def risk_coverage_figure(curves: Mapping[str, tuple[Any, Any]], title: str) -> Figure:
    """Mean error of the most certain answers against their share, one line for each name.

    The axis reaches as high as the risks from a coverage of 5 % on; before, a single wrong answer can be all of it.

    Args:
        curves: name to (coverage, risk), ``[samples]`` each, from ``risk_coverage``. The names are the legend, so they
            can say the area too.
        title: heading.
    """
    figure = _figure((1,))
    (axes,) = figure.axes
    highest = 0.0
    for name, (coverage, risk) in curves.items():
        shares, risks = _array(coverage), _array(risk)
        shown = np.unique(np.linspace(0, len(risks) - 1, POINTS).astype(int)) if len(risks) > POINTS else slice(None)
        axes.plot(shares[shown], risks[shown], linewidth=1.4, label=name)
        steady = risks[(shares >= STEADY) & np.isfinite(risks)]
        highest = max(highest, steady.max(initial=0))
    axes.set_xlim(0, 1)
    rows = len(curves) if len(curves) <= FEW_LINES else (len(curves) + 1) // 2
    axes.set_ylim(0, highest / (0.95 - min(0.08 * rows, 0.6)) if highest > 0 else 1)  # room for the legend
    axes.yaxis.set_major_locator(MaxNLocator(FEW_TICKS))
    axes.set_xlabel("coverage: share of samples answered, the most certain first")
    axes.set_ylabel("risk")
    _finish(figure, title)
    if curves:
        axes.legend(loc="upper left", fontsize=9, frameon=False, ncols=1 if len(curves) <= FEW_LINES else 2)
    return figure


def _figure(heights: tuple[int, ...]) -> Figure:
    """Axes in one column, of the size and with the fixed margins of ``tracking.figures``."""
    height = 2.6 + 1.2 * len(heights)
    figure = Figure(figsize=(6.4, height), dpi=100)
    FigureCanvasAgg(figure)
    figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    figure.subplots_adjust(left=0.13, right=0.97, top=1 - 0.35 / height, bottom=0.55 / height, hspace=0.12)
    return figure


def _finish(figure: Figure, title: str) -> None:
    figure.axes[0].set_title(title, fontsize=11)
    for axes in figure.axes:
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
