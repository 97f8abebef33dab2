"""Whether the model knows how sure it may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...metrics.calibration import expected_calibration_error, interval_coverage, uncertainty_error_correlation
from ..tag_tables import monitors as names
from .base import Monitor, WatchedEpoch, WatchedRun
from .validation_sample import answers, has_answers, sample_size

MOST_WINDOWS = 512
NORMAL_90 = 1.6448536269514722
"""Deviations on either side of the mean that hold 90 % of a normal distribution."""


class Calibration(Monitor):
    """Compares what the model is sure of with what comes true, after every epoch, on up to 512 validation windows.

    For the task ``direction``: the calibration error of the probabilities, and the rank correlation of uncertainty
    (1 - probability of what is said) and error. For forecasts of models whose ``predict`` returns a mean and a standard
    deviation (a pair of tensors, or a mapping or an object with ``mean`` and ``std``): the same rank correlation, and
    how many values lie within the 90 % interval of a normal distribution. Other models have nothing to be compared.
    """

    name: ClassVar[str] = "calibration"

    def __init__(self) -> None:
        self._run: WatchedRun | None = None

    def on_start(self, run: WatchedRun) -> None:
        """See whether there are validation samples and a model that answers them."""
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
        batches, predictions = answers(self._run, index)
        targets = torch.cat([batch.targets for batch in batches])
        if data.spec.task == "direction":
            return _of_probabilities(torch.cat([_first(prediction) for prediction in predictions]), targets)
        moments = [pair for pair in map(_moments, predictions) if pair is not None]
        mean, deviation = (torch.cat(parts) for parts in zip(*moments, strict=True))
        return _of_intervals(mean, deviation, targets)


def _of_probabilities(probability: Tensor, targets: Tensor) -> dict[str, Tensor | float]:
    targets = targets.to(probability.device)
    confidence = torch.maximum(probability, 1 - probability)
    correct = (probability > 0.5) == (targets > 0.5)
    return {
        names.CALIBRATION_ERROR: expected_calibration_error(confidence, correct),
        names.CALIBRATION_CORRELATION: uncertainty_error_correlation(1 - confidence, probability - targets),
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
