"""Files of images as their users have them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def noise(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def encoded(pixels: np.ndarray, form: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **more)
    return buffer.getvalue()


def fill(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def class_files(classes: Mapping[str, int], size: tuple[int, ...] = (6, 6), seed: int = 0) -> dict[str, bytes]:
    """So many different pictures in the folder of each class."""
    pixels = iter(noise(sum(classes.values()), *size, seed=seed))
    return {
        f"{name}/{number:03}.png".lstrip("/"): encoded(next(pixels))
        for name, count in classes.items()
        for number in range(count)
    }


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def write_idx(path: Path, values: np.ndarray) -> Path:
    content = idx(values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
