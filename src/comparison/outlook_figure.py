"""A figure of what was and of what is forecast to come, one panel per series and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_PANELS = 12
MOST_PATHS = 100


@dataclass(frozen=True)
class Outlook:
    """One series and target.

    Attributes:
        title: heading of the panel.
        history_dates, history: ``[window]``, the newest last.
        dates: ``datetime64`` ``[horizon]``, what is forecast.
        forecasts: by model, ``[horizon]`` in original units, or probabilities of up.
        intervals: by model, ``[2, horizon]``, bounds of 90 % intervals, for those that give any.
        paths: by model, ``[paths, horizon]``, scenarios, for those that draw some.
    """

    title: str
    history_dates: np.ndarray
    history: np.ndarray
    dates: np.ndarray
    forecasts: Mapping[str, np.ndarray]
    intervals: Mapping[str, np.ndarray] = field(default_factory=dict)
    paths: Mapping[str, np.ndarray] = field(default_factory=dict)


def draw_outlooks(outlooks: Sequence[Outlook], title: str, *, probabilities: bool) -> bytes:
    """A PNG image of the first twelve outlooks.

    Args:
        outlooks: what to draw.
        title: heading.
        probabilities: whether the forecasts are probabilities of up, which get an axis of their own.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    shown = outlooks[:MOST_PANELS]
    across = 1 if len(shown) <= 3 else 3
    down = -(-len(shown) // across)
    figure = Figure(figsize=(9 if across == 1 else 14, 1.2 + 3.2 * down), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, outlook in zip(figure.subplots(down, across, squeeze=False).ravel(), shown, strict=False):
        panel.plot(outlook.history_dates, outlook.history, color="black", linewidth=1.1, label="history")
        drawn = panel.twinx() if probabilities else panel
        _draw_forecasts(drawn, outlook, probabilities)
        panel.set_title(outlook.title, fontsize=11)
        panel.grid(alpha=0.25)
        locator = AutoDateLocator(minticks=3, maxticks=7)
        panel.xaxis.set_major_locator(locator)
        panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for empty in figure.axes[len(shown) : down * across]:
        empty.set_visible(False)
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    left_out = f" (the first {MOST_PANELS} of {len(outlooks)})" if len(outlooks) > MOST_PANELS else ""
    figure.suptitle(title + left_out, fontsize=12)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _draw_forecasts(axes: Any, outlook: Outlook, probabilities: bool) -> None:
    for number, (name, values) in enumerate(outlook.forecasts.items()):
        line = "-" if number < 9 else "--"
        style: dict[str, Any] = {"color": f"C{number % 9 + 1}", "linestyle": line, "linewidth": 1.4, "label": name}
        if probabilities:
            axes.plot(outlook.dates, values, marker="o", markersize=4, **style)
        else:  # from the last known value on, so that the line is joined to history
            dates = np.concatenate([outlook.history_dates[-1:], outlook.dates])
            marker = "o" if len(values) == 1 else ""
            if name in outlook.intervals:
                last = outlook.history[-1:]
                bounds = [np.concatenate([last, bound]) for bound in outlook.intervals[name]]
                axes.fill_between(dates, *bounds, color=style["color"], alpha=0.2, linewidth=0)
            for path in outlook.paths.get(name, ())[:MOST_PATHS]:
                axes.plot(dates, np.concatenate([outlook.history[-1:], path]), color=style["color"], alpha=0.25, lw=0.7)
            axes.plot(dates, np.concatenate([outlook.history[-1:], values]), marker=marker, markersize=3, **style)
    if probabilities:
        axes.axhline(0.5, color="grey", linewidth=0.6)
        axes.set_ylim(0, 1)
        axes.set_ylabel("probability of up")
