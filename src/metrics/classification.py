"""Metrics of classes: from a confusion matrix, from probabilities, and gathered batch by batch.

A confusion matrix is an integer array ``[classes, classes]``: rows are what happened, columns what was said. Class 1 of
two is the positive one ("up"). Sums are kept in double precision, so that data of any length are scored in constant
memory.
"""

from __future__ import annotations

import math

import numpy as np

from .series import skill
from .trading import TradingSums

THRESHOLDS = 127
"""Points of a precision-recall curve; TensorBoard draws no more."""


def accuracy(confusion: np.ndarray) -> float:
    """Share of right answers."""
    return float(np.trace(confusion) / confusion.sum())


def balanced_accuracy(confusion: np.ndarray) -> float:
    """Mean over the classes that happened of the share of each that was recognised.

    0.5 of two classes is no better than chance (Brodersen et al. 2010, The balanced accuracy and its posterior
    distribution).
    """
    happened = confusion.sum(1)
    return float((np.diag(confusion)[happened > 0] / happened[happened > 0]).mean())


def majority_share(confusion: np.ndarray) -> float:
    """The accuracy of always answering the most frequent class."""
    return float(confusion.sum(1).max() / confusion.sum())


def f1(confusion: np.ndarray) -> float:
    """Harmonic mean of the positive class's precision and recall, of two classes; 0 where there is neither."""
    (_, false_positive), (false_negative, true_positive) = confusion.tolist()
    answers = 2 * true_positive + false_positive + false_negative
    return 2 * true_positive / answers if answers else 0.0


def macro_f1(confusion: np.ndarray) -> float:
    """Mean over the classes that happened of the harmonic mean of precision and recall."""
    happened, said, right = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    return float((2 * right / np.maximum(happened + said, 1))[happened > 0].mean())


def matthews_correlation(confusion: np.ndarray) -> float:
    """Correlation of answers and truth, -1 to 1; 0 where either is always the same.

    (Matthews 1975; for more than two classes Gorodkin 2004, Comparing two K-category assignments.)
    """
    happened, said = confusion.sum(1).tolist(), confusion.sum(0).tolist()  # Python's integers do not overflow
    count, right = sum(happened), int(np.trace(confusion))
    shared = right * count - sum(a * b for a, b in zip(happened, said, strict=True))
    spread = (count**2 - sum(a * a for a in happened)) * (count**2 - sum(b * b for b in said))
    return shared / math.sqrt(spread) if spread else 0.0


class PrecisionRecall:
    """Running counts of answers above each of 127 thresholds, from 0 to 1 in equal steps.

    Attributes:
        positive, negative: int64 ``[thresholds]``: how many probabilities of truly positive and truly negative samples
            lie from this threshold to before the next.
    """

    def __init__(self) -> None:
        self.positive = np.zeros(THRESHOLDS, dtype=np.int64)
        self.negative = np.zeros(THRESHOLDS, dtype=np.int64)

    def add(self, truth: np.ndarray, probability: np.ndarray) -> None:
        """Add a batch; ``truth`` (0 or 1) and ``probability`` have the same shape."""
        place = np.floor(probability.ravel().astype(np.float64) * (THRESHOLDS - 1)).astype(np.int64)
        is_positive = truth.ravel() > 0.5
        self.positive += np.bincount(place[is_positive], minlength=THRESHOLDS)
        self.negative += np.bincount(place[~is_positive], minlength=THRESHOLDS)

    def curve(self) -> dict[str, np.ndarray]:
        """What is right and wrong if all from a threshold upwards are called positive, float64 ``[thresholds]``.

        ``true_positive``, ``false_positive``, ``true_negative``, ``false_negative`` are counts; ``precision`` is 0
        where nothing is called positive, ``recall`` where nothing is.
        """
        true_positive = self.positive[::-1].cumsum()[::-1].astype(np.float64)
        false_positive = self.negative[::-1].cumsum()[::-1].astype(np.float64)
        return {
            "true_positive": true_positive,
            "false_positive": false_positive,
            "true_negative": false_positive[0] - false_positive,
            "false_negative": true_positive[0] - true_positive,
            "precision": true_positive / np.maximum(true_positive + false_positive, 1),
            "recall": true_positive / max(true_positive[0], 1),
        }


class DirectionScores:
    """Running sums for the task ``direction``: predicted probability of "up" against what happened.

    Args:
        cost_bps: of a simulated trade, in basis points of its size; None where there are no returns.

    Attributes:
        confusion: int64 ``[2, 2]``.
        precision_recall: for the curve.
        trading: what the forecasts would have earned, or None.
    """

    def __init__(self, cost_bps: float | None = None) -> None:
        self.confusion = np.zeros((2, 2), dtype=np.int64)
        self.precision_recall = PrecisionRecall()
        self.trading = None if cost_bps is None else TradingSums(cost_bps)
        self.log_loss = self.brier = self.naive_brier = 0.0

    def add(
        self, up: np.ndarray, probability: np.ndarray, up_share: np.ndarray, returns: np.ndarray | None = None
    ) -> None:
        """Add a batch; all but ``up_share`` are ``[batch, horizon, targets]``.

        Args:
            up: 1 where the return was above zero, else 0.
            probability: of "up".
            up_share: share of ups in the training part, ``[targets]``: what a forecaster without a model would say.
            returns: simple returns; None where values have none.
        """
        called, happened = (probability > 0.5).astype(int), up.astype(int)
        np.add.at(self.confusion, (happened.ravel(), called.ravel()), 1)
        self.precision_recall.add(up, probability)
        if self.trading is not None and returns is not None:
            self.trading.add(probability, returns)
        probability, up = probability.astype(np.float64), up.astype(np.float64)
        bounded = np.clip(probability, 1e-7, 1 - 1e-7)
        self.log_loss -= float((up * np.log(bounded) + (1 - up) * np.log(1 - bounded)).sum())
        self.brier += float(((probability - up) ** 2).sum())
        self.naive_brier += float(((up_share - up) ** 2).sum())

    def results(self) -> dict[str, float | None]:
        """``accuracy``, ``balanced_accuracy``, ``majority_share``, ``f1`` and ``mcc`` (Matthews correlation), as the
        functions here define them; ``log_loss`` in nats; ``brier``, the Brier score; ``skill_vs_naive`` = 1 - that /
        Brier score of the training share of ups; where there are returns, those of ``TradingSums``."""
        count = int(self.confusion.sum())
        if count == 0:
            return {}
        return {
            "accuracy": accuracy(self.confusion),
            "balanced_accuracy": balanced_accuracy(self.confusion),
            "majority_share": majority_share(self.confusion),
            "f1": f1(self.confusion),
            "mcc": matthews_correlation(self.confusion),
            "log_loss": self.log_loss / count,
            "brier": self.brier / count,
            "skill_vs_naive": skill(self.brier, self.naive_brier),
            **(self.trading.results() if self.trading is not None else {}),
        }
