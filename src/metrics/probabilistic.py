"""Scores of distributions, gathered batch by batch: forecasts in the scaled target space, and classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .calibration import (
    adaptive_calibration_error,
    confidence_gap,
    expected_calibration_error,
    interval_coverage,
    uncertainty_error_correlation,
)
from .classification import accuracy, balanced_accuracy, macro_f1, majority_share, matthews_correlation
from .distributions import LEVEL, ClassDistribution, ForecastDistribution
from .proper_scores import brier_score, negative_log_likelihood
from .selective import area_under_risk_coverage
from .series import skill


class IntervalScores:
    """Running sums over forecasts with a distribution; values are scaled ones."""

    def __init__(self) -> None:
        self.count = 0
        self.crps = self.nll = self.inside = self.width = 0.0
        self.has_density = True
        self._deviations: list[torch.Tensor] = []
        self._errors: list[torch.Tensor] = []

    def add(self, actual: torch.Tensor, distribution: ForecastDistribution) -> None:
        """Add a batch; ``actual`` is scaled, ``[batch, horizon, targets]``."""
        lower, upper = distribution.interval(LEVEL)
        self.count += actual.numel()
        self.crps += float(distribution.crps(actual).sum())
        density = distribution.nll(actual)
        self.has_density = self.has_density and density is not None
        self.nll += 0.0 if density is None else float(density.sum())
        self.inside += float(interval_coverage(actual, lower, upper)) * actual.numel()
        self.width += float((upper - lower).double().sum())
        self._deviations.append(distribution.deviation.flatten().cpu())
        self._errors.append((actual - distribution.mean).abs().flatten().cpu())

    def results(self) -> dict[str, float | None]:
        """``crps`` and ``nll`` (nats; None for quantiles), means over all values; ``coverage_90`` and ``width_90`` of
        the 90 % intervals; ``uncertainty_error_correlation``, rank correlation of deviation and error."""
        if not self.count:
            return {}
        correlation = float(uncertainty_error_correlation(torch.cat(self._deviations), torch.cat(self._errors)))
        return {
            "crps": self.crps / self.count,
            "nll": self.nll / self.count if self.has_density else None,
            "coverage_90": self.inside / self.count,
            "width_90": self.width / self.count,
            "uncertainty_error_correlation": correlation if correlation == correlation else None,
        }


class ClassScores:
    """Probabilities of classes against what they turned out to be.

    Args:
        shares: share of the training part that each class has: what a model that reads nothing would say.
    """

    def __init__(self, shares: Any) -> None:
        self.shares = torch.as_tensor(shares, dtype=torch.float64)
        self._probabilities: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []
        self._uncertainty: list[torch.Tensor] = []
        self._epistemic: list[torch.Tensor] = []

    def add(self, labels: torch.Tensor, distribution: ClassDistribution) -> None:
        """Add a batch; ``labels`` int64 ``[batch]``."""
        self._labels.append(labels.cpu())
        self._probabilities.append(distribution.probabilities.double().cpu())
        self._uncertainty.append(distribution.total.double().cpu())
        if distribution.epistemic is not None:
            self._epistemic.append(distribution.epistemic.double().cpu())

    @property
    def labels(self) -> torch.Tensor:
        """All of them, int64 ``[samples]``."""
        return torch.cat(self._labels)

    @property
    def probabilities(self) -> torch.Tensor:
        """All of them, ``[samples, classes]``."""
        return torch.cat(self._probabilities)

    @property
    def confusion(self) -> np.ndarray:
        """int64 ``[classes, classes]``: rows are what happened, columns what was said."""
        classes = len(self.shares)
        confusion = np.zeros((classes, classes), dtype=np.int64)
        np.add.at(confusion, (self.labels.numpy(), self.probabilities.argmax(1).numpy()), 1)
        return confusion

    def results(self) -> dict[str, float | None]:
        """What is right and what the probabilities are worth.

        ``accuracy``, ``balanced_accuracy``, ``majority_share``, ``macro_f1``, ``mcc``; ``log_loss`` in nats;
        ``brier``, summed over classes; ``skill_vs_naive`` = 1 - that / that of the training part's shares;
        ``calibration_error`` and ``adaptive_calibration_error`` (15 bins), ``confidence_gap``; ``aurc``, the area under
        the risk-coverage curve; ``uncertainty_error_correlation``; ``epistemic_mean`` where several networks answer.
        """
        if not self._labels:
            return {}
        labels, probabilities, uncertainty = self.labels, self.probabilities, torch.cat(self._uncertainty)
        confidence, said = probabilities.max(1)
        correct = said == labels
        naive = float(brier_score(self.shares.expand_as(probabilities), labels))
        brier = float(brier_score(probabilities, labels))
        correlation = float(uncertainty_error_correlation(uncertainty, ~correct))
        confusion = self.confusion
        found: dict[str, float | None] = {
            "accuracy": accuracy(confusion),
            "balanced_accuracy": balanced_accuracy(confusion),
            "majority_share": majority_share(confusion),
            "macro_f1": macro_f1(confusion),
            "mcc": matthews_correlation(confusion),
            "log_loss": float(negative_log_likelihood(probabilities, labels)),
            "brier": brier,
            "skill_vs_naive": skill(brier, naive),
            "calibration_error": float(expected_calibration_error(confidence, correct)),
            "adaptive_calibration_error": float(adaptive_calibration_error(confidence, correct)),
            "confidence_gap": float(confidence_gap(confidence, correct)),
            "aurc": float(area_under_risk_coverage(uncertainty, ~correct)),
            "uncertainty_error_correlation": correlation if correlation == correlation else None,
        }
        if self._epistemic:
            found["epistemic_mean"] = float(torch.cat(self._epistemic).mean())
        return found
