"""Figures of forecasts against the truth, drawn while a model learns."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

from ..data.series import SeriesData
from ..metrics.distributions import ForecastDistribution
from ..tracking import tags
from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.figures import forecast_figure, horizon_figure, probability_figure
from ..training.loop import EpochReport, Observer, TrainingState
from .evaluate import distribution_of

NEWEST = 120


class ForecastFigures(Observer):
    """Draws forecasts against the truth on the validation part, every tenth epoch and at the last one.

    Args:
        data: the series.
        writer: where the figures go.
    """

    is_logging = True

    def __init__(self, data: SeriesData, writer: EventWriter | SilentWriter) -> None:
        self.data, self.writer = data, writer
        self.model: Any = None
        self._figure: Figure | None = None

    def on_start(self, state: TrainingState) -> None:
        """Remember the model."""
        self.model = state.model

    def on_epoch_end(self, report: EpochReport) -> None:
        """Draw, if it is time to."""
        if report.epoch % tags.HISTOGRAM_INTERVAL == 0 or report.epoch == report.epochs - 1:
            title = f"{self.model.name}, validation part, epoch {report.epoch}"
            self._figure = draw_forecasts(self.model, self.data, "validation", title, self._figure)
            self.writer.add_figure(tags.FORECAST_IMAGE, self._figure, report.epoch, close=False)


def draw_forecasts(model: Any, data: SeriesData, part: str, title: str, again: Figure | None = None) -> Figure:
    """The figure that suits the task: the newest 120 windows one step ahead, or three whole horizons.

    Args:
        model, data: what forecasts what.
        part: ``validation`` or ``test``.
        title: heading.
        again: the figure of the same model, data and part that was drawn before, to draw in once more.
    """
    split = getattr(data, part)
    horizon, _ = data.spec.target_shape
    count = min(NEWEST, len(split))
    if horizon == 1 or data.spec.task == "direction":
        index = torch.arange(len(split) - count, len(split))
    else:
        index = torch.linspace(0, len(split) - 1, 3).long().unique()
    batch = split.select(index)
    said = distribution_of(model, batch.inputs)
    mean = said.mean if isinstance(said, ForecastDistribution) else model.predict(batch.inputs)
    predicted = mean.float().cpu().numpy()
    dates = split.target_dates(index)[:, 0]
    name = data.spec.target_names[0]
    if data.spec.task == "direction":
        return probability_figure(
            dates, batch.targets[:, 0, 0].cpu().numpy(), predicted[:, 0, 0], f"{title}, {name}", again
        )
    interval = None
    if isinstance(said, ForecastDistribution):
        scaled = torch.stack([said.mean, *said.interval()]).float().cpu().numpy()
        interval = split.bounds_to_units(index, scaled)[..., 0]
    actual, forecast = split.actual(index)[:, :, 0], split.to_units(index, predicted)[:, :, 0]
    if horizon == 1:
        naive = split.persistence(index)
        first = None if naive is None else naive[:, 0, 0]
        bounds = None if interval is None else interval[..., 0]
        return forecast_figure(dates, actual[:, 0], forecast[:, 0], first, title, name, again, bounds)
    history = split.history(index)[:, -2 * horizon :, 0]
    return horizon_figure(list(history), list(actual), list(forecast), title, name, again, interval)
