"""Labelled images that need no file: handwritten digits, which come with scikit-learn."""

from __future__ import annotations

import numpy as np

from ..errors import DataError, did_you_mean
from .image_reading.images import LabelledImages
from .tables import Note

IMAGE_SAMPLES = ("digits",)
DIGITS_TRAINING = 1347
"""So many of the digits are for training and validation; those after them are the test part."""


def load_image_sample(name: str) -> tuple[LabelledImages, LabelledImages]:
    """Make a sample; it is always the same.

    ``digits``: 1,797 handwritten digits of 8 x 8 greys (UCI, Alpaydin and Kaynak 1998), 0 to 16 scaled to 0 to 255.

    Returns:
        the images for training and validation, and those of the test part.

    Raises:
        DataError: if there is no such sample.
    """
    if name not in IMAGE_SAMPLES:
        raise DataError(
            f"there is no sample '{name}'.{did_you_mean(name, IMAGE_SAMPLES)} Known: {', '.join(IMAGE_SAMPLES)}"
        )
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = tuple(str(label) for label in found.target.tolist())
    names = tuple(f"digits #{number}" for number in range(1, len(labels) + 1))
    note = Note("sample", "handwritten digits of scikit-learn (UCI)")
    first, last = slice(None, DIGITS_TRAINING), slice(DIGITS_TRAINING, None)
    return (
        LabelledImages(pixels[first], names[first], labels[first], (note,)),
        LabelledImages(pixels[last], names[last], labels[last]),
    )
