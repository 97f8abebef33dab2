"""Does a model know how sure it may be: calibration of probabilities, of intervals and of uncertainties.

Inputs are tensors or arrays on any device; results are 0-dimensional tensors there, and nothing waits for the device,
but ``calibration_verdict``, which takes numbers.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

BINS = 15
GAP_TOLERANCE = 0.05
LEAST_CORRELATION = 0.1

Verdict = Literal["well-calibrated", "over-confident", "under-confident", "uninformative"]


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
    place = (sure * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=sure.dtype, device=sure.device).index_add(0, place, sure - right)
    return gaps.abs().sum() / len(sure)


def confidence_gap(confidence: Any, correct: Any) -> Tensor:
    """Mean confidence minus accuracy, both ``[samples]``: above 0 for a model that is too sure."""
    return _row(confidence).mean() - _row(correct).mean()


def interval_coverage(actual: Any, lower: Any, upper: Any) -> Tensor:
    """Share of actual values, from 0 to 1, that lie in their intervals, bounds included; any equal shapes."""
    values = _row(actual)
    return ((values >= _row(lower)) & (values <= _row(upper))).double().mean()


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


def _row(values: Any) -> Tensor:
    tensor = torch.as_tensor(values).detach().reshape(-1)
    return tensor.float() if tensor.device.type == "mps" else tensor.double()  # which has no 64 bits


def _centred_ranks(values: Tensor) -> Tensor:
    ordered = values.sort().values
    below, up_to = torch.searchsorted(ordered, values), torch.searchsorted(ordered, values, right=True)
    return (below + up_to - len(values)).to(values.dtype) / 2
