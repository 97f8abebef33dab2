"""Large inputs on disk: read once, then mapped into memory by every process that trains on them.

An entry is a folder: ``values.npy`` (float64), ``dates.npy``, ``tables.json`` and, per scaling, ``rows-<hash>.npy``
(float32, what batches are gathered from). It is found by what the sources are and how they are read, and replaced
when they change.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import DataError
from .options import ReadingOptions
from .tables import ROWS_AT_ONCE, Note, StackedTables, Table, check_table, release

FORMAT_VERSION = 1
ABANDONED_SECONDS = 24 * 3600
"""Unfinished entries of this age were left by processes that died."""

Read = Callable[[Path], tuple[list[Table], int]]


class Source(Protocol):
    """What the cache asks of a source."""

    @property
    def location(self) -> str:
        """Path or address."""

    def identity(self) -> str | None:
        """What changes when the content changes; None if that cannot be told."""


@dataclass(frozen=True)
class CacheEntry:
    """One input on disk; a ``RowStore`` for its scaled rows.

    Attributes:
        folder: where it is.
        tables: the series, their values and dates mapped from disk.
        training_series: how many of them come before those of the test data.
    """

    folder: Path
    tables: StackedTables
    training_series: int

    def rows(self, key: str, shape: tuple[int, int], fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """The scaled rows kept under ``key``, made by ``fill`` if they are not there; see ``RowStore``."""
        path = self.folder / f"rows-{digest(key)}.npy"
        if not path.is_file():
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            with clear_errors(self.folder):
                try:
                    array = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
                    fill(array)
                    array.flush()
                    os.replace(temporary, path)
                finally:
                    temporary.unlink(missing_ok=True)
        # "c": changes, of which there are none, would stay in memory; torch wants an array that could be changed.
        return np.load(path, mmap_mode="c")


class TableCache:
    """The folder that holds the entries.

    Args:
        folder: by default a folder for this program in the user's cache folder.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        if folder is None:
            import platformdirs

            folder = platformdirs.user_cache_dir("trainboard", appauthor=False)
        self.folder = Path(folder).absolute()

    def entry(self, sources: Sequence[Source], options: ReadingOptions, read: Read) -> CacheEntry:
        """The entry for some sources, made by ``read`` if there is none.

        Args:
            sources: where the data come from.
            options: how they are read.
            read: gets an empty folder to work in; returns the tables and how many come before the test data.

        Raises:
            DataError: if the folder cannot be written.
        """
        reading = {name: getattr(options, name) for name in ReadingOptions.names()} | {"data": None}
        where = [source.location for source in sources]
        identities = [source.identity() for source in sources]
        # What may change unnoticed is read anew by every process that asks for it.
        unique = [os.getpid(), time.time_ns()] if None in identities else []
        name = digest(json.dumps([FORMAT_VERSION, where, identities, reading, unique]))
        folder = self.folder / name
        with clear_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            found = _open(folder)
            if found is None:
                self._build(folder, {"locations": where, "reading": reading}, read)
                found = _open(folder)
        if found is None:
            raise DataError(f"the cache must stay while it is used, but {folder} is gone; use another --cache")
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        note = Note("cache", f"{size / 1e6:,.0f} MB in {folder}, mapped into memory", "--cache")
        return dataclasses.replace(found, tables=dataclasses.replace(found.tables, notes=(*found.tables.notes, note)))

    def _build(self, folder: Path, origin: dict[str, Any], read: Read) -> None:
        self._remove_outdated(origin)
        temporary = self.folder / f".{folder.name}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        workspace = temporary / "workspace"
        workspace.mkdir(parents=True)
        try:
            tables, training_series = read(workspace)
            _write(temporary, tables, {"training_series": training_series, "origin": origin})
            del tables
            shutil.rmtree(workspace)
            _return_freed_memory()
            try:
                os.rename(temporary, folder)
            except OSError:
                if _open(folder) is not None:  # another process was quicker
                    return
                shutil.rmtree(folder, ignore_errors=True)  # what was damaged
                os.rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove_outdated(self, origin: dict[str, Any]) -> None:
        """Remove what was made of the same sources before they changed, and what dead processes left."""
        for folder in self.folder.iterdir():
            if folder.name.endswith(".tmp"):
                abandoned = time.time() - folder.stat().st_mtime > ABANDONED_SECONDS
            else:
                content = _read_json(folder / "tables.json")
                abandoned = content is not None and content.get("origin") == origin
            if abandoned:
                shutil.rmtree(folder, ignore_errors=True)


def _return_freed_memory() -> None:
    """Give the system back what reading has used; the C library and Arrow would keep it for the next time."""
    import pyarrow

    gc.collect()
    pyarrow.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _write(folder: Path, tables: list[Table], further: dict[str, Any]) -> None:
    """Write series one under the other, block by block."""
    columns = list(tables[0].columns)
    bounds = np.concatenate([[0], np.cumsum([len(table.dates) for table in tables])]).astype(np.int64)
    values = np.lib.format.open_memmap(folder / "values.npy", "w+", np.float64, (int(bounds[-1]), len(columns)))
    dates = np.lib.format.open_memmap(folder / "dates.npy", "w+", np.dtype("datetime64[ns]"), (int(bounds[-1]),))
    for table, begin in zip(tables, bounds, strict=False):
        check_table(table)
        for first in range(0, len(table.dates), ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, len(table.dates))
            dates[begin + first : begin + last] = table.dates[first:last]
            for place, name in enumerate(columns):
                values[begin + first : begin + last, place] = table.columns[name][first:last]
            for array in (values, dates, table.dates, *table.columns.values()):
                release(array)
    values.flush()
    dates.flush()
    notes = [dataclasses.asdict(note) for table in tables for note in table.notes]
    names = [table.name for table in tables]
    content = further | {"columns": columns, "bounds": bounds.tolist(), "names": names, "notes": notes}
    (folder / "tables.json").write_text(json.dumps(content), encoding="utf-8")


def _open(folder: Path) -> CacheEntry | None:
    """The entry in a folder, or None if there is none that is whole."""
    content = _read_json(folder / "tables.json")
    if content is None:
        return None
    try:
        values = np.load(folder / "values.npy", mmap_mode="r")
        dates = np.load(folder / "dates.npy", mmap_mode="r")
        bounds = np.array(content["bounds"], dtype=np.int64)
        notes = tuple(Note(**note) for note in content["notes"])
        columns, names = tuple(content["columns"]), tuple(content["names"])
        if values.shape != (bounds[-1], len(columns)) or len(dates) != bounds[-1]:
            return None
        return CacheEntry(
            folder, StackedTables(dates, values, columns, bounds, names, notes), content["training_series"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def digest(text: str) -> str:
    """A short name for a text, for files that are found by what they were made of."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextlib.contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """Say which folder cannot be used where the system only says that something failed."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"large inputs are kept on disk, but the cache folder {folder} cannot be used: {error.strerror or error}; "
            "name another with --cache"
        ) from None
