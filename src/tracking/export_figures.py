"""Curves as figures fit to print: one figure a tag, one column of a paper wide, the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .event_reader import Curve
from .tags import spec_of

FIGURE_FORMATS = ("png", "svg", "pdf")
MOST_NAMED = 14
"""Lines that can still be told apart, by seven colours and two kinds of line; of more, none is named."""

# Okabe and Ito (2008), "Color Universal Design", without the yellow, which vanishes on white paper.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_LINES = ("-", (0, (4, 1.5)))
_WIDTH = 3.5  # inches: one column of a two-column page
_FEW_POINTS = 12  # so few are marked
_MOST_ROWS = 40
_MOST_VECTOR_POINTS = 50_000
_SEED = re.compile(r"(?:^|/)seed_\d+$")
_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,  # outlines instead of bitmaps, which publishers refuse
    "svg.hashsalt": "trainboard",  # else the names inside an SVG file are random
    "axes.formatter.limits": (-4, 5),
    "path.simplify": True,
}
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class FigureStyle:
    """How curves are drawn.

    Attributes:
        smoothing: weight of what came before, from 0 (none) to less than 1, as TensorBoard's slider has it: an
            exponential moving average, corrected for its start. The raw curve stays visible, faintly.
        logarithmic: a logarithmic vertical axis where all values of a tag are positive and span a factor of ten.
        resolution: dots per inch of a PNG file.
    """

    smoothing: float = 0.0
    logarithmic: bool = False
    resolution: int = 300


@dataclass
class FigureData:
    """What is needed to draw: by tag and run, finite values over steps."""

    series: dict[str, dict[str, pd.Series]] = field(default_factory=dict)

    def add(self, run: str, curves: Mapping[str, Curve]) -> None:
        """Take in the curves of a run; of several points of one step the last one is drawn."""
        for tag, curve in curves.items():
            line = pd.Series(np.array(curve.values), index=np.array(curve.steps))
            line = line[~line.index.duplicated(keep="last")].sort_index()
            self.series.setdefault(tag, {})[run] = line.where(np.isfinite(line))

    def tags(self) -> list[str]:
        """Those that have something to draw: at least one finite value."""
        return [tag for tag, runs in self.series.items() if any(line.notna().any() for line in runs.values())]

    def draw(self, tag: str, style: FigureStyle | None = None) -> Any:
        """The ``matplotlib`` figure of one tag; the seeds of a model become their mean with a band."""
        import matplotlib

        groups: dict[str, list[pd.Series]] = {}
        for run, line in self.series[tag].items():
            groups.setdefault(_group_of(run), []).append(line)
        known = list(dict.fromkeys(_group_of(run) for runs in self.series.values() for run in runs))
        places = known if len(known) <= MOST_NAMED else list(groups)
        names = _short_names(list(groups))
        lines = [
            _Line(seeds, name, places.index(group)) for name, (group, seeds) in zip(names, groups.items(), strict=True)
        ]
        with matplotlib.rc_context(_SETTINGS):
            return _draw(tag, lines, style or FigureStyle())


@dataclass(frozen=True)
class _Line:
    """What has one colour: a run, or all seeds of a model."""

    seeds: list[pd.Series]
    name: str
    place: int

    @property
    def colour(self) -> str:
        """The same in all figures, as far as there are colours."""
        return _COLOURS[self.place % len(_COLOURS)]

    @property
    def dashes(self) -> Any:
        """The kind of line."""
        return _LINES[self.place // len(_COLOURS) % len(_LINES)]

    def shared(self) -> pd.DataFrame | None:
        """``[step, seed]`` at the steps that all seeds have; None if those are fewer than half of all steps."""
        shared = pd.concat(self.seeds, axis=1, join="inner")
        steps = len(set().union(*(seed.index for seed in self.seeds)))
        return shared if len(shared) * 2 >= steps else None

    def mean(self) -> pd.Series:
        """Over the seeds, at all steps that one of them has."""
        return pd.concat(self.seeds, axis=1).sort_index().mean(axis=1)


def save_figure(figure: Any, path: Path, resolution: int = 300) -> None:
    """Write a figure in the format that the suffix of ``path`` names; without dates, so that equal data is equal bytes.

    Args:
        figure: what ``FigureData.draw`` gave.
        path: the file.
        resolution: dots per inch of a PNG file.
    """
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(path, dpi=resolution, metadata=_METADATA[path.suffix[1:]])


def smooth(values: pd.Series, weight: float) -> pd.Series:
    """TensorBoard's smoothing: an exponential moving average divided by the sum of its weights; gaps stay gaps."""
    if weight == 0:
        return values
    return values.ewm(alpha=1 - weight, adjust=True, ignore_na=True).mean().where(values.notna())


# ---- what belongs together ----


def _group_of(run: str) -> str:
    """``x/lstm_basic/seed_3`` -> ``x/lstm_basic``."""
    return _SEED.sub("", run) or "."


def _short_names(names: Sequence[str]) -> list[str]:
    """Without the folders that all names share."""
    parts = [name.split("/") for name in names]
    shared = 0
    while len(parts) > 1 and all(len(part) > shared + 1 and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    return ["/".join(part[shared:]) for part in parts]


# ---- drawing ----


def _draw(tag: str, lines: Sequence[_Line], style: FigureStyle) -> Any:
    every = [seed for line in lines for seed in line.seeds]
    if all(len(seed) == 1 for seed in every):
        return _draw_single_values(tag, lines)
    figure, axes = _figure(2.25)
    # Many points make a vector file huge; as a picture inside it they look the same, and text stays text.
    as_picture = sum(map(len, every)) > _MOST_VECTOR_POINTS
    if len(lines) <= MOST_NAMED:
        for line in lines:
            _draw_line(axes, line, style, as_picture)
    else:
        _draw_crowd(axes, [line.mean() for line in lines], style, as_picture)
    _finish(axes, tag)
    _scale_axes(axes, every, style)
    _add_legend(figure, axes, lines)
    return figure


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _draw_line(axes: Any, line: _Line, style: FigureStyle, as_picture: bool) -> None:
    drawn, label, shared = line.seeds, line.name, None
    if len(line.seeds) > 1:
        label, shared = f"{line.name} ({len(line.seeds)} seeds)", line.shared()
    if shared is not None:
        label = f"{line.name} (mean of {len(line.seeds)} seeds)"
        drawn = [shared.mean(axis=1, skipna=False)]
        bounds = (smooth(bound(axis=1), style.smoothing) for bound in (shared.min, shared.max))
        axes.fill_between(shared.index, *bounds, color=line.colour, alpha=0.18, linewidth=0, zorder=1.4)
    for number, values in enumerate(drawn):
        if style.smoothing and len(values) > 1:
            faint = {"color": line.colour, "linewidth": 0.4, "alpha": 0.22, "rasterized": as_picture, "zorder": 1.5}
            axes.plot(values.index, values, **faint)
        axes.plot(
            values.index,
            smooth(values, style.smoothing),
            color=line.colour,
            linestyle=line.dashes,
            linewidth=1.1,
            marker="o" if len(values) <= _FEW_POINTS else "",
            markersize=2.2 if len(values) > 1 else 4,
            label="_nolegend_" if number else label,
            rasterized=as_picture and not style.smoothing,
        )


def _draw_crowd(axes: Any, lines: Sequence[pd.Series], style: FigureStyle, as_picture: bool) -> None:
    """More lines than can be told apart: all of them faintly, with the median and the middle 80 percent."""
    lines = [smooth(line, style.smoothing) for line in lines]
    for line in lines:
        marker = "o" if len(line) == 1 else ""
        axes.plot(
            line.index, line, color="0.6", linewidth=0.4, alpha=0.5, marker=marker, markersize=2, rasterized=as_picture
        )
    frame = pd.concat(lines, axis=1).sort_index().interpolate(method="index", limit_area="inside")
    low, median, high = (frame.quantile(share, axis=1) for share in (0.1, 0.5, 0.9))
    label = f"median of {len(lines)} runs"
    axes.plot(frame.index, median, color=_COLOURS[0], linewidth=1.3, label=label, zorder=3)
    axes.fill_between(
        frame.index, low, high, color=_COLOURS[0], alpha=0.35, linewidth=0, label="middle 80 % of them", zorder=2.5
    )


def _draw_single_values(tag: str, lines: Sequence[_Line]) -> Any:
    """One value a run, such as a test result: a row for each, or all of them in order where there are too many."""
    from matplotlib.ticker import MaxNLocator

    values = [pd.concat(line.seeds).dropna().to_numpy() for line in lines]
    if len(lines) > _MOST_ROWS:
        figure, axes = _figure(2.25)
        ordered = sorted(number for row in values for number in row)
        axes.plot(range(1, len(ordered) + 1), ordered, "o", markersize=2, color=_COLOURS[0])
        _finish(axes, tag)
        axes.set_xlabel("runs, in the order of their values")
        return figure
    figure, axes = _figure(0.9 + 0.19 * len(lines))
    for row, (numbers, line) in enumerate(zip(values, lines, strict=True)):
        axes.plot(numbers, [row] * len(numbers), "o", markersize=2.5, color=line.colour, alpha=0.5)
        if len(numbers):
            axes.plot([numbers.min(), numbers.max()], [row, row], linewidth=1, color=line.colour, alpha=0.5)
            axes.plot(numbers.mean(), row, "D", markersize=4, color=line.colour)
    axes.set_yticks(range(len(lines)), [_plain(_shortened(line.name, 26)) for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    _finish(axes, tag)
    explained = "\n(dots: seeds, diamond: their mean)" if any(len(line.seeds) > 1 for line in lines) else ""
    axes.set_xlabel(f"{axes.get_ylabel()}{explained}")
    axes.set_ylabel("")
    return figure


def _finish(axes: Any, tag: str) -> None:
    spec = spec_of(tag)
    axes.figure.suptitle(_plain(_shortened(tag, 44)), fontsize=8)
    axes.set_xlabel(spec.axis if spec is not None else "step")
    axes.set_ylabel(_plain(spec.unit) if spec is not None and spec.unit else "value")
    axes.grid(alpha=0.3, linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)


def _scale_axes(axes: Any, every: Sequence[pd.Series], style: FigureStyle) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    if max(values.index.max() for values in every) >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    least, greatest = min(values.min() for values in every), max(values.max() for values in every)
    if style.logarithmic and least > 0 and greatest >= 10 * least:  # below that, a logarithmic axis has one label
        axes.set_yscale("log")


def _add_legend(figure: Any, axes: Any, lines: Sequence[_Line]) -> None:
    """Below the axes, where it covers nothing; the figure grows with it."""
    from matplotlib.patches import Patch

    handles, labels = axes.get_legend_handles_labels()
    if any("mean of" in label for label in labels):
        handles.append(Patch(facecolor="0.5", alpha=0.35, linewidth=0))
        labels.append("from the lowest to the highest seed")
    if len(lines) == 1 and len(lines[0].seeds) == 1:
        return
    across = 2 if max(map(len, labels)) <= 24 else 1
    figure.set_figheight(figure.get_figheight() + 0.15 * -(-len(labels) // across))
    names = [_plain(_shortened(label, 46)) for label in labels]
    figure.legend(
        handles, names, loc="outside lower center", ncols=across, frameon=False, handlelength=2.2, columnspacing=1.2
    )


def _shortened(text: str, length: int) -> str:
    """Without the middle of a text that is too long."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


def _plain(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")
