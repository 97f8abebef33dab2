"""One trained model on every window of a part: metrics and the forecasts themselves."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data.base import Batch, DataSpec
from ..data.images import ImageData, ImageSplit
from ..data.loading import Data
from ..data.series import SeriesData, SeriesSplit
from ..data.text import TextData, TextSplit
from ..data.videos import VideoData
from ..metrics.classification import DirectionScores
from ..metrics.distributions import ClassDistribution, ForecastDistribution
from ..metrics.probabilistic import ClassScores, IntervalScores
from ..metrics.series import ForecastScores

BATCH_SIZE = 64
MOST_PREDICTION_ROWS = 200_000
WINDOWS_AT_ONCE = 8192
HASHED_ROWS = 4
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, as odd as it comes
_HALF = np.uint64(32)


def evaluate(model: Any, data: Data, part: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score a model on every window, or text, of ``validation`` or ``test``.

    Returns:
        the metrics by name, those of the model's own (``part_metrics``) among them, and what is more than one number:
        ``per_step``, the scaled errors per step ahead, or for ``direction`` and ``classify`` ``confusion_matrix``, rows
        what happened, columns what was said, "not up" first. Forecasts of models that say how sure they are have the
        scores of ``IntervalScores`` as well.
    """
    values, details = _evaluate(model, data, part)
    return values | (model.part_metrics(data, part) if hasattr(model, "part_metrics") else {}), details


def best_objective(task: str) -> str:
    """The metric of ``evaluate`` by which runs and trials can be compared whatever their loss."""
    own = {"forecast": "mse_scaled", "represent": "pixel_r2", "generate": "caption_accuracy"}
    return own.get(task, "brier")


def _evaluate(model: Any, data: Data, part: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if data.spec.task == "represent" or isinstance(data, VideoData):
        return {}, {}  # the model's own ``part_metrics`` say it all
    if isinstance(data, TextData | ImageData):
        classes = score_classes(model, data, part)
        return classes.results(), {"confusion_matrix": classes.confusion.tolist()}
    split = getattr(data, part)
    if data.spec.task == "direction":
        directions = score_directions(model, data, part)
        return directions.results(), {"confusion_matrix": directions.confusion.tolist()}
    scores, intervals = ForecastScores(*data.spec.target_shape), IntervalScores()
    for batch in split.batches(BATCH_SIZE):
        said = distribution_of(model, batch.inputs)
        if isinstance(said, ForecastDistribution):
            intervals.add(batch.targets.to(said.mean.device), said)
            scaled = said.mean.float().cpu().numpy()
        else:
            scaled = model.predict(batch.inputs).float().cpu().numpy()
        scores.add_scaled(batch.targets.cpu().numpy(), scaled)
        forecast = in_units(data.spec, split, batch, scaled)
        scores.add(split.actual(batch.index), forecast, split.persistence(batch.index))
    return scores.results() | intervals.results(), {"per_step": scores.per_step()}


def distribution_of(model: Any, inputs: torch.Tensor) -> ForecastDistribution | ClassDistribution | None:
    """What a model says with how sure it is; None for those that do not."""
    return model.distribution(inputs) if hasattr(model, "distribution") else None


def score_classes(model: Any, data: TextData | ImageData, part: str) -> ClassScores:
    """What every probability of a part comes to, for the task ``classify``."""
    scores = ClassScores(data.spec.class_shares)
    for batch in getattr(data, part).batches(BATCH_SIZE):
        said = model.distribution(batch.inputs)
        scores.add(batch.targets, said)
    return scores


def score_directions(model: Any, data: SeriesData, part: str) -> DirectionScores:
    """What every probability of a part comes to, for the task ``direction``."""
    scores, up_share = DirectionScores(data.spec.cost_bps), np.asarray(data.spec.up_share)
    for batch in getattr(data, part).batches(BATCH_SIZE):
        probability = model.predict(batch.inputs).float().cpu().numpy()
        returns = None if batch.returns is None else batch.returns.cpu().numpy()
        scores.add(batch.targets.cpu().numpy(), probability, up_share, returns)
    return scores


def point(model: Any, inputs: torch.Tensor) -> np.ndarray:
    """What ``predict`` says, as an array."""
    return model.predict(inputs).float().cpu().numpy()


def point_and_interval(model: Any, inputs: torch.Tensor) -> np.ndarray:
    """Forecast, lower and upper bound of the 90 % interval, ``[batch, horizon, targets, 3]``."""
    said = model.distribution(inputs)
    return torch.stack([said.mean, *said.interval()], -1).float().cpu().numpy()


def predictions(
    model: Any, split: SeriesSplit, index: np.ndarray, say: Callable[[Any, torch.Tensor], np.ndarray] = point
) -> Iterator[tuple[Batch, np.ndarray]]:
    """What the model says of windows, each to the last bit independent of which others are asked for.

    The kernels behind a matrix product depend on the batch size, and within a batch on where a row begins in memory:
    the same window in another place, or alone, differs in the last bits. So every batch has the same size, and a
    window's place in it follows from the window itself: it is a hash of the newest rows that the model reads. Places
    that no window takes are filled with repetitions. On the CPU one thread computes, because some kernels divide their
    sums among threads; a compiled model runs uncompiled, as it will after loading.

    Args:
        model: anything with ``predict``.
        split: whose windows.
        index: int ``[windows]``, which of them.
        say: how the model is asked.

    Yields:
        some of the windows as a batch (all of them in the end, in an order of their own), and float32
        ``[batch, horizon, targets]``: scaled forecasts, or probabilities for ``direction``.
    """
    places = _places(split, index)
    order = np.argsort(places, kind="stable")
    rounds = np.empty(len(index), dtype=np.int64)  # how many windows before this one have the same place
    rounds[order] = np.arange(len(index)) - np.searchsorted(places[order], places[order])
    by_round = np.argsort(rounds, kind="stable")
    with reproducible(model):
        for members in np.split(by_round, np.cumsum(np.bincount(rounds))[:-1]) if len(index) else ():
            slots = np.full(BATCH_SIZE, index[members[0]])
            slots[places[members]] = index[members]
            batch = split.select(slots)
            predicted = say(model, batch.inputs)
            taken = torch.from_numpy(places[members]).to(batch.inputs.device)
            yield _rows_of(batch, taken), predicted[places[members]]


def _rows_of(batch: Batch, rows: torch.Tensor) -> Batch:
    returns = None if batch.returns is None else batch.returns[rows]
    return Batch(batch.inputs[rows], batch.targets[rows], batch.index[rows], returns)


def _places(split: SeriesSplit, index: np.ndarray) -> np.ndarray:
    """The place of every window in its batch, int64 ``[windows]``: a hash of the window's newest rows.

    Multiplying and adding the bits of the values, keeping the upper half (Knuth, The Art of Computer Programming,
    volume 3, section 6.4).
    """
    places = np.empty(len(index), dtype=np.int64)
    for first in range(0, len(index), WINDOWS_AT_ONCE):
        newest = split.newest_inputs(index[first : first + WINDOWS_AT_ONCE], HASHED_ROWS).cpu().numpy()
        bits = np.ascontiguousarray(newest).reshape(len(newest), -1).view(np.uint32).astype(np.uint64)
        factors = np.arange(1, 2 * bits.shape[1], 2, dtype=np.uint64) * _GOLDEN_RATIO
        places[first : first + WINDOWS_AT_ONCE] = (((bits * factors).sum(axis=1) * _GOLDEN_RATIO) >> _HALF) % BATCH_SIZE
    return places


@contextlib.contextmanager
def reproducible(model: Any) -> Iterator[None]:
    """One thread, and nothing compiled."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    is_compiled = getattr(model, "_compiled_call_impl", None) is not None
    try:
        with torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext():
            yield
    finally:
        torch.set_num_threads(threads)


def in_units(spec: DataSpec, split: SeriesSplit, batch: Batch, scaled: np.ndarray) -> np.ndarray:
    """Forecasts in original units, ``[batch, horizon, targets]``.

    A level forecast that repeats the window's last value becomes the last known level exactly: what scaling to single
    precision and back leaves of it would else count as a small move up or down.
    """
    forecast = split.to_units(batch.index, scaled)
    naive = split.persistence(batch.index)
    if naive is None or spec.transform != "level" or spec.target_channels is None:
        return forecast
    last = batch.inputs[:, -1:, list(spec.target_channels)].cpu().numpy()
    return np.where(scaled == last, naive, forecast)


def predict_windows(model: Any, spec: DataSpec, split: SeriesSplit, index: np.ndarray) -> np.ndarray:
    """The forecasts of windows in the order of ``index``, to the last bit the same whatever else is in it.

    Returns:
        float64 ``[windows, horizon, targets]`` in original units, or float32 probabilities for ``direction``.
    """
    is_direction = spec.task == "direction"
    result = np.empty((len(index), *spec.target_shape), dtype=np.float32 if is_direction else np.float64)
    order = np.argsort(index)
    for batch, predicted in predictions(model, split, index):
        where = order[np.searchsorted(index[order], batch.index.cpu().numpy())]
        result[where] = predicted if is_direction else in_units(spec, split, batch, predicted)
    return result


def predict_intervals(
    model: Any, spec: DataSpec, split: SeriesSplit, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The forecasts of windows with their 90 % intervals, in the order of ``index``; None for models that give none.

    Returns:
        float64 ``[windows, horizon, targets]`` as of ``predict_windows``, and the bounds, lower and upper,
        ``[2, windows, horizon, targets]``, in original units.
    """
    if not isinstance(distribution_of(model, split.select(index[:1]).inputs), ForecastDistribution):
        return None
    forecast = np.empty((len(index), *spec.target_shape))
    bounds = np.empty((2, *forecast.shape))
    order = np.argsort(index)
    for batch, predicted in predictions(model, split, index, point_and_interval):
        where = order[np.searchsorted(index[order], batch.index.cpu().numpy())]
        scaled = np.moveaxis(predicted, -1, 0)
        forecast[where] = in_units(spec, split, batch, scaled[0])
        bounds[:, where] = split.bounds_to_units(batch.index, scaled)
    return forecast, bounds


def predictions_csv(model: Any, data: Data, part: str = "test") -> str:
    """The forecasts of a part as a table, one row per window, step ahead and target.

    Columns: ``series`` (where there are several), ``origin`` (the last date the forecast knows), ``date``, ``step``,
    ``target``, ``actual``, ``forecast``, ``naive`` in original units, and of models that say how sure they are
    ``lower_90`` and ``upper_90``; for ``direction`` ``up`` and ``probability``; of texts and pictures see
    ``class_table``. With more than 200,000 rows only every k-th window is kept, evenly spaced.
    """
    split = getattr(data, part)
    if data.spec.task == "represent":
        return as_csv(pd.DataFrame({"image": split.names()}))
    if isinstance(data, VideoData):
        return as_csv(pd.DataFrame(model.drawn_captions(data, part)))
    if isinstance(data, TextData | ImageData):
        return as_csv(class_table(model, data.spec, split, with_truth=True))
    rows = len(split) * int(np.prod(data.spec.target_shape))
    index = np.arange(0, len(split), -(-rows // MOST_PREDICTION_ROWS))
    # Windows are in order of series: there are several where the last window is of another one than the first.
    several = len(set(split.series_names(np.array([0, len(split) - 1])))) > 1
    pieces = [index[first : first + WINDOWS_AT_ONCE] for first in range(0, len(index), WINDOWS_AT_ONCE)]
    texts = (as_csv(forecast_table(model, data.spec, split, piece, several=several)) for piece in pieces)
    return next(texts) + "".join(text.partition("\n")[2] for text in texts)


def as_csv(table: pd.DataFrame) -> str:
    """A table of forecasts as text."""
    text = io.StringIO()
    table.to_csv(text, index=False, float_format="%.8g", lineterminator="\n")
    return text.getvalue()


def forecast_table(
    model: Any,
    spec: DataSpec,
    split: SeriesSplit,
    index: np.ndarray,
    *,
    several: bool,
    dates: np.ndarray | None = None,
) -> pd.DataFrame:
    """Forecasts as a table; see ``predictions_csv`` for its columns.

    Args:
        model: what forecasts.
        spec: what the model was built for.
        split: whose windows.
        index: int ``[windows]``, which of them.
        several: whether to name the series.
        dates: ``datetime64[ns]`` ``[windows, horizon]`` of what is forecast, where the rows themselves are not known
            yet; there is then no ``actual`` and no ``up``.
    """
    horizon, count = spec.target_shape
    per_window = horizon * count
    columns: dict[str, Any] = {}
    if several:
        columns["series"] = np.repeat(split.series_names(index), per_window)
    columns["origin"] = np.repeat(split.origin_dates(index), per_window)
    columns["date"] = np.repeat((split.target_dates(index) if dates is None else dates).ravel(), count)
    columns["step"] = np.tile(np.repeat(np.arange(1, horizon + 1), count), len(index))
    columns["target"] = np.tile(np.asarray(spec.target_names), len(index) * horizon)
    known = predict_intervals(model, spec, split, index) if spec.task == "forecast" else None
    predicted = predict_windows(model, spec, split, index).ravel() if known is None else known[0].ravel()
    if spec.task == "direction":
        if dates is None:
            columns["up"] = np.concatenate([_ups(split, part) for part in np.array_split(index, len(index) // 256 + 1)])
        columns["probability"] = predicted
        return pd.DataFrame(columns)
    if dates is None:
        columns["actual"] = split.actual(index).ravel()
    columns["forecast"] = predicted
    if known is not None:
        columns["lower_90"], columns["upper_90"] = (bound.ravel() for bound in known[1])
    naive = split.persistence(index)
    if naive is not None:
        columns["naive"] = naive.ravel()
    return pd.DataFrame(columns)


def class_table(model: Any, spec: DataSpec, split: TextSplit | ImageSplit, *, with_truth: bool) -> pd.DataFrame:
    """What a model says of texts or pictures as a table, one row for each.

    Columns: ``text`` or ``image`` (where it comes from), ``label`` (the truth, if asked for), ``predicted``,
    ``confidence``, ``p_<class>`` for each class, and of Bayesian models ``epistemic`` and ``aleatoric`` uncertainty in
    nats.
    """
    classes = len(spec.class_names)
    chances = np.empty((len(split), classes), dtype=np.float64)
    uncertainties: dict[str, np.ndarray] = {}
    for batch in split.batches(BATCH_SIZE):
        said, where = model.distribution(batch.inputs), batch.index.cpu().numpy()
        chances[where] = said.probabilities.double().cpu().numpy()
        if said.epistemic is not None:
            for name in ("epistemic", "aleatoric"):
                values = uncertainties.setdefault(name, np.empty(len(split)))
                values[where] = getattr(said, name).double().cpu().numpy()
    names = np.asarray(spec.class_names, dtype=object)
    columns: dict[str, Any] = {"text": split.texts()} if isinstance(split, TextSplit) else {"image": split.names()}
    if with_truth:
        columns["label"] = names[split.targets()]
    columns |= {"predicted": names[chances.argmax(1)], "confidence": chances.max(1)}
    columns |= {f"p_{name}": chances[:, place] for place, name in enumerate(spec.class_names)}
    return pd.DataFrame(columns | uncertainties)


def _ups(split: SeriesSplit, index: np.ndarray) -> np.ndarray:
    return split.select(index).targets.cpu().numpy().ravel().astype(int)
