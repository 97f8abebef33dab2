"""Images as a data module: pixels of one size, scaled, with the classes' numbers where they have labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, OptionError
from .base import Batch, DataSpec
from .image_reading.images import LabelledImages
from .image_reading.shapes import fitted_to
from .options import DataOptions
from .reading.findings import plural, some
from .tables import Note
from .text import class_order, parse_fractions, stratified_parts

IMAGE_TASKS = ("classify", "represent")
IMAGES_AT_ONCE = 1024
"""So many are counted together, as counting takes eight times the memory of what is counted."""

_LEAST_DEVIATION = 1 / 255


class ImageData:
    """Images, cut into a training, a validation and a test part at random.

    Every class has the same share of each part, images that are alike to the last pixel are in the same part, and the
    cut is the same for every run. With a test set of its own, the other two parts come from the data. Without labels,
    or where the task is ``represent``, images have no classes.

    Attributes:
        spec: shape, classes and scale, for models.
        train, validation, test: the three parts.
        options: the options with nothing left open.
        notes: what was found, chosen and done, for the user to read.
    """

    def __init__(
        self,
        images: LabelledImages,
        options: DataOptions,
        test_images: LabelledImages | None = None,
        fitted: Mapping[str, Any] | None = None,
    ) -> None:
        """Cut and scale images; files come through ``load_data``.

        Args:
            images: with their labels, if they have some.
            options: how to cut them.
            test_images: those of a separate test set.
            fitted: ``fitted()`` of these data, if they were loaded before; by default the scale is found now.

        Raises:
            DataError: if there are too few images, or the test set has another size or classes that are new.
            OptionError: if the task or the split does not go with the images.
        """
        self.notes: list[Note] = list(images.notes)
        labels = _labels(images, options, self.notes)
        channels = images.pixels.shape[3]
        self.options = replace(
            options,
            task="represent" if labels is None else "classify",
            transform="level",
            image_size=images.pixels.shape[1] if images.resized else None,
            colour="colour" if channels == 3 else "grey",
        )
        shape = (channels, *images.pixels.shape[1:3])
        if test_images is not None:
            test_images = fitted_to(test_images, shape, "test pictures")
        parts = _parts(images, labels, test_images, options, self.notes)
        classes = sorted(set(labels or ()), key=class_order)
        targets = _targets(len(parts), labels, classes, test_images)
        several = [images] if test_images is None else [images, test_images]
        pixels = np.concatenate([each.pixels for each in several]) if len(several) > 1 else images.pixels
        counts = _counts(pixels, np.flatnonzero(parts == 0))
        mean, deviation = _scale(counts) if fitted is None else _known_scale(fitted)
        shares = np.bincount(targets[parts == 0], minlength=len(classes)) / (parts == 0).sum() if classes else ()
        self.spec = DataSpec(
            "images",
            str(self.options.task),
            shape,
            (len(classes),),
            target_names=("label",),
            class_names=tuple(classes),
            class_shares=tuple(map(float, shares)),
            background=_background(counts, mean, deviation),
            pixel_mean=mean,
            pixel_deviation=deviation,
        )
        names = tuple(name for each in several for name in each.names)
        self._store = ImageStore(pixels, targets, names, self.spec)
        self.train, self.validation, self.test = (
            ImageSplit(self._store, np.flatnonzero(parts == part)) for part in range(3)
        )
        self.notes.append(
            Note("parts", f"{len(self.train):,} training, {len(self.validation):,} validation, {len(self.test):,} test")
        )

    @property
    def messages(self) -> list[str]:
        """The notes as sentences."""
        return [f"{note.topic}: {note.text}" for note in self.notes]

    def fitted(self) -> dict[str, Any]:
        """What was learnt from the training part, for other processes."""
        return {"pixel_mean": list(self.spec.pixel_mean), "pixel_deviation": list(self.spec.pixel_deviation)}

    def to(self, device: torch.device) -> ImageData:
        """Move what batches are gathered from to ``device``; returns itself."""
        self._store.to(device)
        return self

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data, as JSON values; ``test_hash`` is over the test part's pixels and classes."""
        store = self._store
        return {
            "source": self.options.data,
            "rows": len(store.names),
            "classes": list(self.spec.class_names),
            "sha256": _hash(store.pixels, store.targets),
            "windows": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "test_hash": _hash(store.pixels[self.test.members(store.pixels.device)], self.test.targets()),
        }

    def schema(self) -> dict[str, Any]:
        """What a trained model needs to read new images as it read these, as plain values for a checkpoint.

        Its options bring pictures of any size to that of the training part if that is a square, and to its colours.
        """
        height, width = self.spec.input_shape[1:]
        side = height if height == width and height > 1 else None
        reading = replace(self.options, labels=None, test_labels=None, image_size=side)
        return {"options": reading.to_dict(), "spec": self.spec.to_dict()}


class ImageStore:
    """All images of a data set, shared by its parts.

    Attributes:
        pixels: uint8 ``[images, channels, height, width]``, on the device.
        targets: classes, int64 ``[images]``; -1 where unknown.
        names: where each image comes from.
    """

    def __init__(self, pixels: np.ndarray, targets: np.ndarray, names: Sequence[str], spec: DataSpec) -> None:
        """``pixels``: uint8 ``[images, height, width, channels]``; ``spec`` has the scale."""
        # A copy: what is read from a file may be a view of bytes, which tensors could write to.
        self.pixels = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
        self.targets = targets.astype(np.int64)
        self.names = tuple(names)
        self._targets = torch.from_numpy(self.targets)
        self._mean, self._deviation = (
            torch.tensor(values, dtype=torch.float32)[:, None, None]
            for values in (spec.pixel_mean, spec.pixel_deviation)
        )

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.pixels, self._targets = self.pixels.to(device), self._targets.to(device)
        self._mean, self._deviation = self._mean.to(device), self._deviation.to(device)

    def batch(self, places: Tensor, index: Tensor) -> Batch:
        """The images of these numbers as a batch.

        Args:
            places: which images, int64 ``[batch]``, on the device.
            index: what the batch calls them.
        """
        inputs = (self.pixels[places].float() / 255 - self._mean) / self._deviation
        return Batch(inputs, self._targets[places], index)


class ImageSplit:
    """One part of the images.

    Args:
        store: all images.
        members: which of them, int64 ``[images of the part]``.
    """

    def __init__(self, store: ImageStore, members: np.ndarray) -> None:
        self._store, self._members = store, members
        self._on_device = torch.from_numpy(members)

    def __len__(self) -> int:
        return len(self._members)

    def members(self, device: torch.device) -> Tensor:
        """Which images of all it has, int64 ``[images of the part]``, on a device, where it stays."""
        if self._on_device.device != device:
            self._on_device = self._on_device.to(device)
        return self._on_device

    def select(self, index: Any) -> Batch:
        """The samples of these numbers within the part, from numpy or torch on any device."""
        device = self._store.pixels.device
        order = torch.as_tensor(index, dtype=torch.int64).to(device)
        return self._store.batch(self.members(device)[order], order)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Every image once: in a random order drawn from ``generator``, in the order of the source without one.

        The order is drawn on the CPU, so that it does not depend on the device. The last batch may be smaller.
        """
        count = len(self)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        order = order.to(self._store.pixels.device)
        for first in range(0, count, batch_size):
            yield self.select(order[first : first + batch_size])

    def names(self, index: Any = None) -> list[str]:
        """Where the images come from, all of the part or those of an index."""
        return [self._store.names[place] for place in self._places(index).tolist()]

    def targets(self) -> np.ndarray:
        """The classes, int64 ``[images]``; -1 where unknown."""
        return self._store.targets[self._members]

    def pixels(self, index: Any = None) -> np.ndarray:
        """The images as they were read, all or those of an index, uint8 ``[images, height, width, channels]``."""
        places = torch.from_numpy(self._places(index)).to(self._store.pixels.device)
        return self._store.pixels[places].permute(0, 2, 3, 1).cpu().numpy()

    def _places(self, index: Any) -> np.ndarray:
        if index is None:
            return self._members
        return self._members[torch.as_tensor(index, dtype=torch.int64).cpu().numpy()]


def new_images(images: LabelledImages, schema: Mapping[str, Any]) -> ImageSplit:
    """Images for a model that was trained on others, scaled as those were; labels are dropped.

    Raises:
        DataError: if they have another size, or colours where those had none.
    """
    spec = DataSpec.from_dict(dict(schema["spec"]))
    images = fitted_to(images, spec.input_shape, "new pictures")
    store = ImageStore(images.pixels, np.full(len(images.names), -1), images.names, spec)
    return ImageSplit(store, np.arange(len(images.names)))


def _labels(images: LabelledImages, options: DataOptions, notes: list[Note]) -> tuple[str, ...] | None:
    """The labels that are learnt, None where there is nothing to tell apart.

    Raises:
        OptionError: for a task that is none of images, or needs labels that are not there.
    """
    if options.task not in (None, *IMAGE_TASKS):
        raise OptionError(
            f"images have the tasks {' and '.join(IMAGE_TASKS)}, but got --task {options.task}; leave it out"
        )
    classes = len(set(images.labels or ()))
    if options.task == "classify" and classes < 2:
        found = "one class alone" if classes else "no labels"
        raise OptionError(
            f"--task classify needs images of at least two classes, but {options.data} has {found}; give --labels, put "
            "the pictures of each class into a folder of its own, or use --task represent"
        )
    if classes == 1:
        notes.append(Note("labels", "one class alone, so that the images count as without labels"))
    return images.labels if classes > 1 and options.task != "represent" else None


def _parts(
    images: LabelledImages,
    labels: tuple[str, ...] | None,
    test_images: LabelledImages | None,
    options: DataOptions,
    notes: list[Note],
) -> np.ndarray:
    """The part of each image, of the test set's last: 0, 1 or 2."""
    fractions = parse_fractions(options.split, test_images is not None, "images")
    keys = _keys(images.pixels)
    # Shuffled before: names often count the same writers or cameras in each class, and equal draws would cut by those.
    order = np.random.default_rng(0).permutation(len(keys))
    shuffled = [keys[place] for place in order]
    if labels is None:
        needed = 2 + (fractions[2] > 0)
        if len(set(keys)) < needed:
            raise DataError(
                f"there must be at least {needed} different images, some for each part, but {options.data} has "
                f"{len(set(keys))}; add some"
            )
        drawn = stratified_parts(shuffled, [""] * len(keys), fractions, "images")
    else:
        drawn = stratified_parts(shuffled, [labels[place] for place in order], fractions, "images")
    parts = np.empty(len(keys), dtype=np.int64)
    parts[order] = drawn
    if test_images is None:
        return parts
    known = set(keys)
    shared = sum(key in known for key in _keys(test_images.pixels))
    if shared:
        text = f"{shared:,} of its {plural(len(test_images.names), 'image')} are among the data as well: not unseen"
        notes.append(Note("test data", text, "--test-data", warning=True))
    return np.append(parts, np.full(len(test_images.names), 2))


def _targets(
    count: int, labels: tuple[str, ...] | None, classes: Sequence[str], test_images: LabelledImages | None
) -> np.ndarray:
    """The number of each image's class, of the test set's last, int64 ``[count]``; -1 where there are no classes.

    Raises:
        DataError: if the test set lacks labels, or has classes that are new.
    """
    if labels is None:
        return np.full(count, -1)
    numbers = {name: number for number, name in enumerate(classes)}
    test_labels: tuple[str, ...] = ()
    if test_images is not None:
        if test_images.labels is None:
            raise DataError(
                "test pictures must have labels as the training pictures do, but those of --test-data have none; give "
                "--test-labels, or put the pictures of each class into a folder of its own"
            )
        test_labels = test_images.labels
    unknown = sorted(set(test_labels) - set(numbers), key=class_order)
    if unknown:
        raise DataError(
            f"classes of the test set must be among those trained with ({some(classes)}), but it has {some(unknown)}; "
            "leave those pictures out"
        )
    return np.array([numbers[label] for label in (*labels, *test_labels)], dtype=np.int64)


def _keys(pixels: np.ndarray) -> list[bytes]:
    """A hash of each image, the same for those that are alike to the last pixel."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in pixels]


def _counts(pixels: np.ndarray, members: np.ndarray) -> np.ndarray:
    """How often each value occurs in each channel of some of the images, int64 ``[channels, 256]``."""
    channels = pixels.shape[3]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for first in range(0, len(members), IMAGES_AT_ONCE):
        block = pixels[members[first : first + IMAGES_AT_ONCE]]
        for channel in range(channels):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    return counts


def _scale(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, with pixels from 0 to 1."""
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(axis=1)
    return tuple(mean.tolist()), tuple(np.maximum(np.sqrt(variance), _LEAST_DEVIATION).tolist())


def _known_scale(fitted: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(fitted["pixel_mean"]), tuple(fitted["pixel_deviation"])


def _background(counts: np.ndarray, mean: Sequence[float], deviation: Sequence[float]) -> tuple[float, ...]:
    """The median pixel of each channel, scaled."""
    totals = np.cumsum(counts, axis=1)
    medians = (2 * totals >= totals[:, -1:]).argmax(axis=1)
    return tuple(((medians / 255 - np.array(mean)) / np.array(deviation)).tolist())


def _hash(pixels: Tensor, targets: np.ndarray) -> str:
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode() + targets.tobytes())
    digest.update(pixels.cpu().contiguous().numpy().data)
    return digest.hexdigest()
