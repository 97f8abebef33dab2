"""What counts as images, and what is left to the readers of texts and series."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.data.image_reading.detect import is_images
from src.data.image_reading.reader import read_images
from src.data.options import ReadingOptions
from tests.data.image_reading.picture_files import class_files, encoded, fill, idx, noise, packed

DATA = Path(os.environ.get("TRAINBOARD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
PRICES = b"date,close\n2020-01-01,1.5\n2020-01-02,1.6\n"
PICTURE = encoded(noise(1, 4, 4)[0])

IMAGES: dict[str, Callable[[Path], Path]] = {
    "folder": lambda p: fill(p / "a", class_files({"": 3})),
    "deep": lambda p: fill(p / "a", class_files({"x/y/z": 3})),
    "wide": lambda p: fill(p / "a", class_files({str(number): 1 for number in range(60)})),
    "upper case": lambda p: fill(p / "a", {"IMG.JPG": PICTURE, "readme.txt": b"x", "IMG2.JPG": PICTURE}),
    "zip": lambda p: packed(p / "a.zip", class_files({"top/x": 3})),
    "zip of a Mac": lambda p: packed(p / "a.zip", {"a.png": PICTURE, "__MACOSX/._a": b"", "__MACOSX/._b": b""}),
    "one picture": lambda p: fill(p, {"a.png": PICTURE}) / "a.png",
    "IDX": lambda p: fill(p, {"a": idx(noise(2, 3, 3))}) / "a",
    "IDX in colour": lambda p: fill(p, {"a": idx(noise(2, 3, 3, 3))}) / "a",
    "IDX in gzip": lambda p: fill(p, {"a.csv.gz": gzip.compress(idx(noise(2, 3, 3)))}) / "a.csv.gz",
    "npz": lambda p: (np.savez(p / "a.npz", x=noise(2, 3, 3)), p / "a.npz")[1],
}
OTHERS: dict[str, Callable[[Path], Path]] = {
    "tables": lambda p: fill(p / "a", {"a.csv": PRICES, "b.csv": PRICES, "chart.png": PICTURE}),
    "texts": lambda p: fill(p / "a", {"pos/1.txt": b"good", "neg/1.txt": b"bad", "pos/cover.png": PICTURE}),
    "too deep": lambda p: fill(p / "a", class_files({"v/w/x/y": 3})),
    "hidden": lambda p: fill(p / "a", {".git/a.png": PICTURE, ".b.png": PICTURE}),
    "empty": lambda p: fill(p / "a", {"b/c": b""}),
    "zip of tables": lambda p: packed(p / "a.zip", {"a.csv": PRICES, "chart.png": PICTURE}),
    "table": lambda p: fill(p, {"a.csv": PRICES}) / "a.csv",
    "table in gzip": lambda p: fill(p, {"a.csv.gz": gzip.compress(PRICES)}) / "a.csv.gz",
    "labels": lambda p: fill(p, {"a": idx(np.arange(9))}) / "a",
    "broken gzip": lambda p: fill(p, {"a.gz": b"\x1f\x8b\x08"}) / "a.gz",
    "broken zip": lambda p: fill(p, {"a.zip": b"PK\x03\x04"}) / "a.zip",
    "no picture": lambda p: fill(p, {"a.png": PRICES}) / "a.png",
    "missing": lambda p: p / "missing",
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(tmp_path: Path, name: str) -> None:
    assert is_images(ReadingOptions(data=str(IMAGES[name](tmp_path))))


@pytest.mark.parametrize("name", OTHERS)
def test_others(tmp_path: Path, name: str) -> None:
    assert not is_images(ReadingOptions(data=str(OTHERS[name](tmp_path))))


@pytest.mark.parametrize("name", ["", " ", "-", "sample:digits", "sqlite:///a.db", "a\0b", "x" * 5000, "*.png"])
def test_what_is_no_path(name: str) -> None:
    assert not is_images(ReadingOptions(data=name))


def test_pipes_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not is_images(ReadingOptions(data=str(tmp_path / "pipe")))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real files")
def test_real_series_and_texts_are_no_images() -> None:
    looked = [path for folder in sorted(DATA.iterdir()) if folder.is_dir() and folder.name != "images"
              for path in [folder, *sorted(folder.iterdir())]]  # fmt: skip
    assert looked and [path for path in looked if is_images(ReadingOptions(data=str(path)))] == []


@pytest.mark.skipif(not (DATA / "images").is_dir(), reason="needs the folder of real files")
def test_real_images() -> None:
    for path in sorted((DATA / "images").iterdir()):
        assert is_images(ReadingOptions(data=str(path))) == ("labels" not in path.name), path
    digits = read_images(ReadingOptions(data=str(DATA / "images" / "mnist-testA5k-images-idx3-ubyte.gz")))
    assert digits.pixels.shape == (5000, 28, 28, 1) and set(digits.labels or ()) == set("0123456789")
    # Ones are the thinnest figures: the least ink of all, so that labels belong to their images.
    ink = {d: digits.pixels[[label == d for label in digits.labels or ()]].mean() for d in "0123456789"}
    assert min(ink, key=ink.__getitem__) == "1" and max(ink, key=ink.__getitem__) == "0"
    signs = read_images(ReadingOptions(data=str(DATA / "images" / "omniglot_small1.zip"), image_size=28))
    assert signs.pixels.shape == (2720, 28, 28, 1) and signs.labels is not None
    assert len(set(signs.labels)) == 136 and signs.labels[0] == "Balinese/character01"
