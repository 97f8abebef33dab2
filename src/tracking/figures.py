"""Figures for TensorBoard's IMAGES tab, drawn without a display and without global state."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

FEW_TICKS = 4


def forecast_figure(
    dates: np.ndarray,
    actual: np.ndarray,
    forecast: np.ndarray,
    naive: np.ndarray | None,
    title: str,
    unit: str,
    again: Figure | None = None,
    interval: np.ndarray | None = None,
) -> Figure:
    """One-step forecasts against the truth over time, and their errors below.

    Args:
        dates: ``[windows]``, datetime64.
        actual, forecast, naive: ``[windows]`` in original units; ``naive`` may be None.
        title: heading.
        unit: what the vertical axis shows.
        again: what this function returned before, to draw in once more: that takes half the time.
        interval: ``[2, windows]``, bounds of the 90 % intervals, if the model gives any.
    """
    figure = _figure(2, (3, 1), again)
    upper, lower = figure.axes
    if interval is not None:
        upper.fill_between(dates, *interval, color="tab:orange", alpha=0.2, linewidth=0, label="90 % interval")
    upper.plot(dates, actual, color="black", linewidth=1.2, label="actual")
    upper.plot(dates, forecast, color="tab:orange", linewidth=1.2, label="forecast")
    upper.set_ylabel(unit)
    lower.axhline(0, color="black", linewidth=0.6)
    if naive is not None:
        lower.fill_between(dates, naive - actual, color="tab:blue", alpha=0.4, linewidth=0, label="of naive")
    lower.plot(dates, forecast - actual, color="tab:orange", linewidth=1, label="of the forecast")
    lower.set_ylabel("error")
    if naive is not None:
        lower.legend(loc="lower left", fontsize=8, frameon=False, ncols=2)
    _finish(figure, title)
    return figure


def horizon_figure(
    history: list[np.ndarray],
    actual: list[np.ndarray],
    forecast: list[np.ndarray],
    title: str,
    unit: str,
    again: Figure | None = None,
    interval: np.ndarray | None = None,
) -> Figure:
    """Several windows side by side: the end of the look-back window, then forecast and truth over the horizon.

    Args:
        history: per window ``[time]``, the newest values last.
        actual, forecast: per window ``[horizon]``.
        title: heading.
        unit: what the vertical axis shows.
        again: as in ``forecast_figure``.
        interval: ``[2, windows, horizon]``, bounds of the 90 % intervals, if the model gives any.
    """
    figure = _figure(len(history), tuple(1 for _ in history), again)
    for number, (axes, past, truth, guess) in enumerate(zip(figure.axes, history, actual, forecast, strict=True)):
        steps = np.arange(1, len(truth) + 1)
        if interval is not None:
            bounds = interval[:, number]
            axes.fill_between(steps, *bounds, color="tab:orange", alpha=0.2, linewidth=0, label="90 % interval")
        axes.plot(np.arange(-len(past) + 1, 1), past, color="grey", linewidth=1, label="look-back window")
        axes.plot(steps, truth, color="black", linewidth=1.2, label="actual")
        axes.plot(steps, guess, color="tab:orange", linewidth=1.2, label="forecast")
        axes.set_ylabel(unit)
    figure.axes[-1].set_xlabel("steps ahead")
    _finish(figure, title)
    return figure


def probability_figure(
    dates: np.ndarray, up: np.ndarray, probability: np.ndarray, title: str, again: Figure | None = None
) -> Figure:
    """Predicted probability of "up" over time, coloured by what happened; all arrays ``[windows]``."""
    figure = _figure(1, (1,), again)
    (axes,) = figure.axes
    for happened, colour, label in ((True, "tab:green", "went up"), (False, "tab:red", "did not")):
        chosen = up.astype(bool) == happened
        axes.scatter(dates[chosen], probability[chosen], s=9, color=colour, label=label)
    axes.axhline(0.5, color="black", linewidth=0.6)
    axes.set_ylabel("probability of up")
    _finish(figure, title)
    return figure


def confusion_figure(confusion: np.ndarray, classes: tuple[str, ...], title: str) -> Figure:
    """How often each class was taken for which: counts, and coloured by the share of the class that happened.

    Args:
        confusion: ``[classes, classes]``, rows what happened, columns what was said.
        classes: their names.
        title: heading.
    """
    figure = _figure(1, (1,))
    (axes,) = figure.axes
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(confusion.shape):
        share = shares[row, column]
        text = f"{confusion[row, column]:,}\n{100 * share:.1f} %"
        axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.5 else "black")
    places = range(len(classes))
    axes.set_xticks(places, [f"said {name}" for name in classes])
    axes.set_yticks(places, [f"was {name}" for name in classes])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=11)
    return figure


def _figure(rows: int, heights: tuple[int, ...], again: Figure | None = None) -> Figure:
    """Axes in one column, of a size at which text stays readable in TensorBoard's small cards.

    The margins are fixed: finding the best ones would draw everything a second time, in the middle of a training.
    """
    if again is not None:
        for axes in again.axes:
            for artist in (*axes.lines, *axes.collections):
                artist.remove()
            axes.set_prop_cycle(None)
            axes.relim()
        return again
    height = 2.4 + 1.2 * rows
    figure = Figure(figsize=(6.4, height), dpi=100)
    FigureCanvasAgg(figure)
    figure.subplots(rows, 1, sharex=True, height_ratios=heights)
    figure.subplots_adjust(left=0.13, right=0.97, top=1 - 0.35 / height, bottom=0.5 / height, hspace=0.1)
    return figure


def _finish(figure: Figure, title: str) -> None:
    figure.axes[0].set_title(title, fontsize=11)
    for axes in figure.axes:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_locator(MaxNLocator(FEW_TICKS))  # every tick takes its share of a training's time
        if isinstance(axes.xaxis.get_major_locator(), AutoDateLocator):
            locator = AutoDateLocator(maxticks=FEW_TICKS + 1)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    figure.axes[0].legend(loc="upper left", fontsize=10, frameon=False)
