"""Price and sensor series as a data module: windows over one tensor of rows, scaled by what training rows show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, OptionError
from .base import Batch, DataSpec
from .columns import check_task, choose_columns, choose_transforms
from .options import DataOptions
from .readers import StackedTables, Table, date_text, infer_period, read_table, stack_tables
from .samples import Sample, load_sample
from .scaling import Scaler, levels_from_changes, transform_levels
from .splits import PARTS, parse_split, split_rows
from .windows import gather_windows, window_starts

_SAMPLE_PREFIX = "sample:"


def load_data(options: DataOptions, seed: int = 0) -> SeriesData:
    """Read what ``options.data`` names, a file or ``sample:NAME``, and cut it into scaled windows.

    Args:
        options: which data, columns, windows and parts.
        seed: of samples that are drawn at random; files do not depend on it.

    Raises:
        DataError: if the file or the sample cannot be read, or is not enough for the windows and parts asked for.
        OptionError: if an option names what the data does not have.
    """
    if options.data.startswith(_SAMPLE_PREFIX):
        name = options.data.removeprefix(_SAMPLE_PREFIX)
        return SeriesData(load_sample(name, window=options.window, seed=seed), options)
    return SeriesData.from_tables([read_table(options.data)], options)


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
        messages: what was chosen and why, for the user to read.
    """

    def __init__(self, sample: Sample, options: DataOptions) -> None:
        """Cut a sample; files come through ``load_data`` or ``from_tables``."""
        tables = sample.tables
        self.messages: list[str] = list(tables.messages)
        targets, features = choose_columns(sample, options, self.messages)
        transform = options.transform or sample.transform
        self.options = replace(options, target=",".join(targets), features=",".join(features), transform=transform)
        check_task(sample, self.options)
        columns = features + [name for name in targets if name not in features]
        channels = tuple(columns.index(name) for name in targets)
        levels = tables.values[:, [tables.columns.index(name) for name in columns]]
        transforms = choose_transforms(sample, columns, targets, levels, transform, self.messages)

        first_rows = tables.bounds[:-1] + (transform != "level")  # a return needs the row before
        parts = _part_rows(sample, self.options, self.messages)
        starts = [_starts(tables, number, parts[:, number], first_rows, self.options) for number in range(3)]
        values = transform_levels(levels, transforms, tables.bounds)
        self.scaler = _fit_scaler(sample, values, columns, transforms, parts[:, 0], first_rows)
        scaled = self.scaler.scaled(values, tables.bounds).astype(np.float32)
        up = _ups(levels[:, channels])
        self._tables = tables
        self._rows = _Rows(
            inputs=torch.from_numpy(np.ascontiguousarray(scaled[:, : len(features)])),
            targets=torch.from_numpy(up if options.task == "direction" else np.ascontiguousarray(scaled[:, channels])),
            levels=levels[:, channels],
            tables=tables,
            scaler=self.scaler,
            channels=channels,
            options=self.options,
            transform=transform,
            target_history=sample.target_history,
        )
        self.train, self.validation, self.test = (SeriesSplit(self._rows, part_starts) for part_starts in starts)
        self.spec = DataSpec(
            kind="series",
            task=options.task,
            input_shape=(options.window, len(features)),
            target_shape=(options.horizon, len(targets)),
            feature_names=tuple(features),
            target_names=tuple(targets),
            target_channels=channels if sample.target_history else None,
            transform=transform,
            target_scale=() if transform == "level" else tuple(self.scaler.scale[0, list(channels)].tolist()),
            period=sample.period,
            up_share=_up_share(up, parts[:, 0], tables.bounds) if options.task == "direction" else (),
        )

    @classmethod
    def from_tables(cls, tables: Sequence[Table], options: DataOptions) -> SeriesData:
        """Several series of the same columns as one data set.

        Raises:
            DataError: if the tables are not alike or not enough for the windows and parts asked for.
            OptionError: if an option names what the tables do not have.
        """
        stacked = stack_tables(tables)
        return cls(Sample(stacked, period=infer_period(tables[0].dates)), options)

    def to(self, device: torch.device) -> SeriesData:
        """Move the rows, which all windows are gathered from, to ``device``; returns itself."""
        self._rows.inputs = self._rows.inputs.to(device)
        self._rows.targets = self._rows.targets.to(device)
        return self

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data, as JSON values.

        ``sha256`` is over the dates and all values as float64. ``test_hash`` is over the dates and original values of
        every test target, their names and the horizon, and nothing else: runs that were tested on the same targets
        share it, whatever their look-back, features or transform.
        """
        tables = self._tables
        return {
            "source": self.options.data,
            "rows": len(tables.dates),
            "columns": list(tables.columns),
            "sha256": _sha256(tables.dates, tables.values),
            "windows": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "test_hash": self.test.targets_hash(self.spec.target_names),
        }


@dataclass
class _Rows:
    """What the three parts share. ``inputs`` and ``targets`` move to the device; the rest stays in main memory.

    Attributes:
        inputs: float32 ``[rows, features]``, scaled.
        targets: float32 ``[rows, targets]``: scaled, or 1.0 where the row's level is above the row's before.
        levels: float64 ``[rows, targets]``, as in the file.
        channels: the place of every target among the scaler's columns.
    """

    inputs: Tensor
    targets: Tensor
    levels: np.ndarray
    tables: StackedTables
    scaler: Scaler
    channels: tuple[int, ...]
    options: DataOptions
    transform: str
    target_history: bool


class SeriesSplit:
    """The windows of one part. Sample ``i`` is the i-th window in order of series and time.

    Wherever ``index`` is asked for: int64 ``[batch]``, numpy or torch on any device, sample numbers of this part.
    """

    def __init__(self, rows: _Rows, starts: Tensor) -> None:
        """``starts``: int64 ``[windows]``, the first target row of every window."""
        self._rows = rows
        self._starts = starts

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._starts)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Every window once: in a random order drawn from ``generator``, in order of time without one.

        The order is drawn on the CPU, so that it does not depend on the device. The last batch may be smaller.
        """
        rows, count = self._rows, len(self)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        device = rows.inputs.device
        starts = self._starts[order].to(device)
        order = order.to(device)
        for index, batch_starts in zip(order.split(batch_size), starts.split(batch_size), strict=True):
            yield Batch(
                gather_windows(rows.inputs, batch_starts, rows.options.window, 0),
                gather_windows(rows.targets, batch_starts, 0, rows.options.horizon),
                index,
            )

    def select(self, index: np.ndarray | Tensor) -> Batch:
        """The named windows as one batch."""
        rows = self._rows
        order = torch.as_tensor(index, dtype=torch.int64).cpu()
        starts = self._starts[order].to(rows.inputs.device)
        return Batch(
            gather_windows(rows.inputs, starts, rows.options.window, 0),
            gather_windows(rows.targets, starts, 0, rows.options.horizon),
            order.to(rows.inputs.device),
        )

    def history(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The targets' levels over the look-back window in original units, float64 ``[batch, window, targets]``."""
        window = self._rows.options.window
        return self._rows.levels[self._first_rows(index)[:, None] + np.arange(-window, 0)]

    def actual(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The targets' levels in original units, float64 ``[batch, horizon, targets]``."""
        return self._rows.levels[self._target_rows(index)]

    def persistence(self, index: np.ndarray | Tensor) -> np.ndarray | None:
        """The last known level repeated, float64 ``[batch, horizon, targets]``; None if it is not known."""
        if not self._rows.target_history:
            return None
        last = self._rows.levels[self._first_rows(index) - 1]
        return np.repeat(last[:, None, :], self._rows.options.horizon, axis=1)

    def to_units(self, index: np.ndarray | Tensor, scaled: np.ndarray) -> np.ndarray:
        """Turn forecasts into levels in original units.

        Levels are unscaled with their series' own scale. Returns are unscaled and compounded from the last known
        level: times the cumulative product of 1 + r, or the exponential of the cumulative sum of log-returns.

        Args:
            index: which samples.
            scaled: ``[batch, horizon, targets]`` as a model of task ``forecast`` predicts them.

        Returns:
            float64 ``[batch, horizon, targets]``.

        Raises:
            OptionError: for task ``direction``, whose predictions have no units.
        """
        rows = self._rows
        if rows.options.task != "forecast":
            raise OptionError(f"only forecasts have units, but the task is '{rows.options.task}'; use --task forecast")
        first = self._first_rows(index)
        groups = self._series(first) if len(rows.scaler.center) > 1 else np.zeros(len(first), dtype=np.int64)
        values = rows.scaler.unscaled(scaled, groups, rows.channels)
        if rows.transform == "level":
            return values
        return levels_from_changes(rows.levels[first - 1], values, rows.transform)

    def origin_dates(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The date of the last row each forecast knows, ``datetime64[ns]`` ``[batch]``."""
        return self._rows.tables.dates[self._first_rows(index) - 1]

    def target_dates(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The dates that are forecast, ``datetime64[ns]`` ``[batch, horizon]``."""
        return self._rows.tables.dates[self._target_rows(index)]

    def series_names(self, index: np.ndarray | Tensor) -> list[str]:
        """The name of each sample's series."""
        return [self._rows.tables.names[number] for number in self._series(self._first_rows(index))]

    def targets_hash(self, target_names: Sequence[str]) -> str:
        """SHA-256 over the dates and original values of all targets, their names and the horizon."""
        rows, starts = self._rows, self._starts.numpy()
        used = np.zeros(len(rows.levels), dtype=bool)
        for step in range(rows.options.horizon):
            used[starts + step] = True
        windows_per_series = np.unique(self._series(starts), return_counts=True)[1]
        header = f"{rows.options.horizon}|{'|'.join(target_names)}|".encode()
        return _sha256(rows.tables.dates[used], rows.levels[used], windows_per_series, header=header)

    def _first_rows(self, index: np.ndarray | Tensor) -> np.ndarray:
        """The first target row of samples, int64 ``[batch]``."""
        return self._starts.numpy()[index.cpu().numpy() if isinstance(index, Tensor) else np.asarray(index)]

    def _target_rows(self, index: np.ndarray | Tensor) -> np.ndarray:
        return self._first_rows(index)[:, None] + np.arange(self._rows.options.horizon)

    def _series(self, first_rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._rows.tables.bounds, first_rows, side="right") - 1


def _sha256(*arrays: np.ndarray, header: bytes = b"") -> str:
    digest = hashlib.sha256(header)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _part_rows(sample: Sample, options: DataOptions, messages: list[str]) -> np.ndarray:
    """The row ranges of every series' parts, int64 ``[series, 3 parts, (first, after last)]``."""
    tables = sample.tables
    spans = np.stack([tables.bounds[:-1], tables.bounds[1:]], axis=1)
    ranges = np.repeat(tables.bounds[:-1, None, None], 3, axis=1).repeat(2, axis=2)
    if sample.parts is not None:
        ranges[np.arange(len(spans)), sample.parts] = spans
        counts = ", ".join(f"{part} {(sample.parts == number).sum()}" for number, part in enumerate(PARTS))
        messages.append(f"parts: whole series ({counts}), as the sample says; --split and --gap are not used")
        return ranges
    rule = parse_split(options.split)
    for number, (first, last) in enumerate(spans):
        ranges[number] += np.array(split_rows(rule, tables.dates[first:last], options.gap))
    messages.append(
        f"rows: {len(tables.dates)} in {len(spans)} series" if len(spans) > 1 else _rows_text(tables, spans[0])
    )
    if len(spans) == 1:
        messages.extend(_part_text(tables, part, ranges[0, number]) for number, part in enumerate(PARTS))
        unused = len(tables.dates) - int(ranges[0, 2, 1])
        if unused:
            messages.append(f"unused: the last {unused} rows")
    return ranges


def _rows_text(tables: StackedTables, span: np.ndarray) -> str:
    return f"rows: {span[1] - span[0]}, {date_text(tables.dates[span[0]])} to {date_text(tables.dates[span[1] - 1])}"


def _part_text(tables: StackedTables, part: str, rows: np.ndarray) -> str:
    first, last = int(rows[0]), int(rows[1])
    if first == last:
        return f"{part}: no rows"
    return f"{part}: {last - first} rows, {date_text(tables.dates[first])} to {date_text(tables.dates[last - 1])}"


def _starts(
    tables: StackedTables, number: int, ranges: np.ndarray, first_rows: np.ndarray, options: DataOptions
) -> Tensor:
    """The first target rows of one part's windows over all series, int64 ``[windows]``.

    Args:
        number: which part: 0, 1 or 2.
        ranges: the part's row range in every series, ``[series, 2]``.
        first_rows: the first row of every series that may be read, ``[series]``.
    """
    window, horizon = options.window, options.horizon
    found = [
        window_starts((int(first), int(last)), (int(series_first), int(series_last)), window, horizon)
        for (first, last), series_first, series_last in zip(ranges, first_rows, tables.bounds[1:], strict=True)
        if last > first
    ]
    starts = torch.cat(found) if found else torch.empty(0, dtype=torch.int64)
    if len(starts):
        return starts
    rows = int((ranges[:, 1] - np.maximum(ranges[:, 0], first_rows)).max())
    known = int((ranges[:, 1] - first_rows)[ranges[:, 1] > ranges[:, 0]].max(initial=0))
    where = f"the {PARTS[number]} part of {tables.names[0] if len(tables.names) == 1 else 'the longest series'}"
    unit = "rows" if options.transform == "level" else "returns"
    if rows < horizon:
        raise DataError(
            f"a horizon of {horizon} needs at least {horizon} {unit} in each part, but {where} has {max(rows, 0)}; "
            "use a smaller --horizon or --gap, another --split or more data"
        )
    fix = f"--window at most {known - horizon}" if known > horizon else "a smaller --horizon"
    raise DataError(
        f"the look-back window plus horizon needs at least {window + horizon} {unit} up to the end of each part, "
        f"but {where} {'ends after' if number else 'has'} {known}; use {fix} or more data"
    )


def _fit_scaler(
    sample: Sample,
    values: np.ndarray,
    columns: list[str],
    transforms: list[str],
    training: np.ndarray,
    first_rows: np.ndarray,
) -> Scaler:
    """Fit on the training rows, ``training`` ``[series, 2]``, of every series."""
    if not sample.scale:
        return Scaler.identity(columns, transforms)
    rows = [values[max(first, usable) : last] for (first, last), usable in zip(training, first_rows, strict=True)]
    if set(transforms) == {"level"}:
        for name, series in zip(sample.tables.names, rows, strict=True):
            if not len(series):
                raise DataError(
                    f"levels are scaled by each series' own training rows, but {name} has none; "
                    "use an earlier --split, leave that series out or use --transform return"
                )
    return Scaler.fit(rows, columns, transforms)


def _ups(levels: np.ndarray) -> np.ndarray:
    """1.0 where a level is above the row's before, float32 ``[rows, targets]``; a series' first row is never used."""
    up = np.zeros(levels.shape, dtype=np.float32)
    up[1:] = np.diff(levels, axis=0) > 0
    return up


def _up_share(up: np.ndarray, training: np.ndarray, bounds: np.ndarray) -> tuple[float, ...]:
    """The share of training rows that are up, per target; the first row of a series has no row before."""
    rows = [up[max(first, start + 1) : last] for (first, last), start in zip(training, bounds[:-1], strict=True)]
    return tuple(np.concatenate(rows).mean(axis=0, dtype=np.float64).tolist())
