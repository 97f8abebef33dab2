"""IDX files, as those of MNIST: a header of sizes, then bytes. And files of labels, IDX or a label a line."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..reading.compression import open_unpacked
from ..reading.findings import short
from ..text_reading.texts import clean_label

_BYTES = 0x08  # the type of values that pictures and labels have
_IMAGE_AXES = (3, 4)
MOST_BYTES = 4 << 30
"""More than this does not fit into the memory of most machines beside everything else."""


def is_idx_of_images(head: bytes) -> bool:
    """Whether the first bytes, unpacked, are those of an IDX file of images."""
    return len(head) >= 4 and head[:3] == bytes((0, 0, _BYTES)) and head[3] in _IMAGE_AXES


def unpacked_head(path: Path, location: str, length: int = 4) -> bytes:
    """The first bytes of a file, unpacked.

    Raises:
        DataError: if it cannot be read.
    """
    with open_unpacked(lambda: path.open("rb"), location)[0] as stream:
        return stream.read(length)


def read_idx_images(path: Path, location: str) -> np.ndarray:
    """The pixels of an IDX file, uint8 ``[images, height, width, channels]``.

    Raises:
        DataError: if it is damaged, or not of one or three channels.
    """
    values = _read_idx(path, location)
    if values.ndim == 3:
        return values[..., None]
    if values.ndim != 4 or values.shape[3] not in (1, 3):
        raise DataError(
            f"IDX files of images must have the axes images, rows, columns and at most 1 or 3 channels, but {location} "
            f"has {' x '.join(map(str, values.shape))}; save it with one of these"
        )
    return values


def _read_idx(path: Path, location: str) -> np.ndarray:
    with open_unpacked(lambda: path.open("rb"), location)[0] as stream:
        magic = stream.read(4)
        header = stream.read(4 * magic[3])
        if len(header) < 4 * magic[3]:
            raise DataError(
                f"an IDX file must begin with {magic[3]} sizes, but {location} ends within them; fetch it again"
            )
        shape = tuple(np.frombuffer(header, dtype=">u4").astype(int).tolist())
        size = math.prod(shape)
        check_memory(size, location)
        content = stream.read(size + 1)
    if len(content) != size:
        held = f"only {len(content):,}" if len(content) < size else "more"
        raise DataError(
            f"an IDX file must hold as many values as its header says ({' x '.join(map(str, shape))}), but {location} "
            f"holds {held}; fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def check_memory(size: int, location: str) -> None:
    """Refuse what would take more than ``MOST_BYTES`` in memory."""
    if size > MOST_BYTES:
        raise DataError(
            f"images must fit into memory (at most {MOST_BYTES >> 30} GB of pixels), but {location} would "
            f"take {size / 2**30:,.1f} GB; give a smaller --image-size, or fewer images"
        )


def labels_beside(path: Path) -> Path | None:
    """The file of labels that belongs to one of images by its name; None where there is none."""
    for images, labels in (("images-idx", "labels-idx"), ("images.idx", "labels.idx")):
        begin, found, end = path.name.rpartition(images)
        if found:
            name = f"{begin}{labels}1{end[1:]}"  # the number is that of axes
            other = name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
            return next((path.with_name(each) for each in (name, other) if path.with_name(each).is_file()), None)
    return None


def read_labels(path: Path, location: str) -> list[str]:
    """The labels of an IDX file, or of a text file with one in each line.

    Raises:
        DataError: if there is no such file, or it does not hold labels.
    """
    if not path.is_file():
        raise DataError(f"labels must be a file that exists, but there is no {location}; check the path")
    head = unpacked_head(path, location)
    if head == bytes((0, 0, _BYTES, 1)):
        return [str(value) for value in _read_idx(path, location).tolist()]
    if head[:2] == b"\0\0":
        raise DataError(
            f"an IDX file of labels must have one axis of bytes, but {location} begins with {head.hex(' ')}; give the "
            "one of labels"
        )
    return _read_lines(path, location)


def _read_lines(path: Path, location: str) -> list[str]:
    with open_unpacked(lambda: path.open("rb"), location)[0] as stream:
        content = stream.read()
    try:
        text = content.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"labels must be an IDX file or text with one in each line, but {location} is neither: {error}; check it"
        ) from None
    for number, row in enumerate(rows, 1):
        if len(row) != 1 or not clean_label(row[0]):
            raise DataError(
                f"labels must be one in each line, but {location} has '{short(','.join(row))}' as its label {number}; "
                "leave nothing but the label"
            )
    return [clean_label(row[0]) for row in rows]
