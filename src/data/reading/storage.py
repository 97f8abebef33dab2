"""Arrays for rows while they are read: in memory, or in files of a folder where the input is large."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

_CHUNK = 1 << 18


class Storage:
    """Hands out arrays that are filled, changed and shortened in place.

    In a folder, every array is a file mapped into memory; ``release`` gives the memory of its pages back, so that the
    program holds no more than the pages in use.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder``: one that exists, or None for memory."""
        self._folder = folder
        self._maps: list[tuple[mmap.mmap, Path]] = []
        self._files = 0

    def allocate(self, dtype: str, rows: int) -> np.ndarray:
        """A new array ``[rows]`` with anything in it."""
        if self._folder is None or rows == 0:
            return np.empty(rows, dtype)
        self._files += 1
        path = self._folder / f"part-{self._files:04d}.bin"
        array = np.memmap(path, dtype=dtype, mode="w+", shape=(rows,))
        if isinstance(array.base, mmap.mmap):
            self._maps.append((array.base, path))
        return array

    def release(self) -> None:
        """Give memory back; the values stay in the files."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped, _ in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)

    def clear(self) -> None:
        """Remove the files. The arrays must no longer be used."""
        for _, path in self._maps:
            path.unlink(missing_ok=True)
        self._maps.clear()


class Collector:
    """Finished arrays of many sources, one after the other under one name each.

    In a folder, each name is one file, so that thousands of sources need no more files than one.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder``: one that exists, or None for memory."""
        self._folder = folder
        self._names: dict[str, int] = {}
        self._rows: dict[str, int] = {}

    def add(self, name: str, array: np.ndarray) -> np.ndarray | tuple[int, int]:
        """Keep an array; returns what ``get`` wants to give it back."""
        if self._folder is None:
            return array
        number = self._names.setdefault(name, len(self._names))
        first = self._rows.get(name, 0)
        with (self._folder / f"column-{number:04d}.bin").open("ab") as file:
            for start in range(0, len(array), _CHUNK):
                file.write(np.ascontiguousarray(array[start : start + _CHUNK]).data)
        self._rows[name] = first + len(array)
        return (first, self._rows[name])

    def get(self, name: str, dtype: str) -> np.ndarray:
        """All arrays of a name, mapped into memory. Only in a folder."""
        if self._folder is None or not self._rows.get(name):
            return np.empty(0, dtype)
        path = self._folder / f"column-{self._names[name]:04d}.bin"
        return np.memmap(path, dtype=dtype, mode="r+", shape=(self._rows[name],))


def keep(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The chosen rows of an array, moved to its front in place and piecewise; the array cut to them.

    Args:
        array: ``[rows]``.
        mask: bool ``[rows]``.
    """
    end = 0
    for start in range(0, len(array), _CHUNK):
        part = array[start : start + _CHUNK][mask[start : start + _CHUNK]]
        array[end : end + len(part)] = part
        end += len(part)
    return array[:end]
