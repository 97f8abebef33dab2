"""``BayesianTransformerLogger``: ``TrainingLogger`` for models that say how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..metrics.calibration import (
    calibration_verdict,
    confidence_gap,
    expected_calibration_error,
    interval_coverage,
    uncertainty_error_correlation,
)
from .tag_tables import calibration as names
from .tag_tables import monitors as monitored
from .training_logger import TrainingLogger

_NOMINAL_COVERAGE = 0.9


class BayesianTransformerLogger(TrainingLogger):
    """Everything of ``TrainingLogger``; besides, calibration and predictions in words.

    The calibration methods are for validation: they read their results at once, to put the verdict into words.
    """

    def log_calibration(
        self, probabilities: Tensor, labels: Tensor, uncertainty: Tensor | None = None, step: int | None = None
    ) -> str:
        """Log whether a classifier's confidence fits its accuracy.

        Args:
            probabilities: ``[samples, classes]``, rows that sum to 1.
            labels: the right classes, ``[samples]``.
            uncertainty: how unsure the model is of each sample, ``[samples]``; by default 1 - confidence.
            step: ``global_step`` by default.

        Returns:
            "well-calibrated", "over-confident", "under-confident" or "uninformative"; see
            ``metrics.calibration.calibration_verdict``.
        """
        confidence, predicted = probabilities.detach().max(-1)
        correct = predicted == labels.detach().to(predicted.device)
        unsure = 1 - confidence if uncertainty is None else uncertainty
        error = float(expected_calibration_error(confidence, correct))
        gap = float(confidence_gap(confidence, correct))
        correlation = float(uncertainty_error_correlation(unsure, ~correct))
        values = {
            monitored.CALIBRATION_ERROR: error,
            names.CONFIDENCE_GAP: gap,
            monitored.CALIBRATION_CORRELATION: correlation,
        }
        self.log_values(values, step)
        verdict = calibration_verdict(gap, correlation)
        self.log_text(
            names.VERDICT,
            f"**{verdict}**: confidence {float(confidence.double().mean()):.3f}, accuracy "
            f"{float(correct.double().mean()):.3f}, expected calibration error {error:.3f}, correlation of uncertainty "
            f"and error {correlation:.2f}",
            step,
        )
        return verdict

    def log_interval_calibration(
        self, actual: Tensor, lower: Tensor, upper: Tensor, center: Tensor | None = None, step: int | None = None
    ) -> str:
        """Log whether 90 % intervals of a regression hold 90 % of the values.

        Args:
            actual: what happened, any shape.
            lower, upper: bounds of the intervals, the same shape.
            center: the prediction, from which errors are measured; by default the middle of the interval.
            step: ``global_step`` by default.

        Returns:
            a verdict as of ``log_calibration``.
        """
        middle = (lower + upper) / 2 if center is None else center
        coverage = float(interval_coverage(actual, lower, upper))
        correlation = float(uncertainty_error_correlation(upper - lower, actual - middle))
        self.log_values(
            {monitored.CALIBRATION_COVERAGE: 100 * coverage, monitored.CALIBRATION_CORRELATION: correlation}, step
        )
        verdict = calibration_verdict(_NOMINAL_COVERAGE - coverage, correlation)
        self.log_text(
            names.VERDICT,
            f"**{verdict}**: 90 % intervals hold {100 * coverage:.1f} %, correlation of width and error "
            f"{correlation:.2f}",
            step,
        )
        return verdict

    def log_predictions(
        self,
        samples: Sequence[str],
        predictions: Sequence[Any],
        confidences: Tensor | Sequence[float],
        step: int | None = None,
    ) -> None:
        """Log what the model says of samples as one text under ``predictions``: sample, prediction, confidence."""
        sure = torch.as_tensor(confidences).detach().reshape(-1).tolist()
        lines = [
            f"- Sample: {sample} -> {prediction} ({confidence:.2f} confidence)"
            for sample, prediction, confidence in zip(samples, predictions, sure, strict=True)
        ]
        self.log_text(names.PREDICTIONS, "\n".join(lines), step)
