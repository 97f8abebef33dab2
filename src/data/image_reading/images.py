"""Images and their labels in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tables import Note


@dataclass(frozen=True)
class LabelledImages:
    """Images of one size in the order of the source, each with its label.

    Attributes:
        pixels: uint8 ``[images, height, width, channels]``; one channel (grey) or three (red, green, blue).
        names: where each comes from, such as ``cats/001.png`` or ``t10k-images #17``, counted from 1.
        labels: one for each image; None where there are none.
        notes: what the reader decided, left out and found suspicious.
        resized: whether the size was asked for or chosen, so that other images may be brought to it.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    notes: tuple[Note, ...] = ()
    resized: bool = False


@dataclass(frozen=True)
class FoundArray:
    """Images as they stand in one array, before their size and colour are settled.

    Attributes:
        pixels: uint8 ``[images, height, width, channels]``.
        labels: one for each image; None where there are none.
        notes: what was decided to get here.
    """

    pixels: np.ndarray
    labels: tuple[str, ...] | None = None
    notes: tuple[Note, ...] = ()
