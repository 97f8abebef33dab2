"""A copy of what can be read only once or may change: standard input, and the answer to a database query.

A run has to be resumed, repeated and read by several processes, all from the same rows, and no file of it may hold the
password of a database.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

from ..errors import DataError
from .options import DataOptions
from .reading.sources import open_sources

ROWS_AT_ONCE = 100_000


def is_repeatable(data: str) -> bool:
    """Whether what ``--data`` names can be read again and again."""
    return data != "-" and "://" not in data


def take_snapshot(options: DataOptions, folder: Path) -> DataOptions:
    """Copy standard input or the rows of a database into a folder; return options that read the copy.

    Raises:
        DataError: if there is nothing to copy, or the copy cannot be written.
        OptionError: if ``--query`` is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if options.data == "-" and not (sys.stdin is None or sys.stdin.isatty()):
            path = folder / "stdin.csv"
            with open(path, "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        else:
            path = _copy_rows(options, folder)
    except OSError as error:
        raise DataError(
            f"what is read from {_kind(options.data)} is copied into the run folder, but {folder} cannot be written: "
            f"{error.strerror or error}; use --output to name another place"
        ) from None
    return dataclasses.replace(options, data=str(path.absolute()), query=None)


def _copy_rows(options: DataOptions, folder: Path) -> Path:
    (source,) = open_sources(options)
    path = folder / f"{source.name}.csv"
    for number, block in enumerate(source.blocks(ROWS_AT_ONCE)):
        block.cells.to_csv(path, mode="a" if number else "w", header=number == 0, index=False, lineterminator="\n")
    return path


def _kind(data: str) -> str:
    return "standard input" if data == "-" else "a database"
