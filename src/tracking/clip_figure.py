"""The figure of clips: a row for each, its frames side by side, with the caption it was drawn for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from .clip_files import clip_grid, enlarged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 12
"""Frames of a clip at most, evenly spaced."""
_SIDE = 0.75
_CHARACTER = 0.085
"""Inches that a character of a caption takes."""
_LINE = 34


def draw_clips(clips: Tensor, captions: Sequence[str], title: str, is_right: Sequence[bool | None] = ()) -> Figure:
    """Clips as strips of frames.

    Args:
        clips: ``[clips, frames, channels, height, width]``, from 0 to 1.
        captions: of the clips.
        title: heading.
        is_right: whether a reader finds each caption in its clip, which its colour says; None where nobody looked.
    """
    from matplotlib.figure import Figure

    count, frames = clips.shape[:2]
    chosen = [round(place * (frames - 1) / max(1, min(FRAMES, frames) - 1)) for place in range(min(FRAMES, frames))]
    aspect = clips.shape[-1] / clips.shape[-2]
    texts = ["\n".join(textwrap.wrap(caption, _LINE)[:3]) for caption in captions]
    left = 0.4 + _CHARACTER * max(len(line) for text in texts for line in text.splitlines() or [""])
    least = _CHARACTER * 1.25 * len(title) + 0.3
    width, height = max(least, left + len(chosen) * _SIDE * aspect + 0.2), count * (_SIDE + 0.1) + 0.65
    figure = Figure(figsize=(width, height), dpi=110)
    marks = list(is_right) or [None] * count
    colours = {True: "tab:green", False: "tab:red", None: "black"}
    for row in range(count):
        bottom = height - 0.55 - (row + 1) * (_SIDE + 0.1)
        axes = figure.add_axes((left / width, bottom / height, len(chosen) * _SIDE * aspect / width, _SIDE / height))
        strip = clip_grid(enlarged(clips[row, chosen].detach().float().cpu(), 64).unsqueeze(1), len(chosen))[0]
        picture = strip[0] if len(strip) == 1 else strip.movedim(0, -1)
        axes.imshow(picture.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_axis_off()
        figure.text(
            (left - 0.12) / width,
            (bottom + _SIDE / 2) / height,
            texts[row],
            ha="right",
            va="center",
            fontsize=9,
            color=colours[marks[row]],
        )
    figure.suptitle(title, fontsize=11, x=0.5, y=1 - 0.2 / height)
    return figure
