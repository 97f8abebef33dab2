"""From what ``--data`` names to images and their labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError, OptionError, did_you_mean
from ..options import ReadingOptions
from ..reading.findings import plural, short, some
from ..tables import Note
from .detect import image_kind, is_images
from .folders import PictureFile, labels_of_folders, open_pictures, training_pictures
from .idx import check_memory, labels_beside, read_idx_images, read_labels
from .images import FoundArray, LabelledImages
from .npz import read_npz
from .pictures import has_colours, picture_size, read_picture
from .shapes import all_resized, choose_side, greys, in_colour

__all__ = ["is_images", "read_images", "shaped"]

LEAST_IMAGES = 10


def read_images(
    options: ReadingOptions,
    *,
    data: str | None = None,
    labels: str | None = None,
    with_labels: bool = True,
    least: int = LEAST_IMAGES,
) -> LabelledImages:
    """Read all images of a folder, zip, IDX file or NumPy archive, in the order of names or as they stand in the file.

    Args:
        options: where they are, and which size and colours they get.
        data: other images than those of ``options.data``.
        labels: the file of their labels; by default ``options.labels``, for other images none.
        with_labels: whether labels are looked for. Without, images alone are read, wherever labels stand.
        least: fewer images than this are refused.

    Raises:
        OptionError: if a file of labels is given where folders are the labels.
        DataError: if there are no such files, they are damaged, or labels and images do not belong together.
    """
    if data is None:
        data, labels = options.data, labels or options.labels
    labels = labels if with_labels else None
    path = Path(os.path.expanduser(data))
    kind = _kind(path, data)
    if kind in ("folder", "zip", "picture"):
        if labels is not None:
            raise OptionError(
                f"--labels goes with IDX files and .npz, as pictures have their folders as labels, but got {labels} "
                f"for {data}; leave it out"
            )
        return _read_files(path, data, kind, options, with_labels, least)
    found = read_npz(path, data) if kind == "npz" else FoundArray(read_idx_images(path, data))
    pixels, label_notes = found.pixels, found.notes
    texts = found.labels if with_labels else None
    _check_enough(len(pixels), least, data)
    if 0 in pixels.shape:
        raise DataError(f"images must have pixels, but those of {data} are {_size(pixels)}; check the file")
    if with_labels:
        texts, notes = _labels_of_file(path, labels, texts, kind, len(pixels), data)
        label_notes += notes
    stem = path.name.removesuffix(".gz").removesuffix(".npz").partition("-idx")[0].partition(".idx")[0]
    names = tuple(f"{stem} #{number}" for number in range(1, len(pixels) + 1))
    return shaped(LabelledImages(pixels, names, texts, label_notes), options)


def shaped(images: LabelledImages, options: ReadingOptions) -> LabelledImages:
    """Images in the size and the colours asked for, with a note of what they are."""
    pixels = images.pixels
    grey = options.colour == "grey" or (options.colour is None and not has_colours(pixels))
    pixels = (greys(pixels) if options.colour == "grey" else pixels[..., :1]) if grey else in_colour(pixels)
    side, notes = choose_side([(pixels.shape[1], pixels.shape[2])], options.image_size)
    height, width = (side, side) if side else pixels.shape[1:3]
    check_memory(len(pixels) * height * width * pixels.shape[3], plural(len(pixels), "image"))
    pixels = np.ascontiguousarray(all_resized(pixels, side))
    notes = (*images.notes, *notes, _summary(pixels))
    return LabelledImages(pixels, images.names, images.labels, notes, side is not None)


def _kind(path: Path, data: str) -> str:
    """What kind of source it is.

    Raises:
        DataError: if there is no such thing, or it holds no images.
    """
    if not data.strip() or "\0" in data or data == "-" or "://" in data:
        raise DataError(f"images must be a folder or a file, but --data is {data!r}; give a path")
    try:
        if not path.exists():
            near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, near)
            raise DataError(f"images must be a folder or file that exists, but there is no {data}; check it.{hint}")
        if path.is_dir():
            return "folder"
        kind = image_kind(path, data)
    except OSError as error:
        raise DataError(
            f"images must be a readable folder or file, but {data} is not: {error.strerror}; check it"
        ) from None
    if not kind:
        raise DataError(
            "images must be a folder or zip of pictures (such as PNG or JPEG), an IDX file or an .npz of arrays, but "
            f"{data} is none; check the file"
        )
    return kind


def _check_enough(count: int, least: int, location: str) -> None:
    if count < least:
        raise DataError(f"there must be at least {least} images, but {location} has {count}; add some")


def _read_files(
    path: Path, location: str, kind: str, options: ReadingOptions, with_labels: bool, least: int
) -> LabelledImages:
    """Pictures in files of their own."""
    with open_pictures(path, location, kind) as (files, notes):
        files, more = training_pictures(files, location)
        notes += more
        _check_enough(len(files), least, location)
        labels = None
        if with_labels:
            labels, more = labels_of_folders([file.name for file in files], location)
            notes += more
        sizes = [picture_size(file.opener, file.location) for file in files]
        side, more = choose_side(sizes, options.image_size)
        pixels, transparent = _pixels(files, side, sizes[0], options.colour, location)
    if transparent:
        more = (*more, Note("transparency", f"{plural(transparent, 'picture')} put on white"))
    names = tuple(file.name for file in files)
    return LabelledImages(pixels, names, labels, (*notes, *more, _summary(pixels)), side is not None)


def _pixels(
    files: Sequence[PictureFile], side: int | None, size: tuple[int, int], colour: str | None, location: str
) -> tuple[np.ndarray, int]:
    """All pictures, uint8 ``[images, height, width, channels]``, and how many had transparent parts."""
    height, width = (side, side) if side else size
    channels = 3 if colour == "colour" else 1
    check_memory(len(files) * height * width * channels, location)
    pixels = np.empty((len(files), height, width, channels), dtype=np.uint8)
    transparent = 0
    for place, file in enumerate(files):
        picture, has_holes = read_picture(file.opener, file.location, side, colour == "grey")
        transparent += has_holes
        if picture.ndim == 3 and pixels.shape[3] == 1:  # the first with colours
            check_memory(3 * pixels.size, location)
            pixels = in_colour(pixels)
        pixels[place] = picture if picture.ndim == 3 else picture[..., None]
    return pixels, transparent


def _labels_of_file(
    path: Path, labels: str | None, found: tuple[str, ...] | None, kind: str, count: int, location: str
) -> tuple[tuple[str, ...] | None, tuple[Note, ...]]:
    """The labels that the user names, else those found with the images, else those of the file beside them."""
    notes: tuple[Note, ...] = ()
    beside = labels_beside(path) if labels is None and kind == "idx" else None
    if labels is not None:
        found = tuple(read_labels(Path(os.path.expanduser(labels)), labels))
        where = labels
    elif beside is not None:
        found, where = tuple(read_labels(beside, str(beside))), str(beside)
        notes = (Note("labels", f"read from {beside}, which lies beside the images", "--labels"),)
    else:
        where = "its array of labels"
    if found is not None and len(found) != count:
        raise DataError(
            f"there must be one label for every image, but {location} has {count:,} images and {where} has "
            f"{plural(len(found), 'label')}; give the labels of these images with --labels"
        )
    if found is not None:
        counts = Counter(found)
        listed = some(f"{short(label)} {count:,}" for label, count in counts.most_common())
        notes = (*notes, Note("labels", f"{len(counts):,} classes: {listed}", "--labels"))
    return found, notes


def _summary(pixels: np.ndarray) -> Note:
    colour = "in colour" if pixels.shape[3] == 3 else "grey"
    return Note("images", f"{len(pixels):,} of {_size(pixels)} pixels, {colour}", "--colour")


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[2]}"
