"""Does a model know how sure it may be: calibration of probabilities, of intervals and of uncertainties.

Inputs are tensors or arrays on any device; results are 0-dimensional tensors there, and nothing waits for the device,
but ``calibration_verdict``, which takes numbers, and ``fit_temperature``, which gives one.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .proper_scores import as_double, as_labels

BINS = 15
GAP_TOLERANCE = 0.05
LEAST_CORRELATION = 0.1
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a fitted temperature."""

_NEWTON_STEPS = 60
_NEWTON_TOLERANCE = 1e-9  # after a step as small as this the next would be its square

Verdict = Literal["well-calibrated", "over-confident", "under-confident", "uninformative"]


class ReliabilityBins(NamedTuple):
    """Samples gathered by confidence in bins of equal width.

    Attributes:
        lower, upper: bounds of every bin, ``[bins]``; the upper one belongs to it.
        count: samples in it, ``[bins]``, int64.
        confidence, accuracy: means over its samples, ``[bins]``; NaN where there are none.
    """

    lower: Tensor
    upper: Tensor
    count: Tensor  # type: ignore[assignment]  # a NamedTuple's own count() is of no use here
    confidence: Tensor
    accuracy: Tensor


def expected_calibration_error(confidence: Any, correct: Any, bins: int = BINS) -> Tensor:
    """Mean distance between confidence and accuracy over bins of equal width, weighted by their samples.

    Naeini, Cooper and Hauskrecht 2015; with 15 bins as in Guo et al. 2017, arXiv 1706.04599. A bin holds its upper
    bound. 0 is perfect.

    Args:
        confidence: probability of the predicted class, ``[samples]``, from 0 to 1.
        correct: whether it was the right one, ``[samples]``, bools or 0 and 1.
        bins: how many.
    """
    sure, right = _row(confidence), _row(correct)
    gaps = _sums(sure - right, _places(sure, bins), bins)
    return gaps.abs().sum() / len(sure)


def adaptive_calibration_error(confidence: Any, correct: Any, bins: int = BINS) -> Tensor:
    """Mean distance between confidence and accuracy over bins that hold equally many samples, weighted by them.

    Nguyen and O'Connor 2015, Posterior calibration and exploratory analysis, who bin so; Nixon et al. 2019, Measuring
    calibration in deep learning, arXiv 1904.01685, for the absolute distance. Unlike ``expected_calibration_error`` it
    resolves confidences that are all alike. Samples of equal confidence share their accuracy, so their order does not
    matter. Sizes of bins differ by one at most. 0 is perfect.

    Args:
        confidence: probability of the predicted class, ``[samples]``, from 0 to 1.
        correct: whether it was the right one, ``[samples]``, bools or 0 and 1.
        bins: how many.
    """
    sure, right = shared_by_rank(confidence, correct)
    place = torch.arange(len(sure), device=sure.device) * bins // max(len(sure), 1)
    return _sums(sure - right, place, bins).abs().sum() / len(sure)


def reliability_bins(confidence: Any, correct: Any, bins: int = BINS) -> ReliabilityBins:
    """What a reliability diagram shows (Murphy and Winkler 1977; Guo et al. 2017): the bins of
    ``expected_calibration_error``.

    Args:
        confidence: probability of the predicted class, ``[samples]``, from 0 to 1.
        correct: whether it was the right one, ``[samples]``, bools or 0 and 1.
        bins: how many.
    """
    sure, right = _row(confidence), _row(correct)
    place = _places(sure, bins)
    count = _sums(torch.ones_like(sure), place, bins)
    bounds = torch.arange(bins + 1, dtype=sure.dtype, device=sure.device) / bins
    means = [_sums(values, place, bins) / count for values in (sure, right)]  # 0 / 0 is NaN
    return ReliabilityBins(bounds[:-1], bounds[1:], count.long(), *means)


def confidence_gap(confidence: Any, correct: Any) -> Tensor:
    """Mean confidence minus accuracy, both ``[samples]``: above 0 for a model that is too sure."""
    return _row(confidence).mean() - _row(correct).mean()


def interval_coverage(actual: Any, lower: Any, upper: Any) -> Tensor:
    """Share of actual values, from 0 to 1, that lie in their intervals, bounds included; any equal shapes."""
    values = _row(actual)
    return ((values >= _row(lower)) & (values <= _row(upper))).double().mean()


def interval_width(lower: Any, upper: Any) -> Tensor:
    """Mean width of intervals, in units of the data (MPIW; Khosravi et al. 2011); any equal shapes."""
    return (_row(upper) - _row(lower)).mean()


def sharpness(deviation: Any) -> Tensor:
    """Mean predicted standard deviation, in units of the data, any shape: how much a calibrated forecast leaves open.

    (Gneiting, Balabdaoui and Raftery 2007: as sharp as possible, subject to calibration.)
    """
    return _row(deviation).mean()


def fit_temperature(logits: Any, labels: Any) -> float:
    """The temperature that makes the negative log-likelihood of ``softmax(logits / temperature)`` least.

    Guo et al. 2017, On calibration of modern neural networks, arXiv 1706.04599. The likelihood is convex in 1 /
    temperature, so its slope has one root: Newton's steps, and halving where they leave the bracket. To be fitted on
    data that the model was not trained on.

    Args:
        logits: ``[samples, classes]``; -inf for a class that is ruled out.
        labels: the class that happened, ``[samples]``, integers from 0.

    Returns:
        From 0.05 to 20: the lower bound for logits whose largest is always right (the best would be 0), the upper one
        where they are no better than chance. 1 where every temperature is as good; NaN for NaN.
    """
    values = as_double(logits)
    values = values - values.amax(-1, keepdim=True)
    happened = values.gather(-1, as_labels(labels, values)).squeeze(-1)
    finite = values.clamp_min(torch.finfo(values.dtype).min)  # 0 * -inf would be NaN

    def slopes(inverse: float) -> tuple[float, float]:
        """First and second derivative of the mean negative log-likelihood."""
        likely = (inverse * values).softmax(-1)
        mean = (likely * finite).sum(-1)
        square = torch.where(likely > 0, likely * (finite - mean.unsqueeze(-1)).square(), 0.0).sum(-1)
        return float((mean - happened).mean()), float(square.mean())

    low, high, inverse = 1 / HOTTEST, 1 / COLDEST, 1.0
    slope, curvature = slopes(inverse)
    if slope == 0 or math.isnan(slope):
        return slope + 1.0
    if slopes(low)[0] >= 0:
        return HOTTEST
    if slopes(high)[0] <= 0:
        return COLDEST
    for _ in range(_NEWTON_STEPS):
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else math.inf
        before, inverse = inverse, step if low <= step <= high else math.sqrt(low * high)
        if abs(inverse - before) <= _NEWTON_TOLERANCE * inverse:
            break
        slope, curvature = slopes(inverse)
    return 1 / inverse


def uncertainty_error_correlation(uncertainty: Any, error: Any) -> Tensor:
    """Spearman's rank correlation of uncertainty and size of the error, ``[samples]`` each; equal values share a rank.

    1 where more uncertain always means more wrong, 0 where uncertainty says nothing, NaN if one of them is constant.
    """
    uncertain, wrong = _centred_ranks(_row(uncertainty)), _centred_ranks(_row(error).abs())
    return (uncertain * wrong).sum() / (uncertain.square().sum() * wrong.square().sum()).sqrt()


def calibration_verdict(gap: float, correlation: float | None = None) -> Verdict:
    """One word for it.

    Args:
        gap: how much too sure the model is, from -1 to 1: ``confidence_gap`` of a classifier; the promised minus the
            reached coverage of intervals.
        correlation: ``uncertainty_error_correlation``, if known.

    Returns:
        "over-confident" for a gap above 0.05 (errors come with low uncertainty), "under-confident" below -0.05 (right
        answers come with high uncertainty); in between "well-calibrated", but "uninformative" where the uncertainty
        does not rise with the errors (a correlation below 0.1 or undefined).
    """
    if gap > GAP_TOLERANCE:
        return "over-confident"
    if gap < -GAP_TOLERANCE:
        return "under-confident"
    if correlation is not None and (math.isnan(correlation) or correlation < LEAST_CORRELATION):
        return "uninformative"
    return "well-calibrated"


def shared_by_rank(keys: Any, values: Any) -> tuple[Tensor, Tensor]:
    """Keys in rising order, and the values that belong to them, where equal keys share the mean of theirs.

    ``[samples]`` each. So sums over the first of them are expectations over all orders of equal keys.
    """
    ordered, order = _row(keys).sort(stable=True)
    belonging = _row(values)[order]
    first = torch.searchsorted(ordered, ordered).clamp_max(len(ordered) - 1)  # NaN has no place
    sums = _sums(belonging, first, len(ordered))
    return ordered, sums[first] / _sums(torch.ones_like(ordered), first, len(ordered))[first]


def _places(confidence: Tensor, bins: int) -> Tensor:
    return (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)


def _sums(values: Tensor, places: Tensor, bins: int) -> Tensor:
    return torch.zeros(bins, dtype=values.dtype, device=values.device).index_add(0, places, values)


def _row(values: Any) -> Tensor:
    return as_double(values).reshape(-1)


def _centred_ranks(values: Tensor) -> Tensor:
    ordered = values.sort().values
    below, up_to = torch.searchsorted(ordered, values), torch.searchsorted(ordered, values, right=True)
    return (below + up_to - len(values)).to(values.dtype) / 2
