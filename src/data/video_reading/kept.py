"""Decoded clips on disk, mapped into memory: what is too large to be kept there is read once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ..cache import ABANDONED_SECONDS, TableCache, clear_errors, digest
from ..tables import Note
from ..videos import CaptionedClips

LARGE_BYTES = 256 * 2**20
"""Decoded clips of more bytes than this are kept on disk."""
_VERSION = 1
_PREFIX = "clips-"
_PIXELS, _REST = "clips.npy", "clips.json"

Allocate = Callable[[tuple[int, ...]], np.ndarray]
"""Gives an array of bytes ``[clips, frames, height, width, channels]`` to be filled."""


def in_memory(shape: tuple[int, ...]) -> np.ndarray:
    """An ``Allocate`` that keeps nothing."""
    return np.empty(shape, dtype=np.uint8)


class ClipCache:
    """The folder that holds large clips: an entry is a folder with their bytes and what else is known of them.

    Args:
        folder: by default a folder for this program in the user's cache folder.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = TableCache(folder).folder

    def clips(
        self, read: Callable[[Allocate], CaptionedClips], sources: Sequence[Path], reading: Mapping[str, Any]
    ) -> CaptionedClips:
        """What ``read`` gives: in memory, or, if it is large, mapped from a file that is made once.

        Args:
            read: reads the clips into an array that it asks for.
            sources: the files and folders read; a change of one makes another entry in the place of the old one.
            reading: how they are read, as plain values; another way makes another entry.

        Raises:
            DataError: if the folder cannot be used; whatever ``read`` raises.
        """
        origin = {"sources": [str(path.absolute()) for path in sources], "reading": dict(reading)}
        name = _PREFIX + digest(json.dumps([_VERSION, origin, sorted(_stamps(sources))]))
        entry, temporary = self.folder / name, self.folder / f".{name}.{os.getpid()}.tmp"
        found = _open(entry)
        if found is not None:
            return found

        def allocate(shape: tuple[int, ...]) -> np.ndarray:
            if int(np.prod(shape)) <= LARGE_BYTES:
                return in_memory(shape)
            with clear_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._remove_outdated(origin)
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
                return np.lib.format.open_memmap(temporary / _PIXELS, "w+", np.uint8, shape)

        try:
            clips = read(allocate)
            if not isinstance(clips.clips, np.memmap):
                return clips
            with clear_errors(self.folder):
                clips.clips.flush()
                _write_rest(temporary, clips, origin)
                del clips
                _put(temporary, entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        found = _open(entry)
        if found is None:
            raise DataError(f"the cache must stay while it is used, but {entry} is gone; use another --cache")
        return found

    def _remove_outdated(self, origin: Mapping[str, Any]) -> None:
        """Remove what was made of the same sources before they changed, and what dead processes left."""
        for folder in self.folder.glob(f"{_PREFIX}*"):
            content = _read_rest(folder)
            if content is not None and content.get("origin") == origin:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.folder.glob(f".{_PREFIX}*.tmp"):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _put(temporary: Path, entry: Path) -> None:
    """Make a finished entry visible, in one step."""
    try:
        os.rename(temporary, entry)
    except OSError:
        if _open(entry) is not None:  # another process was quicker
            return
        shutil.rmtree(entry, ignore_errors=True)  # what was damaged
        os.rename(temporary, entry)


def _stamps(sources: Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of every file read."""
    for source in sources:
        below = os.walk(source, followlinks=True)
        inside = (Path(folder, name) for folder, _, names in below for name in names)
        for file in [source] if source.is_file() else inside:
            with contextlib.suppress(OSError):  # a link to nothing; if it is read, the reader says so
                stat = file.stat()
                yield str(file.absolute()), stat.st_size, stat.st_mtime_ns


def _write_rest(folder: Path, clips: CaptionedClips, origin: Mapping[str, Any]) -> None:
    rest = {
        field.name: getattr(clips, field.name)
        for field in dataclasses.fields(clips)
        if field.name not in ("clips", "notes", "parts")
    }
    notes = [dataclasses.asdict(note) for note in clips.notes]
    content = {"origin": origin, "shape": clips.clips.shape, "clips": rest, "notes": notes}
    (folder / _REST).write_text(json.dumps(content), encoding="utf-8")


def _open(entry: Path) -> CaptionedClips | None:
    """The clips of an entry; None if there is none that is whole."""
    content = _read_rest(entry)
    if content is None:
        return None
    try:
        pixels = np.load(entry / _PIXELS, mmap_mode="r")
        rest = content["clips"] | {name: tuple(content["clips"][name]) for name in ("captions", "names")}
        notes = [Note(**note) for note in content["notes"]]
        if list(pixels.shape) != content["shape"] or len(pixels) != len(rest["captions"]):
            return None
        notes.append(Note("cache", f"{pixels.nbytes / 1e6:,.0f} MB in {entry}, mapped into memory", "--cache"))
        return CaptionedClips(pixels, notes=tuple(notes), **rest)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_rest(entry: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((entry / _REST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
