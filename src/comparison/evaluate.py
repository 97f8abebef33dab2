"""One trained model on every window of a part: metrics and the forecasts themselves."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from ..data.base import Batch
from ..data.series import SeriesData, SeriesSplit
from ..metrics.series import DirectionScores, ForecastScores

BATCH_SIZE = 256
MOST_PREDICTION_ROWS = 200_000


def evaluate(model: Any, data: SeriesData, part: str) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Score a model on every window of ``validation`` or ``test``.

    Returns:
        the metrics by name, and the scaled errors per step ahead (empty for ``direction``).
    """
    split = getattr(data, part)
    if data.spec.task == "direction":
        directions = DirectionScores()
        for batch in split.batches(BATCH_SIZE):
            probability = model.predict(batch.inputs).float().cpu().numpy()
            directions.add(batch.targets.cpu().numpy(), probability, np.asarray(data.spec.up_share))
        return directions.results(), {}
    scores = ForecastScores(*data.spec.target_shape)
    for batch in split.batches(BATCH_SIZE):
        forecast = model.predict(batch.inputs).float().cpu().numpy()
        scores.add_scaled(batch.targets.cpu().numpy(), forecast)
        scores.add(split.actual(batch.index), in_units(data, split, batch, forecast), split.persistence(batch.index))
    return scores.results(), scores.per_step()


def in_units(data: SeriesData, split: SeriesSplit, batch: Batch, scaled: np.ndarray) -> np.ndarray:
    """Forecasts in original units, ``[batch, horizon, targets]``.

    A level forecast that repeats the window's last value becomes the last known level exactly: what scaling to single
    precision and back leaves of it would else count as a small move up or down.
    """
    forecast, spec = split.to_units(batch.index, scaled), data.spec
    naive = split.persistence(batch.index)
    if naive is None or spec.transform != "level" or spec.target_channels is None:
        return forecast
    last = batch.inputs[:, -1:, list(spec.target_channels)].cpu().numpy()
    return np.where(scaled == last, naive, forecast)


def predictions_csv(model: Any, data: SeriesData, part: str = "test") -> str:
    """The forecasts of a part as a table, one row per window, step ahead and target.

    Columns: ``series`` (where there are several), ``origin`` (the last date the forecast knows), ``date``, ``step``,
    ``target``, ``actual``, ``forecast``, ``naive`` in original units; for ``direction`` ``up`` and ``probability``.
    With more than 200,000 rows only every k-th window is kept, evenly spaced.
    """
    split = getattr(data, part)
    rows = len(split) * int(np.prod(data.spec.target_shape))
    every = -(-rows // MOST_PREDICTION_ROWS)
    tables = []
    for batch in split.batches(BATCH_SIZE):
        keep = (batch.index % every == 0).nonzero().squeeze(1)
        if len(keep):
            tables.append(_table(model, data, split, Batch(*(part[keep] for part in batch))))
    text = io.StringIO()
    pd.concat(tables).to_csv(text, index=False, float_format="%.8g", lineterminator="\n")
    return text.getvalue()


def _table(model: Any, data: SeriesData, split: SeriesSplit, batch: Batch) -> pd.DataFrame:
    horizon, count = data.spec.target_shape
    index = batch.index
    predicted = model.predict(batch.inputs).float().cpu().numpy()
    per_window = horizon * count
    columns: dict[str, Any] = {}
    # Windows are in order of series: there are several where the last window is of another one than the first.
    if len(set(split.series_names(np.array([0, len(split) - 1])))) > 1:
        columns["series"] = np.repeat(split.series_names(index), per_window)
    columns["origin"] = np.repeat(split.origin_dates(index), per_window)
    columns["date"] = np.repeat(split.target_dates(index).ravel(), count)
    columns["step"] = np.tile(np.repeat(np.arange(1, horizon + 1), count), len(index))
    columns["target"] = np.tile(np.asarray(data.spec.target_names), len(index) * horizon)
    if data.spec.task == "direction":
        columns["up"] = batch.targets.cpu().numpy().ravel().astype(int)
        columns["probability"] = predicted.ravel()
        return pd.DataFrame(columns)
    columns["actual"] = split.actual(index).ravel()
    columns["forecast"] = in_units(data, split, batch, predicted).ravel()
    naive = split.persistence(index)
    if naive is not None:
        columns["naive"] = naive.ravel()
    return pd.DataFrame(columns)
