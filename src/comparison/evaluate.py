"""One trained model on every window of a part: metrics and the forecasts themselves."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from ..data.series import SeriesData
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
        scores.add(split.actual(batch.index), split.to_units(batch.index, forecast), split.persistence(batch.index))
    return scores.results(), scores.per_step()


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
            tables.append(_table(model, data, split, batch.inputs[keep], batch.targets[keep], batch.index[keep]))
    text = io.StringIO()
    pd.concat(tables).to_csv(text, index=False, float_format="%.8g", lineterminator="\n")
    return text.getvalue()


def _table(model: Any, data: SeriesData, split: Any, inputs: Any, targets: Any, index: Any) -> pd.DataFrame:
    horizon, count = data.spec.target_shape
    predicted = model.predict(inputs).float().cpu().numpy()
    per_window = horizon * count
    columns: dict[str, Any] = {}
    names = split.series_names(index)
    if len(set(split.series_names(np.arange(len(split))[:: max(1, len(split) // 1000)]))) > 1:
        columns["series"] = np.repeat(names, per_window)
    columns["origin"] = np.repeat(split.origin_dates(index), per_window)
    columns["date"] = np.repeat(split.target_dates(index).ravel(), count)
    columns["step"] = np.tile(np.repeat(np.arange(1, horizon + 1), count), len(index))
    columns["target"] = np.tile(np.asarray(data.spec.target_names), len(index) * horizon)
    if data.spec.task == "direction":
        columns["up"] = targets.cpu().numpy().ravel().astype(int)
        columns["probability"] = predicted.ravel()
        return pd.DataFrame(columns)
    columns["actual"] = split.actual(index).ravel()
    columns["forecast"] = split.to_units(index, predicted).ravel()
    naive = split.persistence(index)
    if naive is not None:
        columns["naive"] = naive.ravel()
    return pd.DataFrame(columns)
