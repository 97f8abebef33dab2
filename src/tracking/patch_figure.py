"""The figure of patches: samples, where predictions of their features agree with the targets, and what was hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLES = 3
_SIDE = 2.6


def draw_patches(samples: np.ndarray, similarities: np.ndarray, masks: np.ndarray, title: str) -> Figure:
    """Three rows of a sample, a map of cosine similarities, and its mask.

    Args:
        samples: pictures ``[samples, rows, columns, channels]``, numbers from 0 to 1; or one channel of windows
            ``[samples, time]``.
        similarities: of predictions and targets at the finest level, ``[samples, patch rows, patch columns]``.
        masks: bool, likewise: what the context encoder did not see.
        title: heading.
    """
    from matplotlib.figure import Figure

    count = min(SAMPLES, len(samples))
    # In inches and by hand: to lay it out automatically takes as long as to draw it.
    width, height = 3 * _SIDE + 1.2, count * _SIDE + 0.7
    figure = Figure(figsize=(width, height))
    sides = {"left": 0.5 / width, "right": 1 - 0.95 / width, "bottom": 0.25 / height, "top": 1 - 0.65 / height}
    axes = figure.subplots(count, 3, squeeze=False, gridspec_kw={**sides, "wspace": 0.12, "hspace": 0.08})
    draw = _draw_picture if samples.ndim == 4 else _draw_window
    for row in range(count):
        draw(axes[row], samples[row], similarities[row], masks[row])
    if samples.ndim == 2:
        for axis in axes[-1]:
            axis.tick_params(labelbottom=True)
    for axis, heading in zip(axes[0], ("sample", "cosine similarity", "hidden from the context"), strict=True):
        axis.set_title(heading, fontsize=10)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(-1, 1), "RdYlGn")
    bar = figure.add_axes((1 - 0.8 / width, 0.25, 0.12 / width, 0.5))
    figure.colorbar(scale, cax=bar).set_label("similarity", fontsize=8)
    bar.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=11, y=1 - 0.15 / height)
    return figure


def _draw_picture(axes: list[Axes], picture: np.ndarray, similarity: np.ndarray, mask: np.ndarray) -> None:
    from matplotlib.patches import Patch

    height, width = picture.shape[:2]
    # Patches lie over the picture from its upper left corner; the last ones may reach beyond it.
    side = max(-(-height // mask.shape[0]), -(-width // mask.shape[1]))
    extent = (-0.5, mask.shape[1] * side - 0.5, mask.shape[0] * side - 0.5, -0.5)
    shown = picture[..., 0] if picture.shape[2] == 1 else picture
    axes[0].imshow(shown, cmap="gray", vmin=0, vmax=1)
    axes[1].imshow(similarity, cmap="RdYlGn", vmin=-1, vmax=1, extent=extent)
    axes[2].imshow(shown, cmap="gray", vmin=0, vmax=1)
    cover = np.zeros((*mask.shape, 4))
    cover[mask] = (0.12, 0.47, 0.71, 0.75)
    axes[2].imshow(cover, extent=extent, interpolation="nearest")
    axes[2].legend(
        handles=[Patch(color="tab:blue", alpha=0.75, label="hidden")], loc="lower right", fontsize=7, framealpha=0.8
    )
    for axis in axes:
        axis.set_axis_off()


def _draw_window(axes: list[Axes], window: np.ndarray, similarity: np.ndarray, mask: np.ndarray) -> None:
    from matplotlib import colormaps

    steps = len(window)
    edges = np.linspace(0, steps, mask.shape[1] + 1)
    axes[0].plot(window, color="black", linewidth=0.8)
    axes[2].plot(window, color="black", linewidth=0.8)
    colours = colormaps["RdYlGn"]((similarity[0] + 1) / 2)
    axes[1].bar(edges[:-1], similarity[0], np.diff(edges), align="edge", color=colours, edgecolor="grey", linewidth=0.4)
    axes[1].axhline(0, color="grey", linewidth=0.6)
    axes[1].set_ylim(-1, 1)
    for start, end, hidden in zip(edges[:-1], edges[1:], mask[0], strict=True):
        if hidden:
            axes[2].axvspan(start, end, color="tab:blue", alpha=0.3, linewidth=0)
    for axis in axes:
        axis.set_xlim(0, steps)
        axis.tick_params(labelsize=7, labelleft=axis is axes[0], labelbottom=False)
    axes[0].set_ylabel("normalised value", fontsize=7)
    axes[1].set_yticks([])  # the colours' bar has the scale
