"""Price and sensor series as a data module: windows over one tensor of rows, scaled by what training rows show."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..errors import DataError, did_you_mean
from .base import DataSpec
from .columns import (
    check_task,
    choose_columns,
    choose_transform,
    choose_transforms,
    first_rows_not_positive,
    names_in,
    not_positive,
)
from .options import DataOptions
from .parts import part_rows, part_starts
from .reading.column_names import canonical_name
from .reading.sources import hide_password
from .rows import InMemory, Rows, RowStore, Transformed, as_tensor, simple_returns, up_share, ups
from .samples import CUT_IN_TIME, Sample
from .scaling import Scaler
from .series_windows import NewestWindows, SeriesSplit, sha256
from .tables import Note, StackedTables, Table, infer_period, release, stack_tables
from .windows import WindowStarts, window_starts

ROWS_FOR_STEP = 10_001
"""Rows whose median spacing stands for that of the whole series."""

_IN_MEMORY = InMemory()


class SeriesData:
    """One or several series of the same columns, cut into training, validation and test windows.

    No window crosses from one series into the next; the split is applied to each series by itself. For returns, the
    first row of each series, which has none, is no part of any window; it still counts as a row of the split, so that
    the test rows are the same whatever the transform.

    Attributes:
        spec: shapes, names and scales, for models.
        train, validation, test: the three parts.
        options: the options with nothing left open.
        scaler: fitted on training rows; its columns are the features, then targets that are no features.
        notes: what was found, chosen and done, for the user to read.
    """

    def __init__(
        self,
        sample: Sample,
        options: DataOptions,
        scaler: Scaler | None = None,
        store: RowStore = _IN_MEMORY,
    ) -> None:
        """Cut a sample; files come through ``load_data``.

        Args:
            sample: the series.
            options: how to cut them.
            scaler: fitted to the same series before; by default it is fitted now.
            store: where the scaled rows are kept.
        """
        tables = sample.tables
        options = replace(options, task=options.task or "forecast")
        self.notes: list[Note] = list(tables.notes)
        targets, features = choose_columns(sample, options, self.notes)
        transform = choose_transform(sample, options, targets, self.notes)
        self.options = replace(options, target=",".join(targets), features=",".join(features), transform=transform)
        check_task(sample, self.options)
        columns = features + [name for name in targets if name not in features]
        transforms = choose_transforms(sample, columns, targets, transform, self.notes)
        first_rows = tables.bounds[:-1] + (transform != "level")  # a return needs the row before
        parts = part_rows(sample, self.options, self.notes)
        self._sample, self._parts, self._first_rows = sample, parts, first_rows
        starts = self._starts(self.options)
        transformed = Transformed(tables, tuple(columns), tuple(transforms))
        own_test = sample.parts is not None and sample.scale
        trained = np.flatnonzero(sample.parts == CUT_IN_TIME) if own_test else np.arange(len(tables.names))
        if scaler is None:
            scaler = transformed.fit_scaler(parts[:, 0], first_rows, trained) if sample.scale else None
        self.scaler = scaler or Scaler.identity(columns, transforms)
        self._trained_names = tuple(tables.names[number] for number in trained)
        self._rows = _build_rows(
            transformed, self.scaler, self._trained_names, self.options, sample.target_history, store
        )
        self.train, self.validation, self.test = (SeriesSplit(self._rows, part_starts) for part_starts in starts)
        self.spec = _spec(self._rows, sample.period)
        if options.task == "direction":
            up = self._rows.targets.numpy()
            cost = None if self._rows.returns is None else options.cost_bps
            self.spec = replace(self.spec, up_share=up_share(up, parts[:, 0], tables.bounds), cost_bps=cost)
            self.notes.append(_trading_note(cost))

    def _starts(self, options: DataOptions) -> list[WindowStarts]:
        """The first target rows of each part's windows."""
        tables = self._sample.tables
        return [part_starts(tables, number, self._parts[:, number], self._first_rows, options) for number in range(3)]

    def recut(self, window: int, horizon: int) -> SeriesData:
        """The same rows, scaled as they are, in windows of another look-back and horizon; nothing is read again.

        Samples that are drawn for one length of window have to be loaded anew instead.

        Raises:
            DataError: if the rows are not enough for such windows.
        """
        other = copy.copy(self)
        other.options = replace(self.options, window=window, horizon=horizon)
        rows = other._rows = replace(self._rows, options=replace(self._rows.options, window=window, horizon=horizon))
        starts = self._starts(other.options)
        other.train, other.validation, other.test = (SeriesSplit(rows, part_starts) for part_starts in starts)
        other.spec = replace(
            self.spec,
            input_shape=(window, *self.spec.input_shape[1:]),
            target_shape=(horizon, *self.spec.target_shape[1:]),
        )
        return other

    @classmethod
    def from_tables(cls, tables: Sequence[Table], options: DataOptions) -> SeriesData:
        """Several series of the same columns as one data set.

        Raises:
            DataError: if the tables are not alike or not enough for the windows and parts asked for.
            OptionError: if an option names what the tables do not have.
        """
        return cls(Sample(stack_tables(tables), period=infer_period(tables[0].dates)), options)

    @property
    def messages(self) -> list[str]:
        """The notes as sentences."""
        return [f"{note.topic}: {note.text}" for note in self.notes]

    def fitted(self) -> dict[str, Any]:
        """What was learnt from the training part, for other processes."""
        return {"scaler": self.scaler.to_dict()}

    def to(self, device: torch.device) -> SeriesData:
        """Move the rows, which all windows are gathered from, to ``device``; returns itself."""
        shared = self._rows.targets is self._rows.inputs
        self._rows.inputs = self._rows.inputs.to(device)
        self._rows.mapped = self._rows.mapped if device.type == "cpu" else None
        self._rows.targets = self._rows.inputs if shared else self._rows.targets.to(device)
        self._rows.returns = None if self._rows.returns is None else self._rows.returns.to(device)
        return self

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data, as JSON values.

        ``sha256`` is over the dates and all values as float64. ``test_hash`` is over the dates and original values of
        every test target, their names and the horizon, and nothing else: runs that were tested on the same targets
        share it, whatever their look-back, features or transform.
        """
        tables = self._rows.tables
        return {
            "source": self.options.data,
            "rows": len(tables.dates),
            "columns": list(tables.columns),
            "sha256": sha256(tables.dates, tables.values),
            "windows": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "test_hash": self.test.targets_hash(self.spec.target_names),
        }

    def schema(self) -> dict[str, Any]:
        """What a trained model needs to read new data as it read these, as plain values for a checkpoint."""
        tables = self._rows.tables
        dates = tables.dates[: tables.bounds[1]]
        return {
            "options": replace(self.options, data=hide_password(self.options.data)).to_dict(),
            "features": list(self.spec.feature_names),
            "targets": list(self.spec.target_names),
            "columns": list(self.scaler.columns),
            "transforms": list(self.scaler.transforms),
            "scaler": self.scaler.to_dict(),
            "series": list(self._trained_names),
            "period": self.spec.period,
            "step_seconds": float(np.median(np.diff(dates[:ROWS_FOR_STEP])) / np.timedelta64(1, "s")),
            "spec": self.spec.to_dict(),
        }

    @classmethod
    def for_prediction(cls, tables: Sequence[Table], schema: Mapping[str, Any]) -> PredictionData:
        """New series for a model that was trained on others.

        Args:
            tables: the new series; columns that the model does not read may be missing or added.
            schema: what ``schema()`` of the training data returned.

        Raises:
            DataError: if a column or the rows for one window are missing, a value has no return, or a series is new
                to a model that scales every series by itself.
        """
        return PredictionData(tables, schema)


def _build_rows(
    transformed: Transformed,
    scaler: Scaler,
    trained: Sequence[str],
    options: DataOptions,
    target_history: bool,
    store: RowStore = _IN_MEMORY,
) -> Rows:
    """Scale all rows and lay out what models read and what they forecast.

    Args:
        transformed: the columns in use.
        scaler: for them.
        trained: names of the series the scaler was fitted to, in the order of its groups.
        options: nothing left open.
        target_history: whether past values of the targets are known.
        store: where the scaled rows are kept.
    """
    tables, columns = transformed.tables, transformed.columns
    features, targets = names_in(options.features, tables.columns), names_in(options.target, tables.columns)
    channels = tuple(columns.index(name) for name in targets)
    places = tuple(tables.columns.index(name) for name in targets)
    groups = _groups(tables, scaler, trained)
    scaled = transformed.scaled(scaler, groups, store)
    inputs = as_tensor(scaled if len(features) == len(columns) else scaled[:, : len(features)])
    returns = None
    if options.task == "direction":
        outputs, returns = as_tensor(ups(tables, places)), simple_returns(tables, places)
    elif channels == tuple(range(len(features))):
        outputs = inputs
    else:
        outputs = as_tensor(scaled[:, channels])
    mapped = scaled if isinstance(scaled, np.memmap) else None
    release(scaled)
    traded = None if returns is None else as_tensor(returns)
    return Rows(inputs, outputs, tables, places, channels, scaler, groups, options, target_history, mapped, traded)


def _trading_note(cost_bps: float | None) -> Note:
    if cost_bps is None:
        return Note("returns", "not simulated, as values of zero or below have no return")
    return Note("costs", f"{cost_bps:g} basis points of every simulated trade", "--cost-bps")


def _groups(tables: StackedTables, scaler: Scaler, trained: Sequence[str]) -> np.ndarray:
    """The scaler's group of every series, int64 ``[series]``, found by name where there are several groups."""
    if len(scaler.center) == 1:
        return np.zeros(len(tables.names), dtype=np.int64)
    for name in tables.names:
        if name not in trained:
            raise DataError(
                f"levels are scaled by each series' own training rows, but '{name}' was not trained on."
                f"{did_you_mean(name, trained)} Use --series to name those that were, or train with --transform return"
            )
    return np.array([trained.index(name) for name in tables.names], dtype=np.int64)


def _spec(rows: Rows, period: int | None) -> DataSpec:
    options, tables = rows.options, rows.tables
    features, targets = names_in(options.features, tables.columns), names_in(options.target, tables.columns)
    transform = str(options.transform)
    return DataSpec(
        kind="series",
        task=str(options.task),
        input_shape=(options.window, len(features)),
        target_shape=(options.horizon, len(targets)),
        feature_names=tuple(features),
        target_names=tuple(targets),
        target_channels=rows.channels if rows.target_history else None,
        transform=transform,
        target_scale=() if transform == "level" else tuple(rows.scaler.scale[0, list(rows.channels)].tolist()),
        period=period,
    )


class PredictionData:
    """New series for a trained model, scaled as its training series were; see ``SeriesData.for_prediction``.

    Attributes:
        spec: what the model was built for.
        windows: every window with a full look-back and full horizon, in order of series and time.
        newest: one window per series whose look-back ends at the series' last row.
        notes: what was found and done.
    """

    def __init__(self, tables: Sequence[Table], schema: Mapping[str, Any]) -> None:
        self.spec = DataSpec.from_dict(schema["spec"])
        options = DataOptions.from_dict(schema["options"])
        self.notes = [note for table in tables for note in table.notes]
        columns, transforms = list(schema["columns"]), list(schema["transforms"])
        stacked = stack_tables([_chosen_columns(table, columns) for table in tables])
        changing = [name for name, transform in zip(columns, transforms, strict=True) if transform != "level"]
        for name, row in zip(changing, first_rows_not_positive(stacked, changing), strict=True):
            if row is not None:
                fix = "mend that cell, or train with --transform level"
                raise not_positive(stacked, name, row, str(options.transform), fix)
        scaler = Scaler.from_dict(schema["scaler"])
        transformed = Transformed(stacked, tuple(columns), tuple(transforms))
        rows = _build_rows(transformed, scaler, schema["series"], options, self.spec.target_channels is not None)
        first_rows = stacked.bounds[:-1] + (options.transform != "level")
        _check_length(stacked, first_rows, options)
        starts = [
            window_starts((int(first), int(last)), (int(first), int(last)), options.window, options.horizon)
            for first, last in zip(first_rows, stacked.bounds[1:], strict=True)
        ]
        self.windows = SeriesSplit(rows, WindowStarts(starts))
        self.newest = NewestWindows(rows, WindowStarts([range(int(end), int(end) + 1) for end in stacked.bounds[1:]]))

    @property
    def messages(self) -> list[str]:
        """The notes as sentences."""
        return [f"{note.topic}: {note.text}" for note in self.notes]


def _chosen_columns(table: Table, columns: Sequence[str]) -> Table:
    """The columns a model reads, in its order; spelling and case may differ."""
    alike = {canonical_name(name): name for name in reversed(list(table.columns))}
    found = {}
    for name in columns:
        own = name if name in table.columns else alike.get(canonical_name(name))
        if own is None:
            raise DataError(
                f"new data need the columns the model was trained on, but '{table.name}' has no '{name}'."
                f"{did_you_mean(name, list(table.columns))} Columns: {', '.join(table.columns)}"
            )
        found[name] = table.columns[own]
    return replace(table, columns=found)


def _check_length(tables: StackedTables, first_rows: np.ndarray, options: DataOptions) -> None:
    rows = tables.bounds[1:] - first_rows
    shortest = int(rows.argmin())
    if rows[shortest] < options.window:
        unit = "rows" if options.transform == "level" else "returns"
        raise DataError(
            f"a forecast reads the last {options.window} {unit}, but {tables.names[shortest]} has {rows[shortest]}; "
            "give more history"
        )
