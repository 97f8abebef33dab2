"""Decoded clips on disk, mapped into memory: what is too large to be kept there is decoded once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError

LARGE_BYTES = 256 * 2**20
"""Decoded clips of more bytes than this are kept on disk."""
_VERSION = 1


def clip_array(
    shape: tuple[int, ...],
    files: Sequence[Path],
    reading: Sequence[object],
    folder: Path,
    fill: Callable[[np.ndarray], None],
) -> tuple[np.ndarray, Path | None]:
    """An array filled with clips: in memory, or, if it is large, mapped from a file that is made once.

    Args:
        shape: ``[clips, frames, height, width, channels]``.
        files: what the clips are read from; a change of one makes another array.
        reading: how they are read; another way makes another array.
        folder: where large arrays are kept.
        fill: writes the clips into an empty array.

    Returns:
        the array, uint8, and its file if there is one.

    Raises:
        DataError: if the folder cannot be written.
    """
    if int(np.prod(shape)) <= LARGE_BYTES:
        array = np.empty(shape, dtype=np.uint8)
        fill(array)
        return array, None
    stamps = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = json.dumps([_VERSION, shape, list(reading), stamps], default=str)
    path = folder / f"clips-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
    try:
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            try:
                mapped = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
                fill(mapped)
                mapped.flush()
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        return np.load(path, mmap_mode="r"), path
    except OSError as error:
        raise DataError(
            f"large inputs are kept on disk, but the cache folder {folder} cannot be used: {error.strerror or error}; "
            "name another with --cache"
        ) from None
