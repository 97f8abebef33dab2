"""IDX files and NumPy archives: pixels, labels, and what is damaged or does not fit."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.image_reading.images import LabelledImages
from src.data.image_reading.npz import channels_last
from src.data.image_reading.pictures import bytes_of
from src.data.image_reading.reader import read_images
from src.data.options import ReadingOptions
from src.errors import DataError
from tests.data.image_reading.picture_files import idx, noise, write_idx

GREYS = noise(12, 5, 4)
NUMBERS = np.arange(12) % 3


def read(data: Path, **options: Any) -> LabelledImages:
    return read_images(ReadingOptions(data=str(data), **options))


def notes(found: LabelledImages) -> str:
    return "; ".join(f"{note.topic}: {note.text}" for note in found.notes)


# --- IDX --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("label_suffix", ["", ".gz"])
def test_labels_beside_are_found(tmp_path: Path, suffix: str, label_suffix: str) -> None:
    images = write_idx(tmp_path / f"t10k-images-idx3-ubyte{suffix}", GREYS)
    assert read(images).labels is None
    write_idx(tmp_path / f"t10k-labels-idx1-ubyte{label_suffix}", NUMBERS)
    found = read(images)
    np.testing.assert_array_equal(found.pixels[..., 0], GREYS)
    assert found.labels == tuple(map(str, NUMBERS)) and found.names[0] == "t10k-images #1"
    assert "which lies beside the images" in notes(found)


def test_labels_that_are_named_come_first(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "a-images-idx3-ubyte", GREYS)
    write_idx(tmp_path / "a-labels-idx1-ubyte", NUMBERS)
    other = write_idx(tmp_path / "other.gz", NUMBERS + 5)
    found = read(images, labels=str(other))
    assert found.labels == tuple(map(str, NUMBERS + 5)) and "beside" not in notes(found)
    without = read_images(ReadingOptions(data=str(images), labels=str(other)), with_labels=False)
    assert without.labels is None


def test_labels_as_text(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "images", GREYS)
    lines = tmp_path / "labels.csv"
    lines.write_text("\ufeffcat\r\n" + '"dog, small"\n' * 10 + " 1.0 \n", newline="")
    assert read(images, labels=str(lines)).labels == ("cat", *["dog, small"] * 10, "1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n" * 11, "has 12 images and .* has 11 labels"),
        (b"a\n" * 13, "has 12 images and .* has 13 labels"),
        (b"a,b\n" * 12, "has 'a,b' as its label 1"),
        (b"a\n" * 3 + b"nan\n" + b"a\n" * 8, "has 'nan' as its label 4"),
        (b"\xff\xfe\xfa" * 12, "is neither"),
        (idx(NUMBERS)[:-1], "holds only 11"),
        (idx(GREYS), "must have one axis of bytes"),
        (None, "there is no"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    images = write_idx(tmp_path / "images", GREYS)
    if content is not None:
        (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(images, labels=str(tmp_path / "labels"))


def test_colours(tmp_path: Path) -> None:
    pixels = noise(10, 5, 4, 3)
    np.testing.assert_array_equal(read(write_idx(tmp_path / "a", pixels)).pixels, pixels)
    alike = np.repeat(noise(10, 5, 4, 1), 3, axis=3)
    np.testing.assert_array_equal(read(write_idx(tmp_path / "b", alike)).pixels, alike[..., :1])
    found = read(write_idx(tmp_path / "c", GREYS), colour="colour", image_size=2)
    assert found.pixels.shape == (12, 2, 2, 3) and found.resized


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(GREYS)[:-1], r"its header says \(12 x 5 x 4\), but .* holds only 239"),
        (idx(GREYS) + b"x", "holds more"),
        (idx(GREYS)[:10], "ends within them"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**20, 2**10, 2**10), "images must fit into memory"),
        (idx(noise(10, 5, 4, 2)), "has 10 x 5 x 4 x 2"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 10, 0, 4), "must have pixels"),
        (idx(GREYS[:9]), "at least 10 images"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "images")


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "images.gz", noise(30, 20, 20))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"images\.gz is damaged"):
        read(path)


# --- NumPy archives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["images", "x", "X", "x_train", "data"])
@pytest.mark.parametrize("label_name", ["labels", "y", "Y", "y_train", "targets"])
def test_archives(tmp_path: Path, name: str, label_name: str) -> None:
    np.savez(tmp_path / "some.npz", **{name: GREYS, label_name: NUMBERS[:, None], "more": NUMBERS})
    found = read(tmp_path / "some.npz")
    np.testing.assert_array_equal(found.pixels[..., 0], GREYS)
    assert found.labels == tuple(map(str, NUMBERS)) and found.names[-1] == "some #12"
    assert "not read: more" in notes(found)


def test_archives_with_names_as_labels_or_none(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", GREYS)
    assert read(tmp_path / "a.npz").labels is None
    lines = tmp_path / "labels.txt"
    lines.write_text("a\nb\n" * 6)
    assert read(tmp_path / "a.npz", labels=str(lines)).labels == ("a", "b") * 6
    np.savez(tmp_path / "b.npz", x=GREYS, y=np.array([b"cat", b"dog"] * 6))
    assert read(tmp_path / "b.npz").labels == ("cat", "dog") * 6


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([GREYS, None], dtype=object)}, "save plain arrays"),
        ({"x": np.where(GREYS > 250, np.nan, GREYS / 255)}, "has NaN or infinite ones"),
        ({"x": GREYS.astype(int) + 1}, "go from 1 to 256"),
        ({"x": GREYS / 255 - 0.1}, "go from -0.1"),
        ({"x": GREYS.astype(complex)}, "values of type complex128"),
        ({"x": noise(12, 5)}, "has 12 x 5"),
        ({"x": noise(12, 5, 5, 2)}, "has 12 x 5 x 5 x 2"),
        ({"z": GREYS}, "holds z; rename it"),
        ({"x": GREYS, "y": NUMBERS[1:]}, "has 11 labels"),
        ({"x": GREYS, "y": np.eye(12)}, "have the axes 12 x 12"),
        ({"x": GREYS, "y": np.where(NUMBERS == 2, np.nan, NUMBERS)}, "number 3 of .* has none"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.npz")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GREYS)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-50])
    with pytest.raises(DataError, match="must be whole"):
        read(tmp_path / "a.npz")


@settings(max_examples=50)
@given(
    st.integers(4, 9),
    st.integers(4, 9),
    st.sampled_from([1, 3]),
    st.sampled_from(["last", "second", "none"]),
    st.data(),
)
def test_every_order_of_axes_is_the_same_image(
    height: int, width: int, channels: int, order: str, data: st.DataObject
) -> None:
    pixels = noise(3, height, width, 1 if order == "none" else channels, seed=data.draw(st.integers(0, 99)))
    given_as = {"last": pixels, "second": pixels.transpose(0, 3, 1, 2), "none": pixels[..., 0]}[order]
    np.testing.assert_array_equal(channels_last(given_as, "here"), pixels)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=20), st.sampled_from(["f4", "f8", "i8", "u2"]))
def test_every_type_holds_the_same_bytes(values: list[int], kind: str) -> None:
    pixels = np.array([*values, 255], dtype=np.uint8)
    np.testing.assert_array_equal(bytes_of(pixels.astype(kind), "here"), pixels)
    if kind.startswith("f"):
        np.testing.assert_array_equal(bytes_of((pixels / 255).astype(kind), "here"), pixels)
