"""Whether the model knows how sure it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...metrics.calibration import (
    confidence_gap,
    expected_calibration_error,
    interval_coverage,
    uncertainty_error_correlation,
)
from ...metrics.distributions import ForecastDistribution
from ..tag_tables import logger as logged
from ..tag_tables import monitors as names
from ..tag_tables.calibration import CONFIDENCE_GAP
from ..tag_tables.epochs import HISTOGRAM_INTERVAL
from .base import Monitor, WatchedEpoch, WatchedRun
from .validation_sample import answers, distributions, has_answers, sample_size

MOST_WINDOWS = 512
NORMAL_90 = 1.6448536269514722
"""Deviations on either side of the mean that hold 90 % of a normal distribution."""


class Calibration(Monitor):
    """Compares what the model is sure of with what comes true, after every epoch, on up to 512 validation windows.

    For the tasks ``direction`` and ``classify``: the calibration error of the probabilities, how much their confidence
    lies above their accuracy, and the rank correlation of uncertainty (the whole entropy; 1 - probability of what is
    said where there is no ``distribution``) and error. For forecasts of models with a ``distribution``: the rank
    correlation of deviation and error, and how many values lie within the 90 % intervals. The same for forecasts of
    models whose ``predict`` returns a mean and a standard deviation (a pair of tensors, or a mapping or an object with
    ``mean`` and ``std``), taken for normal. Other models have nothing to be compared.

    Where a ``distribution`` tells epistemic from aleatoric uncertainty, their means are given as well, and every tenth
    epoch their spread: variances of scaled values for forecasts, nats for classes. Models that draw networks draw 8.
    """

    name: ClassVar[str] = "calibration"

    def __init__(self) -> None:
        self._run: WatchedRun | None = None
        self._distributions = False

    def on_start(self, run: WatchedRun) -> None:
        """See whether there are validation samples and a model that answers them."""
        task = getattr(getattr(run.data, "spec", None), "task", None)
        known = task in ("classify", "direction", "forecast")
        self._distributions = known and bool(distributions(run, np.array([0])))
        if self._distributions:
            self._run = run
            return
        self._run = run if has_answers(run, "direction") else None
        if has_answers(run, "forecast") and _moments(answers(run, np.array([0]))[1][0]) is not None:
            self._run = run

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, Tensor | float]:
        """Let the model answer a few validation samples."""
        if self._run is None:
            return {}
        data = self._run.data
        count = sample_size(self._run, MOST_WINDOWS)
        index = np.unique(np.linspace(0, len(data.validation) - 1, count).astype(np.int64))
        if self._distributions:
            said = distributions(self._run, index)
            return _of_distributions(said, data.spec.task) | self._parts([one for _, one in said], epoch)
        batches, predictions = answers(self._run, index)
        targets = torch.cat([batch.targets for batch in batches])
        if data.spec.task == "direction":
            return _of_probabilities(torch.cat([_first(prediction) for prediction in predictions]), targets)
        moments = [pair for pair in map(_moments, predictions) if pair is not None]
        mean, deviation = (torch.cat(parts) for parts in zip(*moments, strict=True))
        return _of_intervals(mean, deviation, targets)

    def _parts(self, said: Sequence[Any], epoch: WatchedEpoch) -> dict[str, Tensor | float]:
        """Epistemic and aleatoric uncertainty, where the model tells them apart; every tenth epoch their spread."""
        if self._run is None or said[0].epistemic is None:
            return {}
        epistemic, aleatoric = (
            torch.cat([getattr(one, part).flatten() for one in said]) for part in ("epistemic", "aleatoric")
        )
        if epoch.epoch % HISTOGRAM_INTERVAL == 0:
            spread = {logged.UNCERTAINTY_EPISTEMIC: epistemic, logged.UNCERTAINTY_ALEATORIC: aleatoric}
            self._run.logger.writer.add_histograms(spread, epoch.step)
        return {
            logged.UNCERTAINTY_EPISTEMIC_MEAN: epistemic.mean(),
            logged.UNCERTAINTY_ALEATORIC_MEAN: aleatoric.mean(),
        }


def _of_distributions(said: Sequence[tuple[Any, Any]], task: str) -> dict[str, Tensor | float]:
    """Of batches with the distributions of classes or of values."""
    if isinstance(said[0][1], ForecastDistribution):
        inside, deviations, errors = [], [], []
        for batch, distribution in said:
            targets = batch.targets.to(distribution.mean.device)
            lower, upper = distribution.interval()
            inside.append(((targets >= lower) & (targets <= upper)).float().flatten())
            deviations.append(distribution.deviation.flatten())
            errors.append((targets - distribution.mean).flatten())
        return {
            names.CALIBRATION_COVERAGE: 100 * torch.cat(inside).mean(),
            names.CALIBRATION_CORRELATION: uncertainty_error_correlation(torch.cat(deviations), torch.cat(errors)),
        }
    probability = torch.cat([one.probabilities for _, one in said])
    targets = torch.cat([batch.targets for batch, _ in said])
    uncertainty = torch.cat([one.total for _, one in said])
    if task == "direction":
        return _of_probabilities(probability, targets, uncertainty)
    confidence, answered = probability.max(-1)
    correct = answered == targets.to(answered.device)
    return {
        names.CALIBRATION_ERROR: expected_calibration_error(confidence, correct),
        CONFIDENCE_GAP: confidence_gap(confidence, correct),
        names.CALIBRATION_CORRELATION: uncertainty_error_correlation(uncertainty, ~correct),
    }


def _of_probabilities(
    probability: Tensor, targets: Tensor, uncertainty: Tensor | None = None
) -> dict[str, Tensor | float]:
    """Of probabilities of "up"; all of the shape ``[batch, horizon, targets]``."""
    targets = targets.to(probability.device)
    confidence = torch.maximum(probability, 1 - probability)
    correct = (probability > 0.5) == (targets > 0.5)
    return {
        names.CALIBRATION_ERROR: expected_calibration_error(confidence, correct),
        CONFIDENCE_GAP: confidence_gap(confidence, correct),
        names.CALIBRATION_CORRELATION: uncertainty_error_correlation(
            1 - confidence if uncertainty is None else uncertainty, probability - targets
        ),
    }


def _of_intervals(mean: Tensor, deviation: Tensor, targets: Tensor) -> dict[str, Tensor | float]:
    targets = targets.to(mean.device)
    width = NORMAL_90 * deviation
    return {
        names.CALIBRATION_COVERAGE: 100 * interval_coverage(targets, mean - width, mean + width),
        names.CALIBRATION_CORRELATION: uncertainty_error_correlation(deviation, mean - targets),
    }


def _first(prediction: Any) -> Tensor:
    moments = _moments(prediction)
    return prediction if moments is None else moments[0]


def _moments(prediction: Any) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation of a prediction, if it has both."""
    if isinstance(prediction, Tensor):
        return None
    if isinstance(prediction, Mapping):
        pair = prediction.get("mean"), prediction.get("std")
    elif hasattr(prediction, "mean") and hasattr(prediction, "std"):
        pair = prediction.mean, prediction.std
    else:
        pair = tuple(prediction) if isinstance(prediction, (tuple, list)) and len(prediction) == 2 else (None, None)
    mean, deviation = pair
    return (mean, deviation) if isinstance(mean, Tensor) and isinstance(deviation, Tensor) else None
