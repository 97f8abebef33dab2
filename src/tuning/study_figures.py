"""Figures of a study: how it went, which hyperparameters mattered, and where the good values lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..tracking.tag_tables import studies as tags
from .config import PHASE_TITLES, PHASES
from .reports import TrialRecord
from .study_summary import StudySummary, best_so_far, shown
from .value_scale import ValueScale, value_of, valued

if TYPE_CHECKING:
    from .dimension import Dimension

# Blue, vermilion and green of Okabe and Ito (2008), "Color Universal Design".
PHASE_COLOURS = dict(zip(PHASES, ("#0072B2", "#D55E00", "#009E73"), strict=True))
BEST_COLOUR = "#D62728"
COLOURS = "viridis"  # its dark end for the best, so that the poor fade on white
LONGEST_NAME = 26  # letters of a name that are shown
FEWEST_FOR_BACKGROUND = 10  # trials from which on a contour has a background
REACH = 0.1  # of a trial in it: the standard deviation of its weight, as a share of each axis
NEXT_TO_NOTHING = 0.1  # summed weight of trials below which the background stays white
MOST_NAMED = 8  # whole numbers that an axis names one by one
GRID = 60  # points of the background along each axis
AT_THE_EDGE = 1.09  # where what has no place on the axis stands, as a share of the way from the best to the edge
FAILED, BEYOND = "failed", "far worse"


def draw_all(summary: StudySummary) -> Iterator[tuple[str, Figure]]:
    """The figures that have something to show, with their tags, one after the other.

    Nothing while no trial has a value. Failed trials have a place where they have one without a value.
    """
    if not valued(summary.records):
        return
    yield tags.HISTORY_IMAGE, history_figure(summary)
    yield tags.SLICE_IMAGE, slice_figure(summary)
    if summary.importances:
        yield tags.IMPORTANCE_IMAGE, importance_figure(summary)
    if len(summary.space.dimensions) > 1:
        yield tags.PARALLEL_IMAGE, parallel_figure(summary)
    if len(_most_important_numbers(summary)) == 2:
        yield tags.CONTOUR_IMAGE, contour_figure(summary)


def history_figure(summary: StudySummary) -> Figure:
    """The objective of every trial in the order in which they ended, with the best so far and the phases."""
    figure = _figure(6.4, 4.2)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.13, right=0.97, top=0.92, bottom=0.25)
    records, scale = summary.records, ValueScale.of(summary)
    _scatter(axes, np.arange(1, len(records) + 1), records, scale)
    completed = [record.value if record.status == "completed" else None for record in records]
    line = best_so_far(completed, summary.objective)
    axes.step(range(1, len(line) + 1), line, where="post", color="black", linewidth=1.2, zorder=2)
    order = [record.phase for record in records]
    for phase in PHASES[1:]:
        if phase in order and order.index(phase):
            axes.axvline(order.index(phase) + 0.5, color="grey", linestyle="--", linewidth=0.9, zorder=1)
    axes.set_title(f"{summary.model}: every trial", fontsize=11, parse_math=False)
    axes.set_xlabel("trials that have ended")
    axes.set_ylabel(summary.unit)
    axes.set_xlim(0, len(records) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    scale.set_axis(axes)
    _finish(axes)
    line_style = Line2D([], [], color="black", linewidth=1.2, label="best so far")
    _legend(figure, [*_point_styles(records, scale), line_style])
    return figure


def slice_figure(summary: StudySummary) -> Figure:
    """The objective against each hyperparameter, a panel each."""
    dimensions, scale = summary.space.dimensions, ValueScale.of(summary)
    across = min(len(dimensions), 3 if len(dimensions) <= 6 else 4)
    down = math.ceil(len(dimensions) / across)
    width, height = max(6.4, 2.6 * across), 0.9 + 2.1 * down
    figure = _figure(width, height)
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    figure.subplots_adjust(
        left=0.9 / width, right=1 - 0.2 / width, top=1 - 0.4 / height, bottom=1.05 / height, hspace=0.5, wspace=0.1
    )
    for panel, dimension in zip(panels, dimensions, strict=False):
        records = [record for record in summary.records if dimension.name in record.hyperparameters]
        _scatter(panel, _places(dimension, records), records, scale, small=True)
        _scatter_best(panel, _places(dimension, _only_best(summary)), summary, scale)
        _set_ticks(panel.xaxis, dimension)
        panel.set_xlim(-0.05, 1.05)
        panel.set_xlabel(_shortened(dimension.name), fontsize=9, labelpad=2, parse_math=False)
        scale.set_axis(panel)
        _finish(panel)
    for panel in panels[len(dimensions) :]:
        panel.set_visible(False)
    figure.supylabel(summary.unit, fontsize=10, x=0.12 / width)
    figure.suptitle(f"{summary.model}: each hyperparameter by itself", fontsize=11, y=1 - 0.12 / height)
    _legend(figure, [*_point_styles(summary.records, scale), *_best_style(summary)])
    return figure


def importance_figure(summary: StudySummary) -> Figure:
    """How much each hyperparameter mattered, as bars, the greatest on top."""
    names, shares = list(summary.importances), list(summary.importances.values())
    height, left = 1.1 + 0.28 * len(names), 0.35 + 0.085 * max(len(_shortened(name)) for name in names)
    figure = _figure(6.4, height)
    axes = figure.subplots()
    figure.subplots_adjust(left=left / 6.4, right=0.97, top=1 - 0.4 / height, bottom=0.5 / height)
    places = range(len(names))
    axes.barh(places, shares, color=PHASE_COLOURS["random"], height=0.65)
    for place, share in zip(places, shares, strict=True):
        axes.annotate(
            f"{100 * share:.0f} %", (share, place), (4, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks(places, [_shortened(name) for name in names], fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(shares))
    axes.set_xticks([])
    axes.set_xlabel("share of all importances (PED-ANOVA): a rough guide", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title(f"{summary.model}: what mattered", fontsize=11, parse_math=False)
    return figure


def contour_figure(summary: StudySummary) -> Figure:
    """The objective over the two numeric hyperparameters that mattered most.

    The background is the mean of the trials around, by a Gaussian kernel, and white where there are none: the other
    hyperparameters differ from trial to trial, so it is no surface.
    """
    across, down = _most_important_numbers(summary)
    scale = ValueScale.of(summary)
    records = valued(record for record in summary.records if across.name in record.hyperparameters)
    x, y = _places(across, records), _places(down, records)
    shares = scale.shares([value_of(record) for record in records])
    figure = _figure(6.4, 5.0)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.15, right=0.98, top=0.92, bottom=0.2)
    if len(records) >= FEWEST_FOR_BACKGROUND:
        image: dict[str, Any] = {"cmap": COLOURS, "vmin": 0, "vmax": 1, "alpha": 0.45, "interpolation": "bilinear"}
        axes.imshow(_background(x, y, shares), origin="lower", extent=(0, 1, 0, 1), aspect="auto", zorder=0, **image)
    _scatter_by_value(axes, x, y, records, shares)
    best = _only_best(summary)
    axes.scatter(_places(across, best), _places(down, best), s=150, marker="*", color=BEST_COLOUR, ec="white", zorder=4)
    for axis, dimension in ((axes.xaxis, across), (axes.yaxis, down)):
        _set_ticks(axis, dimension)
        axis.set_label_text(_shortened(dimension.name), parse_math=False)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.04, 1.04)
    axes.set_title(f"{summary.model}: two hyperparameters together", fontsize=11, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    goes_on = any(scale.is_beyond(value_of(record)) for record in records)
    _colour_bar(figure, axes, scale, summary.unit, goes_on=goes_on)
    _legend(figure, [*_fill_styles(records), *_best_style(summary)])
    return figure


def parallel_figure(summary: StudySummary) -> Figure:
    """A line a trial through all hyperparameters to the objective, coloured by it; the best is thick."""
    dimensions, scale = summary.space.dimensions, ValueScale.of(summary)
    names = {dimension.name for dimension in dimensions}
    records = [record for record in valued(summary.records) if names <= record.hyperparameters.keys()]
    width, height = max(6.4, 1.6 + 1.05 * len(dimensions)), 5.0
    figure = _figure(width, height)
    axes = figure.subplots()
    labels = [_shortened(name) for name in (*(dimension.name for dimension in dimensions), summary.objective)]
    room = 0.55 + 0.033 * max(map(len, labels))  # inches above the axes: title, and names that stand aslant
    figure.subplots_adjust(left=0.3 / width, right=1 - 1.3 / width, top=1 - room / height, bottom=0.13)
    shares = scale.shares([value_of(record) for record in records])
    last = 1 - shares if summary.maximize else shares
    heights = np.column_stack([*(_places(dimension, records) for dimension in dimensions), last])
    _draw_lines(axes, summary, records, heights, shares)
    for column, dimension in enumerate(dimensions):
        _draw_axis(axes, column, [(dimension.to_unit(value), text) for value, text in _ticks(dimension)])
    ends = [(share, scale.label(1 - share if summary.maximize else share)) for share in (0.0, 0.5, 1.0)]
    _draw_axis(axes, len(dimensions), ends)
    axes.set_xticks(range(len(labels)), labels, rotation=25, ha="left", rotation_mode="anchor", fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(dimensions) + 0.1)
    axes.set_ylim(-0.03, 1.03)
    axes.spines[:].set_visible(False)
    figure.suptitle(f"{summary.model}: every trial through all hyperparameters", fontsize=11, y=1 - 0.1 / height)
    styles = [Line2D([], [], color=colormaps[COLOURS](0.4), linewidth=1.4, label="completed, the darker the better")]
    if any(record.status != "completed" for record in records):
        styles.append(Line2D([], [], color="grey", linewidth=0.9, linestyle=":", label="pruned"))
    if _only_best(summary):
        styles.append(Line2D([], [], color=BEST_COLOUR, linewidth=2.6, label="best"))
    _legend(figure, styles)
    return figure


# ---- hyperparameters ----


def _places(dimension: Dimension, records: Sequence[TrialRecord]) -> np.ndarray:
    """Where the trials stand in the dimension's range, from 0 to 1."""
    places = [dimension.to_unit(record.hyperparameters[dimension.name]) for record in records]
    return np.clip(np.array(places, dtype=float), 0, 1)


def _ticks(dimension: Dimension) -> list[tuple[Any, str]]:
    """Values that are named on an axis: all of a few, else both ends and what lies between."""
    if dimension.choices:
        values = list(dimension.choices)
    elif dimension.kind == "int" and dimension.high - dimension.low < MOST_NAMED:  # type: ignore[operator]
        values = list(range(int(dimension.low or 0), int(dimension.high or 0) + 1))
    else:
        values = [dimension.low, dimension.from_unit(0.5), dimension.high]
        if dimension.kind == "int":
            values = [int(value) for value in values]
    return [(value, _shortened(shown(_rounded(value)), 9)) for value in values]


def _rounded(value: Any) -> Any:
    return float(f"{value:.2g}") if isinstance(value, float) else value


def _set_ticks(axis: Any, dimension: Dimension) -> None:
    ticks = _ticks(dimension)
    labels = [text for _, text in ticks]
    is_tight = axis.axis_name == "x" and sum(map(len, labels)) > 18
    slant = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if is_tight else {}
    axis.set_ticks([dimension.to_unit(value) for value, _ in ticks], labels, fontsize=8, parse_math=False, **slant)


def _most_important_numbers(summary: StudySummary) -> list[Dimension]:
    """Two numeric dimensions: those that mattered most, or the first ones while that is not known."""
    numbers = [dimension for dimension in summary.space.dimensions if dimension.kind != "choice"]
    return sorted(numbers, key=lambda dimension: -summary.importances.get(dimension.name, 0.0))[:2]


def _background(x: np.ndarray, y: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """``[down, across]``: the mean of the trials around each point, weighted by a Gaussian; NaN far from all."""
    grid = np.linspace(0, 1, GRID)
    weights_x = np.exp(-((grid[:, None] - x) ** 2) / (2 * REACH**2))  # [across, trial]
    weights_y = np.exp(-((grid[:, None] - y) ** 2) / (2 * REACH**2))
    total = weights_y @ weights_x.T
    mean = (weights_y * shares) @ weights_x.T / np.maximum(total, 1e-300)
    return np.where(total >= NEXT_TO_NOTHING, mean, np.nan)


# ---- drawing ----


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    return figure


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _scatter(
    axes: Any, places: np.ndarray, records: Sequence[TrialRecord], scale: ValueScale, *, small: bool = False
) -> None:
    """Trials as points: their colour is the phase, their marker how they ended."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for place, record in zip(places, records, strict=True):
        how = _how(record, scale)
        height = scale.value(AT_THE_EDGE) if how in (FAILED, BEYOND) else value_of(record)
        groups.setdefault((record.phase, how), []).append((place, height))
    for (phase, how), points in groups.items():
        style = _marker(how, PHASE_COLOURS.get(phase, "grey"), scale)
        axes.plot(*zip(*points, strict=True), linestyle="", **style | {"markersize": 4 if small else 5.5})


def _scatter_by_value(
    axes: Any, x: np.ndarray, y: np.ndarray, records: Sequence[TrialRecord], shares: np.ndarray
) -> None:
    """Trials with a value as points, coloured by it; hollow are the pruned."""
    colours = colormaps[COLOURS](shares)
    for status, hollow in (("pruned", True), ("completed", False)):
        chosen = np.array([record.status == status for record in records])
        axes.scatter(
            x[chosen],
            y[chosen],
            s=34,
            facecolors="white" if hollow else colours[chosen],
            edgecolors=colours[chosen] if hollow else "white",
            linewidths=1.6 if hollow else 0.7,
            zorder=3,
        )


def _how(record: TrialRecord, scale: ValueScale) -> str:
    """How a trial ended, as far as it is drawn differently."""
    if not valued([record]):
        return FAILED
    if scale.is_beyond(value_of(record)):
        return BEYOND
    return record.status


def _marker(how: str, colour: str, scale: ValueScale) -> dict[str, Any]:
    marker = {FAILED: "x", BEYOND: "v" if scale.sign < 0 else "^"}.get(how, "o")
    face = colour if how == "completed" else "white"
    return {"marker": marker, "markerfacecolor": face, "markeredgecolor": colour, "markeredgewidth": 1.1, "zorder": 3}


def _scatter_best(axes: Any, places: np.ndarray, summary: StudySummary, scale: ValueScale) -> None:
    values = [value_of(record) for record in _only_best(summary)]
    axes.scatter(places, values, s=90, marker="*", color=BEST_COLOUR, edgecolors="white", linewidths=0.6, zorder=4)


def _only_best(summary: StudySummary) -> list[TrialRecord]:
    return [] if summary.best_record is None else [summary.best_record]


def _point_styles(records: Sequence[TrialRecord], scale: ValueScale) -> list[Line2D]:
    """What the legend says of points."""
    phases = {record.phase for record in records}
    styles = [
        Line2D([], [], linestyle="", marker="o", color=PHASE_COLOURS[phase], label=PHASE_TITLES[phase])
        for phase in PHASES
        if phase in phases
    ]
    found = {_how(record, scale) for record in records}
    others = (how for how in ("pruned", BEYOND, FAILED) if how in found)
    return styles + [Line2D([], [], linestyle="", label=how, **_marker(how, "grey", scale)) for how in others]


def _fill_styles(records: Sequence[TrialRecord]) -> list[Line2D]:
    """What the legend says of points that are coloured by the objective."""
    faces = {"completed": "grey", "pruned": "white"}
    style: dict[str, Any] = {"linestyle": "", "marker": "o", "markeredgecolor": "grey", "markeredgewidth": 1.4}
    found = {record.status for record in records}
    return [Line2D([], [], markerfacecolor=face, label=s, **style) for s, face in faces.items() if s in found]


def _best_style(summary: StudySummary) -> list[Line2D]:
    if not _only_best(summary):
        return []
    return [Line2D([], [], linestyle="", marker="*", markersize=11, color=BEST_COLOUR, mec="white", label="best")]


def _legend(figure: Figure, styles: Sequence[Line2D]) -> None:
    """Below everything, where it covers nothing."""
    across = len(styles) if figure.get_figwidth() > 9 or len(styles) <= 4 else 4
    figure.legend(
        handles=list(styles),
        loc="lower center",
        ncols=across,
        fontsize=9,
        frameon=False,
        handletextpad=0.4,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def _colour_bar(figure: Figure, axes: Any, scale: ValueScale, unit: str, *, goes_on: bool) -> None:
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), ax=axes, pad=0.02, extend="max" if goes_on else "neither")
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1.0], labels=[scale.label(share) for share in (0, 0.25, 0.5, 0.75, 1.0)])
    bar.set_label(unit)
    bar.ax.invert_yaxis()
    bar.ax.tick_params(labelsize=8)


def _draw_lines(
    axes: Any, summary: StudySummary, records: Sequence[TrialRecord], heights: np.ndarray, shares: np.ndarray
) -> None:
    """Lines of trials; ``heights`` is ``[trial, axis]``. The better are on top, and the best on top of all."""
    columns = np.arange(heights.shape[1])
    order = sorted(range(len(records)), key=lambda row: -shares[row])
    lines = [np.column_stack([columns, heights[row]]) for row in order]
    completed = [records[row].status == "completed" for row in order]
    axes.add_collection(
        LineCollection(
            lines,
            colors=colormaps[COLOURS](shares[order]),
            linewidths=[1.3 if is_completed else 0.9 for is_completed in completed],
            linestyles=["-" if is_completed else ":" for is_completed in completed],
            alpha=0.75,
        )
    )
    best = [row for row, record in enumerate(records) if record.number == summary.best]
    for row in best:
        axes.plot(columns, heights[row], color=BEST_COLOUR, linewidth=2.6, zorder=3)


def _draw_axis(axes: Any, column: int, ticks: Sequence[tuple[float, str]]) -> None:
    """A vertical axis with a few values beside it."""
    axes.axvline(column, color="black", linewidth=0.8, zorder=2)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
    for height, text in ticks:
        axes.plot([column - 0.02, column + 0.02], [height, height], color="black", linewidth=0.8, zorder=4)
        axes.annotate(
            text,
            (column, height),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            bbox=box,
            zorder=5,
            parse_math=False,
        )


def _shortened(text: str, length: int = LONGEST_NAME) -> str:
    """Without the middle of a text that is too long."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"
