"""Images in archives of NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ..reading.findings import some
from ..tables import Note
from ..text_reading.texts import clean_label
from .images import FoundArray
from .pictures import bytes_of

_IMAGES = ("images", "x", "X", "x_train", "data", "arr_0")
_LABELS = ("labels", "y", "Y", "y_train", "targets")


def read_npz(path: Path, location: str) -> FoundArray:
    """The images of an archive, and their labels where it has some.

    Raises:
        DataError: if it is damaged, or has no array of images.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = list(file.files)
            image_name = next((name for name in _IMAGES if name in names), None)
            label_name = next((name for name in _LABELS if name in names), None)
            values = None if image_name is None else file[image_name]
            labels = None if label_name is None else file[label_name]
    except Exception as error:  # NumPy answers damage with errors of many types
        fix = "save plain arrays of numbers" if "pickle" in str(error) else "save it again"
        raise DataError(
            f"an archive of arrays must be whole and of plain values, but {location} is not: {error}; {fix}"
        ) from None
    if values is None or image_name is None:
        raise DataError(
            f"an archive must have its images in an array named {' or '.join(_IMAGES)}, but {location} holds "
            f"{some(names) or 'nothing'}; rename it"
        )
    pixels = bytes_of(channels_last(values, location), location)
    read = [name for name in (image_name, label_name) if name is not None]
    notes = [Note("array", f"{' and '.join(read)} of {location}", "--data")]
    left = [name for name in names if name not in read]
    if left:
        notes.append(Note("array", f"not read: {some(left)}", "--data"))
    return FoundArray(pixels, None if labels is None else _texts(labels, location), tuple(notes))


def channels_last(
    values: np.ndarray, location: str, what: str = "an array of images", first: str = "images"
) -> np.ndarray:
    """Any of the usual orders of axes as ``[images, height, width, channels]``.

    Args:
        values: ``[images, height, width]``, or with 1 or 3 channels as the last or second axis.
        location: for messages.
        what, first: what the array and its first axis are called in messages.

    Raises:
        DataError: if it has other axes.
    """
    if values.ndim == 3:
        return values[..., None]
    if values.ndim == 4 and values.shape[3] in (1, 3):
        return values
    if values.ndim == 4 and values.shape[1] in (1, 3):
        return values.transpose(0, 2, 3, 1)
    raise DataError(
        f"{what} must have the axes {first}, height, width and perhaps 1 or 3 channels (last or second), "
        f"but that of {location} has {' x '.join(map(str, values.shape))}; reshape it"
    )


def _texts(labels: np.ndarray, location: str) -> tuple[str, ...]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"labels must be one for each image, but those of {location} have the axes "
            f"{' x '.join(map(str, labels.shape))}; save the number of each class"
        )
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    texts = tuple(clean_label(str(label)) for label in labels.tolist())
    if "" in texts:
        raise DataError(
            f"every image needs a label, but number {texts.index('') + 1} of {location} has none; leave it out"
        )
    return texts
