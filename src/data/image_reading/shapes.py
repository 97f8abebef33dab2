"""Images brought to one size and to greys or colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ...errors import DataError
from ..tables import Note
from .images import LabelledImages

DEFAULT_SIDE = 64
"""Pictures of different sizes are resized to squares of this side where none is asked for."""


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """One picture as a square of another size; ``[height, width]`` or ``[height, width, 3]``, uint8."""
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def all_resized(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """All images ``[images, height, width, channels]`` as squares; as they are where there is no side."""
    if side is None or pixels.shape[1:3] == (side, side):
        return pixels
    found = np.empty((len(pixels), side, side, pixels.shape[3]), dtype=np.uint8)
    for place, image in enumerate(pixels):
        found[place] = resized(image.squeeze(-1) if image.shape[2] == 1 else image, side).reshape(found.shape[1:])
    return found


def greys(pixels: np.ndarray) -> np.ndarray:
    """Images ``[images, height, width, channels]`` with one channel, colours weighed as the eye does."""
    if pixels.shape[3] == 1:
        return pixels
    found = np.empty((*pixels.shape[:3], 1), dtype=np.uint8)
    for place, image in enumerate(pixels):
        found[place, :, :, 0] = np.asarray(Image.fromarray(image).convert("L"))
    return found


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """Images ``[images, height, width, channels]`` with three channels, alike where they were grey."""
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def choose_side(sizes: Sequence[tuple[int, int]], image_size: int | None) -> tuple[int | None, tuple[Note, ...]]:
    """The side of the square that pictures are resized to, None where they stay as they are, and what to say of it.

    Args:
        sizes: height and width of every picture.
        image_size: what the user asks for.
    """
    counts = Counter(sizes)
    if image_size is None and len(counts) == 1:
        return None, ()
    side = image_size or DEFAULT_SIDE
    if set(counts) == {(side, side)}:
        return side, ()
    (height, width), count = counts.most_common(1)[0]
    what = f"{height} x {width}" if len(counts) == 1 else f"{len(counts):,} sizes, most often {height} x {width}"
    share = "" if len(counts) == 1 else f" ({count:,} of {len(sizes):,})"
    return side, (Note("size", f"resized from {what}{share} to {side} x {side} pixels", "--image-size"),)


def fitted_to(images: LabelledImages, shape: tuple[int, ...], what: str) -> LabelledImages:
    """Further images, checked to be as those that were trained with; greys become colours where those had some.

    Args:
        images: test pictures, or new ones.
        shape: ``(channels, height, width)`` of those trained with.
        what: they are called in messages.

    Raises:
        DataError: if their size is another, or they have colours where there were none.
    """
    channels, height, width = shape
    found = images.pixels.shape
    if found[1:3] != (height, width):
        raise DataError(
            f"{what} must be as large as the training pictures ({height} x {width} pixels), but have {found[1]} x "
            f"{found[2]}; resize them, or train with --image-size"
        )
    if found[3] > channels:
        raise DataError(
            f"{what} must be grey as the training pictures are, but have colours; save them in grey, or train with "
            "--colour"
        )
    return images if found[3] == channels else replace(images, pixels=in_colour(images.pixels))
