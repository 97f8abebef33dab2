"""What runs logged as tables for other programs: every point, CSV or Parquet, one run in memory at a time.

Tables are tidy: one row a point with the columns ``run`` (the name that TensorBoard shows), ``tag``, ``step``,
``wall_time`` (seconds since 1970) and ``value`` (float64; scalars in event files are float32, so 0.1 is
0.10000000149011612). The wide form has one row a step and one column a tag.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..errors import OptionError
from .event_reader import Curve, RunEvents, event_folders, read_run

FORMATS = ("csv", "parquet")
TIDY = pa.schema(
    [
        ("run", pa.dictionary(pa.int32(), pa.string())),
        ("tag", pa.dictionary(pa.int32(), pa.string())),
        ("step", pa.int64()),
        ("wall_time", pa.float64()),
        ("value", pa.float64()),
    ]
)


def read_scalars(logdir: str | Path) -> pd.DataFrame:
    """All scalars of all runs below a folder as one tidy table.

    Any writer's event files are read: ours, PyTorch's ``SummaryWriter``, Lightning's and TensorFlow 2's. For a
    folder that does not fit into memory, write a table with ``ScalarTable`` instead.

    Args:
        logdir: a run, or a folder of runs.
    """
    tables = [
        tidy_table(folder.relative_to(logdir).as_posix(), read_run(files).scalars)
        for folder, files in event_folders(Path(logdir)).items()
    ]
    frame: pd.DataFrame = pa.concat_tables([TIDY.empty_table(), *tables]).to_pandas()
    return frame


def tidy_table(run: str, curves: Mapping[str, Curve]) -> Any:
    """The points of one run, tag after tag, each in the order in which it was written.

    Returns:
        A ``pyarrow.Table`` with the columns of ``TIDY``.
    """
    lengths = [len(curve) for curve in curves.values()]
    count = sum(lengths)
    columns = [
        pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([run], pa.string())),
        pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(len(lengths), dtype=np.int32), lengths), pa.array(list(curves), pa.string())
        ),
        pa.array(_joined([curve.steps for curve in curves.values()], np.int64)),
        pa.array(_joined([curve.wall_times for curve in curves.values()], np.float64)),
        pa.array(_joined([curve.values for curve in curves.values()], np.float64)),
    ]
    return pa.Table.from_arrays(columns, schema=TIDY)


def wide_table(run: str, curves: Mapping[str, Curve]) -> tuple[Any, int]:
    """One row a step, one column a tag, empty where a tag has no value at a step; of several the last one counts.

    Returns:
        The ``pyarrow.Table``, and how many points were replaced by a later one of the same step.
    """
    steps = np.unique(_joined([curve.steps for curve in curves.values()], np.int64))
    columns = {
        "run": pa.DictionaryArray.from_arrays(np.zeros(len(steps), np.int32), pa.array([run], pa.string())),
        "step": pa.array(steps),
    }
    replaced = 0
    for tag, curve in curves.items():
        places = np.searchsorted(steps, np.asarray(curve.steps))
        values, missing = np.zeros(len(steps)), np.ones(len(steps), bool)
        values[places], missing[places] = np.asarray(curve.values), False
        columns[tag] = pa.array(values, mask=missing)
        replaced += len(curve) - int((~missing).sum())
    return pa.table(columns), replaced


def _joined(arrays: Sequence[Any], dtype: Any) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *(np.frombuffer(array, dtype) for array in arrays if len(array))])


class ScalarTable:
    """A table of scalars on disk that grows run by run; CSV or Parquet by the suffix of ``path``.

    The tidy form is written at once, the wide form at the end, when all tags are known.

    Attributes:
        points: how many points were written.
        replaced: how many were left out of the wide form because a later one had the same step.
    """

    def __init__(self, path: Path, *, wide: bool = False) -> None:
        self.path, self.wide = path, wide
        self.points = self.replaced = 0
        self._tables: list[Any] = []
        self._writer = None if wide else _writer(path, TIDY)

    def add(self, run: str, curves: Mapping[str, Curve]) -> None:
        """Add the points of a run."""
        self.points += sum(map(len, curves.values()))
        if self._writer is not None:
            self._writer.write_table(tidy_table(run, curves))
        elif curves:
            table, replaced = wide_table(run, curves)
            self._tables.append(table)
            self.replaced += replaced

    def close(self) -> None:
        """Write what is left; nothing can be added afterwards."""
        if self._writer is not None:
            self._writer.close()
        elif self._tables:
            _write(pa.concat_tables(self._tables, promote_options="default"), self.path)
            self._tables.clear()


def write_epoch_tables(tables: Mapping[str, Path], path: Path) -> int:
    """Put the ``metrics.csv`` of several runs below one another, the run's name in front.

    Args:
        tables: the files by the name of their run; one that holds nothing is passed over.
        path: what to write, CSV or Parquet by its suffix; nothing is written where there are no rows.

    Returns:
        How many rows were written.
    """
    frames = []
    for run, file in tables.items():
        try:
            frame = pd.read_csv(file)
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError):
            continue
        frame.insert(0, "run", run)
        frames.append(frame)
    rows = sum(map(len, frames))
    if rows:
        _write(pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False), path)
    return rows


def write_texts(run: str, events: RunEvents, path: Path) -> None:
    """The texts of a run as one Markdown file, a heading for each tag and step."""
    parts = [f"# {run}"]
    for tag, entries in events.texts.items():
        parts += [f"## {tag}, step {step}\n\n{text.strip()}" for step, text in entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def choose_tags(tags: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The tags that one of the patterns fits: a whole tag, or wildcards as in ``Loss/*``. No pattern fits all."""
    if not patterns:
        return list(tags)
    return [tag for tag in tags if any(tag == pattern or fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)]


class FileNames:
    """Names for files after names of tags or runs: safe everywhere, and never one name twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def make(self, name: str) -> str:
        """``Loss/train`` -> ``Loss_train``; ``Loss_train`` -> ``Loss_train_2`` when it comes after that."""
        base = re.sub(r"[^\w.+-]", "_", name).strip("._")[:120] or "root"
        candidate, number = base, 1
        while candidate.casefold() in self._taken:  # some file systems take Loss and loss for the same
            number += 1
            candidate = f"{base}_{number}"
        self._taken.add(candidate.casefold())
        return candidate


def check_format(name: str) -> None:
    """Refuse a format of tables that is not known.

    Raises:
        OptionError: if it is none of ``FORMATS``.
    """
    if name not in FORMATS:
        raise OptionError(f"--format must be one of {', '.join(FORMATS)}, but got '{name}'")


def _writer(path: Path, schema: Any) -> Any:
    """Something with ``write_table`` and ``close``."""
    if path.suffix == ".parquet":
        return pa.parquet.ParquetWriter(path, schema, compression="zstd")
    return pa.csv.CSVWriter(path, schema)


def _write(table: Any, path: Path) -> None:
    writer = _writer(path, table.schema)
    try:
        writer.write_table(table)
    finally:
        writer.close()
